# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What overlays on single directories cost at boot, as systemd itself counts it.

The same image with other lists of directories, booted in turn. Printed, not asserted: a figure
depends on the machine and on what else it does.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu import Disk, Guest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu_vm import Vm
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.disk import Ext

REPOSITORY = Path(__file__).parents[2]
# The image of scenario systemd_var, with a tmpfs on /var: no other device is waited for.
IMAGES = REPOSITORY / "output/systemd_var/qemu_x86_64/images"
LISTS: list[list[str]] = [[], ["/var"], ["/var", "/etc", "/srv", "/home"]]
RUNS = int(os.environ.get("BR2_BENCH_RUNS", "5"))
PATIENCE = 120
WORDS = "ro rdinit=/none systemd.log_target=kmsg systemd.show_status=0 printk.devkmsg=on"
CONF = "/usr/lib/readonly-rootfs/overlay-dirs.d/image.conf"
FINISHED = r"Startup finished in .*?\+ (?:(\d+)min )?([\d.]+)(m?)s \(userspace\)"


def with_directories(disk: Path, start: int, copy: Path, directories: list[str]) -> Path:
    """The same image with another list of directories."""
    shutil.copyfile(disk, copy)
    conf = copy.with_suffix(".conf")
    conf.write_text("".join(f"directory={directory}\n" for directory in directories))
    Ext(Path(f"{copy}?offset={start}")).change(f"rm {CONF}", f"write {conf} {CONF}")
    return copy


def seconds_to_boot(guest: Guest, directory: Path) -> float:
    """What systemd took in user space, in seconds."""
    with Vm(directory) as vm:
        vm.start(guest)
        minutes, number, milli = vm.wait_for_console(FINISHED, PATIENCE).groups()
        return 60 * int(minutes or 0) + float(number) / (1000 if milli else 1)


def test_boot_time(tmp_path: Path) -> None:
    if not (IMAGES / "manifest.json").exists():
        pytest.fail(f"there are no images in {IMAGES}: make images")
    manifest = json.loads((IMAGES / "manifest.json").read_text())
    start = manifest["disk"]["partitions"][0]["start"]

    def guest(number: int, directories: list[str]) -> Guest:
        copy = tmp_path / f"disk{number}.img"
        disk = with_directories(IMAGES / manifest["disk"]["file"], start, copy, directories)
        return Guest(
            name="bench",
            arch=manifest["architecture"],
            accel="tcg",
            machine=manifest["qemu"]["machine"],
            kernel=str(IMAGES / manifest["kernel"]["file"]),
            append=f"{manifest['kernel']['cmdline']} {WORDS}",
            disks=(Disk(str(disk), access="snapshot"),),
        )

    guests = [guest(number, directories) for number, directories in enumerate(LISTS)]
    seconds: list[list[float]] = [[] for _unused in guests]
    for _unused in range(RUNS + 1):
        for one, measured in zip(guests, seconds):
            measured.append(seconds_to_boot(one, tmp_path / "vm"))
    print(f"\nsystemd's own boot time, medians of {RUNS} in turn after one to warm up")
    for directories, (_first, *measured) in zip(LISTS, seconds):
        name = " ".join(directories) or "no overlay on a directory"
        spread = f"{min(measured):.2f} to {max(measured):.2f}"
        print(f"  {name:32} {statistics.median(measured):6.2f} s  ({spread})")
