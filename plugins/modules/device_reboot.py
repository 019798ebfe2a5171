#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

# The code is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: device_reboot
short_description: Reboot a device without Python and wait for it
version_added: 1.0.0
description:
  - Reboots a device and waits until it answers from another boot, told by the kernel's boot ID.
author: br2.readonly_rootfs contributors (!UNKNOWN)
extends_documentation_fragment:
  - br2.readonly_rootfs._device
  - br2.readonly_rootfs._device.waiting
options:
  delay:
    description:
      - Seconds between the request and the reboot, in which the device closes the connection in order.
    type: float
    default: 1.0
attributes:
  check_mode:
    support: full
    details: Says that it would reboot.
  diff_mode:
    support: none
    details: There is nothing to show.
  idempotent:
    support: none
    details: Reboots every time.
"""

EXAMPLES = r"""
- name: Reboot
  br2.readonly_rootfs.device_reboot:
    timeout: 120
"""

RETURN = r"""
rebooted:
  description: Whether the device was rebooted, which check mode does not do.
  returned: success
  type: bool
  sample: true
boot_id:
  description: The kernel's ID of the new boot.
  returned: success, not in check mode
  type: str
  sample: 2f6bba6d-9d0a-4a34-a2c1-9bb3dca30d3c
uptime:
  description: Seconds since that boot.
  returned: success, not in check mode
  type: float
  sample: 5.04
elapsed:
  description: Seconds from the reboot to the answer.
  returned: success, not in check mode
  type: float
  sample: 17.2
"""
