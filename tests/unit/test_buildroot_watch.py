# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A build host that is out of reach for a while: the build is watched again when it is back."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.br2.readonly_rootfs.plugins.action import buildroot_make
from ansible_collections.br2.readonly_rootfs.plugins.action.buildroot_make import Interrupted, Signals
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._build_progress import Watch


class Connection:
    def __init__(self) -> None:
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1


class Action(buildroot_make.ActionModule):
    """The plugin on a connection that answers, or fails, as the test says."""

    _connection: Any

    def __init__(self, answers: list[str | None]) -> None:
        self._connection = Connection()
        self.answers: Iterator[str | None] = iter(answers)
        self.before: Callable[[], None] = lambda: None

    def _low_level_execute_command(self, *_args: Any, **_kwargs: Any) -> Any:
        self.before()
        answer = next(self.answers)
        if answer is None:
            raise AnsibleConnectionFailure("No route to host")
        return {"stdout": answer}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time passes only where something sleeps."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def watch(said: list[str]) -> Watch:
    return Watch("build1", {"output": "/o", "total": 3, "started": 0.0}, said.append, lambda: 0.0)


def test_a_dropped_connection_is_waited_for_and_the_end_is_seen(clock: list[float]) -> None:
    action = Action(["@running", None, None, "@running", None, "@ended"])
    said: list[str] = []
    action._watch(watch(said), 3.0, 60.0, Signals())
    assert action._connection.resets == 3
    assert [line for line in said if "out of reach, the build goes on: No route" in line] == said
    assert len(said) == 3


def test_it_is_not_waited_for_longer_than_asked(clock: list[float]) -> None:
    action = Action(["@running", *[None] * 50])
    with pytest.raises(AnsibleConnectionFailure):
        action._watch(watch([]), 3.0, 60.0, Signals())
    assert 60 < clock[0] < 80


def test_every_time_out_of_reach_is_counted_from_its_own_beginning(clock: list[float]) -> None:
    action = Action([None] * 15 + ["@running"] + [None] * 15 + ["@ended"])
    action._watch(watch([]), 3.0, 60.0, Signals())
    assert clock[0] > 80


def test_a_signal_whose_exception_is_dropped_ends_the_watch_all_the_same(clock: list[float]) -> None:
    signals = Signals()
    action = Action(["@running", "@running"])

    def dropped() -> None:
        with contextlib.suppress(BaseException):
            os.kill(os.getpid(), signal.SIGTERM)

    action.before = dropped
    with signals, pytest.raises(Interrupted):
        action._watch(watch([]), 3.0, 60.0, signals)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
