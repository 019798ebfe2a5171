# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Partition tables of disk images: MBR with logical partitions, and GPT."""

from __future__ import annotations

import os
import struct
import uuid
import zlib
from dataclasses import dataclass

SECTOR = 512
_EXTENDED = {0x05, 0x0F, 0x85}
_PROTECTIVE = 0xEE
_MAX_LOGICAL = 128


@dataclass(frozen=True)
class Partition:
    """One partition; C(start) and C(size) are bytes."""

    number: int
    start: int
    size: int
    type: str
    uuid: str = ""
    name: str = ""
    bootable: bool = False

    @property
    def end(self) -> int:
        return self.start + self.size


@dataclass(frozen=True)
class PartitionTable:
    """A partition table; C(kind) is C(mbr), C(gpt) or C(none)."""

    kind: str
    id: str = ""
    partitions: tuple[Partition, ...] = ()


NO_TABLE = PartitionTable("none")


def read_table(fd: int, size: int) -> PartitionTable:
    """The partition table of an image or device of I(size) bytes, C(NO_TABLE) when there is no sound one."""
    sector = os.pread(fd, SECTOR, 0)
    if len(sector) < SECTOR or sector[510:] != b"\x55\xaa":
        return NO_TABLE
    entries = [_entry(sector, slot) for slot in range(4)]
    if any(kind == _PROTECTIVE for kind, *_unused in entries):
        return _gpt(fd, size)
    # A FAT or NTFS boot sector carries the same signature; its "entries" are code.
    if any(boot not in (0, 0x80) for _unused, boot, _unused, _unused in entries) or not any(
        kind for kind, *_unused in entries
    ):
        return NO_TABLE
    disk_id = struct.unpack_from("<I", sector, 440)[0]
    return PartitionTable("mbr", f"{disk_id:08x}", tuple(_mbr(fd, entries, disk_id)))


def overlap(partitions: tuple[Partition, ...]) -> bool:
    """Whether any two partitions share a byte."""
    ordered = sorted(partitions, key=lambda part: part.start)
    return any(left.end > right.start for left, right in zip(ordered, ordered[1:]))


def _entry(sector: bytes, slot: int) -> tuple[int, int, int, int]:
    boot, kind, start, count = struct.unpack_from("<B3xB3xII", sector, 446 + 16 * slot)
    return kind, boot, start, count


def _mbr(fd: int, entries: list[tuple[int, int, int, int]], disk_id: int) -> list[Partition]:
    found: list[Partition] = []

    def add(number: int, kind: int, boot: int, start: int, count: int) -> None:
        identity = f"{disk_id:08x}-{number:02x}"
        found.append(
            Partition(
                number, start * SECTOR, count * SECTOR, f"0x{kind:02x}", identity, bootable=boot == 0x80
            )
        )

    for number, (kind, boot, start, count) in enumerate(entries, 1):
        if kind in _EXTENDED:
            for logical, (lkind, lboot, lstart, lcount) in enumerate(_logical(fd, start), 5):
                add(logical, lkind, lboot, lstart, lcount)
        elif kind and count:
            add(number, kind, boot, start, count)
    return sorted(found, key=lambda part: part.number)


def _logical(fd: int, extended: int) -> list[tuple[int, int, int, int]]:
    """The logical partitions: a chain of sectors, each with one entry and a link, both relative."""
    found: list[tuple[int, int, int, int]] = []
    here = extended
    for _unused in range(_MAX_LOGICAL):
        sector = os.pread(fd, SECTOR, here * SECTOR)
        if len(sector) < SECTOR or sector[510:] != b"\x55\xaa":
            break
        kind, boot, start, count = _entry(sector, 0)
        if kind and count:
            found.append((kind, boot, here + start, count))
        link, _unused, offset, _unused = _entry(sector, 1)
        if link not in _EXTENDED:
            break
        here = extended + offset
    return found


def _gpt(fd: int, size: int) -> PartitionTable:
    header = os.pread(fd, SECTOR, SECTOR)
    if len(header) < SECTOR or header[:8] != b"EFI PART":
        return NO_TABLE
    length, crc = struct.unpack_from("<II", header, 12)
    if not 92 <= length <= SECTOR:
        return NO_TABLE
    if zlib.crc32(header[:16] + bytes(4) + header[20:length]) != crc:
        return NO_TABLE
    at, count, width, table_crc = struct.unpack_from("<QIII", header, 72)
    if not 128 <= width <= 4096 or count > 1024 or at * SECTOR + count * width > size:
        return NO_TABLE
    table = os.pread(fd, count * width, at * SECTOR)
    if zlib.crc32(table) != table_crc:
        return NO_TABLE
    parts = []
    for slot in range(count):
        kind, ident, first, last, flags, name = struct.unpack_from("<16s16sQQQ72s", table, slot * width)
        if kind == bytes(16) or last < first:
            continue
        parts.append(
            Partition(
                slot + 1,
                first * SECTOR,
                (last - first + 1) * SECTOR,
                str(uuid.UUID(bytes_le=kind)),
                str(uuid.UUID(bytes_le=ident)),
                name.decode("utf-16-le", "replace").rstrip("\0"),
                bool(flags & 4),
            )
        )
    disk_id = str(uuid.UUID(bytes_le=header[56:72]))
    return PartitionTable("gpt", disk_id, tuple(parts))
