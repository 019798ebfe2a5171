# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module and, where its log can be read from here, show the stages as they begin."""

from __future__ import annotations

import threading
import time
import typing as t
from pathlib import Path

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._build import Stages

_LOOK = 0.5
_HEARTBEAT = 30.0


class ActionModule(ActionBase):
    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        over = threading.Event()
        output = Path(self._task.args.get("output", ""))
        watcher = None
        if self._connection.transport == "local" and output.is_absolute() and not self._task.check_mode:
            host = str((task_vars or {}).get("inventory_hostname", "localhost"))
            watcher = threading.Thread(
                target=follow, args=(output / "debian.log", host, over, Display().display)
            )
            watcher.start()
        try:
            result: dict[str, t.Any] = self._execute_module(
                module_name="br2.readonly_rootfs.debian_image", task_vars=task_vars
            )
        finally:
            over.set()
            if watcher:
                watcher.join()
        return result


def follow(log: Path, host: str, over: threading.Event, show: t.Callable[[str], t.Any]) -> None:
    """Show what a log announces until the build is over; say now and then that it still runs."""
    begin = said = time.monotonic()
    began, position, stage, lines = time.time(), 0, "", 0
    while True:
        ending = over.wait(_LOOK)
        try:
            # An older log is that of the build before.
            fresh = log.stat().st_mtime >= began - 1
            with log.open(encoding="utf-8", errors="replace") as file:
                file.seek(position)
                news = file.readlines() if fresh else []
                position = file.tell() if fresh else 0
        except OSError:
            news = []
        for line in news:
            lines += 1
            if line.startswith(Stages.MARK):
                stage, lines, said = line[len(Stages.MARK) :].strip(), 0, time.monotonic()
                show(f"[{host}] {said - begin:5.1f} s  {stage}")
        if stage and time.monotonic() - said > _HEARTBEAT:
            said = time.monotonic()
            show(f"[{host}] {said - begin:5.1f} s  {stage}, {lines} lines in {log.name}")
        if ending:
            return
