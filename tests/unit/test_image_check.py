# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _image_check, _initramfs, _manifest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._build import BuildError
from ansible_collections.br2.readonly_rootfs.tests.support import images as disk

CONTENTS = ["rootfs.ext2", "overlay.ext4"]
MANIFEST: dict[str, Any] = {
    "kernel": {"initramfs": "rootfs.cpio"},
    "disk": {
        "file": "sdcard.img",
        "partitions": [{"number": 1, "start": 512, "size": 1024}, {"number": 2, "start": 1536, "size": 512}],
    },
}


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_initramfs, "check", lambda path: [])
    (tmp_path / "rootfs.ext2").write_bytes(b"r" * 1000)
    (tmp_path / "overlay.ext4").write_bytes(b"o" * 512)
    (tmp_path / "sdcard.img").write_bytes(b"t" * 512 + b"r" * 1000 + b"\0" * 24 + b"o" * 512)
    return tmp_path


def test_a_disk_that_holds_what_was_built(images: Path) -> None:
    _image_check.inspect(images, MANIFEST, CONTENTS)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("overlay.ext4", b"O" * 512, "Partition 2 of sdcard.img does not hold overlay.ext4"),
        ("rootfs.ext2", b"r" * 1025, "rootfs.ext2 has 1025 bytes, partition 1 of sdcard.img 1024"),
        ("sdcard.img", b"t" * 512 + b"r" * 900, "Partition 1 of sdcard.img does not hold rootfs.ext2"),
    ],
)
def test_a_disk_that_does_not(images: Path, name: str, content: bytes, complaint: str) -> None:
    (images / name).write_bytes(content)
    with pytest.raises(BuildError, match=complaint):
        _image_check.inspect(images, MANIFEST, CONTENTS)


def test_a_partition_that_is_missing(images: Path) -> None:
    with pytest.raises(BuildError, match="has 2 partitions"):
        _image_check.inspect(images, MANIFEST, ["boot.vfat", *CONTENTS])


def test_an_initramfs_that_cannot_start(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    (images / "rootfs.cpio").write_bytes(b"")
    with pytest.raises(BuildError, match="dracut made no initramfs"):
        _image_check.inspect(images, MANIFEST, CONTENTS)


def test_images_that_fail_get_no_names_and_leave_the_old_ones(tmp_path: Path) -> None:
    def refuse(_images: Path, manifest: object) -> None:
        raise BuildError("no boot")

    source, images = tmp_path / "made", tmp_path / "images"
    source.mkdir()
    images.mkdir()
    (images / "manifest.json").write_text("{}")
    kernel = {"image": "k", "cmdline": ""}
    board = {"name": "b", "architecture": "x86_64", "console": "c", "kernel": kernel, "disk": {}}
    build = _manifest.Build("buildroot", board, "ext2", True, "ab", "inputs")
    for name in ("k", "rootfs.cpio", *CONTENTS):
        (source / name).write_text(name)
    disk.make_ext(source / "sdcard.img", 8 * disk.MIB)
    with pytest.raises(BuildError, match="no boot"):
        _manifest.take_over(source, images, build, refuse)
    assert [path.name for path in images.iterdir()] == ["manifest.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "made"]
