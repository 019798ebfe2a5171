# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Block maps: written whole, read strictly, accepted by bmaptool."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._bmap import (
    BmapError,
    check_image,
    read_bmap,
    write_bmap,
)
from ansible_collections.br2.readonly_rootfs.tests.support import images


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return images.make_card_image(tmp_path, mib=1)


def check(image: Path, bmap: Path) -> None:
    with image.open("rb") as given:
        check_image(given.fileno(), image.stat().st_size, read_bmap(bmap), image.name)


def test_what_is_written_is_read(image: Path) -> None:
    bmap = image.with_suffix(".bmap")
    mapping = write_bmap(image, bmap)
    found = read_bmap(bmap)
    assert found.image_size == image.stat().st_size
    assert sum(end - start for start, end in found.mapped()) == sum(
        end - start for start, end in mapping.used()
    )
    check(image, bmap)
    assert list(image.parent.glob(".*")) == []
    assert bmap.stat().st_mode & 0o777 == 0o644


def test_the_same_image_gives_the_same_map(image: Path) -> None:
    first, second = image.with_suffix(".1"), image.with_suffix(".2")
    write_bmap(image, first)
    write_bmap(image, second)
    assert first.read_bytes() == second.read_bytes()


def test_a_failed_write_leaves_the_old_map(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bmap = image.with_suffix(".bmap")
    bmap.write_text("old")

    def fail(fd: int) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        write_bmap(image, bmap)
    assert bmap.read_text() == "old"
    assert list(image.parent.glob(".*")) == []


def test_another_image_is_refused(image: Path) -> None:
    bmap = image.with_suffix(".bmap")
    write_bmap(image, bmap)
    with image.open("r+b") as out:
        out.seek(440)
        out.write(b"else")
    with pytest.raises(BmapError, match=r"bytes 0 to .* do not match"):
        check(image, bmap)
    with image.open("r+b") as out:
        out.truncate(image.stat().st_size - 512)
    with pytest.raises(BmapError, match="do not belong together"):
        check(image, bmap)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<ImageSize>", "<ImageSiz>", "no <ImageSize>"),
        ("<bmap version", "<map version", "no <bmap"),
        ("> 0-", "> 9-", "checksum does not match|out of order"),
        ("sha256 <", "sha0 <", "unknown checksum type"),
        ("<Range chksum", "<Range chksum='x'>< chksum", "malformed"),
    ],
)
def test_a_damaged_map_is_refused(image: Path, old: str, new: str, message: str) -> None:
    bmap = image.with_suffix(".bmap")
    write_bmap(image, bmap)
    text = bmap.read_text()
    assert old in text
    bmap.write_text(text.replace(old, new, 1))
    with pytest.raises(BmapError, match=message):
        read_bmap(bmap)


def test_binary_junk_is_no_map(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe\0junk")
    with pytest.raises(BmapError, match="not a block map"):
        read_bmap(tmp_path / "x")


@pytest.mark.skipif(shutil.which("bmaptool") is None, reason="bmaptool is not installed")
def test_bmaptool_flashes_a_junk_card_right(image: Path, tmp_path: Path) -> None:
    """With the ZERO areas mapped, even bmaptool leaves no old bytes where zeros are expected."""
    bmap, card = image.with_suffix(".bmap"), tmp_path / "card"
    mapping = write_bmap(image, bmap)
    card.write_bytes(os.urandom(mapping.size))
    subprocess.run(
        ["bmaptool", "copy", "--bmap", str(bmap), str(image), str(card)], check=True, capture_output=True
    )
    for volume in mapping.volumes:
        part = images.extract(card, volume.partition.start, volume.partition.size, tmp_path / "part")
        checked = images.fsck(part)
        assert checked.returncode == 0, checked.stdout


@pytest.mark.skipif(shutil.which("bmaptool") is None, reason="bmaptool is not installed")
def test_maps_of_bmaptool_are_read(image: Path, tmp_path: Path) -> None:
    bmap = tmp_path / "theirs.bmap"
    subprocess.run(["bmaptool", "create", "-o", str(bmap), str(image)], check=True, capture_output=True)
    check(image, bmap)
