# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The yardstick: an initramfs that holds one static C program, see floor.c."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.br2.readonly_rootfs.tests.boot.lab.cpio import Archive
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.disk import run

SOURCE = Path(__file__).with_suffix(".c")


def floor(work: Path, base_type: str, layer_type: str) -> Archive:
    """Compile the program for these file systems and pack it."""
    program = work / "floor"
    types = (f'-DBASE_TYPE="{base_type}"', f'-DLAYER_TYPE="{layer_type}"')
    run("gcc", "-O2", "-static", "-Wall", "-Werror", *types, "-o", program, SOURCE)
    archive = Archive()
    for directory in ("dev", "proc", "sys"):
        archive.directory(directory)
    # A kernel with an initramfs in it has made no console of its own.
    archive.character_device("dev/console", 5, 1)
    archive.file("init", program.read_bytes())
    return archive
