# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks on a small fleet, of which one device cannot be reached."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.tests.device.controller import Controller
from ansible_collections.br2.readonly_rootfs.tests.device.endpoints import Endpoint, install_ssh, make_key
from ansible_collections.br2.readonly_rootfs.tests.device.fake_device import FakeDevice

STATUS = "layer=persistent\nreason=\ntries=1\ntries_max=3\nconfirmed=9.0\nbase_id=abc\n"


@pytest.fixture
def fleet(applets: Path, tmp_path: Path) -> Iterator[dict[str, Endpoint]]:
    key = make_key(tmp_path / "key")
    endpoints = {}
    with ExitStack() as stack:
        for name in ("clean", "changed", "gone"):
            device = FakeDevice(tmp_path / name, applets)
            stack.callback(device.stop)
            install_ssh(device.base, key)
            device.install_programs()
            device.boot()
            (device.rfs / "status").write_text(STATUS)
            endpoints[name] = Endpoint(device, key)
            if name != "gone":
                endpoints[name].start()
                stack.callback(endpoints[name].stop)
        yield endpoints


@pytest.fixture
def controller(fleet: dict[str, Endpoint], tmp_path: Path) -> Controller:
    return Controller(tmp_path, fleet)


def test_report(controller: Controller, fleet: dict[str, Endpoint], tmp_path: Path) -> None:
    (fleet["changed"].device.root / "etc/shells").unlink()
    packages = tmp_path / "packages-file-list.txt"
    packages.write_text("skeleton,./etc/shells\n")
    variables = json.dumps(
        {"device_report_dir": str(tmp_path / "report"), "device_packages_file_list": str(packages)}
    )
    run = controller.playbook("report", "-e", variables)
    assert run.returncode == 0, run.stdout + run.stderr
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert report["summary"] == {"devices": 3, "same": 1, "different": 1, "failed": 0, "unreachable": 1}
    assert report["paths"] == [
        {"path": "/etc/shells", "packages": ["skeleton"], "kinds": {"deleted": ["changed"]}, "variants": 1}
    ]
    (package,) = report["packages"]
    assert package == {"package": "skeleton", "paths": ["/etc/shells"], "devices": ["changed"]}
    states = {device["name"]: device for device in report["devices"]}
    assert "Connection refused" in states["gone"]["message"]
    assert states["clean"]["layer"] == "persistent"
    again = controller.playbook("report", "-e", variables)
    assert "changed=1" not in again.stdout


def test_diff_shows_what_differs_and_goes_on_where_a_device_is_gone(
    controller: Controller, fleet: dict[str, Endpoint]
) -> None:
    (fleet["changed"].device.root / "etc/issue").write_text("mine\n")
    (fleet["changed"].device.root / "etc/shells").unlink()
    run = controller.playbook("diff")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "added /etc/issue" in run.stdout
    assert "deleted /etc/shells" in run.stdout
    assert run.stdout.count("deleted /etc") == 1
    run = controller.playbook("diff", "--diff")
    assert "+++ /etc/issue (added)" in run.stdout
    assert "+mine" in run.stdout


def test_commit(controller: Controller, fleet: dict[str, Endpoint], tmp_path: Path) -> None:
    root = fleet["changed"].device.root
    (root / "etc/issue").write_text("mine\n")
    (root / "etc/shells").unlink()
    (root / "etc/secret").touch()
    (root / "etc/secret").chmod(0o600)
    os.mkfifo(root / "etc/pipe")
    variables = json.dumps({"device_commit_dir": str(tmp_path / "overlay")})
    run = controller.playbook("commit", "--limit", "changed,clean", "-e", variables)
    assert run.returncode == 0, run.stdout
    assert "a fifo, which an overlay cannot hold" in run.stdout
    assert (tmp_path / "overlay/etc/issue").read_text() == "mine\n"
    lists = tmp_path / "overlay/usr/lib/readonly-rootfs/commit"
    assert (lists / "changed").read_text() == "delete etc/shells\nmode 00600 etc/secret\n"
    again = controller.playbook("commit", "--limit", "changed,clean", "-e", variables)
    assert "changed=1" not in again.stdout


def test_verify_tells_what_is_wrong(controller: Controller, fleet: dict[str, Endpoint]) -> None:
    assert controller.playbook("verify", "--limit", "clean").returncode == 0
    (fleet["clean"].device.rfs / "status").write_text("layer=fallback\ndetail=the init is missing\n")
    run = controller.playbook("verify", "--limit", "clean")
    assert run.returncode == 2
    assert "The layer is fallback, not persistent: the init is missing." in run.stdout


def test_reset_stops_the_fleet_at_the_first_failure(
    controller: Controller, fleet: dict[str, Endpoint]
) -> None:
    for name in ("clean", "changed"):
        (fleet[name].device.root / "etc/passwd").chmod(0o600)
    (fleet["clean"].device.rfs / "status").write_text("layer=tmpfs\n")
    options = {"device_serial": 1, "device_reboot": False}
    run = controller.playbook("reset", "--limit", "clean,changed", "-e", json.dumps(options))
    assert run.returncode != 0
    assert "each reboot discards it" in run.stdout
    assert not (fleet["changed"].device.state / "reset").exists()
    run = controller.playbook("reset", "--limit", "changed", "-e", json.dumps(options))
    assert run.returncode == 0, run.stdout
    assert (fleet["changed"].device.state / "reset").exists()
