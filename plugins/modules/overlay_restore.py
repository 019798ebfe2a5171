#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

# The code is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: overlay_restore
short_description: Give a device the changes of a backup
version_added: 1.0.0
description:
  - Makes the changes that M(br2.readonly_rootfs.overlay_backup) saved, on the same device or on another one
    with the same base, through the running system. Reboot for all programs to see them.
  - Extended attributes are restored where the device has GNU C(setfattr), as images of this collection do.
  - A device in fallback is refused, since its layer is gone with the next boot.
  - Changes that the device has and the backup has not are kept; reset the device before to have nothing else.
  - A connection that is lost half-way leaves a part of the changes made; run it again.
author: br2.readonly_rootfs contributors (!UNKNOWN)
extends_documentation_fragment:
  - br2.readonly_rootfs._device
options:
  src:
    description:
      - The backup, a file on the controller.
    type: path
    required: true
  any_base:
    description:
      - Restore also what was saved on another base.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    details: Checks the backup and the device.
  diff_mode:
    support: none
    details: See M(br2.readonly_rootfs.overlay_diff).
  idempotent:
    support: none
    details: Makes the changes every time.
seealso:
  - module: br2.readonly_rootfs.overlay_backup
"""

EXAMPLES = r"""
- name: Give a replacement device the state of the old one
  br2.readonly_rootfs.overlay_restore:
    src: output/backup/gate-1.tar.gz
"""

RETURN = r"""
changes:
  description: How many changes the backup holds.
  returned: success
  type: int
  sample: 12
deleted:
  description: How many of them are deletions.
  returned: success
  type: int
  sample: 1
left_out:
  description: Files whose extended attributes were not restored because the device has no GNU C(setfattr).
  returned: success, but in check mode
  type: list
  elements: str
  sample: []
"""
