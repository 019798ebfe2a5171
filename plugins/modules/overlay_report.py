#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

# The code is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: overlay_report
short_description: Write a fleet's drift as JSON and as one HTML page
version_added: 1.0.0
description:
  - Groups what M(br2.readonly_rootfs.overlay_diff) returned for many devices by device, path and package.
  - Writes C(report.json), and C(report.html), which needs no other file and no network. Its date is that of
    the file.
  - Runs on the controller and needs no connection.
author: br2.readonly_rootfs contributors (!UNKNOWN)
options:
  devices:
    description:
      - Results of M(br2.readonly_rootfs.overlay_diff) by device name, also of failed and unreachable devices.
      - A key C(info) with what M(br2.readonly_rootfs.overlay_info) returned adds the layer in use and why.
    type: dict
    required: true
  dest:
    description:
      - Directory on the controller, made if it is not there.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Says whether the files would change.
  diff_mode:
    support: none
    description: There is nothing to show.
  idempotent:
    support: full
    description: Equal files are left alone.
"""

EXAMPLES = r"""
- name: Write the report
  br2.readonly_rootfs.overlay_report:
    devices: "{{ dict(ansible_play_hosts_all | zip(results)) }}"
    dest: output/report
  vars:
    results: "{{ ansible_play_hosts_all | map('extract', hostvars, 'drift') }}"
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
summary:
  description: How many devices there are, and in which state.
  returned: success
  type: dict
  sample: {devices: 20, same: 17, different: 2, failed: 0, unreachable: 1}
page:
  description: The HTML page.
  returned: success
  type: str
  sample: /home/me/output/report/report.html
data:
  description: The JSON file.
  returned: success
  type: str
  sample: /home/me/output/report/report.json
"""
