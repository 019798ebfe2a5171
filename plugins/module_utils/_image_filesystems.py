# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which bytes of a file system matter, read from its own metadata.

A range is free only when the file system says so. Whatever is not understood
(an unknown file system, feature or inconsistency) has no free range.
"""

from __future__ import annotations

import os
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from . import _image_ext

Ranges = list[tuple[int, int]]


@dataclass(frozen=True)
class FileSystem:
    """A file system; C(size) is its own idea of its length, C(free) are byte ranges relative to its start."""

    type: str
    size: int
    label: str = ""
    uuid: str = ""
    free: tuple[tuple[int, int], ...] = ()


def identify(fd: int, start: int, size: int, free: bool = True) -> FileSystem | None:
    """The file system in the I(size) bytes at I(start) of I(fd), C(None) when it is not known.

    Without I(free), only what it is: cheap, whatever its size.
    """
    for probe in (_ext, _squashfs, _erofs, _fat):
        try:
            found = probe(fd, start, size, free)
        except (struct.error, ValueError, IndexError):
            continue
        if found is not None:
            return found
    return None


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace").strip()


def _ext(fd: int, start: int, size: int, free: bool) -> FileSystem | None:
    ext = _image_ext.read_superblock(fd, start)
    if ext is None:
        return None
    length = ext.blocks * ext.block_size
    empty = tuple(_image_ext.free_ranges(fd, start, ext)) if free and length <= size else ()
    return FileSystem(ext.type, length, ext.label, ext.uuid, empty)


def _squashfs(fd: int, start: int, size: int, free: bool) -> FileSystem | None:
    head = os.pread(fd, 96, start)
    if head[:4] != b"hsqs":
        return None
    used = struct.unpack_from("<Q", head, 40)[0]
    # Buildroot and mksquashfs pad to 4 KiB; loop devices need whole sectors.
    return FileSystem("squashfs", max(used, min(-(-used // 4096) * 4096, size)))


def _erofs(fd: int, start: int, size: int, free: bool) -> FileSystem | None:
    head = os.pread(fd, 128, start + 1024)
    if head[:4] != b"\xe2\xe1\xf5\xe0":
        return None
    bits, blocks, incompat = (
        head[12],
        *struct.unpack_from("<I", head, 36),
        *struct.unpack_from("<I", head, 80),
    )
    # 48-bit block addresses put the upper half of the length elsewhere.
    length = size if incompat & 0x80 else blocks << bits
    return FileSystem("erofs", length, _text(head[64:80]), str(uuid.UUID(bytes=head[48:64])))


def _fat(fd: int, start: int, size: int, free: bool) -> FileSystem | None:
    boot = os.pread(fd, 512, start)
    if len(boot) < 512 or boot[510:] != b"\x55\xaa" or boot[0] not in (0xEB, 0xE9):
        return None
    sector, per_cluster, reserved, fats, roots, small, _media, per_fat = struct.unpack_from(
        "<HBHBHHBH", boot, 11
    )
    sectors = small or struct.unpack_from("<I", boot, 32)[0]
    if sector not in (512, 1024, 2048, 4096) or not per_cluster or not fats or not reserved:
        return None
    per_fat32 = struct.unpack_from("<I", boot, 36)[0]
    fat_sectors = per_fat or per_fat32
    data = reserved + fats * fat_sectors + -(-roots * 32 // sector)
    if not fat_sectors or data >= sectors:
        return None
    clusters = (sectors - data) // per_cluster
    bits = 12 if clusters < 4085 else 16 if clusters < 65525 else 32
    extra = 64 if per_fat == 0 else 36
    serial, label, name = struct.unpack_from("<I11s8s", boot, extra + 3)
    if not name.startswith(b"FAT"):
        return None
    empty: Ranges = []
    # One that is in use may have files that its table does not know yet.
    in_use = boot[extra + 1] & 1
    if free and not in_use and sectors * sector <= size:
        table = os.pread(fd, fat_sectors * sector, start + reserved * sector)
        width = per_cluster * sector
        for index, entry in enumerate(_fat_entries(table, bits, clusters)):
            if entry == 0:
                at = data * sector + index * width
                _append(empty, at, at + width)
    ident = f"{serial >> 16:04X}-{serial & 0xFFFF:04X}"
    return FileSystem("vfat", sectors * sector, _text(label), ident, tuple(empty))


def _fat_entries(table: bytes, bits: int, clusters: int) -> Iterator[int]:
    """The allocation entries of clusters 2, 3, ..."""
    if bits == 12:
        for number in range(2, clusters + 2):
            pair = table[number * 3 // 2] | table[number * 3 // 2 + 1] << 8
            yield pair >> 4 if number & 1 else pair & 0xFFF
        return
    form, mask = ("<H", 0xFFFF) if bits == 16 else ("<I", 0x0FFFFFFF)
    width = bits // 8
    for (entry,) in struct.iter_unpack(form, table[2 * width : (2 + clusters) * width]):
        yield entry & mask


def _append(ranges: Ranges, start: int, end: int) -> None:
    if ranges and ranges[-1][1] == start:
        ranges[-1] = (ranges[-1][0], end)
    else:
        ranges.append((start, end))
