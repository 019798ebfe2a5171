#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

# The code is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: overlay_reset
short_description: Give a device its factory state back, as a whole or by path
version_added: 1.0.0
description:
  - Requests that the init discards the user's layer at the next boot, and reboots the device if asked to.
    The init does it atomically; see the boot documentation.
  - Overlays that systemd mounts on single directories are reset as well, by their paths or with all. Those
    without a persistent layer are left alone.
  - Works on the layer that belongs to the user, also while it is set aside because it could not be booted.
author: br2.readonly_rootfs contributors (!UNKNOWN)
extends_documentation_fragment:
  - br2.readonly_rootfs._device
  - br2.readonly_rootfs._device.waiting
options:
  state:
    description:
      - V(requested) makes the next boot reset the layer, V(cancelled) withdraws a request.
    type: str
    choices: [requested, cancelled]
    default: requested
  paths:
    description:
      - Absolute paths, or shell patterns of them, that get the base's state back with all below them.
        Empty means everything.
      - Everything else that the layer holds is put on the keep list of the request.
    type: list
    elements: str
    default: []
  keep:
    description:
      - Absolute paths that survive with all below them, in addition to the device's own C(state/keep). A path
        that passes through a link keeps nothing; name where the link leads to.
    type: list
    elements: str
    default: []
  mkfs:
    description:
      - Make the writable file system of the root's layer anew if it cannot be mounted.
    type: bool
    default: false
  backup_dir:
    description:
      - Directory on the controller for a backup of the root's layer before it is reset, as
        M(br2.readonly_rootfs.overlay_backup) makes it. Nothing is requested when that fails, or when
        another overlay, of which there are no backups, is to be reset too.
      - The file is named after the host and its own content, so that no backup takes another one's place.
    type: path
  reboot:
    description:
      - Reboot, wait for the device, and fail unless it says that it was reset.
    type: bool
    default: false
  delay:
    description:
      - Seconds between the request and the reboot, in which the device closes the connection in order.
    type: float
    default: 1.0
attributes:
  check_mode:
    support: full
    details: Lists what would be discarded.
  diff_mode:
    support: full
    details: Shows the kinds and paths of the changes that go.
  idempotent:
    support: full
    details: >-
      Nothing is requested when there is nothing to discard, unless the layer is another base's, or when the
      same is requested already.
"""

EXAMPLES = r"""
- name: What would a factory reset discard?
  br2.readonly_rootfs.overlay_reset:
    keep: [/etc/dropbear, /root/.ssh]
  check_mode: true
  diff: true

- name: Factory reset
  br2.readonly_rootfs.overlay_reset:
    keep: [/etc/dropbear, /root/.ssh]
    reboot: true
    backup_dir: output/backup

- name: Undo what was done to the network configuration
  br2.readonly_rootfs.overlay_reset:
    paths: [/etc/network]
    reboot: true
"""

RETURN = r"""
discarded:
  description:
    - The changes that go, as M(br2.readonly_rootfs.overlay_diff) lists them.
    - Null if the layer cannot be read.
  returned: when O(state=requested)
  type: list
  elements: dict
  sample: [{path: /etc/hostname, kind: modified}]
requests:
  description:
    - The request that each overlay to be reset will find at the next boot, by directory; paths in it begin at
      that directory.
  returned: when O(state=requested)
  type: dict
  sample: {/: "keep=/root/.ssh\n", /var: ''}
not_reset:
  description: Directories whose layer is left as it is because it is not mounted.
  returned: when O(state=requested) and there are any
  type: list
  elements: str
  sample: [/srv]
not_kept:
  description: Paths of O(keep) that pass through a link.
  returned: when O(state=requested) and there are any
  type: list
  elements: str
  sample: [/bin/mine]
backup:
  description:
    - What M(br2.readonly_rootfs.overlay_backup) returns, of the backup made (in check mode, to be made).
  returned: with O(backup_dir), when there is something to discard
  type: dict
  sample:
    dest: /home/me/output/backup/gate-1-0a4c29f1b7d35e68.tar.gz
    size: 10240
    changed: true
    counts: {added: 2, deleted: 1}
    xattrs: true
    left_out: []
rebooted:
  description: Whether the device was rebooted.
  returned: when O(state=requested)
  type: bool
  sample: true
boot_id:
  description: The kernel's ID of the new boot.
  returned: after a reboot
  type: str
  sample: 2f6bba6d-9d0a-4a34-a2c1-9bb3dca30d3c
uptime:
  description: Seconds since that boot.
  returned: after a reboot
  type: float
  sample: 5.04
elapsed:
  description: Seconds from the reboot to the answer.
  returned: after a reboot
  type: float
  sample: 17.2
"""
