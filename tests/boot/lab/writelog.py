# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every write that a guest made, in order, so that a power cut can be placed after any of them.

QEMU's `blklogwrites` driver writes the log in the format of Linux' dm-log-writes.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SUPER = struct.Struct("<QQQI")
_ENTRY = struct.Struct("<QQQQ")
_MAGIC = 0x6A736677736872
_FLUSH, _DISCARD, _MARK = 1, 4, 8


@dataclass(frozen=True)
class Write:
    offset: int
    data: bytes
    flush: bool


def writes(log: Path) -> Iterator[Write]:
    """The writes of a log in order; a discard is a write of zeros, a bare flush one of nothing."""
    with log.open("rb") as file:
        magic, _version, _count, sector = _SUPER.unpack(file.read(_SUPER.size))
        if magic != _MAGIC:
            raise ValueError(f"{log}: not a write log")
        # The entry count is only brought up to date now and then: read to the end.
        position, size = sector, log.stat().st_size
        while position + _ENTRY.size <= size:
            file.seek(position)
            start, count, flags, _mark_length = _ENTRY.unpack(file.read(_ENTRY.size))
            if not any((start, count, flags)):
                return
            position += sector
            data = b""
            if flags & _DISCARD:
                data = bytes(count * sector)
            elif not flags & _MARK:
                file.seek(position)
                data = file.read(count * sector)
                position += count * sector
            yield Write(start * sector, data, bool(flags & _FLUSH))


def replay(before: Path, log: Path, count: int, target: Path) -> Path:
    """The disk as it was before, and after the first `count` writes of the log."""
    shutil.copyfile(before, target)
    with target.open("r+b") as disk:
        for index, write in enumerate(writes(log)):
            if index == count:
                break
            disk.seek(write.offset)
            disk.write(write.data)
    return target
