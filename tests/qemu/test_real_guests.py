# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module qemu_vm and what is below it, with QEMU itself; `BR2_IMAGES` names other images."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu import Disk, Forward, Guest, QemuError
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu_accel import choose, trial
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu_process import birth, until
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu_vm import Vm

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 120

NO_ROOT = "console=ttyS0 panic=-1 rdinit=/none root=/dev/none"


@pytest.fixture(scope="session")
def images() -> Path:
    directory = Path(os.environ.get("BR2_IMAGES") or REPOSITORY / "output/qemu_x86_64/images")
    if not (directory / "manifest.json").exists():
        pytest.fail(f"{directory} has no manifest.json: build an image first, or point BR2_IMAGES at one")
    return directory.resolve()


@pytest.fixture
def vm(tmp_path: Path) -> t.Iterator[Vm]:
    with Vm(tmp_path / "vm") as vm:
        yield vm


def guest(images: Path, append: str = "", **values: t.Any) -> Guest:
    manifest = json.loads((images / "manifest.json").read_text())
    kernel = manifest["kernel"]
    return Guest(
        "real",
        kernel=str(images / kernel["file"]),
        initrd="" if kernel["embedded"] else str(images / kernel["initramfs"]),
        append=f"{kernel['cmdline']} {append}",
        disks=(Disk(str(images / manifest["disk"]["file"]), access="overlay"),),
        **values,
    )


def test_the_trial_passes_where_a_guest_runs_and_is_bounded_where_none_does() -> None:
    assert trial("x86_64", "tcg", seconds=30)
    assert not trial("x86_64", "no-such-accelerator")
    began = time.monotonic()
    assert not trial("x86_64", "tcg", seconds=0.01)
    assert time.monotonic() - began < 5


def test_the_choice_takes_seconds_once_and_nothing_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BR2_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("BR2_QEMU_ACCEL", raising=False)
    began = time.monotonic()
    first = choose("x86_64")
    middle = time.monotonic()
    assert choose("x86_64") == first
    assert middle - began < 10
    assert time.monotonic() - middle < 0.1


def test_a_shell_on_the_console(vm: Vm, images: Path) -> None:
    vm.start(guest(images, "quiet init=/bin/sh"))
    vm.wait_for_console(r"^\S* # ", PATIENCE)
    vm.send("echo $((6 * 7))\n")
    assert vm.wait_for_console(r"^42$", 30)
    status = vm.qmp("query-status")
    assert isinstance(status, dict)
    assert status["status"] == "running"
    vm.power_off(timeout=1)
    assert not vm.running


def test_the_power_button_ends_the_system_in_order(vm: Vm, images: Path) -> None:
    vm.start(guest(images))
    vm.wait_for_console("login:", PATIENCE)
    vm.power_off(timeout=PATIENCE)
    assert "reboot: Power down" in vm.console()


def test_a_guest_that_panics_ends_the_wait(vm: Vm, images: Path) -> None:
    vm.start(Guest("panics", kernel=str(images / "bzImage"), append=NO_ROOT, reboot=False))
    began = time.monotonic()
    with pytest.raises(QemuError, match=r"(?s)when the guest had ended.*Kernel panic"):
        vm.wait_for_console("login:", PATIENCE)
    assert time.monotonic() - began < PATIENCE / 2
    vm.remove()
    assert not vm.directory.exists()


def test_the_script_beside_the_images_boots_them_from_anywhere(images: Path, tmp_path: Path) -> None:
    """As its user runs it: on a terminal, elsewhere, on a host that has not tried KVM yet."""
    environment = {**os.environ, "BR2_CACHE_DIR": str(tmp_path / "cache"), "QEMU_SSH_PORT": "0"}
    environment.pop("BR2_QEMU_ACCEL", None)
    ours, theirs = os.openpty()
    script = subprocess.Popen(
        [images / "start-qemu.sh", "-snapshot"],
        cwd=tmp_path,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    said = b""

    def logs_in() -> bool:
        nonlocal said
        with contextlib.suppress(BlockingIOError, OSError):
            said += os.read(ours, 1 << 16)
        return b"login:" in said or script.poll() is not None

    try:
        until(logs_in, PATIENCE)
        assert b"login:" in said, said.decode(errors="replace")[-2000:]
        os.write(ours, b"\x01x")
        assert script.wait(30) == 0
    finally:
        script.kill()
        script.wait()
        os.close(ours)
    (verdict,) = (tmp_path / "cache").iterdir()
    assert verdict.read_text() in {"kvm\n", "tcg\n"}


def test_a_port_that_another_holds_is_named(vm: Vm, images: Path, tmp_path: Path) -> None:
    vm.start(guest(images, forwards=(Forward(22),)))
    with Vm(tmp_path / "second") as second, pytest.raises(QemuError, match="Address already in use"):
        second.start(guest(images, forwards=(Forward(22, vm.ports[22]),)))
    assert not second.running


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_play_leaves_no_process_and_no_file(
    tmp_path: Path, images: Path, number: signal.Signals
) -> None:
    play = tmp_path / "play.yml"
    parameters = {
        "name": "interrupted",
        "work_dir": str(tmp_path / "vms"),
        "kernel": str(images / "bzImage"),
        "append": NO_ROOT,
        "wait_console": "never said",
        "wait_timeout": PATIENCE,
    }
    task = {"br2.readonly_rootfs.qemu_vm": parameters}
    play.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    process = subprocess.Popen(
        [Path(sys.executable).with_name("ansible-playbook"), play],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    directory = tmp_path / "vms/interrupted"
    assert until(lambda: Vm(directory).running, PATIENCE)
    qemu = Vm(directory).state.pid
    process.send_signal(number)
    process.wait(PATIENCE)
    assert until(lambda: birth(qemu) is None, 20)
    assert until(lambda: not directory.exists(), 20)
