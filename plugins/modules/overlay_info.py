#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

# The code is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: overlay_info
short_description: Tell which layer a device runs on, and why
version_added: 1.0.0
description:
  - Reads what the init left in its status file, the mounts, and how full the writable layer is.
  - Sets the same as the fact C(ansible_facts.readonly_rootfs).
  - Does not fail on a device whose root is no overlay; see RV(info.overlay).
author: br2.readonly_rootfs contributors (!UNKNOWN)
extends_documentation_fragment:
  - br2.readonly_rootfs._device
attributes:
  check_mode:
    support: full
    details: Nothing is changed.
  diff_mode:
    support: none
    details: There is nothing to show.
  idempotent:
    support: full
    details: Nothing is changed.
"""

EXAMPLES = r"""
- name: Ask the device
  br2.readonly_rootfs.overlay_info:
  register: device

- name: The user's layer must be in use
  ansible.builtin.assert:
    that: device.info.layer == 'persistent'
    fail_msg: "{{ device.info.detail }}"
"""

RETURN = r"""
info:
  description: What is known about the device. A value that the device does not tell is null.
  returned: success
  type: dict
  contains:
    overlay:
      description: Whether the root is an overlay.
      type: bool
    layer:
      description:
        - Layer in use; V(persistent), V(tmpfs) when none was asked for, V(fallback) when it could not be
          used.
      type: str
    reason:
      description: Why there is a fallback, one word of the init's list.
      type: str
    detail:
      description: The same as a sentence.
      type: str
    tries:
      description: Boots with the layer that are not confirmed, this one included.
      type: int
    tries_max:
      description: After how many of them the base is booted without the layer.
      type: int
    confirmed:
      description: Whether this boot was confirmed healthy.
      type: bool
    base_id:
      description: Identity of the base.
      type: str
    layer_base_id:
      description: Identity of the base that the layer was made on.
      type: str
    stale:
      description: Whether the two differ.
      type: bool
    was_reset:
      description: Whether the layer was reset in this boot.
      type: bool
    reset_pending:
      description: Whether it will be reset in the next.
      type: bool
    quarantine:
      description: Where a layer that was set aside is mounted.
      type: str
    base:
      description: Device, file system type and mount options of the base.
      type: dict
    writable:
      description: The same of the writable layer.
      type: dict
    root:
      description: The same of the overlay.
      type: dict
    space_kib:
      description: Total and available space of the writable layer.
      type: dict
    inodes:
      description: Total and available inodes; null where BusyBox's C(df) has no C(-i).
      type: dict
    entries:
      description: How many files, directories and whiteouts the upper layer holds.
      type: int
    stages:
      description: Seconds since the kernel started, at the end of each stage of the boot.
      type: dict
    directories:
      description:
        - The overlays that systemd mounts on single directories, each with C(directory), C(layers) (where
          they are), C(device), C(fstype), C(space_kib), C(entries), and as above C(layer), C(reason),
          C(detail), C(quarantine), C(base_id), C(layer_base_id), C(stale), C(was_reset), C(reset_pending).
      type: list
      elements: dict
    status:
      description: All that the init wrote, uninterpreted.
      type: dict
    boot_id:
      description: The kernel's ID of this boot.
      type: str
    uptime:
      description: Seconds since this boot.
      type: float
    kernel:
      description: Release of the kernel.
      type: str
  sample:
    overlay: true
    layer: fallback
    reason: tries
    detail: the layer was booted 3 times without being confirmed
    tries: 3
"""
