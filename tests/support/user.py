# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody who uses the collection from the command line, as installed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._files import cache_directory

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def user(home: Path, collections: Path) -> Run:
    """Runs commands in ``home``, which is empty at first, with nothing of the checkout in reach."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    env |= {
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "BR2_CACHE_DIR": str(cache_directory()),
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended

    return run


@contextlib.contextmanager
def guest(run: Run, name: str) -> Iterator[None]:
    """Whatever comes, the guest of that name is gone at the end."""
    try:
        yield
    finally:
        run("ansible-playbook", "br2.readonly_rootfs.vm", "-e", f"vm_name={name}", "-e", "vm_state=absent")
