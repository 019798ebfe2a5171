#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

# The code is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: overlay_diff
short_description: List what the user's layer of a device changes in its base
version_added: 1.0.0
description:
  - Compares the running system, without what is mounted on top of it, to its read-only base. Applying the
    list to
    the base gives the running system's files, whatever overlayfs features are in use.
  - Contents are compared by SHA-256 on the device. Names may hold any bytes.
  - Looks at the overlay of the root and at those that systemd mounts on single directories.
  - Mount points that the init makes are not listed.
  - Takes one round trip for each overlay; a second one for directories renamed by C(redirect_dir), a further
    one for files of more than 64 MiB that kept their size and for links to odd names, one more in diff mode.
author: br2.readonly_rootfs contributors (!UNKNOWN)
extends_documentation_fragment:
  - br2.readonly_rootfs._device
  - br2.readonly_rootfs._device.selection
options:
  copied_up:
    description:
      - Whether to list files that were copied to the user's layer and are equal to the base's.
    type: bool
    default: true
  text_limit:
    description:
      - In diff mode, files of more bytes are shown by their attributes only.
    type: int
    default: 65536
  packages_file_list:
    description:
      - A C(build/packages-file-list.txt) of Buildroot on the controller, to name the package of each path.
    type: path
attributes:
  check_mode:
    support: full
    details: Nothing is changed.
  diff_mode:
    support: full
    details: Shows both versions of small text files that all users may read, and the attributes of everything
      else.
  idempotent:
    support: full
    details: Nothing is changed.
notes:
  - Extended attributes are compared where the device has C(getfattr); see RV(xattrs). Without it, a
    directory that
    was deleted and made anew counts as V(replaced) only if that hides something of the base, and one that was
    renamed by C(redirect_dir) is listed as V(deleted) and V(added).
  - After a directory was renamed by C(redirect_dir) onto the name of another directory of the base that has
    the
    same names in it, a device without C(getfattr) cannot be told from one where nothing was renamed.
  - The device is read while it runs. What vanishes meanwhile is left out.
"""

EXAMPLES = r"""
- name: What is different below /etc?
  br2.readonly_rootfs.overlay_diff:
    paths: [/etc]
    exclude: [/etc/dropbear, '/etc/*.log']
    packages_file_list: output/qemu_x86_64/build/packages-file-list.txt
  register: drift

- name: Nothing must be
  ansible.builtin.assert:
    that: not drift.different
"""

RETURN = r"""
different:
  description: Whether there is any change but V(copied_up).
  returned: success
  type: bool
  sample: true
counts:
  description: How many changes there are of each kind.
  returned: success
  type: dict
  sample: {added: 2, deleted: 1}
layer:
  description: The layer that was looked at.
  returned: success
  type: str
  sample: current
overlays:
  description: The directories whose overlays were looked at.
  returned: success
  type: list
  elements: str
  sample: [/, /var]
xattrs:
  description:
    - How well extended attributes could be compared; V(full), V(to_first_nul) with BusyBox's C(getfattr),
      V(none) without any.
  returned: success
  type: str
  sample: full
text:
  description: The lines of what diff mode shows. Ansible itself shows it only of tasks that change something.
  returned: in diff mode
  type: list
  elements: str
  sample: ['--- /etc/hostname (base)', '+++ /etc/hostname (modified)']
changes:
  description: The changes, sorted by path.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The path. Bytes that are no UTF-8 appear as C(\xNN).
      type: str
    path_base64:
      description: The exact path without its leading slash, present if it is no UTF-8.
      type: str
    kind:
      description:
        - V(added); V(modified), other content; V(deleted), with all below; V(replaced), a directory made
          anew;
          V(renamed), a directory moved from RV(changes[].origin); V(type_changed); V(metadata), mode, owner
          or
          extended attributes only; V(copied_up), equal to the base.
      type: str
    before:
      description:
        - Type, mode, uid, gid, mtime, and size, target or device number in the base; null if not there.
      type: dict
    after:
      description: The same in the running system. V(sparse) marks files with holes.
      type: dict
    origin:
      description: Where a renamed directory was in the base.
      type: str
    links:
      description: All names of this file, if it has several.
      type: list
    xattrs:
      description: Names of the extended attributes that differ.
      type: list
    checksum:
      description: SHA-256 of the content, for files that the base has as well.
      type: str
    packages:
      description: Buildroot packages that the path in the base belongs to.
      type: list
  sample:
    - path: /etc/hostname
      kind: modified
      before: {type: file, mode: '0644', uid: 0, gid: 0, mtime: '2026-01-01T00:00:00Z', size: 10}
      after: {type: file, mode: '0644', uid: 0, gid: 0, mtime: '2026-11-21T10:00:00Z', size: 6}
"""
