#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

# The code is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: device_wait
short_description: Wait until a device without Python answers
version_added: 1.0.0
description:
  - Waits until a device accepts a connection and runs a shell, and tells which boot it is in.
  - With O(not_boot_id), waits for the next boot after that one.
author: br2.readonly_rootfs contributors (!UNKNOWN)
extends_documentation_fragment:
  - br2.readonly_rootfs._device
  - br2.readonly_rootfs._device.waiting
options:
  delay:
    description:
      - Seconds before the first question.
    type: float
    default: 0.0
  not_boot_id:
    description:
      - A boot ID as this module returns it. An answer from that boot does not count.
    type: str
attributes:
  check_mode:
    support: full
    details: Waits as well; nothing is changed.
  diff_mode:
    support: none
    details: There is nothing to show.
  idempotent:
    support: full
    details: Nothing is changed.
"""

EXAMPLES = r"""
- name: Wait for the device to come up
  br2.readonly_rootfs.device_wait:
    timeout: 60
"""

RETURN = r"""
boot_id:
  description: The kernel's ID of the boot that answered.
  returned: success
  type: str
  sample: 2f6bba6d-9d0a-4a34-a2c1-9bb3dca30d3c
uptime:
  description: Seconds since that boot.
  returned: success
  type: float
  sample: 12.34
elapsed:
  description: Seconds that the module waited.
  returned: success
  type: float
  sample: 8.1
"""
