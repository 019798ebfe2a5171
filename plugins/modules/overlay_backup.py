#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

# The code is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: overlay_backup
short_description: Save what the user's layer of a device changes
version_added: 1.0.0
description:
  - Writes a compressed tar archive of everything that differs from the base, with owners, modes, times, links
    and device nodes, and with a whiteout for everything deleted.
  - Overlays on single directories are not in it; RV(not_covered) names them, and a warning does.
  - Extended attributes, such as file capabilities and ACLs, are saved where the device has GNU C(getfattr),
    as images of this collection do. RV(xattrs) tells, and where it has not there is a warning.
  - Works on the running system, or on a layer that was set aside because it could not be booted.
  - The archive passes through the controller's memory.
author: br2.readonly_rootfs contributors (!UNKNOWN)
extends_documentation_fragment:
  - br2.readonly_rootfs._device
  - br2.readonly_rootfs._device.selection
options:
  dest:
    description:
      - File on the controller, readable by its owner only.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    details: Reads the device and says whether the file would change.
  diff_mode:
    support: none
    details: See M(br2.readonly_rootfs.overlay_diff).
  idempotent:
    support: full
    details: The same layer gives the same file.
seealso:
  - module: br2.readonly_rootfs.overlay_restore
"""

EXAMPLES = r"""
- name: Save the layer before a reset
  br2.readonly_rootfs.overlay_backup:
    dest: "output/backup/{{ inventory_hostname }}.tar.gz"
"""

RETURN = r"""
dest:
  description: The file, absolute.
  returned: success
  type: str
  sample: /home/me/output/backup/gate-1.tar.gz
size:
  description: Bytes of the file.
  returned: success
  type: int
  sample: 10240
not_covered:
  description: Directories with an overlay of their own, which the backup leaves out.
  returned: when there are any
  type: list
  elements: str
  sample: [/var]
counts:
  description: How many changes there are of each kind.
  returned: success
  type: dict
  sample: {added: 2, deleted: 1}
xattrs:
  description: Whether extended attributes are saved.
  returned: success
  type: bool
  sample: true
left_out:
  description:
    - Sockets; directories that have lost an attribute of the base; and, without RV(xattrs), files whose
      attributes are known to differ.
  returned: success
  type: list
  elements: str
  sample: []
"""
