# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the debian builder takes, with a warm cache, and how much of an image a small change moves.

Printed, not asserted: a figure depends on the machine and on what else it does.
"""

from __future__ import annotations

import functools
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._files import cache_directory
from ansible_collections.br2.readonly_rootfs.tests.support.debian import Builder

RUNS = int(os.environ.get("BR2_BENCH_RUNS", "5"))
ROOT = Path(__file__).parents[2]


def median(act: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> float:
    seconds = []
    for _unused in range(RUNS):
        prepare()
        begin = time.monotonic()
        act()
        seconds.append(time.monotonic() - begin)
    return statistics.median(seconds)


def playbook(output: Path) -> str:
    words = ["-e", "image_builder=debian", "-e", "image_boot_check=false", "-e", f"image_output_dir={output}"]
    command = ["ansible-playbook", "playbooks/build.yml", *words]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_seconds_of_a_build(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "direct")
    builder.run()
    stages: list[dict[str, float]] = []
    alone = median(
        lambda: stages.append(builder.run()["stages"]),
        (builder.output / ".images.json").unlink,
    )
    play = functools.partial(playbook, tmp_path / "play")
    play()
    whole = median(play, (tmp_path / "play/qemu_x86_64/.images.json").unlink)
    nothing = median(play)

    print(f"\nDebian builder, warm cache, medians of {RUNS}, seconds")
    for what, seconds in (
        ("image alone", alone),
        ("build.yml, everything made anew", whole),
        ("build.yml, nothing to do", nothing),
        *((f"  {name}", statistics.median(one[name] for one in stages)) for name in stages[0]),
    ):
        print(f"  {what:<34} {seconds:6.2f}")


def test_seconds_of_the_demo(tmp_path: Path) -> None:
    # Packages are there already: their download is the network's time.
    cache = tmp_path / "cache"
    shutil.copytree(cache_directory() / "apt", cache / "apt")
    ours = ["-e", f"image_output_dir={tmp_path}", "-e", "vm_name=bench-demo"]

    def play(name: str, *words: str) -> None:
        subprocess.run(
            ["ansible-playbook", f"playbooks/{name}.yml", *ours, *words],
            cwd=ROOT,
            check=True,
            capture_output=True,
            env={**os.environ, "BR2_CACHE_DIR": str(cache)},
        )

    begin = time.monotonic()
    try:
        play("demo")
        cold = time.monotonic() - begin
        warm = median(lambda: play("demo"))
    finally:
        play("vm", "-e", "vm_state=absent")
    print(f"\nThe demo, booted to its shell: {cold:.0f} s with packages and no image, {warm:.0f} s warm")


def test_blocks_that_a_small_change_moves(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "out")
    overlay = tmp_path / "overlay"
    (overlay / "opt").mkdir(parents=True)
    (overlay / "opt/application").write_bytes(os.urandom(1 << 20))
    builder.run(rootfs_overlays=[str(overlay)])
    before = (builder.images / "sdcard.img").read_bytes()
    (overlay / "opt/application").write_bytes(os.urandom(1 << 20))
    builder.run(rootfs_overlays=[str(overlay)])
    after = (builder.images / "sdcard.img").read_bytes()
    moved = sum(before[at : at + 4096] != after[at : at + 4096] for at in range(0, len(before), 4096))
    print(f"\nA file of 1024 KiB replaced: {moved * 4} KiB of sdcard.img differ")
