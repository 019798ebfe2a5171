# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A board whose firmware reads a FAT partition: the images' last step, without a builder."""

from __future__ import annotations

import filecmp
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _image_check, _initramfs, _manifest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._tree_sync import synchronise
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._external_tree import load_board, render

BOARD = load_board("raspberrypi4_64", [])
IMAGE: dict[str, Any] = {
    "init": "busybox",
    "overlay_dirs": [],
    "rootfs": "ext4",
    "hostname": "gate",
    "packages": [],
    "rootfs_overlays": [],
    "root_login": "keys",
    "root_password_hash": "",
    "authorized_keys": [],
    "embedded_initramfs": True,
}
ENVIRONMENT = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "SOURCE_DATE_EPOCH": "1700000000"}


def finish(root: Path, *more: str) -> Path:
    """The images directory as Buildroot has it before the post-image script, and that script run on it."""
    synchronise(root / "external", render(BOARD, IMAGE))
    images = root / "images"
    (images / "rpi-firmware").mkdir(parents=True)
    cmdline = (root / "external/board/raspberrypi4_64/cmdline.txt").read_text()
    for name, text in {
        "Image": "kernel",
        "rootfs.cpio": "initramfs",
        "rootfs.ext4": "base" * 1024,
        "bcm2711-rpi-4-b.dtb": "tree",
        "rpi-firmware/start4.elf": "firmware",
        "rpi-firmware/cmdline.txt": cmdline,
        **dict.fromkeys(more, "more"),
    }.items():
        (images / name).parent.mkdir(exist_ok=True)
        (images / name).write_text(text)
    subprocess.run([root / "external/board/common/post-image.sh", images], check=True, env=ENVIRONMENT)
    return images


def on_boot_partition(images: Path, name: str) -> str:
    command = ["mtype", "-i", str(images / "boot.vfat"), f"::{name}"]
    return subprocess.check_output(command, text=True, env=ENVIRONMENT)


def test_boot_partition_base_and_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = finish(tmp_path, "rpi-firmware/overlays/miniuart-bt.dtbo")
    assert on_boot_partition(images, "cmdline.txt").strip() == BOARD["kernel"]["cmdline"]
    assert on_boot_partition(images, "Image") == "kernel"
    assert on_boot_partition(images, "overlays/miniuart-bt.dtbo") == "more"
    assert not (images / "start-qemu.sh").exists()

    build = _manifest.Build("buildroot", BOARD, "ext4", True, "ab", "inputs")
    manifest = _manifest.finish(images, build)
    assert "boot.vfat" in manifest["files"]
    partitions = manifest["disk"]["partitions"]
    assert [partition["type"] for partition in partitions] == ["0x0c", "0x83", "0x83"]
    assert partitions[2]["filesystem"]["label"] == "overlay"
    monkeypatch.setattr(_initramfs, "check", lambda path: [])
    _image_check.inspect(images, manifest, build.partitions)


def test_the_same_every_time(tmp_path: Path) -> None:
    # Without a directory: mtools before 4.0.48, which Buildroot brings, gives it the time of day.
    one = finish(tmp_path / "one")
    time.sleep(2.1)  # the clock of a FAT goes by two seconds
    two = finish(tmp_path / "two")
    assert filecmp.cmp(one / "sdcard.img", two / "sdcard.img", shallow=False)
