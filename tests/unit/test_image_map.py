# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The map of an image: complete, and right about what its file systems need."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._image_map import (
    BLOCK,
    ImageMap,
    Kind,
    complement,
    image_map,
    merge,
)
from ansible_collections.br2.readonly_rootfs.tests.support import images
from hypothesis import given, settings
from hypothesis import strategies as st

MIB = images.MIB


def covers(mapping: ImageMap) -> bool:
    """Whether the extents are in order, not empty, and leave nothing out."""
    at = 0
    for extent in mapping.extents:
        if extent.start != at or extent.end <= extent.start:
            return False
        at = extent.end
    return at == mapping.size


def flash_over_junk(image: Path, mapping: ImageMap, card: Path) -> None:
    """What a flasher leaves of a card full of old bytes: used ranges as in the image, the rest as it was."""
    card.write_bytes(random.Random(7).randbytes(mapping.size))
    with image.open("rb") as given, card.open("r+b") as out:
        for extent in mapping.extents:
            if extent.kind is Kind.FREE:
                continue
            out.seek(extent.start)
            given.seek(extent.start)
            out.write(bytes(extent.length) if extent.kind is Kind.ZERO else given.read(extent.length))


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4"])
@pytest.mark.parametrize("block", ["1024", "4096"])
def test_free_blocks_agree_with_the_superblock(tmp_path: Path, kind: str, block: str) -> None:
    tree = images.fill_tree(tmp_path / "tree", 1)
    # All inode tables zeroed: then free is exactly what the superblock counts.
    image = images.make_ext(
        tmp_path / "fs", 300 * MIB + 5 * 4096, kind, tree, "-b", block, "-E", "lazy_itable_init=0"
    )
    volume = image_map(image).volumes[0]
    assert volume.filesystem is not None
    assert volume.filesystem.type == kind
    header = subprocess.run(["dumpe2fs", "-h", str(image)], check=True, capture_output=True, text=True).stdout
    counted = int(re.findall(r"^Free blocks: +(\d+)", header, re.M)[0])
    assert sum(end - start for start, end in volume.filesystem.free) == counted * int(block)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-O", "^flex_bg"),
        ("-O", "bigalloc"),
        ("-O", "^has_journal,^resize_inode"),
        ("-O", "meta_bg,^resize_inode"),
        ("-O", "sparse_super2"),
        ("-O", "^64bit,^metadata_csum,uninit_bg"),
        ("-E", "lazy_itable_init=0"),
        ("-E", "lazy_itable_init=1"),
        ("-g", "2048", "-b", "1024"),
    ],
    ids=" ".join,
)
def test_a_junk_card_passes_fsck(tmp_path: Path, options: tuple[str, ...]) -> None:
    tree = images.fill_tree(tmp_path / "tree", 2)
    image = images.make_ext(tmp_path / "fs", 70 * MIB, "ext4", tree, *options)
    mapping = image_map(image, scan=True)
    assert covers(mapping)
    card = tmp_path / "card"
    flash_over_junk(image, mapping, card)
    checked = images.fsck(card)
    assert checked.returncode == 0, checked.stdout


def test_holes_alone_are_not_enough(tmp_path: Path) -> None:
    """The fault that the map is there to avoid, so that the test above proves something."""
    image = images.make_ext(tmp_path / "fs", 70 * MIB, "ext2", images.fill_tree(tmp_path / "tree", 2))
    mapping = image_map(image)
    data_only = ImageMap(
        mapping.size,
        tuple(type(e)(e.start, e.end, Kind.FREE if e.kind is Kind.ZERO else e.kind) for e in mapping.extents),
        mapping.table,
        mapping.volumes,
    )
    flash_over_junk(image, data_only, tmp_path / "card")
    assert images.fsck(tmp_path / "card").returncode != 0


def test_an_image_with_partitions(tmp_path: Path) -> None:
    image = images.make_card_image(tmp_path)
    mapping = image_map(image)
    assert covers(mapping)
    assert mapping.table.kind == "mbr"
    assert mapping.table.id == "deadbeef"
    assert [
        (v.partition.number, v.partition.start, v.filesystem and v.filesystem.type) for v in mapping.volumes
    ] == [
        (1, MIB, "ext2"),
        (2, 25 * MIB, "ext4"),
    ]
    assert mapping.extents[0].kind is Kind.DATA
    gap = [e for e in mapping.extents if e.start < MIB]
    assert all(e.kind is not Kind.FREE for e in gap), "boot loaders keep their environment between partitions"
    assert mapping.summary()["free"] > 20 * MIB


def test_scan_sees_zeros_that_were_written(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"x" * BLOCK + bytes(10 * BLOCK) + b"y" * BLOCK)
    assert image_map(image, scan=True).summary() == {"data": 2 * BLOCK, "zero": 10 * BLOCK, "free": 0}


def test_an_unknown_image_is_used_as_a_whole(tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as out:
        out.write(b"who knows")
        out.truncate(3 * MIB + 512)
    mapping = image_map(image)
    assert covers(mapping)
    assert mapping.total(Kind.FREE) == 0
    assert mapping.table.kind == "none"


def test_gpt_names_and_ids(tmp_path: Path) -> None:
    first = images.make_ext(tmp_path / "a", 8 * MIB, "ext2")
    image = images.make_gpt(tmp_path / "image", [first, images.make_fat16(tmp_path / "b")])
    mapping = image_map(image)
    assert covers(mapping)
    assert mapping.table.kind == "gpt"
    assert [(v.partition.name, v.filesystem and v.filesystem.type) for v in mapping.volumes] == [
        ("part1", "ext2"),
        ("part2", "vfat"),
    ]


def test_a_damaged_gpt_frees_nothing(tmp_path: Path) -> None:
    image = images.make_gpt(tmp_path / "image", [images.make_ext(tmp_path / "a", 8 * MIB, "ext2")])
    with image.open("r+b") as out:
        out.seek(1024 + 41)
        out.write(b"\xff")
    assert image_map(image).total(Kind.FREE) == 0


def test_overlapping_partitions_free_nothing(tmp_path: Path) -> None:
    image = images.make_card_image(tmp_path)
    with image.open("r+b") as out:
        out.seek(446 + 16 + 8)
        out.write((4096).to_bytes(4, "little"))
    assert image_map(image).total(Kind.FREE) == 0


def test_logical_partitions(tmp_path: Path) -> None:
    inner = images.make_ext(tmp_path / "inner", 8 * MIB, "ext2")
    disk = images.make_mbr(
        tmp_path / "disk", [images.make_ext(tmp_path / "first", 8 * MIB, "ext2")], tail=10 * MIB
    )
    with disk.open("r+b") as out:
        out.seek(446 + 16)
        out.write(
            bytes([0, 0, 0, 0, 0x0F, 0, 0, 0])
            + (9 * 2048).to_bytes(4, "little")
            + (9 * 2048).to_bytes(4, "little")
        )
        out.seek(9 * MIB + 446)
        out.write(
            bytes([0, 0, 0, 0, 0x83, 0, 0, 0])
            + (2048).to_bytes(4, "little")
            + (8 * 2048).to_bytes(4, "little")
        )
        out.seek(9 * MIB + 510)
        out.write(b"\x55\xaa")
    images.sparse_copy(inner, disk, 10 * MIB)
    volumes = image_map(disk).volumes
    assert [(v.partition.number, v.partition.start // MIB) for v in volumes] == [(1, 1), (5, 10)]
    assert volumes[1].filesystem is not None


def test_fat_frees_its_free_clusters(tmp_path: Path) -> None:
    image = images.make_fat16(tmp_path / "fat", (2, 3, 500))
    volume = image_map(image).volumes[0]
    assert volume.filesystem is not None
    assert (volume.filesystem.type, volume.filesystem.label) == ("vfat", "BOOT")
    assert volume.filesystem.uuid == "CAFE-1234"
    data = (4 + 2 * 32) * 512 + 512 * 32
    assert volume.filesystem.free[0] == (data + 2 * 2048, data + 498 * 2048)


@pytest.mark.parametrize("kind", ["ext2", "fat"])
def test_a_file_system_in_use_frees_nothing(tmp_path: Path, kind: str) -> None:
    """Copied from a running device: there are files whose blocks its bitmaps do not know yet."""
    image = (
        images.make_ext(tmp_path / "fs", 16 * MIB, kind)
        if kind == "ext2"
        else images.make_fat16(tmp_path / "fs")
    )
    assert image_map(image).total(Kind.FREE)
    with image.open("r+b") as out:
        out.seek(1024 + 58 if kind == "ext2" else 37)
        out.write(bytes(2) if kind == "ext2" else b"\x01")
    assert not image_map(image).total(Kind.FREE)


def test_a_superblock_that_is_there_by_chance(tmp_path: Path) -> None:
    """On a card full of junk; its blocks would have more bytes than there is memory to count them."""
    junk = tmp_path / "junk"
    junk.write_bytes(bytes(1024 + 24) + b"\xff" * 4 + bytes(28) + b"\x53\xef" + bytes(8192))
    (volume,) = image_map(junk).volumes
    assert volume.filesystem is None


@pytest.mark.parametrize("tool", ["mksquashfs", "mkfs.erofs"])
def test_compressed_roots_free_what_follows_them(tmp_path: Path, tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    tree, root = images.fill_tree(tmp_path / "tree", 1), tmp_path / "root"
    command = [tool, str(tree), str(root)] if tool == "mksquashfs" else [tool, str(root), str(tree)]
    subprocess.run(command, check=True, capture_output=True)
    length = root.stat().st_size
    with root.open("r+b") as out:
        out.truncate(16 * MIB)
    mapping = image_map(images.make_mbr(tmp_path / "disk", [root]), scan=True)
    assert covers(mapping)
    free = [e for e in mapping.extents if e.kind is Kind.FREE]
    assert [(e.start, e.end) for e in free] == [(MIB + -(-length // BLOCK) * BLOCK, 16 * MIB)]


def test_what_follows_a_file_system_is_kept(tmp_path: Path) -> None:
    """A dm-verity tree sits there."""
    root = images.make_ext(tmp_path / "root", 8 * MIB, "ext2")
    with root.open("r+b") as out:
        out.truncate(16 * MIB)
        out.seek(9 * MIB)
        out.write(b"verity")
    mapping = image_map(images.make_mbr(tmp_path / "disk", [root]))
    assert all(e.end <= 9 * MIB for e in mapping.extents if e.kind is Kind.FREE)


def test_a_journal_to_replay_frees_nothing(tmp_path: Path) -> None:
    image = images.make_ext(tmp_path / "fs", 16 * MIB, "ext4")
    with image.open("r+b") as out:
        out.seek(1024 + 96)
        flags = int.from_bytes(out.read(4), "little") | 4
        out.seek(1024 + 96)
        out.write(flags.to_bytes(4, "little"))
    assert image_map(image).total(Kind.FREE) == 0


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_damaged_metadata_never_breaks_the_map(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any bytes may be wrong: the map still covers the image, or frees nothing it cannot know."""
    directory = tmp_path_factory.mktemp("damaged")
    image = images.make_ext(directory / "fs", 4 * MIB, "ext4", None, "-b", "1024")
    with image.open("r+b") as out:
        for at in data.draw(st.lists(st.integers(1024, 4096), min_size=1, max_size=8)):
            out.seek(at)
            out.write(bytes([data.draw(st.integers(0, 255))]))
    assert covers(image_map(image))


RANGES = st.lists(st.tuples(st.integers(0, 99), st.integers(1, 20)), max_size=8).map(
    lambda pairs: sorted((start, start + length) for start, length in pairs)
)


@given(ranges=RANGES)
def test_merge_and_complement_share_every_byte(ranges: list[tuple[int, int]]) -> None:
    joined, rest = merge(ranges), complement(merge(ranges), 200)
    inside = {byte for start, end in ranges for byte in range(start, end)}
    assert {byte for start, end in joined for byte in range(start, end)} == inside
    assert {byte for start, end in rest for byte in range(start, end)} == set(range(200)) - inside


@settings(max_examples=25, deadline=None)
@given(blocks=st.lists(st.sampled_from("dzh"), min_size=1, max_size=40), tail=st.integers(0, BLOCK - 1))
def test_scanned_content_decides(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[str], tail: int
) -> None:
    image = tmp_path_factory.mktemp("scan") / "image"
    with image.open("wb") as out:
        for block in blocks:
            if block == "h":
                out.seek(BLOCK, os.SEEK_CUR)
            else:
                out.write((b"d" if block == "d" else b"\0") * BLOCK)
        out.truncate(len(blocks) * BLOCK + tail)
    mapping = image_map(image, scan=True)
    assert covers(mapping)
    assert mapping.total(Kind.DATA) == blocks.count("d") * BLOCK
