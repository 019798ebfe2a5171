# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong with devices in a fleet: each module ends, says why, and leaves nothing behind."""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._archive import make_backup
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._layers import Layers
from ansible_collections.br2.readonly_rootfs.tests.device.controller import Controller
from ansible_collections.br2.readonly_rootfs.tests.device.endpoints import Endpoint
from ansible_collections.br2.readonly_rootfs.tests.device.fake_device import FakeDevice, mount

# Programs that BusyBox has no applet for are the places to stop at: getfattr when the layer is read,
# setfattr at the end of a restore.
STOP = "#!/bin/sh\n: >/media/rfs/here\nsleep 3\n"
# A login shell that stops the ssh server's process of the first session.
SILENT_ONCE = """\
#!/bin/sh
[ -e /media/rfs/silent ] || { : >/media/rfs/silent; kill -STOP $PPID; }
exec /bin/sh "$@"
"""
IMPATIENT = {"connect_timeout": 1, "timeout": 20, "sleep": 0.1}
CHANGING = ["overlay_reset", "overlay_backup", "overlay_commit"]


@contextmanager
def cut_off_at(device: FakeDevice, endpoint: Endpoint, name: str) -> Iterator[None]:
    program = device.root / "usr/bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(STOP)
    program.chmod(0o755)

    def cut() -> None:
        for _unused in range(600):
            if (device.rfs / "here").exists():
                endpoint.hang_up()
                return
            time.sleep(0.1)

    thread = Thread(target=cut)
    thread.start()
    yield
    thread.join()
    program.unlink()
    (device.rfs / "here").unlink()


def arguments_of(module: str, directory: Path) -> dict[str, str]:
    dest = {"overlay_backup": "backup.tar.gz", "overlay_commit": "overlay"}
    return {"dest": str(directory / dest[module])} if module in dest else {}


@pytest.mark.parametrize("module", ["overlay_diff", "overlay_reset"])
def test_a_root_that_is_no_overlay(
    request: pytest.FixtureRequest, device: FakeDevice, tmp_path: Path, module: str
) -> None:
    device.halt()
    device.mount_plain()
    controller = request.getfixturevalue("controller")
    assert "the root of this device is no overlay (tmpfs): it has no user layer" in controller.module(
        module, arguments_of(module, tmp_path)
    ).get("msg", "")
    info = controller.module("overlay_info")["info"]
    assert (info["overlay"], info["layer"]) == (False, None)
    assert not (tmp_path / "backup.tar.gz").exists()


def test_a_restore_to_a_root_that_is_no_overlay(
    request: pytest.FixtureRequest, device: FakeDevice, tmp_path: Path
) -> None:
    device.halt()
    device.mount_plain()
    backup = tmp_path / "backup.tar.gz"
    backup.write_bytes(make_backup(Layers(), [], b""))
    controller = request.getfixturevalue("controller")
    assert "is no overlay" in controller.module("overlay_restore", {"src": str(backup)})["msg"]


def test_a_layer_on_tmpfs(controller: Controller, device: FakeDevice, tmp_path: Path) -> None:
    """It is compared and saved as any other; only a reset of it makes no sense."""
    (device.rfs / "status").write_text("layer=tmpfs\nreason=requested\n")
    (device.root / "etc/mine").write_text("")
    assert controller.module("overlay_diff")["counts"] == {"added": 1}
    assert controller.module("overlay_backup", {"dest": str(tmp_path / "backup.tar.gz")})["changed"] is True
    refused = controller.module("overlay_reset", {"backup_dir": str(tmp_path / "backups")})
    assert "each reboot discards it" in refused["msg"]
    assert not (tmp_path / "backups").exists()


@pytest.fixture
def read_only(controller: Controller, device: FakeDevice, tmp_path: Path) -> Path:
    """As after errors=remount-ro; returns a backup of before."""
    (device.root / "etc/mine").write_text("")
    backup = tmp_path / "before.tar.gz"
    controller.module("overlay_backup", {"dest": str(backup)})
    mount("-o", "remount,ro", device.rfs / "rw")
    # The file system of an overlay takes no change by the calls that newer mounts use.
    mount("-o", "remount,bind,ro", device.root)
    return backup


def test_a_read_only_device_is_read(controller: Controller, device: FakeDevice, read_only: Path) -> None:
    assert controller.module("overlay_diff")["counts"] == {"added": 1}
    assert controller.module("overlay_backup", {"dest": str(read_only)})["changed"] is False
    assert "ro" in controller.module("overlay_info")["info"]["writable"]["options"]


def test_a_read_only_device_is_not_written(controller: Controller, read_only: Path) -> None:
    assert "is the file system full or read-only?" in controller.module("overlay_reset")["msg"]
    assert "full or read-only" in controller.module("overlay_restore", {"src": str(read_only)})["msg"]


def test_a_restore_to_a_full_device(controller: Controller, device: FakeDevice, tmp_path: Path) -> None:
    (device.root / "etc/mine").write_bytes(bytes(range(256)) * 256)
    backup = str(tmp_path / "backup.tar.gz")
    controller.module("overlay_backup", {"dest": backup})
    (device.root / "etc/mine").unlink()
    device.fill()
    assert "is the layer full or read-only?" in controller.module("overlay_restore", {"src": backup})["msg"]


def test_no_reset_without_the_backup(controller: Controller, device: FakeDevice, tmp_path: Path) -> None:
    (device.root / "etc/mine").write_text("")
    (tmp_path / "file").touch()
    result = controller.module("overlay_reset", {"backup_dir": str(tmp_path / "file/backups")})
    assert "cannot write the backup" in result["msg"]
    assert not (device.state / "reset").exists()


def test_a_reset_after_its_backup(controller: Controller, device: FakeDevice, tmp_path: Path) -> None:
    (device.root / "etc/mine").write_text("")
    arguments = {"backup_dir": str(tmp_path / "backups")}
    preview = controller.module("overlay_reset", arguments, "--check")
    assert not (tmp_path / "backups").exists()
    result = controller.module("overlay_reset", arguments)
    assert result["backup"]["dest"] == preview["backup"]["dest"]
    (backup,) = (tmp_path / "backups").iterdir()
    assert backup.name.startswith("device-")
    assert b"etc/mine" in gzip.decompress(backup.read_bytes())
    assert controller.module("overlay_reset", arguments)["changed"] is False
    (device.root / "etc/mine").write_text("more")
    assert controller.module("overlay_reset", arguments)["changed"] is True
    assert len(list((tmp_path / "backups").iterdir())) == 2


@pytest.mark.parametrize("module", CHANGING)
def test_a_connection_lost_half_way(
    controller: Controller, device: FakeDevice, endpoint: Endpoint, tmp_path: Path, module: str
) -> None:
    (device.root / "etc/issue").write_text("user\n")
    mounts = Path("/proc/mounts").read_text()
    with cut_off_at(device, endpoint, "getfattr"):
        assert controller.module(module, arguments_of(module, tmp_path))["unreachable"]
    assert not (device.state / "reset").exists()
    assert not (tmp_path / "backup.tar.gz").exists()
    assert not (tmp_path / "overlay").exists()
    # The script ends by itself when nobody listens any more.
    for _unused in range(50):
        if Path("/proc/mounts").read_text() == mounts:
            break
        time.sleep(0.1)
    assert Path("/proc/mounts").read_text() == mounts


def test_a_restore_that_is_cut_off_can_be_repeated(
    controller: Controller, device: FakeDevice, endpoint: Endpoint, tmp_path: Path
) -> None:
    (device.root / "etc/issue").write_text("user\n")
    backup = {"src": str(tmp_path / "backup.tar.gz")}
    controller.module("overlay_backup", {"dest": backup["src"]})
    (device.root / "etc/issue").unlink()
    with cut_off_at(device, endpoint, "setfattr"):
        assert controller.module("overlay_restore", backup)["unreachable"]
    assert controller.module("overlay_restore", backup)["changed"] is True
    assert (device.root / "etc/issue").read_text() == "user\n"


def test_somebody_else_than_root(controller: Controller, device: FakeDevice, endpoint: Endpoint) -> None:
    (device.root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nguest:x:9:9::/root:/bin/sh\n")
    for path in (device.root / "root", device.root / "root/.ssh", device.root / "root/.ssh/authorized_keys"):
        os.chown(path, 9, 9)
    inventory = json.loads(controller.inventory.read_text())
    inventory["devices"]["hosts"]["device"]["ansible_user"] = "guest"
    controller.inventory.write_text(json.dumps(inventory))
    assert controller.module("overlay_info")["info"]["layer"] == "persistent"
    assert "needs root on the device" in controller.module("overlay_diff")["msg"]
    assert "rebooting needs root on the device" in controller.module("device_reboot")["msg"]


@pytest.mark.parametrize("module", ["device_reboot", "overlay_reset"])
def test_a_device_that_does_not_come_back(
    controller: Controller, device: FakeDevice, endpoint: Endpoint, module: str
) -> None:
    (device.root / "etc/mine").write_text("")
    endpoint.boots = False
    arguments = {"reboot": True} if module == "overlay_reset" else {}
    result = controller.module(module, {**arguments, "delay": 0.1, "timeout": 3, "sleep": 0.5})
    assert "the device did not come back within 3 s" in result["msg"]
    assert "Connection refused" in result["msg"]


def test_waiting_for_a_device_whose_shared_connection_is_dead(
    controller: Controller, endpoint: Endpoint
) -> None:
    assert "info" in controller.module("overlay_info")
    endpoint.fall_silent()
    assert controller.module("device_wait", IMPATIENT)["elapsed"] < 10


def test_waiting_for_a_device_that_falls_silent_in_the_middle_of_an_answer(
    controller: Controller, device: FakeDevice
) -> None:
    """As one that goes down, its network before its programs."""
    shell = device.root / "root/shell"
    shell.write_text(SILENT_ONCE)
    shell.chmod(0o755)
    (device.root / "etc/passwd").write_text("root:x:0:0:root:/root:/root/shell\n")
    (device.root / "etc/shells").write_text("/root/shell\n")
    assert 2 < controller.module("device_wait", IMPATIENT)["elapsed"] < 20
    assert (device.rfs / "silent").exists()


def test_a_base_without_our_programs(controller: Controller, device: FakeDevice) -> None:
    (device.root / "etc/mine").write_text("")
    for name in ("overlay-confirm", "overlay-reset"):
        (device.root / "usr/sbin" / name).unlink()
    assert "the base has no overlay-confirm" in controller.module("overlay_confirm")["msg"]
    assert "the base has no overlay-reset" in controller.module("overlay_reset")["msg"]
