# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules on a device that has overlays on single directories beside that of its root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.br2.readonly_rootfs.tests.device.controller import Controller
from ansible_collections.br2.readonly_rootfs.tests.device.endpoints import install_ssh, make_key
from ansible_collections.br2.readonly_rootfs.tests.device.fake_device import FakeDevice

# As the program overlay-dir lays them; the second name has to be escaped.
LAYERS = rb"""
set -e
mount -t tmpfs run /run
overlay() {
    place=/run/buildroot/mounts/$2 layers=$4
    mkdir -p "$place" "/run/readonly-rootfs/$2"
    [ "$layers" = "$place" ] || ln -s "$place" "$layers"
    mount -t tmpfs backing "$place"
    mkdir "$place/lower" "$place/upper" "$place/work" "$place/state"
    mount -o bind "$1" "$place/lower"
    mount -t overlay -o "lowerdir=$layers/lower,upperdir=$layers/upper,workdir=$layers/work" overlay_x "$1"
    printf 'directory=%s\nlayer=%s\nreset=no\n' "$1" "$3" >"/run/readonly-rootfs/$2/status"
}
overlay /var var persistent /run/buildroot/mounts/var
overlay /opt/my-app 'opt-my\x2dapp' persistent /run/readonly-rootfs/opt-my_x2dapp
overlay /srv srv tmpfs /run/buildroot/mounts/srv
"""


@pytest.fixture
def device(applets: Path, tmp_path: Path) -> Iterator[FakeDevice]:
    device = FakeDevice(tmp_path / "device", applets)
    install_ssh(device.base, make_key(tmp_path / "key"))
    device.install_programs()
    for name in ("var/lib", "opt/my-app", "srv"):
        (device.base / name).mkdir(parents=True)
        (device.base / name / "file").write_text("base\n")
    device.boot()
    (device.rfs / "status").write_text("layer=persistent\n")
    device.shell(LAYERS)
    for name in ("var/lib", "opt/my-app", "srv"):
        (device.root / name / "file").write_text("user\n")
    (device.root / "var/lib/new").write_text("")
    yield device
    device.stop()


def requests(device: FakeDevice) -> dict[str, str]:
    mounts = device.root / "run/buildroot/mounts"
    return {path.parts[-3]: path.read_text() for path in sorted(mounts.glob("*/state/reset"))}


def kinds(result: dict[str, Any]) -> dict[str, str]:
    return {change["path"]: change["kind"] for change in result["changes"]}


def test_info_lists_them(controller: Controller) -> None:
    directories = controller.module("overlay_info")["info"]["directories"]
    assert [(one["directory"], one["layer"], one["entries"]) for one in directories] == [
        ("/opt/my-app", "persistent", 1),
        ("/srv", "tmpfs", 1),
        ("/var", "persistent", 3),
    ]
    assert {one["layers"] for one in directories} == {
        "/run/buildroot/mounts/opt-my\\x2dapp",
        "/run/buildroot/mounts/srv",
        "/run/buildroot/mounts/var",
    }
    assert all(one["space_kib"]["total"] > 0 for one in directories)


def test_diff_names_their_changes_by_the_devices_paths(controller: Controller) -> None:
    result = controller.module("overlay_diff", {"exclude": ["/root"]}, "--diff")
    assert kinds(result) == {
        "/opt/my-app/file": "modified",
        "/srv/file": "modified",
        "/var/lib/file": "modified",
        "/var/lib/new": "added",
    }
    assert result["overlays"] == ["/", "/opt/my-app", "/srv", "/var"]
    assert "+++ after: /opt/my-app/file (modified)\n" in controller.output
    assert "\n-base\n+user\n" in controller.output
    assert kinds(controller.module("overlay_diff", {"paths": ["/var/lib/n*"]})) == {"/var/lib/new": "added"}


def test_diff_without_an_overlay_root(controller: Controller, device: FakeDevice) -> None:
    device.hide_layers()
    result = controller.module("overlay_diff")
    assert result["overlays"] == ["/opt/my-app", "/srv", "/var"]
    assert "/var/lib/new" in kinds(result)


def test_reset_of_one_by_path(controller: Controller, device: FakeDevice) -> None:
    result = controller.module("overlay_reset", {"paths": ["/opt/my-app"]})
    assert [change["path"] for change in result["discarded"]] == ["/opt/my-app/file"]
    assert result["requests"] == {"/opt/my-app": ""}
    assert requests(device) == {"opt-my\\x2dapp": ""}
    assert not (device.state / "reset").exists()
    assert controller.module("overlay_reset", {"paths": ["/opt/my-app"]})["changed"] is False


def test_reset_of_a_part_keeps_the_rest(controller: Controller, device: FakeDevice) -> None:
    result = controller.module("overlay_reset", {"paths": ["/var/lib/file"]})
    assert [change["path"] for change in result["discarded"]] == ["/var/lib/file"]
    assert requests(device) == {"var": "keep=/lib/new\n"}


def test_reset_of_all_but_what_is_kept_and_its_withdrawal(controller: Controller, device: FakeDevice) -> None:
    (device.root / "etc/mine").write_text("")
    check = controller.module("overlay_reset", {"keep": ["/var"]}, "--check")
    assert set(check["requests"]) == {"/", "/opt/my-app"}
    assert requests(device) == {}
    controller.module("overlay_reset", {"keep": ["/var/lib/file"]})
    assert requests(device) == {"opt-my\\x2dapp": "", "var": "keep=/lib/file\n"}
    assert (device.state / "reset").exists()
    assert all(
        one["reset_pending"] == (one["directory"] != "/srv")
        for one in controller.module("overlay_info")["info"]["directories"]
    )
    assert controller.module("overlay_reset", {"state": "cancelled"})["changed"] is True
    assert requests(device) == {}
    assert not (device.state / "reset").exists()
    assert controller.module("overlay_reset", {"state": "cancelled"})["changed"] is False


def test_a_layer_that_is_not_mounted_is_reported_and_left_alone(
    controller: Controller, device: FakeDevice
) -> None:
    status = "directory=/var\nlayer=fallback\nreason=missing\ndetail=nothing was mounted\n"
    (device.root / "run/readonly-rootfs/var/status").write_text(status)
    result = controller.module("overlay_reset")
    assert result["not_reset"] == ["/var"]
    assert "var" not in requests(device)


def test_all_are_asked_at_once(controller: Controller, device: FakeDevice) -> None:
    controller.module("overlay_diff", {}, "-vvv")
    assert controller.round_trips() == 1
    assert len(controller.module("overlay_reset", {}, "-vvv")["requests"]) == 2
    assert controller.round_trips() == 2
    controller.module("overlay_reset", {"state": "cancelled"}, "-vvv")
    assert controller.round_trips() == 2
    assert requests(device) == {}


def test_a_reset_with_a_backup_refuses_what_no_backup_holds(
    controller: Controller, device: FakeDevice, tmp_path: Path
) -> None:
    refused = controller.module("overlay_reset", {"backup_dir": str(tmp_path / "backup")})
    assert "reset /opt/my-app, /var without backup_dir" in refused["msg"]
    assert requests(device) == {}


def test_a_backup_says_what_it_does_not_cover(controller: Controller, tmp_path: Path) -> None:
    result = controller.module("overlay_backup", {"dest": str(tmp_path / "backup.tar.gz")})
    assert result["not_covered"] == ["/opt/my-app", "/srv", "/var"]
