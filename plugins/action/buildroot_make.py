# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start a build on the build host and watch it: progress on the terminal, whatever the connection does."""

from __future__ import annotations

import os
import shlex
import signal
import time
import typing as t

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._build_progress import Watch

display = Display()

_MODULE = "br2.readonly_rootfs.buildroot_job"


class Interrupted(BaseException):
    """The play is being ended."""


class Signals:
    """Whether the play is being ended, and an exception where it is learnt.

    Ansible sends two signals shortly after each other. Only the first one raises, and it is
    remembered: exceptions are dropped in places, and turned into others.
    """

    def __init__(self) -> None:
        self.came = False
        self._previous: dict[int, t.Any] = {}

    def __enter__(self) -> Signals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _take(self, _number: int, _frame: object) -> None:
        if not self.came:
            self.came = True
            raise Interrupted


class ActionModule(ActionBase):
    _VALID_ARGS = frozenset(
        {
            "buildroot_dir",
            "output_dir",
            "external",
            "user",
            "jobs",
            "environment",
            "artefacts",
            "initramfs",
            "force",
            "progress",
            "poll_interval",
            "reconnect_timeout",
        }
    )

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        args = dict(self._task.args)
        progress = boolean(args.pop("progress", True))
        interval = float(args.pop("poll_interval", 3))
        patience = float(args.pop("reconnect_timeout", 1800))
        task_vars = task_vars or {}

        with Signals() as signals:
            try:
                result = self._build(args, task_vars, progress, interval, patience, signals)
            except BaseException:
                if not signals.came:
                    raise
            if not signals.came:
                return result
            display.display(f"[{task_vars.get('inventory_hostname')}] ending the build")
            self._job("cancelled", args, task_vars)
            return {"failed": True, "msg": "Interrupted: the build was ended. Run again to go on with it."}

    def _build(
        self,
        args: dict[str, t.Any],
        task_vars: dict[str, t.Any],
        progress: bool,
        interval: float,
        patience: float,
        signals: Signals,
    ) -> dict[str, t.Any]:
        started = self._job("started", args, task_vars)
        if started.get("failed") or "job" not in started:
            return started
        host = str(task_vars.get("inventory_hostname", "build host"))
        watch = Watch(host, started["job"], display.display if progress else _silent)
        self._watch(watch, interval, patience, signals)
        return self._job("finished", args, task_vars)

    def _job(self, state: str, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        result: dict[str, t.Any] = self._execute_module(
            _MODULE, module_args={**args, "state": state}, task_vars=task_vars
        )
        result.pop("invocation", None)
        return result

    def _watch(self, watch: Watch, interval: float, patience: float, signals: Signals) -> None:
        """Look at the build until it has ended; a host that is out of reach for a while changes nothing."""
        lost = 0.0
        playbook = os.getppid()
        # Killed, it leaves this worker behind, which nobody would end before the build does.
        while os.getppid() == playbook and not signals.came:
            try:
                command = f"sh -c {shlex.quote(watch.probe())}"
                seen = self._low_level_execute_command(command)
                if watch.read(seen["stdout"]):
                    return
                lost = 0.0
            except AnsibleConnectionFailure as error:
                lost = lost or time.monotonic()
                if time.monotonic() - lost > patience:
                    raise
                watch.say(f"out of reach, the build goes on: {error}")
                self._connection.reset()
            time.sleep(watch.pause(interval))
        if signals.came:
            raise Interrupted
        raise AnsibleActionFail("The playbook has been killed. The build goes on: run again to watch it.")


def _silent(_message: str) -> None:
    """Say nothing."""
