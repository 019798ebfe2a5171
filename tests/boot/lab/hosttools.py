# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of this machine, with the libraries they need, as an addition to an initramfs."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.tests.boot.lab.cpio import Archive
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.disk import run

PLACES = ("bin", "sbin", "usr/bin", "usr/sbin")
SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin"


def host_tools(initramfs: Path, tools: Mapping[str, str]) -> Archive:
    """Put the host's program `value` in place of every `name` of the unpacked initramfs, else into /bin."""
    archive = Archive()
    made: set[str] = set()
    libraries: set[str] = set()
    for name, program in tools.items():
        found = shutil.which(program, path=SEARCH)
        if not found:
            raise FileNotFoundError(f"this machine has no {program}")
        content = Path(found).read_bytes()
        libraries |= set(re.findall(r"(/\S+\.so\S*)", run("ldd", found, check=False)))
        places = [
            place for place in ("bin", "sbin", "usr/bin", "usr/sbin") if present(initramfs, f"{place}/{name}")
        ]
        for place in places or ["bin"]:
            archive.file(f"{place}/{name}", content)
    for library in sorted(libraries):
        for parent in reversed(Path(library).parents[:-1]):
            directory = str(parent)
            link = initramfs / directory.lstrip("/")
            # Where no program has a loader, /lib64 is a link to nothing.
            if link.is_symlink() and not link.exists():
                directory = f"/{link.readlink()}".replace("//", "/")
            # A directory entry would replace a link to a directory.
            if directory not in made and not present(initramfs, directory.lstrip("/")):
                archive.directory(directory)
                made.add(directory)
        archive.file(library, Path(library).read_bytes())
    return archive


def present(tree: Path, name: str) -> bool:
    return os.path.lexists(tree / name)
