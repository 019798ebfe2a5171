# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image whose last partition is to reach the end of a card: its table, and proof that there is an end."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from ._flash_errors import FlashError
from ._image_map import BLOCK, ImageMap, Kind
from ._image_partitions import SECTOR, Partition

_ALIGN = 1 << 20
_MBR_SECTORS = (1 << 32) - 1
_PROTECTIVE = 0xEE
_MARKS = 1024


@dataclass(frozen=True)
class Grown:
    """Where the partition ends now, and the bytes of the table by their place on the card."""

    end: int
    pieces: tuple[tuple[int, bytes], ...]


def mark(fd: int, start: int, grown: ImageMap) -> list[tuple[int, int]]:
    """Mark free blocks of a grown file system, which begins at I(start) of the card; returns their ranges.

    Of a larger file system next to nothing is written, and so nothing would tell that the card ends before
    it does. Where a card wraps around is mostly a power of two: there mark meets mark.
    """
    step = _ALIGN
    while step * _MARKS < grown.size:
        step *= 2
    ranges = [(at, at + BLOCK) for at in sorted(set(_places(start, grown, step)))]
    for at, _end in ranges:
        os.pwrite(fd, hashlib.sha512(b"%d" % (start + at)).digest() * (BLOCK // 64), at)
    return ranges


def _places(start: int, grown: ImageMap, step: int) -> Iterator[int]:
    for extent in grown.extents:
        if extent.kind is Kind.FREE:
            first = extent.start + -(start + extent.start) % step
            yield from range(first, extent.end - BLOCK + 1, step)
            if extent.end == grown.size:
                yield extent.end - BLOCK


def grow(image: ImageMap, fd: int, part: Partition, card_size: int) -> Grown:
    """The table for a card; the partition stays as it is where the card has no room for more."""
    if image.table.kind == "mbr":
        return _grow_mbr(fd, part, card_size)
    if image.table.kind == "gpt":
        return _grow_gpt(fd, part, card_size)
    raise FlashError("layer", "growing needs a partition table")


def _aligned(end: int, part: Partition) -> int:
    return max(part.end, end // _ALIGN * _ALIGN)


def _grow_mbr(fd: int, part: Partition, card_size: int) -> Grown:
    end = _aligned(min(card_size, _MBR_SECTORS * SECTOR), part)
    sector = bytearray(os.pread(fd, SECTOR, 0))
    struct.pack_into("<I", sector, 446 + 16 * (part.number - 1) + 12, (end - part.start) // SECTOR)
    return Grown(end, ((0, bytes(sector)),))


def _grow_gpt(fd: int, part: Partition, card_size: int) -> Grown:
    """Both copies: the second one moves to the end of the card."""
    protective, header = bytearray(os.pread(fd, SECTOR, 0)), bytearray(os.pread(fd, SECTOR, SECTOR))
    first_copy, count, width = struct.unpack_from("<QII", header, 72)
    last = card_size // SECTOR - 1
    second_copy = last - -(-count * width // SECTOR)
    end = _aligned(second_copy * SECTOR, part)
    if end == part.end:
        return Grown(end, ())
    table = bytearray(os.pread(fd, count * width, first_copy * SECTOR))
    struct.pack_into("<Q", table, (part.number - 1) * width + 40, end // SECTOR - 1)
    for slot in range(446, 510, 16):
        if protective[slot + 4] == _PROTECTIVE:
            struct.pack_into("<I", protective, slot + 12, min(last, _MBR_SECTORS))
    struct.pack_into("<Q", header, 48, second_copy - 1)
    struct.pack_into("<I", header, 88, zlib.crc32(table))
    return Grown(
        end,
        (
            (0, bytes(protective)),
            (SECTOR, _sealed(header, 1, last, first_copy)),
            (first_copy * SECTOR, bytes(table)),
            (second_copy * SECTOR, bytes(table)),
            (last * SECTOR, _sealed(header, last, 1, second_copy)),
        ),
    )


def _sealed(header: bytearray, here: int, other: int, table: int) -> bytes:
    """A copy of the header for one of its two places, with its checksum."""
    copy = bytearray(header)
    struct.pack_into("<QQ", copy, 24, here, other)
    struct.pack_into("<Q", copy, 72, table)
    struct.pack_into("<I", copy, 16, 0)
    length = struct.unpack_from("<I", copy, 12)[0]
    struct.pack_into("<I", copy, 16, zlib.crc32(copy[:length]))
    return bytes(copy)
