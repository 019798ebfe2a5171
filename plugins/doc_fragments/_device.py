# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules for devices have in common."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Says what would change without changing the device or the controller.
  diff_mode:
    description: Shows in diff mode what changes, or in check mode would change.
  idempotent:
    description: The same task a second time reports that nothing changed.
notes:
  - The device needs a POSIX shell and BusyBox, no Python. This is an action plugin that runs on the
    controller and sends one shell script per round trip over the connection; set C(gather_facts=false).
  - Connections must pass standard input on, as P(ansible.builtin.ssh#connection) does.
"""

    WAITING = r"""
options:
  timeout:
    description:
      - Seconds after which a device that does not come back is an error.
    type: float
    default: 300.0
  sleep:
    description:
      - Seconds between two questions.
    type: float
    default: 1.0
  connect_timeout:
    description:
      - Seconds that one attempt to connect may take. A device that then falls silent is asked for a sign of
        life as often, and after three without an answer connected to anew.
    type: int
    default: 5
attributes:
  action_group:
    description: C(group/br2.readonly_rootfs.device_waiting) in C(module_defaults) sets these options once.
    support: full
    membership: [br2.readonly_rootfs.device_waiting]
"""

    SELECTION = r"""
options:
  layer:
    description:
      - V(current) is the layer that the running system writes to.
      - V(quarantine) is the user's layer that was set aside because it could not be booted.
    type: str
    choices: [current, quarantine]
    default: current
  paths:
    description:
      - Absolute paths, or shell patterns of them, to look at; each stands for all below it.
        Empty means everything.
    type: list
    elements: str
    default: []
  exclude:
    description:
      - Paths or patterns to leave out, as in O(paths).
    type: list
    elements: str
    default: []
attributes:
  action_group:
    description: C(group/br2.readonly_rootfs.device_selection) in C(module_defaults) sets these options once.
    support: full
    membership: [br2.readonly_rootfs.device_selection]
"""
