# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.tests.device.controller import Controller
from ansible_collections.br2.readonly_rootfs.tests.device.endpoints import Endpoint, install_ssh, make_key
from ansible_collections.br2.readonly_rootfs.tests.device.fake_device import FakeDevice, make_applets

CLONE_NEWNS = 0x00020000
STATUS = "layer=persistent\ntries=1\ntries_max=3\nbase_id=abc\ntime_init=0.5\n"


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


@pytest.fixture
def device(applets: Path, tmp_path: Path) -> Iterator[FakeDevice]:
    device = FakeDevice(tmp_path / "device", applets)
    install_ssh(device.base, make_key(tmp_path / "key"))
    device.install_programs()
    (device.base / "etc/issue").write_text("base\n")
    device.boot()
    (device.rfs / "status").write_text(STATUS)
    yield device
    device.stop()


@pytest.fixture
def endpoint(device: FakeDevice, tmp_path: Path) -> Iterator[Endpoint]:
    endpoint = Endpoint(device, tmp_path / "key")
    endpoint.start()
    yield endpoint
    endpoint.stop()


@pytest.fixture
def controller(endpoint: Endpoint, tmp_path: Path) -> Controller:
    return Controller(tmp_path, {"device": endpoint})
