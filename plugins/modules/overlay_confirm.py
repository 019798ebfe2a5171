#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

# The code is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: overlay_confirm
short_description: Confirm that a device's boot came up well, or let it try its layer again
version_added: 1.0.0
description:
  - Runs the device's C(overlay-confirm). A boot that nobody confirms counts as failed; after some of them the
    device comes up without the user's layer.
author: br2.readonly_rootfs contributors (!UNKNOWN)
extends_documentation_fragment:
  - br2.readonly_rootfs._device
options:
  action:
    description:
      - V(check) confirms if the device's own health checks succeed, and fails otherwise.
      - V(confirm) confirms without them.
      - V(accept_base) confirms, and takes the running base as the one that the layer belongs to. Where
        there is a fallback for that reason, the next boot uses the layer.
      - V(retry) lets the next boot of a device in fallback try the layer again; it does nothing elsewhere.
    type: str
    choices: [check, confirm, accept_base, retry]
    default: check
attributes:
  check_mode:
    support: full
    details: Says whether there is something to confirm. The device's checks are not run.
  diff_mode:
    support: none
    details: There is nothing to show.
  idempotent:
    support: partial
    details: A confirmed boot is not confirmed again; V(retry) is repeated until the device was rebooted.
"""

EXAMPLES = r"""
- name: The device is well if its web server answers from here
  ansible.builtin.uri:
    url: "http://{{ ansible_host }}/"
  delegate_to: localhost

- name: Confirm the boot
  br2.readonly_rootfs.overlay_confirm:
"""

RETURN = r"""
confirmed:
  description: Whether this boot is confirmed.
  returned: success
  type: bool
  sample: true
"""
