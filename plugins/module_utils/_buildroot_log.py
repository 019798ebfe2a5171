# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Buildroot log tells: how far it is, how long packages took, and why it failed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m|\x1b\(B")
_STEP = re.compile(r"^>>> (\S*) (\S*) (.+)$")
_FAILED = re.compile(r"^make(?:\[\d+\])?: \*\*\* \[[^\]]*?/build/([^/\]]+)/\.stamp_(\w+)\] (.+)$")
_STOPPED = re.compile(r"^make(?:\[\d+\])?: \*\*\* (.+)$")
_URL = re.compile(r"(?:https?|ftp|git|file)://[^\s'\"]+")
_TIME = re.compile(r"^([\d.]+):(start|end)\s*:\s*(\S+)\s*: (\S+)\s*$")

# A cause that deserves a sentence of its own: pattern, what it means, the way out.
_CAUSES = (
    (r"No space left on device", "the disk is full", "what is built already is kept"),
    (
        r"has wrong sha\d+ hash|has wrong md5 hash",
        "a downloaded file is not the one that Buildroot expects",
        "delete it from the download directory, or compare the site with the package's .hash file",
    ),
    (
        r"No hash found for",
        "a downloaded file has no hash to check it with",
        "add it to the package's .hash file",
    ),
    (
        r"You must install '([^']+)'",
        "a program is missing on the build host",
        "run the playbook provision.yml",
    ),
    (
        r"Killed signal terminated program|internal compiler error: Killed|: Killed$",
        "the kernel killed a compiler, most likely for want of memory",
        "use fewer jobs, then run again",
    ),
    (
        r"dracut(?:-install)?(?:\[E\])?: .*(?:FAILED|ERROR)",
        "dracut could not put everything into the initramfs",
        "look for its first message in the log",
    ),
)


def clean(line: str) -> str:
    """A line without terminal escapes, carriage returns and end."""
    return _ESCAPES.sub("", line).rstrip("\r\n").rpartition("\r")[2]


@dataclass(frozen=True)
class Progress:
    """One `>>>` line."""

    package: str
    version: str
    step: str


def read_step(line: str) -> Progress | None:
    """The step that a line announces."""
    match = _STEP.match(clean(line))
    return Progress(match[1], match[2], match[3].strip()) if match else None


@dataclass(frozen=True)
class Failure:
    """Why a build ended."""

    package: str
    step: str
    cause: str
    advice: str
    urls: tuple[str, ...]
    tail: tuple[str, ...]

    def __str__(self) -> str:
        where = f"{self.package} failed to be {self.step}" if self.package else "The build failed"
        text = f"{where}: {self.cause}. {self.advice[:1].upper()}{self.advice[1:]}."
        if self.urls:
            text += "\nTried: " + " ".join(self.urls)
        return text


def diagnose(lines: Iterable[str], count: int = 40) -> Failure:
    """Find the failing package, the end of its output and the cause."""
    text = [clean(line) for line in lines]
    end, package, step = len(text), "", ""
    for number, line in enumerate(text):
        if match := _FAILED.match(line):
            end, package, step = number + 1, match[1], match[2].replace("_", " ")
            break
        if _STOPPED.match(line) and "Waiting for unfinished jobs" not in line and end == len(text):
            end = number + 1
    begin = next((n for n in range(end - 1, -1, -1) if text[n].startswith(">>> ")), 0)
    block = text[begin:end]
    for pattern, cause, advice in _CAUSES:
        hit = next((match for line in block for match in [re.search(pattern, line)] if match), None)
        if hit:
            detail = f" ({hit[1]})" if hit.re.groups else ""
            return Failure(package, step, cause + detail, advice, (), tuple(block[-count:]))
    if step == "downloaded":
        urls = dict.fromkeys(url.rstrip(".,;:)") for line in block for url in _URL.findall(line))
        return Failure(
            package,
            step,
            "a source could not be downloaded",
            "make it reachable, or put it into the mirror or the download directory, then run again",
            tuple(urls),
            tuple(block[-count:]),
        )
    return Failure(
        package,
        step or "built",
        "see the last lines below",
        "mend it and run again: what is built already is kept",
        (),
        tuple(block[-count:]),
    )


def read_times(path: Path) -> dict[str, float]:
    """Seconds of each package in build-time.log; a package that was built twice counts with the last time."""
    seconds: dict[str, dict[str, float]] = {}
    started: dict[tuple[str, str], float] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    for line in lines:
        if match := _TIME.match(line):
            key = (match[4], match[3])
            if match[2] == "start":
                started[key] = float(match[1])
            elif key in started:
                seconds.setdefault(match[4], {})[match[3]] = float(match[1]) - started.pop(key)
    return {package: sum(steps.values()) for package, steps in seconds.items()}


def estimate(history: Mapping[str, float], ratio: float, todo: Iterable[str]) -> float | None:
    """Seconds that the packages will take, from earlier times; None when most are unknown."""
    names = list(todo)
    known = [history[name] for name in names if name in history]
    if not names or len(known) * 2 < len(names):
        return None
    return sum(known) * len(names) / len(known) * ratio
