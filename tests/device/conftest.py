# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.tests.device.fake_device import make_applets

CLONE_NEWNS = 0x00020000


@pytest.fixture(scope="session", autouse=True)
def _may_mount() -> None:
    """A mount namespace of our own: whatever ends the tests takes the mounts with it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(CLONE_NEWNS) != 0:
        pytest.skip("fake devices are made of mounts: run tests/device as root, where root may mount")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


@pytest.fixture(scope="session")
def applets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("busybox") / "bin"
    make_applets(directory)
    return directory
