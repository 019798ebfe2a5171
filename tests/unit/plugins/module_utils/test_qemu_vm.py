# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu import (
    Disk,
    Forward,
    Guest,
    QemuError,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu_process import (
    birth,
    choose_ports,
    uninterrupted,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu_vm import Vm

pytestmark = pytest.mark.usefixtures("fake_qemu")


@pytest.fixture
def vm(tmp_path: Path) -> t.Iterator[Vm]:
    # Longer than the name of a socket may be.
    with Vm(tmp_path / ("long" * 30) / "vm") as vm:
        yield vm


def guest(**values: t.Any) -> Guest:
    return Guest("test", accel="tcg", **values)


def test_start_kill_remove(vm: Vm) -> None:
    vm.start(guest())
    assert vm.running
    assert vm.wait_for_console("^guest$", 5).group() == "guest"
    assert vm.console() == "hello\nguest\n"
    vm.kill()
    assert not vm.running
    vm.remove()
    assert not vm.directory.exists()


def test_another_process_finds_the_vm(vm: Vm) -> None:
    vm.start(guest(forwards=(Forward(22),)))
    other = Vm(vm.directory)
    assert other.running
    assert other.ports == vm.ports
    with pytest.raises(QemuError, match="runs already"):
        other.start(guest())
    other.kill()
    assert not vm.running


def test_a_recycled_pid_is_not_ours(vm: Vm) -> None:
    vm.start(guest())
    real = vm.state.pid
    with subprocess.Popen(["sleep", "60"]) as stranger:
        vm.state.pid = stranger.pid
        assert not vm.running
        vm.kill()
        assert stranger.poll() is None
        stranger.kill()
    vm.state.pid = real


def test_a_zombie_does_not_run() -> None:
    child = subprocess.Popen(["true"])
    deadline = time.monotonic() + 5
    while birth(child.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert birth(child.pid) is None
    child.wait()


def test_what_qemu_says_against_it_is_the_error(vm: Vm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QEMU_BEHAVIOUR", "refuse")
    with pytest.raises(QemuError, match="did not start VM 'test': qemu: no such option"):
        vm.start(guest())
    assert not vm.running


def test_a_missing_image_is_named(vm: Vm) -> None:
    with pytest.raises(QemuError, match=r"needs /no/such\.img: No such file"):
        vm.start(guest(disks=(Disk("/no/such.img"),)))
    assert not vm.directory.exists()


def test_a_guest_that_dies_ends_the_wait_with_its_last_words(vm: Vm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QEMU_BEHAVIOUR", "die")
    vm.start(guest())
    began = time.monotonic()
    with pytest.raises(QemuError, match=r"(?s)No sign of 'login:'.*when the guest had ended.*hello\nguest"):
        vm.wait_for_console("login:", 60)
    assert time.monotonic() - began < 10
    # What it said before it died still counts.
    assert vm.wait_for_console("hello", 1)


def test_waits_are_bounded(vm: Vm) -> None:
    vm.start(guest(forwards=(Forward(22),)))
    with pytest.raises(QemuError, match=r"after 0\.2 s"):
        vm.wait_for_console("login:", 0.2)
    with pytest.raises(QemuError, match=r"after 0\.2 s"):
        vm.wait_for_port(22, "^SSH-", 0.2)
    with pytest.raises(QemuError, match=r"Port 80 of the guest is not forwarded\. Forwarded: \[22\]"):
        vm.wait_for_port(80, "", 0.2)


def test_a_banner_is_waited_for(vm: Vm) -> None:
    vm.start(guest(forwards=(Forward(22),)))

    def serve() -> None:
        with socket.create_server(("127.0.0.1", vm.ports[22])) as server:
            for words in (b"", b"SSH-2.0-dropbear\r\n"):
                connection, _unused = server.accept()
                with connection:
                    connection.sendall(words)

    service = threading.Thread(target=serve)
    service.start()
    assert vm.wait_for_port(22, "^SSH-", 10) == "SSH-2.0-dropbear\r\n"
    service.join()


@pytest.mark.parametrize(("behaviour", "last"), [("polite", "system_powerdown"), ("run", "quit")])
def test_power_off_asks_before_it_insists(
    vm: Vm, monkeypatch: pytest.MonkeyPatch, behaviour: str, last: str
) -> None:
    monkeypatch.setenv("QEMU_BEHAVIOUR", behaviour)
    vm.start(guest())
    vm.power_off(timeout=0.5 if behaviour == "run" else 10)
    assert not vm.running
    assert vm.console().splitlines()[-1] == last


def test_an_interrupted_start_leaves_no_process(vm: Vm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QEMU_BEHAVIOUR", "deaf")
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        vm.start(guest())
    assert vm.state.pid
    assert birth(vm.state.pid) is None


def test_signals_wait_for_the_record() -> None:
    reached = False
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        reached = True
    assert reached


def test_overlays_survive_a_restart_and_refuse_another_base(vm: Vm, tmp_path: Path) -> None:
    base = tmp_path / "base.img"
    base.write_bytes(b"base")
    machine = guest(disks=(Disk(str(base), access="overlay"),))
    overlay = vm.path("disk0.qcow2")
    vm.start(machine)
    assert f"-b {base}" in overlay.read_text()
    vm.kill()
    overlay.write_text("user data")
    vm.start(machine)
    vm.kill()
    assert overlay.read_text() == "user data"
    base.write_bytes(b"another base")
    with pytest.raises(QemuError, match=r"data over another .*base\.img"):
        vm.start(machine)
    assert overlay.read_text() == "user data"
    vm.remove()
    vm.start(machine)
    assert f"-b {base}" in overlay.read_text()
    assert base.read_bytes() == b"another base"


def test_remove_leaves_the_files_of_others(vm: Vm) -> None:
    vm.start(guest())
    vm.path("notes.txt").write_text("mine")
    vm.remove()
    assert [file.name for file in vm.directory.iterdir()] == ["notes.txt"]


def test_a_free_port_lost_to_another_is_chosen_again(vm: Vm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QEMU_BEHAVIOUR", "taken-once")
    with pytest.raises(QemuError, match="host forwarding rule"):
        vm.start(guest(forwards=(Forward(22, choose_ports([Forward(22)], {}, "p")[22]),)))
    vm.path("taken").unlink()
    vm.start(guest(forwards=(Forward(22),)))
    assert vm.running


def test_ports_are_kept_and_never_shared() -> None:
    ports = choose_ports([Forward(22), Forward(80)], {}, "p")
    assert len(set(ports.values())) == 2
    assert choose_ports([Forward(22), Forward(80)], ports, "p") == ports
    with socket.create_server(("127.0.0.1", ports[22])):
        assert choose_ports([Forward(22)], ports, "p")[22] != ports[22]
        with pytest.raises(
            QemuError, match=f"cannot have port 127.0.0.1:{ports[22]}: Address already in use"
        ):
            choose_ports([Forward(22, ports[22])], {}, "p")


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    (tmp_path / "vm.json").write_text("{")
    with pytest.raises(QemuError, match=r"vm\.json is not the state of a VM"):
        Vm(tmp_path)
