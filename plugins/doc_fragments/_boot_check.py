# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option of the modules that look at new images before they get their names."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  boot_check:
    description:
      - Boot new images in QEMU, to the mounts of base, layer and overlay and to a login prompt, before they
        get their names. Nothing is written to them, and a guest that hangs is given up after five minutes.
        Without an emulator for the board there is a warning instead.
      - That the initramfs can start and that the partitions hold what was built is checked in any case.
    type: bool
    default: true
"""
