# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._external_tree import SOURCE

# Any program of the machine that runs the tests, and what its own ldd says of it.
PROGRAM = Path("/usr/bin/env")


def test_a_tree_is_told_what_the_systems_own_ldd_tells(tmp_path: Path) -> None:
    said = subprocess.run(["ldd", PROGRAM], check=True, capture_output=True, text=True).stdout
    paths = {word for line in said.splitlines() for word in line.split() if word.startswith("/")}
    assert len(paths) >= 2
    for path in paths | {str(PROGRAM)}:
        target = tmp_path / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Path(path).read_bytes())
    ours = subprocess.run(
        [sys.executable, SOURCE / "debian/cross-ldd", tmp_path / str(PROGRAM).lstrip("/")],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "dracutsysrootdir": str(tmp_path)},
    ).stdout
    assert "not found" not in ours
    names = {Path(word).name for line in ours.splitlines() for word in line.split() if word.startswith("/")}
    assert names == {Path(path).name for path in paths}


def test_a_library_that_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "env").write_bytes(PROGRAM.read_bytes())
    said = subprocess.run(
        [sys.executable, SOURCE / "debian/cross-ldd", tmp_path / "env"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "dracutsysrootdir": str(tmp_path)},
    ).stdout
    assert "libc.so.6 => not found" in said


def test_a_script_needs_nothing(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    command = [sys.executable, str(SOURCE / "debian/cross-ldd"), str(tmp_path / "script")]
    environment = {**os.environ, "dracutsysrootdir": str(tmp_path)}
    assert subprocess.run(command, check=True, capture_output=True, env=environment).stdout == b""


def test_the_target_of_an_absolute_link_is_in_the_tree(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sh").symlink_to("/bin/of-the-tree-alone")
    (tmp_path / "bin/of-the-tree-alone").write_text("#!/bin/sh\n")
    command = [sys.executable, str(SOURCE / "debian/cross-ldd"), str(tmp_path / "bin/sh")]
    environment = {**os.environ, "dracutsysrootdir": str(tmp_path)}
    assert subprocess.run(command, check=True, capture_output=True, env=environment).stdout == b""
