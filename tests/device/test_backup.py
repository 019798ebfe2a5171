# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup made on one device and restored on another of the same base makes the two equal."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._archive import read_backup
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._backup import give_backup, take_backup
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import DeviceError
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._inspect import inspect_layers
from ansible_collections.br2.readonly_rootfs.tests.device.chaos import (
    WITH_ATTRIBUTES,
    device_of,
    disturb,
    grow,
    runner,
    snapshot,
)
from ansible_collections.br2.readonly_rootfs.tests.device.fake_device import FakeDevice, install_attr

CAP_NET_RAW = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)


def save(device: FakeDevice, *, archive: bool = True) -> bytes:
    run = runner(device)
    return take_backup(run, "current", inspect_layers(run, archive=archive), lambda changes: changes).content


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("options", ["", ",redirect_dir=on,metacopy=on"])
@pytest.mark.parametrize("archive", [True, False], ids=["at once", "by name"])
def test_a_restored_device_equals_the_saved_one(
    applets: Path, seed: int, options: str, archive: bool
) -> None:
    with device_of(applets, options) as saved, device_of(applets) as restored:
        for device in (saved, restored):
            (device.base / "data").mkdir()
            grow(os.fsencode(device.base / "data"), random.Random(seed))
            device.boot()
        chance = random.Random(seed)
        for _unused in range(40):
            disturb(os.fsencode(saved.root / "data"), chance)
        backup = save(saved, archive=archive)
        give_backup(runner(restored), read_backup(backup))
        assert snapshot(os.fsencode(restored.root / "data")) == snapshot(os.fsencode(saved.root / "data"))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", ["", ",redirect_dir=on"])
def test_extended_attributes_come_back(applets: Path, seed: int, options: str) -> None:
    with device_of(applets, options) as saved, device_of(applets) as restored:
        for device in (saved, restored):
            install_attr(device.base)
            (device.base / "data").mkdir()
            grow(os.fsencode(device.base / "data"), random.Random(seed))
            device.boot()
        chance = random.Random(seed)
        os.setxattr(saved.root / "data", "trusted.three", b"\x01\0")
        for _unused in range(60):
            disturb(os.fsencode(saved.root / "data"), chance, WITH_ATTRIBUTES)
        expected = snapshot(os.fsencode(saved.root / "data"))
        assert give_backup(runner(restored), read_backup(save(saved))) == {"left_out": []}
        assert snapshot(os.fsencode(restored.root / "data")) == expected


def test_another_tar_reads_the_attributes(applets: Path, tmp_path: Path) -> None:
    with device_of(applets) as device:
        install_attr(device.base)
        device.boot()
        (device.root / "etc/ping").touch()
        os.setxattr(device.root / "etc/ping", "security.capability", CAP_NET_RAW)
        (tmp_path / "backup.tar.gz").write_bytes(save(device))
    command = ["tar", "--xattrs", "--xattrs-include=*", "-xf", "backup.tar.gz", "etc/ping"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert os.getxattr(tmp_path / "etc/ping", "security.capability") == CAP_NET_RAW


def test_what_took_another_types_place_takes_it_again(applets: Path) -> None:
    with device_of(applets) as saved, device_of(applets) as restored:
        for device in (saved, restored):
            (device.base / "data/directory").mkdir(parents=True)
            (device.base / "data/directory/file").touch()
            (device.base / "data/file").touch()
            device.boot()
        shutil.rmtree(saved.root / "data/directory")
        (saved.root / "data/directory").write_text("now a file")
        (saved.root / "data/file").unlink()
        (saved.root / "data/file").mkdir()
        give_backup(runner(restored), read_backup(save(saved)))
        assert snapshot(os.fsencode(restored.root / "data")) == snapshot(os.fsencode(saved.root / "data"))


def test_a_restore_is_not_led_astray_by_what_the_device_has_instead(applets: Path) -> None:
    """A link where the backup has a directory, a directory where it has a file."""
    with device_of(applets) as saved, device_of(applets) as restored:
        for device in (saved, restored):
            (device.base / "etc/app").mkdir(parents=True)
            (device.base / "etc/app/old").write_text("base")
            device.boot()
        (saved.root / "etc/app/mine").write_text("mine")
        (saved.root / "etc/app/old").unlink()
        (saved.root / "etc/file").write_text("mine")
        shutil.rmtree(restored.root / "etc/app")
        (restored.root / "etc/app").symlink_to("/run/elsewhere")
        elsewhere = restored.root / "run/elsewhere"
        elsewhere.mkdir()
        (elsewhere / "old").write_text("of somebody else")
        (restored.root / "etc/file").mkdir()
        give_backup(runner(restored), read_backup(save(saved)))
        assert [path.name for path in elsewhere.iterdir()] == ["old"]
        assert [path.name for path in (restored.root / "etc/app").iterdir()] == ["mine"]
        assert (restored.root / "etc/file").read_text() == "mine"


def test_without_the_tools_the_backup_says_what_it_lacks(applets: Path) -> None:
    with device_of(applets) as device:
        device.boot()
        (device.root / "etc/ping").touch()
        run = runner(device)
        result = take_backup(run, "current", inspect_layers(run), lambda changes: changes).result
        assert result["xattrs"] is False
        assert "file capabilities" in result["warnings"][0]


@pytest.mark.parametrize("content", [b"", b"no backup", b"\x1f\x8b\x08\0"])
def test_what_is_no_backup_is_refused(content: bytes) -> None:
    with pytest.raises(DeviceError, match="no backup"):
        read_backup(content)
