# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import configparser
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def test_submodule_and_role_pin_the_same_commit_of_the_same_repository() -> None:
    defaults = yaml.safe_load((ROOT / "roles/buildroot/defaults/main.yml").read_text())
    if not (ROOT / ".git").exists():
        pytest.skip("only git knows the submodule's commit, and this is no checkout")
    modules = configparser.ConfigParser()
    modules.read(ROOT / ".gitmodules")
    section = modules['submodule "buildroot"']
    assert section["url"] == defaults["buildroot_repo"]
    assert section["shallow"] == "true"
    command = ["git", "-C", str(ROOT), "ls-files", "--stage", "buildroot"]
    mode, commit, *_rest = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert (mode, commit) == ("160000", defaults["buildroot_commit"])
