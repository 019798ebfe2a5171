# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Seeds: what may be asked for, and what the file system then holds."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_errors import FlashError
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_image import open_image
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_layers import layered, seed_file
from ansible_collections.br2.readonly_rootfs.tests.support import images
from hypothesis import given
from hypothesis import strategies as st

MIB = images.MIB


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"path": "etc/hostname", "content": ""}, "not an absolute path"),
        ({"path": "/../x", "content": ""}, "not an absolute path"),
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


@given(
    st.text(
        st.characters(blacklist_characters='"\\\n\0/', blacklist_categories=["Cs"]), min_size=1, max_size=20
    )
)
def test_any_other_name_is_taken_as_it_is(name: str) -> None:
    if name in (".", ".."):
        return
    assert seed_file({"path": f"/etc/{name}", "content": "x"}).path == PurePosixPath("/etc") / name


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    image = open_image(images.make_card_image(tmp_path, mib=1), tmp_path)
    seed = [
        seed_file({"path": "/etc/a b", "content": "x"}),
        seed_file({"path": "/var/lib/x", "state": "directory"}),
    ]
    sources = [layered(image, 90 * MIB, True, seed, tmp_path) for _ in range(2)]
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


def test_an_image_without_a_writable_partition(tmp_path: Path) -> None:
    root = images.make_ext(tmp_path / "root", 8 * MIB, "ext2")
    image = open_image(images.make_mbr(tmp_path / "image", [root]), tmp_path)
    with pytest.raises(FlashError, match="not an ext4"):
        layered(image, 90 * MIB, True, [], tmp_path)
    gpt = open_image(images.make_gpt(tmp_path / "gpt", [images.make_ext(tmp_path / "x", 8 * MIB)]), tmp_path)
    with pytest.raises(FlashError, match="needs an MBR"):
        layered(gpt, 90 * MIB, True, [], tmp_path)


def test_a_directory_in_the_way(tmp_path: Path) -> None:
    image = open_image(images.make_card_image(tmp_path, mib=1), tmp_path)
    seed = [seed_file({"path": "/etc", "content": "x"}), seed_file({"path": "/etc/a", "content": "x"})]
    with pytest.raises(FlashError) as caught:
        layered(image, 90 * MIB, False, seed, tmp_path)
    assert caught.value.kind == "layer"
