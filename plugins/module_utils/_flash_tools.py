# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of the station."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping

from ._flash_errors import FlashError
from ._program import run_program


def require(tool: str) -> str:
    """The path of a program; a missing one is named. Service accounts often lack sbin in PATH."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    found = shutil.which(tool, path=path)
    if found is None:
        raise FlashError("tool", f"{tool} is needed for this and is not installed")
    return found


def run_tool(
    command: list[str], env: Mapping[str, str] | None = None, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, I(text) as its input; its exit status is the caller's to judge."""
    return run_program(
        [require(command[0]), *command[1:]],
        given=text,
        text=True,
        env={**os.environ, "LC_ALL": "C", **(env or {})},
    )
