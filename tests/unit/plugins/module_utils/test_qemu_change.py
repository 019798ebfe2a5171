# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module qemu_vm answers, and what it leaves behind."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.testing import patch_module_args
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu import QemuError
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu_change import ARGUMENTS, apply
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu_process import birth, until
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu_vm import Vm
from ansible_collections.br2.readonly_rootfs.plugins.modules import qemu_vm

pytestmark = pytest.mark.usefixtures("fake_qemu")

Change = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def change(tmp_path: Path) -> t.Iterator[Change]:
    """Run the module's work on VM ``demo``; ``check=True`` for check mode."""

    def run(check: bool = False, **params: t.Any) -> dict[str, t.Any]:
        given = {"name": "demo", "work_dir": str(tmp_path / "vm"), "accel": "tcg", **params}
        validated = ArgumentSpecValidator(ARGUMENTS).validate(given)
        assert validated.error_messages == []
        return apply(validated.validated_parameters, check)

    yield run
    Vm(tmp_path / "vm" / "demo").kill()


def test_a_life_from_absent_to_absent(change: Change, tmp_path: Path) -> None:
    started = change(forwards=[{"guest": 22}], wait_console="^guest$")
    assert started["changed"]
    assert started["running"]
    assert started["ports"]["22"] > 0
    assert started["cmd"][0] == "qemu-system-x86_64"
    assert started["diff"]["before"] == {"state": "absent"}
    assert started["diff"]["after"]["state"] == "started"
    assert Path(started["console"]).exists()

    again = change(forwards=[{"guest": 22}], wait_console="^guest$")
    assert not again["changed"]
    assert (again["pid"], again["ports"]) == (started["pid"], started["ports"])
    assert again["diff"]["before"] == again["diff"]["after"]

    stopped = change(state="stopped", shutdown_timeout=0)
    assert stopped["changed"]
    assert not stopped["running"]
    assert not change(state="stopped")["changed"]

    removed = change(state="absent")
    assert removed["changed"]
    assert removed["diff"]["after"] == {"state": "absent"}
    assert not change(state="absent")["changed"]
    assert list((tmp_path / "vm").iterdir()) == []


def test_another_description_is_refused_or_begins_anew(change: Change, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.write_text("1")
    first = change(disks=[{"file": str(base)}])
    with pytest.raises(QemuError, match="runs with another memory than asked for"):
        change(disks=[{"file": str(base)}], memory=512)
    base.write_text("rebuilt")
    with pytest.raises(QemuError, match="runs with another inputs than asked for"):
        change(disks=[{"file": str(base)}])
    assert birth(first["pid"]) is not None
    second = change(disks=[{"file": str(base)}], recreate=True)
    assert second["changed"]
    assert birth(first["pid"]) is None
    assert not change(disks=[{"file": str(base)}], recreate=True)["changed"]


def test_a_stopped_machine_goes_on_with_another_command_line(change: Change, tmp_path: Path) -> None:
    for name in ("base", "kernel"):
        (tmp_path / name).write_text("1")
    machine: dict[str, t.Any] = {
        "disks": [{"file": str(tmp_path / "base")}],
        "kernel": str(tmp_path / "kernel"),
    }
    change(**machine)
    change(state="stopped", shutdown_timeout=0)
    overlay = tmp_path / "vm" / "demo" / "disk0.qcow2"
    overlay.write_text("user data")
    assert "rootrwreset=yes" in change(**machine, append="rootrwreset=yes")["cmd"]
    assert overlay.read_text() == "user data"


def test_check_mode_touches_nothing(change: Change, tmp_path: Path) -> None:
    told = change(check=True, forwards=[{"guest": 22, "host": 2222}])
    assert told["changed"]
    assert told["ports"] == {"22": 2222}
    assert told["diff"]["after"]["state"] == "started"
    assert not told["running"]
    assert not (tmp_path / "vm").exists()

    started = change()
    assert not change(check=True)["changed"]
    for state in ("stopped", "absent"):
        told = change(check=True, state=state)
        assert told["changed"]
        assert told["diff"]["after"]["state"] == state
    assert change(check=True, recreate=True, memory=512)["changed"]
    assert birth(started["pid"]) is not None


def test_a_start_that_fails_is_taken_back(
    change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(QemuError, match=r"(?s)No sign of 'never' .*after 0\.3 s.*hello\nguest"):
        change(wait_console="never", wait_timeout=0.3)
    assert list((tmp_path / "vm").iterdir()) == []
    monkeypatch.setenv("QEMU_BEHAVIOUR", "die")
    with pytest.raises(QemuError, match=r"(?s)ended at once.*hello\nguest"):
        change()
    assert list((tmp_path / "vm").iterdir()) == []


def test_a_machine_that_ran_before_outlives_a_failed_wait(change: Change) -> None:
    pid = change()["pid"]
    with pytest.raises(QemuError, match="No sign of"):
        change(wait_console="never", wait_timeout=0.1)
    assert birth(pid) is not None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing(change: Change, tmp_path: Path, number: signal.Signals) -> None:
    pids = []

    def interrupt() -> None:
        vm = Vm(tmp_path / "vm" / "demo")
        while not vm.running:
            time.sleep(0.01)
            vm = Vm(tmp_path / "vm" / "demo")
        pids.append(vm.state.pid)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(SystemExit) as ended:
        change(wait_console="never", wait_timeout=30)
    thread.join()
    assert ended.value.code == 128 + number
    assert birth(pids[0]) is None
    assert list((tmp_path / "vm").iterdir()) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_counts_when_python_dropped_its_exception(
    change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Careless:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    def console(_vm: Vm, _since: int = 0) -> str:
        if console_read.pop():
            Careless()
        return ""

    console_read = [False] * 10000 + [True]
    monkeypatch.setattr(Vm, "console", console)
    with pytest.raises(SystemExit) as ended:
        change(wait_console="never", wait_timeout=30)
    assert ended.value.code == 128 + signal.SIGTERM
    assert list((tmp_path / "vm").iterdir()) == []


def test_a_machine_that_died_starts_again(change: Change) -> None:
    first = change()["pid"]
    os.kill(first, signal.SIGKILL)
    assert until(lambda: birth(first) is None, 5)
    again = change()
    assert again["changed"]
    assert again["pid"] != first


def test_two_at_once_are_kept_apart(change: Change, tmp_path: Path) -> None:
    change()
    directory = os.open(tmp_path / "vm" / "demo", os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    with pytest.raises(QemuError, match="Another process is at work"):
        change(state="absent")
    os.close(directory)
    assert change(state="absent")["changed"]


def test_what_another_did_before_it_let_go_is_seen(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, others = fcntl.flock, []

    def let_another_finish_first(*arguments: t.Any) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        others.append(change())
        lock(*arguments)

    monkeypatch.setattr(fcntl, "flock", let_another_finish_first)
    result = change()
    assert others[0]["changed"]
    assert not result["changed"]
    assert result["pid"] == others[0]["pid"]


def test_a_directory_that_cannot_be_made_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = {"name": "demo", "work_dir": "/proc/none", "state": "absent"}
    with patch_module_args(given), pytest.raises(SystemExit):
        qemu_vm.main()
    assert "VM 'demo' cannot be kept in its work_dir: [Errno 2]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"name": "../etc"}, "cannot name a VM"),
        ({"wait_port": 22}, "Port 22 is waited for, but not forwarded"),
        ({"wait_console": "[a"}, "is not a regular expression"),
        ({"kernel": "/no/bzImage"}, "needs /no/bzImage: No such file"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(
    change: Change, tmp_path: Path, params: dict[str, t.Any], message: str
) -> None:
    with pytest.raises(QemuError, match=message):
        change(**params)
    assert not list(tmp_path.glob("vm/*"))


def test_what_is_documented_is_what_is_taken() -> None:
    def facts(options: dict[str, t.Any], below: str) -> dict[str, t.Any]:
        kept = ("type", "elements", "default", "choices", "required")
        return {
            name: {
                **{key: option[key] for key in kept if key in option},
                below: facts(option.get(below, {}), below),
            }
            for name, option in options.items()
        }

    documented = facts(yaml.safe_load(qemu_vm.DOCUMENTATION)["options"], "suboptions")
    taken = facts(ARGUMENTS, "options")
    assert str(documented).replace("suboptions", "options") == str({name: taken[name] for name in documented})
    assert set(documented) == set(taken)
