# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a device says of itself: the init's status file, the mount table, df, the kernel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mount:
    source: str
    target: str
    fstype: str
    options: tuple[str, ...]

    def option(self, name: str) -> str | None:
        """The value of `name=value`; "" for a plain flag; None when absent."""
        for option in self.options:
            key, _equals, value = option.partition("=")
            if key == name:
                return value
        return None

    def describe(self) -> dict[str, Any]:
        return {"device": self.source, "fstype": self.fstype, "options": list(self.options)}


def parse_sections(output: bytes) -> dict[str, str]:
    """Split `@name` lines and the lines that follow each of them."""
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in output.decode("utf-8", "backslashreplace").split("\n"):
        if line.startswith("@"):
            current = sections.setdefault(line[1:], [])
        else:
            current.append(line)
    return {name: "\n".join(lines) for name, lines in sections.items()}


def parse_mounts(text: str) -> dict[str, Mount]:
    """/proc/mounts by mount point; the last mount on a point is the visible one."""
    mounts = {}
    for line in text.split("\n"):
        fields = line.split(" ")
        if len(fields) >= 4:
            source, target, fstype = (_unescape(field) for field in fields[:3])
            mounts[target] = Mount(source, target, fstype, tuple(fields[3].split(",")))
    return mounts


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def parse_status(text: str) -> dict[str, str]:
    """The init's `key=value` lines."""
    return {key: value for key, equals, value in (line.partition("=") for line in text.split("\n")) if equals}


def parse_df(text: str, names: tuple[str, str]) -> dict[str, int] | None:
    """Total and available of the one file system in `df -P`'s answer; None when df could not say."""
    fields = text.split("\n")[-1].split()
    numbers = [int(field) for field in fields if field.isdigit()]
    if len(numbers) < 3:
        return None
    return {names[0]: numbers[0], names[1]: numbers[2]}
