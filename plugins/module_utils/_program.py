# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that are streamed to files, timed, piped, or outlive us, without an AnsibleModule.

C(AnsibleModule.run_command) does none of this; what calls modules' logic from tests has none.
"""

from __future__ import annotations

import os
import subprocess
import typing as t
from collections.abc import Sequence

Command = Sequence[t.Union[str, os.PathLike[str]]]


class Program(subprocess.Popen[t.Any]):
    """A program beside us. Unless it is given input it has none: ours are the module's arguments."""

    def __init__(
        self, command: Command, stdin: int | t.IO[t.Any] = subprocess.DEVNULL, **options: t.Any
    ) -> None:
        super().__init__(command, stdin=stdin, **options)


def run_program(
    command: Command, given: str | bytes | None = None, timeout: float | None = None, **options: t.Any
) -> subprocess.CompletedProcess[t.Any]:
    """Run a program to its end, which is the caller's to judge, and keep what it says."""
    if given is not None:
        options["stdin"] = subprocess.PIPE
    with Program(command, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}) as program:
        try:
            said, complained = program.communicate(given, timeout)
        except BaseException:
            program.kill()
            raise
    return subprocess.CompletedProcess(program.args, program.returncode, said, complained)
