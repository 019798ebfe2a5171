# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules over ssh, on a device that has BusyBox and dropbear and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.tests.device.controller import Controller
from ansible_collections.br2.readonly_rootfs.tests.device.fake_device import FakeDevice


def test_info(controller: Controller) -> None:
    result = controller.module("overlay_info")
    assert result["changed"] is False
    assert result["info"]["layer"] == "persistent"
    assert result["info"]["tries"] == 1
    assert result["ansible_facts"]["readonly_rootfs"] == result["info"]


def test_wait(controller: Controller) -> None:
    assert controller.module("device_wait", {"timeout": 5})["boot_id"]


def test_waiting_for_a_device_that_stays_as_it_is_ends(controller: Controller) -> None:
    boot_id = controller.module("device_wait")["boot_id"]
    result = controller.module("device_wait", {"timeout": 2, "sleep": 0.5, "not_boot_id": boot_id})
    assert "did not come back within 2 s: it answers, but has not been rebooted" in result["msg"]


def test_diff_shows_what_was_done(controller: Controller, device: FakeDevice) -> None:
    (device.root / "etc/issue").write_text("user\n")
    (device.root / "etc/new\nline").write_text("")
    (device.root / "etc/shells").unlink()
    result = controller.module("overlay_diff", {"paths": ["/etc"]}, "--diff")
    assert {change["path"]: change["kind"] for change in result["changes"]} == {
        "/etc/issue": "modified",
        "/etc/new\nline": "added",
        "/etc/shells": "deleted",
    }
    assert result["different"] is True
    assert "+++ after: /etc/issue (modified)\n" in controller.output
    assert "\n-base\n+user\n" in controller.output


def test_diff_shows_no_secrets(controller: Controller, device: FakeDevice) -> None:
    (device.base / "etc/shadow").write_text("root:base-secret:::::::\n")
    (device.base / "etc/shadow").chmod(0o640)
    (device.root / "etc/shadow").write_text("root:user-secret:::::::\n")
    result = controller.module("overlay_diff", {"paths": ["/etc"]}, "--diff")
    assert result["counts"] == {"modified": 1}
    assert "+++ after: /etc/shadow (modified)\n" in controller.output
    assert "secret" not in controller.output


def test_diff_leaves_nothing_behind(controller: Controller, device: FakeDevice) -> None:
    mounts = Path("/proc/mounts").read_text()
    assert controller.module("overlay_diff")["changes"] == []
    assert Path("/proc/mounts").read_text() == mounts
    assert sorted(path.name for path in device.rfs.iterdir()) == ["ro", "rw", "status"]


def test_diff_of_a_device_without_overlay(controller: Controller, device: FakeDevice) -> None:
    device.hide_layers()
    assert "the layers are not below /media/rfs" in controller.module("overlay_diff")["msg"]


def test_reset_is_previewed_requested_once_and_cancelled(controller: Controller, device: FakeDevice) -> None:
    request = device.state / "reset"
    (device.root / "etc/issue").write_text("user\n")
    (device.root / "etc/mine").write_text("")
    arguments = {"keep": ["/etc/mine"]}

    preview = controller.module("overlay_reset", arguments, "--check")
    assert [change["path"] for change in preview["discarded"]] == ["/etc/issue"]
    assert preview["changed"] is True
    assert not request.exists()

    assert controller.module("overlay_reset", arguments)["changed"] is True
    assert request.read_text() == "keep=/etc/mine\n"
    assert controller.module("overlay_reset", arguments)["changed"] is False
    assert controller.module("overlay_info")["info"]["reset_pending"] is True

    assert controller.module("overlay_reset", {"state": "cancelled"})["changed"] is True
    assert not request.exists()
    assert controller.module("overlay_reset", {"state": "cancelled"})["changed"] is False


def test_reset_by_path_keeps_the_rest(controller: Controller, device: FakeDevice) -> None:
    (device.root / "etc/issue").write_text("user\n")
    (device.root / "etc/shells").unlink()
    (device.root / "mine").mkdir()
    result = controller.module("overlay_reset", {"paths": ["/etc/iss*"]})
    assert [change["path"] for change in result["discarded"]] == ["/etc/issue"]
    assert sorted((device.state / "reset").read_text().splitlines()) == ["keep=/etc/shells", "keep=/mine"]


def test_reset_of_an_untouched_device_changes_nothing(controller: Controller, device: FakeDevice) -> None:
    assert controller.module("overlay_reset")["changed"] is False
    assert not (device.state / "reset").exists()


def test_reset_of_a_layer_of_another_base(controller: Controller, device: FakeDevice) -> None:
    """Although nothing is left to discard: only so does the layer become this base's."""
    (device.root / "etc/mine").write_text("")
    (device.rfs / "status").write_text("layer=persistent\nbase_id=new\nlayer_base_id=old\nstale=yes\n")
    assert controller.module("overlay_reset", {"paths": ["/etc/other"]})["changed"] is False
    result = controller.module("overlay_reset", {"keep": ["/etc/mine"]})
    assert (result["changed"], result["discarded"]) == (True, [])
    assert (device.state / "reset").read_text() == "keep=/etc/mine\n"


def test_reset_warns_of_what_cannot_be_kept(controller: Controller, device: FakeDevice) -> None:
    (device.root / "etc/mine").write_text("")
    (device.root / "settings").symlink_to("etc")
    result = controller.module("overlay_reset", {"keep": ["/settings/mine", "/settings"]})
    assert "/etc/mine" in [change["path"] for change in result["discarded"]]
    assert result["not_kept"] == ["/settings/mine"]


def test_reset_of_a_temporary_layer_is_refused(controller: Controller, device: FakeDevice) -> None:
    (device.rfs / "status").write_text("layer=tmpfs\n")
    assert "each reboot discards it" in controller.module("overlay_reset")["msg"]


def test_reset_of_a_full_device_says_so(controller: Controller, device: FakeDevice) -> None:
    (device.root / "etc/mine").write_text("")
    device.fill()
    result = controller.module("overlay_reset", {"keep": ["/x"]})
    assert "is the file system full or read-only?" in result["msg"]


def test_reboot_comes_back_in_another_boot(controller: Controller) -> None:
    before = controller.module("device_wait")["boot_id"]
    assert controller.module("device_reboot", {}, "--check")["rebooted"] is False
    assert controller.module("device_wait")["boot_id"] == before
    result = controller.module("device_reboot", {"delay": 0.1, "timeout": 20, "sleep": 0.2})
    assert result["rebooted"] is True
    assert result["boot_id"] != before
    assert controller.module("device_wait")["boot_id"] == result["boot_id"]


def test_reset_with_reboot_fails_if_the_device_does_not_prove_it(
    controller: Controller, device: FakeDevice
) -> None:
    (device.root / "etc/mine").write_text("")
    result = controller.module("overlay_reset", {"reboot": True, "delay": 0.1, "timeout": 20, "sleep": 0.2})
    assert "came back on layer persistent without having been reset" in result["msg"]


def test_confirm(controller: Controller, device: FakeDevice) -> None:
    (device.state / "tries").write_text("boot\n")
    assert controller.module("overlay_confirm", {"action": "check"}, "--check")["changed"] is True
    assert (device.state / "tries").exists()
    result = controller.module("overlay_confirm")
    assert (result["changed"], result["confirmed"]) == (True, True)
    assert not (device.state / "tries").exists()
    assert controller.module("overlay_confirm")["changed"] is False


def test_confirm_wants_the_devices_own_checks_to_succeed(controller: Controller, device: FakeDevice) -> None:
    checks = device.root / "etc/readonly-rootfs/health.d"
    checks.mkdir(parents=True)
    (checks / "web").write_text("#!/bin/sh\nexit 1\n")
    (checks / "web").chmod(0o755)
    assert "health.d/web failed" in controller.module("overlay_confirm")["msg"]
    assert controller.module("overlay_confirm", {"action": "confirm"})["confirmed"] is True


def test_a_layer_of_another_base_is_accepted_in_a_fallback(
    controller: Controller, device: FakeDevice
) -> None:
    """Nothing else makes `rootrwstale=tmpfs` use it again."""
    state = device.rfs / "quarantine/state"
    state.mkdir(parents=True)
    (state / "base-id").write_text("old\n")
    (state / "tries").write_text("boot\n")
    detail = "the layer on /dev/sda2 was made on another base (old)"
    status = f"layer=fallback\nreason=stale\ndetail={detail}\nbase_id=new\nlayer_base_id=old\nstale=yes\n"
    (device.rfs / "status").write_text(f"{status}quarantine=/media/rfs/quarantine\n")
    assert (
        f"{detail}: take it with --accept-base"
        in controller.module("overlay_confirm", {"action": "retry"})["msg"]
    )
    accept = {"action": "accept_base"}
    assert controller.module("overlay_confirm", accept, "--check")["changed"] is True
    assert (state / "base-id").read_text() == "old\n"
    result = controller.module("overlay_confirm", accept)
    assert (result["changed"], result["confirmed"]) == (True, False)
    assert (state / "base-id").read_text() == "new\n"
    assert not (state / "tries").exists()
    assert controller.module("overlay_confirm", accept)["changed"] is False


def test_a_fallback_cannot_be_confirmed(controller: Controller, device: FakeDevice) -> None:
    (device.rfs / "status").write_text("layer=fallback\n")
    assert "layer of this boot is fallback" in controller.module("overlay_confirm")["msg"]


def test_backup_and_restore(controller: Controller, device: FakeDevice, tmp_path: Path) -> None:
    (device.root / "etc/issue").write_text("user\n")
    (device.root / "etc/shells").unlink()
    backup = tmp_path / "backup.tar.gz"
    result = controller.module("overlay_backup", {"dest": str(backup)})
    assert (result["changed"], result["counts"]) == (True, {"deleted": 1, "modified": 1})
    assert backup.stat().st_mode & 0o777 == 0o600
    assert controller.module("overlay_backup", {"dest": str(backup)})["changed"] is False

    (device.root / "etc/issue").write_text("base\n")
    (device.root / "etc/shells").write_text("/bin/sh\n")
    assert controller.module("overlay_restore", {"src": str(backup)}, "--check")["changed"] is True
    assert (device.root / "etc/issue").read_text() == "base\n"
    assert controller.module("overlay_restore", {"src": str(backup)})["deleted"] == 1
    assert (device.root / "etc/issue").read_text() == "user\n"
    assert not (device.root / "etc/shells").exists()


def test_restore_wants_the_same_base(controller: Controller, device: FakeDevice, tmp_path: Path) -> None:
    (device.root / "etc/issue").write_text("user\n")
    source = {"src": str(tmp_path / "backup.tar.gz")}
    controller.module("overlay_backup", {"dest": source["src"]})
    (device.rfs / "status").write_text("layer=persistent\nbase_id=other\n")
    refused = controller.module("overlay_restore", source)
    assert "belongs to base abc, the device runs base other" in refused["msg"]
    assert controller.module("overlay_restore", {**source, "any_base": True})["changed"] is True


def test_a_fallback_is_not_restored_to(controller: Controller, device: FakeDevice, tmp_path: Path) -> None:
    source = {"src": str(tmp_path / "backup.tar.gz")}
    controller.module("overlay_backup", {"dest": source["src"]})
    (device.rfs / "status").write_text("layer=fallback\nbase_id=abc\ndetail=it is full\n")
    assert "reboot first: it is full" in controller.module("overlay_restore", source)["msg"]


@pytest.mark.parametrize("path", ["etc", "/../etc"])
def test_paths_outside_the_root_are_refused(controller: Controller, path: str) -> None:
    assert "is no absolute path" in controller.module("overlay_diff", {"paths": [path]})["msg"]
