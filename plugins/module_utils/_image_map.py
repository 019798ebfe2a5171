# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three kinds of bytes of a disk image.

DATA must be written. ZERO must read as zeros: file systems expect it of inode
tables, bitmaps and journals, which a sparse image leaves as holes. FREE is what
the file systems say nobody reads. A tool that takes holes for "don't care", as
C(SEEK_HOLE) copiers do, leaves old contents of a card in the ZERO areas.

Everything that is not known to be free counts as used: gaps between partitions
(boot loaders and their environment), unknown file systems, whole images without
a partition table or a known file system.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from ._image_filesystems import FileSystem, identify
from ._image_partitions import Partition, PartitionTable, overlap, read_table

BLOCK = 4096
_SCAN = 1 << 20
# RAID, ZFS and other signatures sit in the last part of a partition: stale ones must go.
_SIGNATURE_ROOM = 1 << 20


class Kind(str, Enum):
    """What a range of an image is."""

    DATA = "data"
    ZERO = "zero"
    FREE = "free"


@dataclass(frozen=True)
class Extent:
    """A range of bytes of one kind."""

    start: int
    end: int
    kind: Kind

    @property
    def length(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class Volume:
    """A partition, or a whole image without a table, and its file system if known."""

    partition: Partition
    filesystem: FileSystem | None


@dataclass(frozen=True)
class ImageMap:
    """The kinds of all bytes of an image; the extents are in order and cover it without gaps."""

    size: int
    extents: tuple[Extent, ...]
    table: PartitionTable
    volumes: tuple[Volume, ...]

    def used(self) -> list[tuple[int, int]]:
        """The ranges that matter, DATA and ZERO together."""
        return merge((extent.start, extent.end) for extent in self.extents if extent.kind is not Kind.FREE)

    def total(self, kind: Kind) -> int:
        return sum(extent.length for extent in self.extents if extent.kind is kind)

    def summary(self) -> dict[str, int]:
        """Bytes of each kind, for manifests and reports."""
        return {kind.value: self.total(kind) for kind in Kind}


def image_map(image: str | os.PathLike[str], scan: bool = False) -> ImageMap:
    """Map an image file. With I(scan), blocks written as zeros count as ZERO and not as DATA."""
    fd = os.open(image, os.O_RDONLY)
    try:
        return map_fd(fd, os.fstat(fd).st_size, scan)
    finally:
        os.close(fd)


def map_fd(fd: int, size: int, scan: bool = False) -> ImageMap:
    """As image_map, for an open file."""
    table = read_table(fd, size)
    volumes = tuple(_volumes(fd, size, table))
    used = complement(_free(fd, size, volumes), size)
    data = list(_non_zero(fd, used) if scan else _allocated(fd, used))
    return ImageMap(size, tuple(_extents(size, used, data)), table, volumes)


def with_mapped(image: ImageMap, fd: int, mapped: Iterable[tuple[int, int]]) -> ImageMap:
    """The same map with further ranges that count as used, as a foreign block map demands."""
    whole = ((low // BLOCK * BLOCK, min(-(-high // BLOCK) * BLOCK, image.size)) for low, high in mapped)
    known = image.used()
    used = merge(sorted([*known, *whole]))
    if used == known:
        return image
    data = list(_allocated(fd, used))
    return ImageMap(image.size, tuple(_extents(image.size, used, data)), image.table, image.volumes)


def merge(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges, given in order, that touch or overlap."""
    joined: list[tuple[int, int]] = []
    for start, end in ranges:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        elif start < end:
            joined.append((start, end))
    return joined


def complement(ranges: Iterable[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """What the ordered ranges leave of C([0, size))."""
    rest: list[tuple[int, int]] = []
    at = 0
    for start, end in ranges:
        if at < start:
            rest.append((at, start))
        at = max(at, end)
    if at < size:
        rest.append((at, size))
    return rest


def _volumes(fd: int, size: int, table: PartitionTable) -> Iterator[Volume]:
    parts = table.partitions
    if table.kind == "none":
        parts = (Partition(0, 0, size, "whole"),)
    for part in parts:
        inside = part.end <= size
        yield Volume(part, identify(fd, part.start, part.size) if inside else None)


def _free(fd: int, size: int, volumes: tuple[Volume, ...]) -> list[tuple[int, int]]:
    """The free ranges in whole blocks; none at all when partitions overlap."""
    if overlap(tuple(volume.partition for volume in volumes)):
        return []
    found: list[tuple[int, int]] = []
    for volume in volumes:
        part, filesystem = volume.partition, volume.filesystem
        if filesystem is None:
            continue
        found += [(part.start + low, part.start + high) for low, high in filesystem.free]
        tail = part.start + filesystem.size, part.end - _SIGNATURE_ROOM
        # Something may follow the file system, such as a dm-verity tree.
        if tail[0] < tail[1] and not any(_non_zero(fd, [(tail[0], part.end)])):
            found.append(tail)
    whole = ((-(-low // BLOCK) * BLOCK, high // BLOCK * BLOCK) for low, high in sorted(found))
    return merge((low, high) for low, high in whole if low < high)


def _allocated(fd: int, ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The parts of ranges that the image file holds data for, in whole blocks."""
    for start, end in ranges:
        at = start
        while at < end:
            try:
                low = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                break
            if low >= end:
                break
            high = min(os.lseek(fd, low, os.SEEK_HOLE), end)
            yield max(start, low // BLOCK * BLOCK), min(-(-high // BLOCK) * BLOCK, end)
            at = high


def _non_zero(fd: int, ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """As _allocated, without the blocks that hold only zeros."""
    zeros = bytes(_SCAN)
    for start, end in merge(_allocated(fd, ranges)):
        for at in range(start, end, _SCAN):
            piece = os.pread(fd, min(_SCAN, end - at), at)
            if piece == zeros[: len(piece)]:
                continue
            for offset in range(0, len(piece), BLOCK):
                block = piece[offset : offset + BLOCK]
                if block != zeros[: len(block)]:
                    yield at + offset, at + offset + len(block)


def _extents(size: int, used: list[tuple[int, int]], data: Iterable[tuple[int, int]]) -> Iterator[Extent]:
    pieces = iter(merge(data))
    piece = next(pieces, None)
    at = 0
    for start, end in used:
        if at < start:
            yield Extent(at, start, Kind.FREE)
        at = start
        while piece is not None and piece[0] < end:
            # A run of data may cross two used ranges that touch.
            if at < piece[0]:
                yield Extent(at, piece[0], Kind.ZERO)
            stop = min(piece[1], end)
            yield Extent(max(at, piece[0]), stop, Kind.DATA)
            at = stop
            piece = next(pieces, None) if piece[1] <= end else (end, piece[1])
        if at < end:
            yield Extent(at, end, Kind.ZERO)
        at = end
    if at < size:
        yield Extent(at, size, Kind.FREE)
