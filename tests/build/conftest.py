# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.tests.support.debian import Builder


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """A finished build that tests only read."""
    builder = Builder(tmp_path_factory.mktemp("built"))
    assert builder.run()["changed"]
    return builder


@pytest.fixture
def copy(built: Builder, tmp_path: Path) -> Builder:
    """The finished build, to be changed."""
    subprocess.run(["cp", "-a", "--sparse=always", built.output, tmp_path], check=True)
    return Builder(tmp_path)
