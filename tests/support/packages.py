# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A package archive in a directory, for an apt that needs no network."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

BUILT = 1_700_000_000


def make_deb(
    directory: Path,
    name: str,
    version: str = "1.0",
    depends: str = "",
    files: Mapping[str, str] | None = None,
) -> Path:
    """A binary package with some files, the same bytes every time."""
    tree = directory / f"tree-{name}-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    for path, content in (files or {f"usr/share/{name}/version": version}).items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("-> "):
            (tree / path).symlink_to(content[3:])
        else:
            (tree / path).write_text(content)
    fields = {
        "Package": name,
        "Version": version,
        "Architecture": "amd64",
        "Maintainer": "tests <tests@example.org>",
        "Description": "a test",
    }
    if depends:
        fields["Depends"] = depends
    (tree / "DEBIAN/control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
    for entry in tree.rglob("*"):
        os.utime(entry, (BUILT, BUILT), follow_symlinks=False)
    target = directory / f"{name}_{version}_amd64.deb"
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(BUILT)}
    command = ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(target)]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return target


def write_index(directory: Path) -> str:
    """Index the packages of a directory; returns its line for a sources.list."""
    stanzas = []
    for deb in sorted(directory.glob("*.deb")):
        control = subprocess.run(["dpkg-deb", "-f", deb], check=True, capture_output=True, text=True).stdout
        data = deb.read_bytes()
        stanzas.append(
            f"{control.strip()}\nFilename: ./{deb.name}\nSize: {len(data)}\n"
            f"SHA256: {hashlib.sha256(data).hexdigest()}\n"
        )
    (directory / "Packages").write_text("\n".join(stanzas))
    return f"deb [trusted=yes] copy:{directory} ./"
