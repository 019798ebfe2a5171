# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long devices take to be asked: a layer of 10,000 changes, and many devices at once.

Printed, not asserted: a figure depends on the machine and on what else it does. The endpoints are
dropbears in chroots on real overlays, all on this machine, whose cores the controller shares.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import load_script
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._diff import compare
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._layers import parse_layers
from ansible_collections.br2.readonly_rootfs.tests.device.chaos import device_of
from ansible_collections.br2.readonly_rootfs.tests.device.conftest import _may_mount, applets
from ansible_collections.br2.readonly_rootfs.tests.device.controller import Controller
from ansible_collections.br2.readonly_rootfs.tests.device.endpoints import Endpoint, install_ssh, make_key
from ansible_collections.br2.readonly_rootfs.tests.device.fake_device import FakeDevice

__all__ = ["_may_mount", "applets"]

RUNS = int(os.environ.get("BR2_BENCH_RUNS", "5"))
ENDPOINTS = int(os.environ.get("BR2_BENCH_ENDPOINTS", "200"))
FORKS = 50


def fill(tree: Path, count: int, content: str) -> None:
    for index in range(count):
        directory = tree / f"d{index % 100}"
        directory.mkdir(exist_ok=True)
        (directory / f"file-{index}").write_text(content * 20)


def test_diff_of_10000_changes(applets: Path) -> None:
    with device_of(applets) as device:
        for name in ("changed", "gone"):
            (device.base / name).mkdir()
            fill(device.base / name, 3000, "base\n")
        device.boot()
        fill(device.root / "changed", 3000, "user\n")
        for path in sorted((device.root / "gone").rglob("file-*")):
            path.unlink()
        (device.root / "new").mkdir()
        fill(device.root / "new", 4000, "user\n")
        script = load_script(("view", "diff"), {"layer": "current", "scope": "upper"})
        device_times, controller_times, output = [], [], b""
        for _unused in range(RUNS):
            began = time.monotonic()
            output = device.shell(script)
            device_times.append(time.monotonic() - began)
            began = time.monotonic()
            changes = compare(parse_layers(output[: -len(b"@END\n")])).changes
            controller_times.append(time.monotonic() - began)
        print(
            f"\n{len(changes)} changes: device {statistics.median(device_times):.2f} s, "
            f"controller {statistics.median(controller_times):.2f} s (medians of {RUNS}), "
            f"1 round trip, {len(output) / 1e6:.1f} MB"
        )


@contextmanager
def fleet(applets: Path, directory: Path, count: int) -> Iterator[dict[str, Endpoint]]:
    key = make_key(directory / "key")
    with ExitStack() as stack:
        first = FakeDevice(directory / "first", applets)
        stack.callback(first.stop)
        install_ssh(first.base, key)
        endpoints = {}
        for index in range(count):
            device = FakeDevice(directory / f"device-{index}", applets, base=first.base)
            stack.callback(device.stop)
            device.boot()
            (device.root / "etc/hostname").write_text(f"device-{index}\n")
            endpoint = Endpoint(device, key)
            endpoint.start()
            stack.callback(endpoint.stop)
            endpoints[f"device-{index}"] = endpoint
        yield endpoints


def test_many_devices_at_once(applets: Path, tmp_path: Path) -> None:
    with fleet(applets, tmp_path, ENDPOINTS) as endpoints:
        controller = Controller(tmp_path, endpoints)
        tasks = {
            "raw: true": ["-m", "ansible.builtin.raw", "-a", "true"],
            "overlay_info": ["-m", "br2.readonly_rootfs.overlay_info"],
            "overlay_diff": ["-m", "br2.readonly_rootfs.overlay_diff"],
        }
        seconds = {name: ask(controller, options) for name, options in tasks.items()}
        print(f"\n{ENDPOINTS} devices, forks={FORKS}, {os.cpu_count()} cores, a fresh connection each")
        for name, taken in seconds.items():
            ratio = taken / seconds["raw: true"]
            print(f"  {name:14} {taken:6.1f} s  {1000 * taken / ENDPOINTS:5.0f} ms each  {ratio:.2f} x raw")


def ask(controller: Controller, options: list[str]) -> float:
    environment = {**controller.environment, "ANSIBLE_SSH_ARGS": "-o ControlMaster=no"}
    command = ["ansible", "-i", str(controller.inventory), "all", "-f", str(FORKS), "-o", *options]
    began = time.monotonic()
    answer = subprocess.run(
        command, env=environment, cwd=controller.directory, capture_output=True, check=False
    )
    taken = time.monotonic() - began
    assert answer.returncode == 0, answer.stdout.decode()[-2000:]
    return taken
