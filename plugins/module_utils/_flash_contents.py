# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on a card."""

from __future__ import annotations

import os

from ._blockdev import Device
from ._image_filesystems import identify
from ._image_partitions import Partition, read_table


def contents(device: Device) -> str:
    """What is on a device now, in a line: C(mbr: ext2, ext4 (overlay)); empty when it cannot be read."""
    try:
        fd = os.open(device.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        table = read_table(fd, device.size)
        parts = table.partitions or (Partition(0, 0, device.size, "whole"),)
        names = [_filesystem(fd, part) for part in parts]
    except OSError:
        return ""
    finally:
        os.close(fd)
    if table.kind == "none":
        return names[0] if names[0] != "unknown" else "nothing known"
    return f"{table.kind}: {', '.join(names)}"


def _filesystem(fd: int, part: Partition) -> str:
    found = identify(fd, part.start, part.size, free=False)
    if found is None:
        return "unknown"
    return f"{found.type} ({found.label})" if found.label else found.type
