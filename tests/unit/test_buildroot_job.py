# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_job import Job, JobError, Step

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def wait(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def shell(text: str, commit: tuple[str, str] | None = None) -> Step:
    return Step(["sh", "-c", text], commit)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def start(job: Job, *steps: Step) -> None:
    job.start(steps, ENVIRONMENT, job.directory, {"id": "one"})


def test_runs_the_steps_in_order_into_one_log(tmp_path: Path) -> None:
    job = Job(tmp_path)
    (tmp_path / "pending").write_text("x")
    start(
        job,
        shell("echo first", ("pending", "stamp")),
        shell("ls; echo error >&2; exit 3"),
        shell("echo never"),
    )
    wait(lambda: not job.running(), "the job does not end")
    assert job.result()["status"] == 3
    assert job.result()["cancelled"] is False
    lines = job.log.read_text().splitlines()
    assert lines[0] == "first"
    assert lines[-1] == "error"
    assert "stamp" in lines
    assert "pending" not in lines


def test_a_second_build_is_refused_while_one_runs(tmp_path: Path) -> None:
    job = Job(tmp_path)
    start(job, shell("sleep 30"))
    assert job.running()
    with pytest.raises(JobError, match="running"):
        start(job, shell("true"))
    assert job.cancel()
    assert not job.cancel()


def test_a_build_ends_wherever_the_cancel_finds_it(tmp_path: Path) -> None:
    """Before, between and after fork and exec of its command."""
    for number in range(12):
        job = Job(tmp_path / str(number))
        start(job, shell("sleep 30"))
        time.sleep(number / 300)
        assert job.cancel()
        assert job.result()["cancelled"] is True


def test_who_asks_does_not_look_like_a_build(tmp_path: Path) -> None:
    job = Job(tmp_path)
    with (tmp_path / "lock").open("w") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        assert not job.running()


def test_cancel_ends_processes_that_detach_and_ignore_sigterm(tmp_path: Path) -> None:
    job = Job(tmp_path)
    stubborn = tmp_path / "stubborn"
    stubborn.write_text("trap '' TERM HUP INT\necho $$ > pid\nwhile :; do sleep 0.1; done\n")
    start(job, shell(f"setsid sh {stubborn} & sleep 60"))
    pid_file = tmp_path / "pid"
    wait(lambda: pid_file.exists() and pid_file.read_text(), "the detached process has not started")
    pid = int(pid_file.read_text())
    assert alive(pid)
    assert job.cancel()
    assert not alive(pid)
    assert job.result()["cancelled"] is True


def test_what_is_left_after_the_command_is_ended(tmp_path: Path) -> None:
    job = Job(tmp_path)
    start(job, shell("setsid sleep 60 & echo $! > pid; exit 0"))
    wait(lambda: not job.running(), "the job does not end")
    assert job.result()["status"] == 0
    assert not alive(int((tmp_path / "pid").read_text()))


def test_a_killed_command_is_reported_as_its_signal(tmp_path: Path) -> None:
    job = Job(tmp_path)
    start(job, shell("kill -KILL $$"))
    wait(lambda: not job.running(), "the job does not end")
    assert job.result()["status"] == -signal.SIGKILL


def test_the_build_dies_with_a_killed_supervisor_and_leaves_no_result(tmp_path: Path) -> None:
    job = Job(tmp_path)
    start(job, shell("exec sleep 60"))
    os.kill(job.about()["pid"], signal.SIGKILL)
    wait(lambda: not job.running(), "the build outlives its supervisor")
    assert job.result() == {}


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    job = Job(tmp_path)
    start(job, Step(["/no/such/command"]))
    wait(lambda: not job.running(), "the job does not end")
    assert job.result()["status"] == 127
    assert job.log.read_text() == "/no/such/command: No such file or directory\n"
