# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The free blocks of an ext2, ext3 or ext4 file system, from its own bitmaps."""

from __future__ import annotations

import os
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

_COMPAT_JOURNAL = 0x4
_COMPAT_SPARSE_SUPER2 = 0x200
_CLEAN = 1
_INCOMPAT_RECOVER = 0x4
_INCOMPAT_JOURNAL_DEV = 0x8
_INCOMPAT_META_BG = 0x10
_INCOMPAT_EXTENTS = 0x40
_INCOMPAT_64BIT = 0x80
_RO_SPARSE_SUPER = 0x1
_RO_GDT_CSUM = 0x10
_RO_BIGALLOC = 0x200
_RO_METADATA_CSUM = 0x400
_MAX_LOG_BLOCK_SIZE = 6
_INODE_UNINIT, _BLOCK_UNINIT, _INODE_ZEROED = 1, 2, 4


@dataclass(frozen=True)
class Ext:
    """What the superblock says; C(understood) is false when the bitmaps may not be relied on."""

    type: str
    block_size: int
    blocks: int
    first_block: int
    blocks_per_group: int
    cluster: int
    inode_table_blocks: int
    descriptor_size: int
    reserved_gdt: int
    checksummed: bool
    sparse_super: bool
    understood: bool
    label: str
    uuid: str

    @property
    def groups(self) -> int:
        return -(-(self.blocks - self.first_block) // self.blocks_per_group)

    def group_start(self, group: int) -> int:
        return self.first_block + group * self.blocks_per_group


def read_superblock(fd: int, start: int) -> Ext | None:
    """The superblock of the file system at I(start), C(None) when there is none."""
    raw = os.pread(fd, 1024, start + 1024)
    if len(raw) < 1024 or raw[56:58] != b"\x53\xef":
        return None

    def word(at: int) -> int:
        return int(struct.unpack_from("<I", raw, at)[0])

    # Two bytes of magic come by chance, too; by chance a block would have any power of two of bytes.
    if word(24) > _MAX_LOG_BLOCK_SIZE:
        return None
    compat, incompat, ro_compat = word(92), word(96), word(100)
    wide = bool(incompat & _INCOMPAT_64BIT)
    block_size = 1024 << word(24)
    inode_size = struct.unpack_from("<H", raw, 88)[0] if word(76) else 128
    # An image of a file system in use, or with errors: its bitmaps may lag behind its files.
    clean = struct.unpack_from("<H", raw, 58)[0] == _CLEAN
    unsafe = incompat & (_INCOMPAT_RECOVER | _INCOMPAT_JOURNAL_DEV | _INCOMPAT_META_BG)
    return Ext(
        type="ext4" if incompat & _INCOMPAT_EXTENTS else "ext3" if compat & _COMPAT_JOURNAL else "ext2",
        block_size=block_size,
        blocks=word(4) | (word(336) << 32 if wide else 0),
        first_block=word(20),
        blocks_per_group=word(32),
        cluster=1 << (word(28) - word(24)) if ro_compat & _RO_BIGALLOC else 1,
        inode_table_blocks=-(-word(40) * inode_size // block_size),
        descriptor_size=max(32, struct.unpack_from("<H", raw, 254)[0]) if wide else 32,
        reserved_gdt=struct.unpack_from("<H", raw, 206)[0],
        checksummed=bool(ro_compat & (_RO_GDT_CSUM | _RO_METADATA_CSUM)),
        sparse_super=bool(ro_compat & _RO_SPARSE_SUPER),
        understood=clean and not unsafe and not compat & _COMPAT_SPARSE_SUPER2 and word(32) > 0,
        label=raw[120:136].split(b"\0", 1)[0].decode("utf-8", "replace"),
        uuid=str(uuid.UUID(bytes=raw[104:120])),
    )


@dataclass(frozen=True)
class _Group:
    block_bitmap: int
    inode_bitmap: int
    inode_table: int
    flags: int


def free_ranges(fd: int, start: int, ext: Ext) -> Iterator[tuple[int, int]]:
    """Byte ranges, relative to the file system, that hold nothing; sorted, never adjacent."""
    if not ext.understood:
        return
    groups = _groups(fd, start, ext)
    used = bytearray(b"\xff" * (-(-ext.blocks // 8)))
    for number, group in enumerate(groups):
        _apply_bitmap(fd, start, ext, number, group, used)
    # In a group whose bitmap was never written, these are all that is in use.
    for number, group in enumerate(groups):
        if _has_backup(ext, number):
            gdt = -(-len(groups) * ext.descriptor_size // ext.block_size)
            _mark(used, ext.group_start(number), 1 + gdt + ext.reserved_gdt)
        _mark(used, group.block_bitmap, 1)
        _mark(used, group.inode_bitmap, 1)
        _mark(used, group.inode_table, ext.inode_table_blocks)
    for group in groups:
        # Nobody reads such a table before the kernel has zeroed it in the background.
        if ext.checksummed and group.flags & _INODE_UNINIT and not group.flags & _INODE_ZEROED:
            _mark(used, group.inode_table, ext.inode_table_blocks, False)
    for first, last in _zero_runs(used, ext.blocks):
        yield first * ext.block_size, last * ext.block_size


def _groups(fd: int, start: int, ext: Ext) -> list[_Group]:
    at = start + (ext.first_block + 1) * ext.block_size
    table = os.pread(fd, ext.groups * ext.descriptor_size, at)
    groups = []
    for number in range(ext.groups):
        base = number * ext.descriptor_size
        blocks, inodes, inode_table = struct.unpack_from("<III", table, base)
        flags = struct.unpack_from("<H", table, base + 18)[0] if ext.checksummed else 0
        if ext.descriptor_size >= 64:
            high = struct.unpack_from("<III", table, base + 32)
            blocks, inodes, inode_table = (
                low | up << 32 for low, up in zip((blocks, inodes, inode_table), high)
            )
        group = _Group(blocks, inodes, inode_table, flags)
        if not all(0 < block < ext.blocks for block in (blocks, inodes, inode_table)):
            raise ValueError(f"group {number} lies outside of the file system")
        groups.append(group)
    return groups


def _apply_bitmap(fd: int, start: int, ext: Ext, number: int, group: _Group, used: bytearray) -> None:
    first = ext.group_start(number)
    count = min(ext.blocks_per_group, ext.blocks - first)
    if group.flags & _BLOCK_UNINIT:
        _mark(used, first, count, False)
        return
    bitmap = os.pread(fd, -(-count // ext.cluster // 8), start + group.block_bitmap * ext.block_size)
    if ext.cluster == 1 and first % 8 == 0 and count % 8 == 0:
        used[first // 8 : (first + count) // 8] = bitmap[: count // 8]
        return
    clusters = -(-count // ext.cluster)
    for low, high in _zero_runs(bitmap, clusters):
        begin, end = low * ext.cluster, min(high * ext.cluster, count)
        _mark(used, first + begin, end - begin, False)


def _has_backup(ext: Ext, group: int) -> bool:
    if group in (0, 1) or not ext.sparse_super:
        return True
    for base in (3, 5, 7):
        power = base
        while power < group:
            power *= base
        if power == group:
            return True
    return False


def _mark(bits: bytearray, first: int, count: int, value: bool = True) -> None:
    """Set the bits of blocks; a whole byte at a time where possible."""
    end = min(first + count, len(bits) * 8)
    block = first
    while block < end:
        if block % 8 == 0 and end - block >= 8:
            whole = (end - block) // 8
            bits[block // 8 : block // 8 + whole] = (b"\xff" if value else b"\0") * whole
            block += whole * 8
            continue
        if value:
            bits[block // 8] |= 1 << block % 8
        else:
            bits[block // 8] &= ~(1 << block % 8) & 0xFF
        block += 1


def _zero_runs(bits: bytes | bytearray, count: int) -> Iterator[tuple[int, int]]:
    """Runs of clear bits below I(count), as first and one past the last."""
    if len(bits) * 8 < count:
        raise ValueError("a block bitmap is truncated")
    run = -1
    at = 0
    while at < count:
        value = bits[at // 8]
        if at % 8 == 0 and value in (0, 0xFF):
            stop = _same_until(bits, at // 8, value) * 8
            if value == 0 and run < 0:
                run = at
            elif value and run >= 0:
                yield run, at
                run = -1
            at = min(stop, count)
            continue
        if value >> at % 8 & 1:
            if run >= 0:
                yield run, at
                run = -1
        elif run < 0:
            run = at
        at += 1
    if run >= 0:
        yield run, count


def _same_until(bits: bytes | bytearray, first: int, value: int) -> int:
    """The index of the first byte at or after I(first) that is not I(value)."""
    step = 4096
    pattern = bytes([value]) * step
    at = first
    while at < len(bits):
        piece = bits[at : at + step]
        if piece != pattern[: len(piece)]:
            while bits[at] == value:
                at += 1
            return at
        at += len(piece)
    return at
