# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No module asks a device more often than docs/devices.md says, and none more than three times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.br2.readonly_rootfs.tests.device.controller import Controller
from ansible_collections.br2.readonly_rootfs.tests.device.fake_device import FakeDevice

REBOOT: dict[str, Any] = {"delay": 0.1, "timeout": 20, "sleep": 0.2}


def ask(controller: Controller, module: str, arguments: dict[str, Any], *options: str) -> int:
    result = controller.module(module, arguments, "-vvv", *options)
    assert not (result.get("failed") or result.get("unreachable")), result["msg"]
    return controller.round_trips()


def change(device: FakeDevice) -> None:
    """With a target that `ls` does not show."""
    (device.root / "etc/issue").write_text("user\n")
    (device.root / "etc/link").symlink_to("odd\n\udcff")


@pytest.mark.parametrize(
    ("module", "arguments", "options", "trips"),
    [
        ("overlay_info", {}, [], 1),
        ("device_wait", {}, [], 1),
        ("device_reboot", REBOOT, [], 2),
        ("overlay_diff", {}, [], 1),
        ("overlay_diff", {}, ["--diff"], 2),
        ("overlay_backup", {"dest": "backup.tar.gz"}, [], 1),
        ("overlay_backup", {"dest": "backup.tar.gz", "paths": ["/etc"]}, [], 2),
        ("overlay_commit", {"dest": "overlay"}, [], 2),
        ("overlay_confirm", {}, [], 2),
        ("overlay_reset", {"backup_dir": "backups"}, [], 2),
        ("overlay_reset", {"backup_dir": "backups", "reboot": True, **REBOOT}, [], 3),
        ("overlay_reset", {"state": "cancelled"}, [], 2),
    ],
)
def test_round_trips(
    controller: Controller,
    device: FakeDevice,
    tmp_path: Path,
    module: str,
    arguments: dict[str, Any],
    options: list[str],
    trips: int,
) -> None:
    (device.rfs / "status").write_text("layer=persistent\nbase_id=abc\nreset=yes\n")
    change(device)
    if arguments.get("state") == "cancelled":
        (device.state / "reset").touch()
    arguments = {
        key: str(tmp_path / value) if key in ("dest", "backup_dir") else value
        for key, value in arguments.items()
    }
    assert ask(controller, module, arguments, *options) == trips <= 3


def test_round_trips_of_a_restore(controller: Controller, device: FakeDevice, tmp_path: Path) -> None:
    change(device)
    ask(controller, "overlay_backup", {"dest": str(tmp_path / "backup.tar.gz")})
    assert ask(controller, "overlay_restore", {"src": str(tmp_path / "backup.tar.gz")}) == 2


def test_round_trips_where_the_kernel_renamed(
    request: pytest.FixtureRequest, device: FakeDevice, tmp_path: Path
) -> None:
    device.halt()
    (device.base / "opt/old").mkdir(parents=True)
    (device.base / "opt/old/file").touch()
    device.overlay_options = ",redirect_dir=on"
    device.mount_overlay()
    controller = request.getfixturevalue("controller")
    (device.root / "opt/old").rename(device.root / "opt/new")
    assert ask(controller, "overlay_diff", {}) == 1
    assert ask(controller, "overlay_backup", {"dest": str(tmp_path / "backup.tar.gz")}) == 2
