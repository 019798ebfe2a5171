# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as its users get it: built, and installed into an empty path."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.tests.support import cards
from ansible_collections.br2.readonly_rootfs.tests.support.user import BIN, ROOT, Run, guest, user


@pytest.fixture(scope="session")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("tarball")
    build: list[str | Path] = [BIN / "ansible-galaxy", "collection", "build", "--output-path", built]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (found,) = built.glob("*.tar.gz")
    return found


@pytest.fixture(scope="session")
def installed(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collections path that holds nothing else."""
    path = tmp_path_factory.mktemp("installed")
    user(path, path)("ansible-galaxy", "collection", "install", "--offline", "-p", path, tarball)
    return path


@pytest.fixture
def command(installed: Path, tmp_path: Path) -> Run:
    """Runs a command as somebody who has the collection, in an empty home directory."""
    return user(tmp_path, installed)


@pytest.fixture(scope="session")
def whole_way(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which somebody ran playbook site: built, flashed a card, booted it, verified it."""
    if reason := cards.missing():
        pytest.skip(reason)
    home = tmp_path_factory.mktemp("home")
    run = user(home, installed)
    site = ["ansible-playbook", "br2.readonly_rootfs.site"]
    with guest(run, "site"):
        ran = run(*site, "-e", "image_builder=debian", "-e", "image_root_login=passwordless")
    (home / "site.log").write_text(ran.stdout)
    return home
