# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._program import Program, run_program


def test_there_is_no_input_unless_given() -> None:
    assert run_program(["cat"], timeout=10).stdout == b""
    assert run_program(["cat"], given="some", text=True).stdout == "some"
    assert run_program(["cat"], given=b"\xff").stdout == b"\xff"


def test_status_and_complaints_are_the_callers() -> None:
    ended = run_program(["sh", "-c", "echo so; echo but >&2; exit 3"], text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "so\n", "but\n")


def test_output_goes_where_it_is_sent(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        ended = run_program(["sh", "-c", "echo so; echo but >&2"], stdout=log, stderr=subprocess.STDOUT)
    assert ended.stdout is None
    assert (tmp_path / "log").read_text() == "so\nbut\n"


def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        run_program(["sh", "-c", 'echo $$ >"$0"; exec sleep 60', tmp_path / "pid"], timeout=1)
    assert time.monotonic() - began < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_programs_are_piped() -> None:
    with Program(["echo", "so"], stdout=subprocess.PIPE) as first:
        assert run_program(["cat"], stdin=first.stdout).stdout == b"so\n"
    assert first.returncode == 0
