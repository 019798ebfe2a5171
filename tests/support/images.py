# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small disk images for tests, made from file systems without root."""

from __future__ import annotations

import random
import struct
import subprocess
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path

MIB = 1 << 20
SECTOR = 512


def fill_tree(tree: Path, mib: int = 4, seed: int = 1) -> Path:
    """A directory with one large and some small files, the same for the same I(seed)."""
    source = random.Random(seed)
    (tree / "etc").mkdir(parents=True)
    (tree / "bin").mkdir()
    (tree / "bin/busybox").write_bytes(source.randbytes(mib * MIB))
    for number in range(50):
        (tree / f"etc/file{number:02}").write_bytes(source.randbytes(3000))
    return tree


def make_ext(target: Path, size: int, kind: str = "ext4", tree: Path | None = None, *options: str) -> Path:
    """An ext2, ext3 or ext4 file system in a sparse file."""
    with target.open("wb") as out:
        out.truncate(size)
    source = ["-d", str(tree)] if tree else []
    subprocess.run(["mke2fs", "-q", "-F", "-t", kind, *source, *options, str(target)], check=True)
    return target


def make_fat16(target: Path, used_clusters: Sequence[int] = (2, 3)) -> Path:
    """A FAT16 file system of 16 MiB with 2 KiB clusters, of which the named ones are in use."""
    reserved, fats, roots, per_cluster, per_fat, sectors = 4, 2, 512, 4, 32, 32768
    boot = bytearray(SECTOR)
    boot[:3] = b"\xeb\x3c\x90"
    struct.pack_into(
        "<8sHBHBHHBHHHII",
        boot,
        3,
        b"mkfs.fat",
        SECTOR,
        per_cluster,
        reserved,
        fats,
        roots,
        sectors,
        0xF8,
        per_fat,
        32,
        2,
        0,
        0,
    )
    struct.pack_into("<BBBI11s8s", boot, 36, 0x80, 0, 0x29, 0xCAFE1234, b"BOOT       ", b"FAT16   ")
    boot[510:] = b"\x55\xaa"
    table = bytearray(per_fat * SECTOR)
    struct.pack_into("<HH", table, 0, 0xFFF8, 0xFFFF)
    for cluster in used_clusters:
        struct.pack_into("<H", table, 2 * cluster, 0xFFFF)
    with target.open("wb") as out:
        out.truncate(sectors * SECTOR)
        out.write(boot)
        for copy in range(fats):
            out.seek((reserved + copy * per_fat) * SECTOR)
            out.write(table)
        data = (reserved + fats * per_fat) * SECTOR + roots * 32
        for cluster in used_clusters:
            out.seek(data + (cluster - 2) * per_cluster * SECTOR)
            out.write(b"\xa5" * per_cluster * SECTOR)
    return target


def make_mbr(target: Path, parts: Sequence[Path], gap: int = MIB, tail: int = 0) -> Path:
    """An image with an MBR and the given file systems as partitions 1 to 4, sparse."""
    table = bytearray(SECTOR)
    struct.pack_into("<I", table, 440, 0xDEADBEEF)
    at = gap
    places = []
    for slot, part in enumerate(parts):
        size = part.stat().st_size
        entry = struct.pack("<B3xB3xII", 0x80 if slot == 0 else 0, 0x83, at // SECTOR, size // SECTOR)
        table[446 + 16 * slot : 462 + 16 * slot] = entry
        places.append((at, part))
        at += size
    table[510:] = b"\x55\xaa"
    _assemble(target, at + tail, [(0, bytes(table))], places)
    return target


def make_gpt(target: Path, parts: Sequence[Path]) -> Path:
    """An image with a GPT (first copy only) and the given file systems as partitions."""
    entries = bytearray(128 * 128)
    at = MIB
    places = []
    for slot, part in enumerate(parts):
        size = part.stat().st_size
        kind = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4").bytes_le
        own = uuid.UUID(int=slot + 1).bytes_le
        name = f"part{slot + 1}".encode("utf-16-le")
        struct.pack_into(
            "<16s16sQQQ72s", entries, slot * 128, kind, own, at // SECTOR, (at + size) // SECTOR - 1, 0, name
        )
        places.append((at, part))
        at += size
    total = at + MIB
    header = bytearray(92)
    struct.pack_into("<8sII", header, 0, b"EFI PART", 0x10000, 92)
    struct.pack_into("<QQQQ", header, 24, 1, total // SECTOR - 1, 34, total // SECTOR - 34)
    header[56:72] = uuid.UUID(int=99).bytes_le
    struct.pack_into("<QIII", header, 72, 2, 128, 128, zlib.crc32(entries))
    struct.pack_into("<I", header, 16, zlib.crc32(header))
    protective = bytearray(SECTOR)
    struct.pack_into("<B3xB3xII", protective, 446, 0, 0xEE, 1, total // SECTOR - 1)
    protective[510:] = b"\x55\xaa"
    pieces = [(0, bytes(protective)), (SECTOR, bytes(header)), (2 * SECTOR, bytes(entries))]
    _assemble(target, total, pieces, places)
    return target


def make_card_image(directory: Path, mib: int = 4, seed: int = 1, upper: int = 24 * MIB) -> Path:
    """A readable image as the builders make it: an ext2 root with I(mib) of data and an empty ext4."""
    root = make_ext(
        directory / "root.ext2", (mib + 20) * MIB, "ext2", fill_tree(directory / "tree", mib, seed)
    )
    overlay = make_ext(directory / "overlay.ext4", upper, "ext4", None, "-L", "overlay")
    return make_mbr(directory / "sdcard.img", [root, overlay])


def sparse_copy(source: Path, target: Path, offset: int = 0) -> None:
    """Copy a file into another at an offset, leaving blocks of zeros as holes."""
    zeros = bytes(4096)
    with source.open("rb") as given, target.open("r+b" if target.exists() else "w+b") as out:
        at = offset
        while block := given.read(4096):
            if block != zeros[: len(block)]:
                out.seek(at)
                out.write(block)
            at += len(block)
        if out.seek(0, 2) < at:
            out.truncate(at)


def extract(image: Path, start: int, size: int, target: Path) -> Path:
    """One partition of an image as a file of its own."""
    with image.open("rb") as given, target.open("wb") as out:
        given.seek(start)
        out.write(given.read(size))
    return target


def fsck(filesystem: Path) -> subprocess.CompletedProcess[str]:
    """Check an ext file system without changing it."""
    return subprocess.run(["e2fsck", "-fn", str(filesystem)], check=False, capture_output=True, text=True)


def _assemble(
    target: Path, size: int, pieces: Sequence[tuple[int, bytes]], parts: Sequence[tuple[int, Path]]
) -> None:
    with target.open("wb") as out:
        out.truncate(size)
        for at, data in pieces:
            out.seek(at)
            out.write(data)
    for at, part in parts:
        sparse_copy(part, target, at)
