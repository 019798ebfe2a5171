# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot script's functions, run by each shell that it may meet as /bin/sh."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

MODULE = Path(__file__).parents[3] / "files/buildroot-external/dracut/99readonly-rootfs-overlay"
SHELLS = {"ash": ["busybox", "ash"], "dash": ["dash"], "bash": ["bash", "--posix"]}

Run = Callable[..., str]


@pytest.fixture(params=sorted(SHELLS))
def shell(request: pytest.FixtureRequest) -> list[str]:
    command = SHELLS[request.param]
    if shutil.which(command[0]) is None:
        pytest.fail(f"the tests of the boot script need {command[0]}: install the package that brings it")
    return command


@pytest.fixture
def rfs(tmp_path: Path) -> Path:
    directory = tmp_path / "rfs"
    for name in ("ro", "rw"):
        (directory / name).mkdir(parents=True)
    return directory


@pytest.fixture
def run(shell: list[str], tmp_path: Path, rfs: Path) -> Run:
    """Runs a script after the boot script's functions; returns what it prints.

    The kernel log is the machine's own: messages go to standard output instead.
    """
    sources = sorted(MODULE.glob("lib/*.sh"), key=lambda path: path.name != "log.sh")
    prologue = [
        "set -f",
        f"lib={MODULE}/lib rfs={rfs} newroot={tmp_path}/newroot mode=initramfs",
        *(f". {source}" for source in sources),
        "use() { :; }",
        'say() { echo "<$1>$2"; }',
        "default_parameters",
        "layer='' layer_fresh=no layer_base_id='' layer_mounted=no rw_device=/dev/rw base_id=base-one",
    ]

    def run_script(script: str, *arguments: str, check: bool = True) -> str:
        result = subprocess.run(
            [*shell, "-c", "\n".join([*prologue, script]), "init", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"]},
        )
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    return run_script
