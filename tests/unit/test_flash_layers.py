# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Seeds: what may be asked for, and what the file system then holds."""

from __future__ import annotations

import subprocess
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_errors import FlashError
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_image import open_image
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_layers import layered, seed_file
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_source import source_of
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._image_map import image_map
from ansible_collections.br2.readonly_rootfs.plugins.modules.sdcard_flash import ARGUMENTS
from ansible_collections.br2.readonly_rootfs.tests.support import images
from hypothesis import given
from hypothesis import strategies as st

MIB = images.MIB


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"path": "etc/hostname", "content": ""}, "not an absolute path"),
        ({"path": "/../x", "content": ""}, "not an absolute path"),
        ({"path": "//", "content": ""}, "not an absolute path"),
        ({"path": "/", "content": ""}, "not an absolute path"),
        ({"path": '/a"b', "content": ""}, "cannot be used"),
        ({"path": "/a\nb", "content": ""}, "cannot be used"),
        ({"path": "/a"}, "needs content"),
        ({"path": "/a", "state": "directory", "content": "x"}, "needs content"),
        ({"path": "/a", "content": "x", "mode": "rw"}, "invalid literal"),
        ({"path": "/a", "content": "x", "mode": "77777"}, "out of range"),
        ({"path": "/a", "content_base64": "?"}, "/a:"),
    ],
    ids=str,
)
def test_bad_seeds_are_named(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(FlashError, match=message) as caught:
        seed_file(entry)
    assert caught.value.kind == "layer"


def test_a_mode_without_quotes_is_refused() -> None:
    """YAML makes 256 of 0400, which in octal is a file that all may write."""
    target = {"path": "/dev/sdb", "seed": [{"path": "/key", "content": "x", "mode": 0o400}]}
    given = ArgumentSpecValidator(ARGUMENTS).validate({"image": "sdcard.img", "targets": [target]})
    assert given.error_messages == []
    with pytest.raises(FlashError, match="the mode must be in quotes"):
        seed_file(given.validated_parameters["targets"][0]["seed"][0])


@given(
    st.text(
        st.characters(blacklist_characters='"\\\n\0/', blacklist_categories=["Cs"]), min_size=1, max_size=20
    )
)
def test_any_other_name_is_taken_as_it_is(name: str) -> None:
    if name in (".", ".."):
        return
    assert seed_file({"path": f"/etc/{name}", "content": "x"}).path == PurePosixPath("/etc") / name


def test_slashes_too_many_are_left_out() -> None:
    assert seed_file({"path": "//etc//x", "content": ""}).path == PurePosixPath("/etc/x")


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    image = open_image(images.make_card_image(tmp_path, mib=1), tmp_path)
    seed = [
        seed_file({"path": "/etc/a b", "content": "x"}),
        seed_file({"path": "/var/lib/x", "state": "directory"}),
    ]
    sources = [layered(image, 90 * MIB, True, seed, tmp_path) for _unused in range(2)]
    first, second = ([_bytes(part) for part in source.segments] for source in sources)
    assert first == second
    assert sources[0].head == sources[1].head
    assert sources[0].size == 90 * MIB


def _bytes(part: Any) -> bytes:
    if part.fd is None:
        return b"zeros %d" % part.length
    with open(part.fd, "rb", closefd=False) as file:
        file.seek(part.at)
        return bytes(file.read(part.length))


def _with_base(directory: Path, commands: str, fat: bool) -> Path:
    """An image whose base was changed by debugfs, after the partition of a firmware or not."""
    root = images.make_ext(directory / "root", 8 * MIB, "ext2")
    subprocess.run(
        ["debugfs", "-w", "-f", "-", root], input=commands, text=True, check=True, capture_output=True
    )
    parts = [root, images.make_ext(directory / "upper", 24 * MIB)]
    first = [images.make_fat16(directory / "boot")] if fat else []
    return images.make_mbr(directory / "image", [*first, *parts])


@pytest.mark.parametrize("fat", [False, True])
def test_directories_are_like_those_of_the_base(tmp_path: Path, fat: bool) -> None:
    commands = "mkdir home\nset_inode_field home mode 040700\nset_inode_field home uid 1000\n"
    image = open_image(_with_base(tmp_path, commands + "set_inode_field home gid 100\n", fat), tmp_path)
    source = layered(image, 0, False, [seed_file({"path": "/home/.ssh/keys", "content": "x"})], tmp_path)
    part = image.mapping.volumes[-1].partition
    own = tmp_path / "own"
    with own.open("wb") as out:
        out.truncate(part.size)
        for piece in source.segments:
            if piece.start >= part.start:
                out.seek(piece.start - part.start)
                out.write(bytes(piece.length) if piece.fd is None else _bytes(piece))
    ran = subprocess.run(
        ["debugfs", "-R", "stat /upperdir/home", own], check=True, capture_output=True, text=True
    )
    assert "Mode:  0700" in ran.stdout
    assert "User:  1000   Group:   100" in ran.stdout


@pytest.mark.parametrize(
    "entry",
    [{"path": "/lib/firmware/x", "content": "x"}, {"path": "/lib", "state": "directory"}],
    ids=str,
)
def test_a_directory_does_not_hide_a_link_of_the_base(tmp_path: Path, entry: dict[str, Any]) -> None:
    """Without what C(/lib) leads to, no device starts."""
    image = open_image(_with_base(tmp_path, "mkdir usr\nsymlink lib usr/lib\n", False), tmp_path)
    with pytest.raises(FlashError, match="/lib is a symlink of the base"):
        layered(image, 0, False, [seed_file(entry)], tmp_path)


def test_a_station_without_room_is_not_the_card_s_fault(tmp_path: Path) -> None:
    image = open_image(images.make_card_image(tmp_path, mib=1), tmp_path)
    seed = [seed_file({"path": "/etc/a", "content": "x"})]
    with pytest.raises(FlashError, match="cannot hold a card's layer") as caught:
        layered(image, 90 * MIB, False, seed, tmp_path / "sdcard.img")
    assert caught.value.kind == "cache"


def test_an_image_without_a_writable_partition(tmp_path: Path) -> None:
    root = images.make_ext(tmp_path / "root", 8 * MIB, "ext2")
    image = open_image(images.make_mbr(tmp_path / "image", [root]), tmp_path)
    with pytest.raises(FlashError, match="not an ext4"):
        layered(image, 90 * MIB, True, [], tmp_path)
    bare = open_image(images.make_ext(tmp_path / "bare", 8 * MIB), tmp_path)
    with pytest.raises(FlashError, match="no primary partition"):
        layered(bare, 90 * MIB, True, [], tmp_path)


@pytest.mark.parametrize("kind", ["mbr", "gpt"])
def test_the_table_of_a_grown_card(tmp_path: Path, kind: str) -> None:
    """The card, as its source makes it, is read as a kernel would."""
    parts = [
        images.make_ext(tmp_path / "root", 8 * MIB, "ext2"),
        images.make_ext(tmp_path / "upper", 24 * MIB),
    ]
    make = images.make_mbr if kind == "mbr" else images.make_gpt
    image = open_image(make(tmp_path / "image", parts), tmp_path)
    size = 100 * MIB + 512 * 7
    source = layered(image, size, True, [], tmp_path)
    assert source.size <= size
    card = tmp_path / "card"
    with card.open("wb") as out:
        out.truncate(size)
        out.write(source.head)
        for part in source.segments:
            out.seek(part.start)
            out.write(bytes(part.length) if part.fd is None else _bytes(part))
    mapping = image_map(card)
    assert mapping.table.kind == kind
    assert mapping.table.id == image.mapping.table.id
    before, after = image.mapping.volumes, mapping.volumes
    assert after[0] == before[0]
    assert after[1].partition.start == before[1].partition.start
    assert after[1].partition.end == (100 if kind == "mbr" else 99) * MIB
    assert after[1].filesystem is not None
    assert after[1].filesystem.size == after[1].partition.size
    assert (
        images.fsck(images.extract(card, 9 * MIB, after[1].partition.size, tmp_path / "part")).returncode == 0
    )
    if kind == "gpt":
        content = card.read_bytes()
        backup = content[-512:]
        assert backup[:8] == b"EFI PART"
        crc = int.from_bytes(backup[16:20], "little")
        assert zlib.crc32(backup[:16] + bytes(4) + backup[20:92]) == crc
        assert content[size - 33 * 512 : size - 512] == content[1024 : 1024 + 32 * 512]


def test_no_room_to_grow(tmp_path: Path) -> None:
    parts = [images.make_ext(tmp_path / "upper", 24 * MIB)]
    for make in (images.make_mbr, images.make_gpt):
        image = open_image(make(tmp_path / "image", parts), tmp_path)
        source = layered(image, image.size, True, [], tmp_path)
        assert (source.size, source.head) == (image.size, source_of(image.mapping, image.fd).head)


def test_a_directory_in_the_way(tmp_path: Path) -> None:
    image = open_image(images.make_card_image(tmp_path, mib=1), tmp_path)
    seed = [seed_file({"path": "/etc", "content": "x"}), seed_file({"path": "/etc/a", "content": "x"})]
    with pytest.raises(FlashError) as caught:
        layered(image, 90 * MIB, False, seed, tmp_path)
    assert caught.value.kind == "layer"
