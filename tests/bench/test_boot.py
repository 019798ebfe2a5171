# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From `Run /init` to the real init: ours, the seed system's algorithm, and the mounts alone.

Printed, not asserted: a figure depends on the machine and on what else it does.
"""

from __future__ import annotations

import os
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.tests.boot.lab import disk
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.cpio import Archive
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.floor import floor
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.rig import ROOT, WRITABLE, Rig
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.tree import Base

HERE = Path(__file__).parent / "boot"
RUNS = int(os.environ.get("BR2_BENCH_RUNS", "9"))
# As many words as an ordinary device has.
WORDS = (
    f"root={ROOT} rootrw={WRITABLE} rootwait ro net.ifnames=0 vt.global_cursor_default=0 "
    "rootfstype=ext2 rootrwfstype=ext4 rootoptions=noatime,nodiratime rootrwoptions=rw,noatime loglevel=7"
)
STAMP = r"^\[ *(\d+\.\d+)\] "


@dataclass
class Contender:
    name: str
    initramfs: Sequence[Path | Archive]
    layer: Path
    seconds: list[float] = field(default_factory=list)
    processes: list[int] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def boot_once(rig: Rig, base: Path, one: Contender) -> None:
    guest = rig.boot([base, one.layer], WORDS, initramfs=one.initramfs)
    one.processes.append(guest.processes())
    said = guest.machine.console
    begin, end = (
        float(re.findall(STAMP + what, said, re.MULTILINE)[0])
        for what in ("Run /init as init process", "bench: the real init")
    )
    one.seconds.append(end - begin)
    guest.run("overlay-confirm")
    guest.off()


def test_time_to_the_real_init(rig: Rig) -> None:
    if rig.images.modular:
        pytest.skip("the C program loads no modules: build with image_debian_kernel=source")
    mark = rig.work / "mark"
    disk.run("gcc", "-O2", "-static", "-Wall", "-Werror", "-o", mark, HERE / "mark.c")
    # With an identity, as every builder gives it.
    base = rig.base(Base(overlay=rig.rootfs_overlay, init=str(mark), base_id="b" * 64))
    peer = rig.addition(
        {"init": (HERE / "peer.sh").read_bytes()},
        {f"usr/bin/{name}": "/usr/bin/busybox" for name in ("cat", "expr")},
    )
    contenders = [
        Contender("C program, mounts only", [floor(rig.work, "ext2", "ext4")], rig.writable()),
        Contender("br2.readonly_rootfs", [rig.images.initramfs], rig.writable()),
        Contender("seed system's algorithm", [rig.images.initramfs, peer], rig.writable()),
    ]
    for _unused in range(RUNS + 1):
        for contender in contenders:
            boot_once(rig, base, contender)
    least = contenders[0]
    print(f"\nfrom `Run /init` to the real init: {RUNS} alternating boots under TCG after one to warm up")
    print(f"{'':26}{'median':>9}{'quickest':>10}{'slowest':>9}{'x C':>7}{'processes beyond C':>20}")
    for one in contenders:
        del one.seconds[0], one.processes[0]
        extra = round(statistics.median(one.processes) - statistics.median(least.processes))
        print(
            f"{one.name:26}{one.median * 1000:6.0f} ms{min(one.seconds) * 1000:7.0f} ms"
            f"{max(one.seconds) * 1000:6.0f} ms{one.median / least.median:7.2f}{extra:20}"
        )
