# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A build that does not need its starter: it outlives a dropped connection and leaves nothing behind.

A supervisor, detached from whoever starts it, runs the commands one after another into one log. It holds
a lock as long as anything of the build is alive, adopts processes that detach themselves, and on SIGTERM
ends all of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_tree import BuildrootError
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._program import Program

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_WAITED_FOR = (signal.SIGTERM, signal.SIGCHLD)
_GRACE = 5.0
_MOMENT = 0.5


class JobError(BuildrootError):
    """A job that cannot be started, found or ended."""


@dataclass(frozen=True)
class Step:
    """One command. After one that ends a preparation, `commit` (old name, new name) is renamed into place."""

    command: Sequence[str]
    commit: tuple[str, str] | None = None


class Job:
    """The one job of a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "build.log"

    @contextlib.contextmanager
    def _lock(self, kind: int) -> Iterator[int | None]:
        """The descriptor of the lock, or None while a build is alive."""
        self.directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            yield descriptor if _locked(descriptor, kind) else None
        finally:
            os.close(descriptor)

    def running(self) -> bool:
        """Whether anything of a build is alive."""
        # Shared: those who only ask do not see each other.
        with self._lock(fcntl.LOCK_SH) as descriptor:
            return descriptor is None

    def about(self) -> dict[str, Any]:
        """What was started last: id, pid of the supervisor, start time; empty when nothing ever was."""
        return read_json(self.directory / "job.json")

    def result(self) -> dict[str, Any]:
        """How the last job ended: status, or minus the signal, and cancelled; empty while it is running."""
        result = read_json(self.directory / "result.json")
        return result if result.get("id") == self.about().get("id") else {}

    def start(
        self, steps: Sequence[Step], environment: Mapping[str, str], cwd: Path, about: Mapping[str, Any]
    ) -> None:
        """Start the steps in the background; returns when the supervisor has written what it is doing."""
        with self._lock(fcntl.LOCK_EX) as descriptor:
            if descriptor is None:
                raise JobError(f"A build is running in {self.directory} already.")
            for stale in ("result.json", "job.json"):
                (self.directory / stale).unlink(missing_ok=True)
            if self.log.exists():
                self.log.replace(self.log.with_suffix(".log.1"))
            self.log.touch()
            ready, told = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(ready)
                self._detach(descriptor, told, steps, environment, cwd, about)
            os.close(told)
            with os.fdopen(ready, "rb") as pipe:
                answer = pipe.read()
            os.waitpid(child, 0)
        if answer != b"started":
            raise JobError(
                f"The build could not be started: {answer.decode(errors='replace') or 'the fork failed'}"
            )

    def cancel(self) -> bool:
        """End the running build and wait until nothing of it is left. False when none was running."""
        if not self.running():
            return False
        deadline = time.monotonic() + 4 * _GRACE
        told = pid = 0
        while self.running():
            # One that is just being started has not written its pid yet.
            pid = self.about().get("pid", 0)
            if pid != told:
                told = pid
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            if time.monotonic() > deadline:
                raise JobError(f"The build of process {pid} does not end; look at it with `ps -g {pid}`.")
            time.sleep(0.1)
        return True

    def _detach(
        self,
        lock: int,
        told: int,
        steps: Sequence[Step],
        environment: Mapping[str, str],
        cwd: Path,
        about: Mapping[str, Any],
    ) -> None:
        """In the first child: become a session of its own, fork once more and supervise. Never returns."""
        try:
            os.setsid()
            if os.fork():
                os._exit(0)
            _close_all_but(lock, told)
            null = os.open(os.devnull, os.O_RDWR)
            for standard in (0, 1, 2):
                os.dup2(null, standard)
            # SIGHUP of a closing terminal is not meant for the build.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            # Waited for, never handled: a handler could run anywhere, in a child before its exec, too.
            signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
            _prctl(_PR_SET_CHILD_SUBREAPER, 1)
            write_json(self.directory / "job.json", {**about, "pid": os.getpid(), "started": time.time()})
            os.write(told, b"started")
            os.close(told)
            result = _Supervisor(self.directory, self.log, lock).run(steps, environment, cwd)
            write_json(
                self.directory / "result.json", {**result, "id": about.get("id"), "ended": time.time()}
            )
            os._exit(0)
        except BaseException as error:
            # A forked child must never return into its parent's code.
            with contextlib.suppress(OSError):
                os.write(told, str(error).encode())
            os._exit(1)


class _Supervisor:
    def __init__(self, directory: Path, log: Path, lock: int) -> None:
        self.directory = directory
        self.log = log
        self.lock = lock

    def run(self, steps: Sequence[Step], environment: Mapping[str, str], cwd: Path) -> dict[str, Any]:
        status: int | None = 0
        for step in steps:
            status = self._run(step.command, environment, cwd)
            if status != 0:
                break
            if step.commit:
                (self.directory / step.commit[0]).replace(self.directory / step.commit[1])
        _end_descendants()
        return {"status": -signal.SIGTERM if status is None else status, "cancelled": status is None}

    def _run(self, command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> int | None:
        """How the command ended; None when the build was cancelled meanwhile."""
        with self.log.open("ab", buffering=0) as log:
            try:
                main = Program(
                    list(command),
                    env=dict(environment),
                    cwd=cwd,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(self.lock,),
                    start_new_session=True,
                    preexec_fn=functools.partial(_die_with, os.getpid()),
                )
            except OSError as error:
                log.write(f"{command[0]}: {error.strerror}\n".encode())
                return 127
        while True:
            for pid, status in _reap():
                if pid == main.pid:
                    return status
            if signal.sigwait(_WAITED_FOR) == signal.SIGTERM:
                return None


def _locked(descriptor: int, kind: int) -> bool:
    """Whether the lock could be had. One who asks whether a build runs holds it for a moment."""
    deadline = time.monotonic() + (_MOMENT if kind == fcntl.LOCK_EX else 0)
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        else:
            return True


def _close_all_but(*kept: int) -> None:
    """Whoever waits for the end of a pipe of this process must not wait for the build."""
    for entry in list(Path("/proc/self/fd").iterdir()):
        if int(entry.name) not in kept:
            with contextlib.suppress(OSError):
                os.close(int(entry.name))


def _die_with(parent: int) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAITED_FOR)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # It may have died before.
    if os.getppid() != parent:
        os._exit(1)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _descendants() -> list[int]:
    """Every process below this one, the nearest first."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name in the second field may hold spaces and parentheses.
            state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(stat.parent.name))
    found = []
    todo = [os.getpid()]
    while todo:
        below = children.get(todo.pop(0), [])
        found += below
        todo += below
    return found


def _end_descendants() -> None:
    """Ask, then force, until there is none and all are reaped."""
    deadline = time.monotonic() + _GRACE
    sent: dict[int, int] = {}
    while alive := _descendants():
        wanted = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        for pid in alive:
            if sent.get(pid) != wanted:
                sent[pid] = wanted
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, wanted)
        time.sleep(0.05)
        _reap()
    _reap()


def _reap() -> list[tuple[int, int]]:
    """The ended children, each with its status, or minus its signal."""
    ended = []
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended.append((found[0], os.waitstatus_to_exitcode(found[1])))
    return ended


def read_json(path: Path) -> dict[str, Any]:
    """An object from a file; empty when there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """An object to a file, whole or not at all."""
    partial = path.with_name(f"{path.name}.new")
    partial.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(path)
