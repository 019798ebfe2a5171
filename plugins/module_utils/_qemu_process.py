# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes told apart for certain, and loopback ports."""

from __future__ import annotations

import contextlib
import platform
import signal
import socket
import time
import types
import typing as t
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._program import run_program
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu import LOOPBACK, Forward, QemuError

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ending: list[int] = []  # signals that came
_held: list[None] = []  # as deep as uninterrupted() is nested


def boot_id() -> str:
    """What changes when this host boots."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()


def birth(pid: int) -> str | None:
    """When process ``pid`` began, or None if none runs: with the pid, what no other process has."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        fields = status.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else f"{boot_id()} {fields[19]}"
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    started: str = run_program(["ps", "-o", "lstart=", "-p", str(pid)], text=True).stdout
    return started.strip() or None


def until(condition: t.Callable[[], bool], seconds: float) -> bool:
    """Whether ``condition`` comes true within ``seconds``; it is looked at ever less often."""
    deadline = time.monotonic() + seconds
    pause = 0.01
    while not condition():
        if _ending and not _held:
            raise SystemExit(128 + _ending[0])
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, 0.25)
    return True


@contextlib.contextmanager
def ended_by_exceptions() -> t.Iterator[None]:
    """Let signals that end us unwind the stack, so that what was begun is taken back."""

    def end(number: int, _frame: types.FrameType | None) -> None:
        # Python drops an exception that hits a destructor or a callback: until() looks again.
        _ending.append(number)
        raise SystemExit(128 + number)

    previous = [(number, signal.signal(number, end)) for number in _ENDING_SIGNALS]
    try:
        yield
    finally:
        for number, handler in previous:
            signal.signal(number, handler)
        _ending.clear()


@contextlib.contextmanager
def uninterrupted() -> t.Iterator[None]:
    """Hold back signals that end us until the block is done, so that what it starts is on record."""
    waiting: list[tuple[int, types.FrameType | None]] = []
    try:
        # Handlers, not a signal mask: a child would inherit the mask.
        previous = [
            (number, signal.signal(number, lambda *received: waiting.append(received)))
            for number in _ENDING_SIGNALS
        ]
    except ValueError:  # not in the main thread, where no handler runs
        yield
        return
    _held.append(None)
    try:
        yield
    finally:
        _held.pop()
        for number, handler in previous:
            signal.signal(number, handler)
        for received, _frame in waiting:
            signal.raise_signal(received)


def choose_ports(forwards: t.Iterable[Forward], previous: t.Mapping[int, int], name: str) -> dict[int, int]:
    """Host ports by guest port: the one asked for, the one of last time, or any free one."""
    ports: dict[int, int] = {}
    with contextlib.ExitStack() as held:
        for forward in forwards:
            wanted = forward.host or previous.get(forward.guest, 0)
            holder = held.enter_context(socket.socket())
            # As QEMU does: a port with connections in TIME_WAIT is free.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                holder.bind((LOOPBACK, wanted))
            except OSError as error:
                if forward.host:
                    raise QemuError(
                        f"VM {name!r} cannot have port {LOOPBACK}:{wanted}: {error.strerror}. "
                        "Free it, or name another; 0 chooses a free one."
                    ) from None
                holder.bind((LOOPBACK, 0))
            ports[forward.guest] = holder.getsockname()[1]
    return ports
