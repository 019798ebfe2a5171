# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a look at a running build shows to lines for people."""

from __future__ import annotations

import re
import shlex
import time
import typing as t
from collections.abc import Callable

# The end of the times that Buildroot keeps of each step, the packages that are done, and whether the build
# has ended. Cheap: a few processes, whatever the size of the log.
_PROBE = """\
cd {output} || {{ echo @ended; exit; }}
tail -n 40 build/build-time.log 2>/dev/null
echo "@done $(ls -d build/*/.stamp_installed 2>/dev/null | wc -l)"
if ! flock -s -n .readonly-rootfs/lock true; then echo @running; else echo @ended; fi
"""
_TIME = re.compile(r"^([\d.]+):(start|end)\s*:\s*(\S+)\s*: (\S+)\s*$")
_WORDS = {
    "download": "downloading",
    "actual-download": "downloading",
    "extract": "extracting",
    "patch": "patching",
    "configure": "configuring",
    "build": "building",
    "install-host": "installing",
    "install-staging": "installing",
    "install-target": "installing",
    "install-image": "installing",
}
_HEARTBEAT = 60.0
_LONGEST_PAUSE = 15.0


class Watch:
    """The state of one watched build."""

    def __init__(
        self,
        host: str,
        job: dict[str, t.Any],
        show: Callable[[str], t.Any],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.host = host
        self.job = job
        self.show = show
        self.now = now
        self.begin = now()
        self.last_time = float(job.get("started") or 0.0)
        self.last_said = self.begin
        self.current = "starting"
        self.steps: list[str] = []
        self.begun = ""  # since the last look; it may have ended already
        self.done = 0
        if job.get("attached"):
            self.say("a build is running here already: watching it")
        for reason in job.get("reasons", []):
            self.say(reason)

    def probe(self) -> str:
        """The shell commands that look at the build."""
        return _PROBE.format(output=shlex.quote(self.job["output"]))

    def pause(self, interval: float) -> float:
        """Seconds until the next look: the longer a build takes, the less often it is disturbed."""
        elapsed = self.now() - self.begin
        return max(interval, min(_LONGEST_PAUSE, elapsed / 100))

    def say(self, message: str) -> None:
        """One line."""
        self.last_said = self.now()
        self.show(f"[{self.host}] {message}")

    def read(self, output: str) -> bool:
        """Take in what the probe printed; True when the build has ended."""
        ended = False
        self.begun = ""
        for line in output.splitlines():
            if match := _TIME.match(line):
                if float(match[1]) > self.last_time and match[3] in _WORDS:
                    self.last_time = float(match[1])
                    self._step(f"{match[4]} {_WORDS[match[3]]}", match[2] == "start")
            elif line.startswith("@done "):
                self.done = int(line.split()[1])
            elif line == "@ended":
                ended = True
        # Packages are built side by side: what began last may have ended while another still runs.
        latest = self.steps[-1] if self.steps else self.begun or self.current
        if not self.steps and self.done >= self.job["total"] > 0:
            latest = "images"
        if latest != self.current:
            self.current = latest
            self.say(self._line())
        elif self.now() - self.last_said > _HEARTBEAT:
            self.say(self._line())
        return ended

    def _step(self, step: str, begins: bool) -> None:
        if begins:
            self.begun = step
            self.steps.append(step)
        elif step in self.steps:
            self.steps.remove(step)

    def _line(self) -> str:
        elapsed = self.now() - float(self.job.get("started") or self.begin)
        text = f"{self.done}/{self.job['total']} {self.current}, {_clock(elapsed)}"
        if self.job.get("estimate"):
            left = max(0.0, float(self.job["estimate"]) - elapsed)
            text += f", about {max(1, round(left / 60))} min left"
        return text


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
