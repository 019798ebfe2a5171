# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _manifest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._build import BuildError
from ansible_collections.br2.readonly_rootfs.tests.support import images as disk

BOARD = {
    "name": "b",
    "architecture": "x86_64",
    "console": "ttyS0",
    "kernel": {"image": "bzImage", "cmdline": "root=/dev/vda1"},
    "disk": {},
    "qemu": {"machine": "q35"},
}
BUILD = _manifest.Build("debian", BOARD, "ext2", True, "ab" * 32, "inputs-1", 3.5, {"kernel": "6.1"})


@pytest.fixture
def images(tmp_path: Path) -> Path:
    directory = tmp_path / "output/images"
    directory.mkdir(parents=True)
    for name in ("bzImage", "rootfs.cpio", "rootfs.ext2", "overlay.ext4", "start-qemu.sh"):
        (directory / name).write_text(name)
    disk.make_ext(directory / "sdcard.img", 8 * disk.MIB)
    return directory


def test_the_manifest_tells_what_is_there(images: Path) -> None:
    manifest = _manifest.finish(images, BUILD)
    assert json.loads((images / "manifest.json").read_text()) == manifest
    assert set(manifest["files"]) == {path.name for path in images.iterdir()} - {"manifest.json"}
    for name, entry in manifest["files"].items():
        data = (images / name).read_bytes()
        assert entry == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert manifest["kernel"]["embedded"] is True
    assert manifest["base_id"] == "ab" * 32
    assert manifest["disk"]["partitions"][0]["filesystem"]["type"] == "ext4"
    assert sum(manifest["disk"]["bytes"].values()) == manifest["disk"]["size"] == 8 * disk.MIB


@pytest.mark.parametrize("name", ["bzImage", "rootfs.cpio", "sdcard.img"])
def test_a_build_without_one_of_the_files_is_no_build(images: Path, name: str) -> None:
    _manifest.finish(images, BUILD)
    (images / name).write_bytes(b"")
    with pytest.raises(BuildError, match=name):
        _manifest.finish(images, BUILD)
    assert not (images / "manifest.json").exists()


def test_images_are_current_until_touched_or_wanted_otherwise(images: Path) -> None:
    _manifest.finish(images, BUILD)
    assert not _manifest.is_current(images, "inputs-1")
    _manifest.remember(images, "inputs-1")
    assert _manifest.is_current(images, "inputs-1")
    assert not _manifest.is_current(images, "inputs-2")
    os.utime(images / "bzImage", (1, 1))
    assert not _manifest.is_current(images, "inputs-1")


def test_images_without_a_manifest_are_not_current(images: Path) -> None:
    _manifest.finish(images, BUILD)
    _manifest.remember(images, "inputs-1")
    (images / "manifest.json").unlink()
    assert not _manifest.is_current(images, "inputs-1")


def test_the_other_builders_images_are_not_current(images: Path) -> None:
    _manifest.finish(images, BUILD)
    _manifest.remember(images, "inputs-1")
    manifest = {**(_manifest.read(images) or {}), "inputs": "the other's"}
    (images / "manifest.json").write_text(json.dumps(manifest))
    assert not _manifest.is_current(images, "inputs-1")


def test_moving_replaces_ours_and_leaves_the_users(images: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "notes").write_text("mine")
    (target / "rootfs.squashfs").write_text("of the last build")
    (target / "manifest.json").write_text('{"files": {"rootfs.squashfs": {}}}')
    manifest = _manifest.finish(images, BUILD)
    _manifest.move(images, target)
    assert {path.name for path in target.iterdir()} == {*manifest["files"], "manifest.json", "notes"}


def test_a_move_that_was_cut_off_leaves_no_manifest(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _manifest.finish(images, BUILD)
    target = tmp_path / "target"
    target.mkdir()
    (target / "manifest.json").write_text('{"files": {}}')
    real = Path.replace

    def dies(self: Path, other: Path) -> Path:
        if self.name == "rootfs.ext2":
            raise OSError(28, "No space left on device")
        return real(self, other)

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(OSError, match="No space"):
        _manifest.move(images, target)
    assert not (target / "manifest.json").exists()
