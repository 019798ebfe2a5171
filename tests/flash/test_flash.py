# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Good cards: what is on them afterwards, and what was written for it."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._image_map import image_map
from ansible_collections.br2.readonly_rootfs.tests.support import cards, flashing, images

MIB = 1 << 20
SIZE = 64 * MIB
RUN = 64 << 10


def test_a_junk_card_holds_the_image_and_passes_fsck(image: Path, tmp_path: Path) -> None:
    backing = cards.junk_file(tmp_path / "backing", SIZE)
    with cards.loop(backing) as device:
        first = flashing.flash(image, [device])
        again = flashing.flash(image, [device])
        checked = flashing.flash(image, [device], check=True)
    assert not first["failed"], first["msg"]
    assert first["cards"][0]["verification"] == "full"
    assert flashing.holds(backing, image)
    assert flashing.fsck_all(backing, image, tmp_path) == []
    assert not again["changed"]
    assert again["cards"][0]["bytes"]["written"] == 0
    assert again["cards"][0]["verification"] == "compared"
    assert checked["cards"][0]["to_write"] == 0


def test_free_bytes_are_left_alone(image: Path, tmp_path: Path) -> None:
    backing = cards.junk_file(tmp_path / "backing", SIZE)
    with cards.loop(backing) as device:
        result = flashing.flash(image, [device])
    matter = sum(end - start for start, end in image_map(image).used())
    # Gaps of up to 64 KiB are written over, which costs less than leaving them out.
    assert result["cards"][0]["bytes"]["written"] < matter + 2 * MIB


def test_check_mode_writes_nothing_and_tells_the_truth(image: Path, tmp_path: Path) -> None:
    backing = cards.junk_file(tmp_path / "backing", SIZE)
    before = backing.read_bytes()
    with cards.loop(backing) as device:
        promised = flashing.flash(image, [device], check=True)
        assert backing.read_bytes() == before
        done = flashing.flash(image, [device])
    assert promised["changed"]
    assert promised["cards"][0]["status"] == "would flash"
    assert promised["cards"][0]["to_write"] == done["cards"][0]["bytes"]["written"]


@pytest.mark.parametrize("changes", [1, 8])
def test_a_small_change_is_all_that_is_written(image: Path, tmp_path: Path, changes: int) -> None:
    backing = cards.junk_file(tmp_path / "backing", SIZE)
    changed = Path(shutil.copy(image, tmp_path / "changed.img"))
    used = [span for span in image_map(image).used() if span[1] - span[0] > MIB]
    source = random.Random(changes)
    with changed.open("r+b") as out:
        for _unused in range(changes):
            start, end = source.choice(used)
            out.seek(max(source.randrange(start, end - 1000), 8192))
            out.write(source.randbytes(1000))
    with cards.loop(backing) as device:
        flashing.flash(image, [device])
        result = flashing.flash(changed, [device], verify="written")
    assert flashing.holds(backing, changed)
    # Each change may straddle two runs; the first block is always written last.
    assert result["cards"][0]["bytes"]["written"] <= changes * 2 * RUN + 4096
    assert result["cards"][0]["verification"] == "written"


def test_many_cards_at_their_own_pace(image: Path, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        files = [cards.junk_file(tmp_path / f"card{number}", SIZE, number) for number in range(3)]
        fast = [stack.enter_context(cards.loop(file)) for file in files[:2]]
        slow = stack.enter_context(cards.faulty(files[2], wbps=8e6))
        result = flashing.flash(image, [*fast, slow.device])
    assert not result["failed"]
    seconds = [card["seconds"]["total"] for card in result["cards"]]
    assert max(seconds[:2]) < seconds[2] / 2
    assert all(flashing.holds(file, image) for file in files)


# Not ru_maxrss: that counts the process that it was forked from, too.
MEASURE = """
import re, sys
from pathlib import Path
from ansible_collections.br2.readonly_rootfs.tests.support.flashing import flash
failed = flash(Path(sys.argv[1]), sys.argv[2:])["failed"]
print(failed, re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def test_eight_cards_need_little_memory(image: Path, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        files = [cards.junk_file(tmp_path / f"card{number}", SIZE, number) for number in range(8)]
        devices = [stack.enter_context(cards.loop(file)) for file in files]
        ran = subprocess.run(
            [sys.executable, "-c", MEASURE, str(image), *devices],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        )
    failed, kib = ran.stdout.split()
    assert failed == "False"
    assert int(kib) < 100 << 10


@pytest.mark.parametrize("tool", ["gzip", "xz", "zstd"])
def test_compressed_images(image: Path, tmp_path: Path, tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    packed = tmp_path / "sdcard.img.packed"
    with packed.open("wb") as out:
        subprocess.run([tool, "-c", "-1", str(image)], check=True, stdout=out)
    backing = cards.junk_file(tmp_path / "backing", SIZE)
    with cards.loop(backing) as device:
        result = flashing.flash(packed, [device])
    assert not result["failed"], result["msg"]
    assert flashing.holds(backing, image)
    assert list((tmp_path / "cache").iterdir()) == []


def test_wipe_leaves_nothing_of_the_old_contents(image: Path, tmp_path: Path) -> None:
    backing = cards.junk_file(tmp_path / "backing", SIZE)
    with cards.loop(backing) as device:
        result = flashing.flash(image, [device], wipe=True)
        again = flashing.flash(image, [device], wipe=True)
    assert not result["failed"], result["msg"]
    content = backing.read_bytes()
    assert content[: image.stat().st_size] == image.read_bytes()
    assert content.count(0, image.stat().st_size) == SIZE - image.stat().st_size
    assert not again["changed"]


def test_grow_and_seed(image: Path, tmp_path: Path) -> None:
    backing = cards.junk_file(tmp_path / "backing", 200 * MIB)
    seed = [
        {"path": "/etc/hostname", "content": "gate-017\n"},
        {"path": "/root/.ssh", "state": "directory", "mode": "0700"},
        {"path": "/root/.ssh/id", "content_base64": "AAECAwQ=", "mode": "0600", "owner": 5, "group": 6},
    ]
    for_all = [{"path": "/etc/hostname", "content": "gate\n"}]
    with cards.loop(backing) as device:
        given: dict[str, Any] = {"seed": for_all, "targets": [flashing.target(device, seed=seed)]}
        result = flashing.flash(image, [device], grow=True, **given)
        again = flashing.flash(image, [device], grow=True, **given)
    assert not result["failed"], result["msg"]
    assert not again["changed"], "the same input must give the same bytes"
    volume = image_map(backing).volumes[1]
    assert volume.partition.end == 200 * MIB
    assert volume.filesystem is not None
    assert volume.filesystem.size > 170 * MIB
    part = images.extract(backing, volume.partition.start, volume.partition.size, tmp_path / "part")
    assert images.fsck(part).returncode == 0

    def debugfs(command: str) -> str:
        return subprocess.run(
            ["debugfs", "-R", command, str(part)], check=True, capture_output=True, text=True
        ).stdout

    assert debugfs("cat /upperdir/etc/hostname") == "gate-017\n", "a card's own file is the one that counts"
    about = debugfs("stat /upperdir/root/.ssh/id")
    assert "Mode:  0600" in about
    assert "User:     5   Group:     6" in about
    assert "Mode:  0700" in debugfs("stat /upperdir/root/.ssh")
    base = image_map(image).volumes[0].partition
    with backing.open("rb") as found, image.open("rb") as wanted:
        found.seek(base.start)
        wanted.seek(base.start)
        assert found.read(MIB) == wanted.read(MIB), "the base is never changed"


PROGRAM = """
import sys
from pathlib import Path
from ansible_collections.br2.readonly_rootfs.tests.support.flashing import flash
flash(Path(sys.argv[1]), [sys.argv[2]])
"""


@pytest.mark.parametrize("point", range(20))
def test_a_killed_run_is_resumed(image: Path, tmp_path: Path, point: int) -> None:
    """Killed after so many twentieths of its writes; a second run finishes, and writes only the rest."""
    backing = cards.junk_file(tmp_path / "backing", SIZE)
    matter = sum(end - start for start, end in image_map(image).used())
    with cards.faulty(backing, wbps=30e6) as card:
        before = cards.written(card.device)
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(image), card.device],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        limit = before + matter * point // 20
        while program.poll() is None and cards.written(card.device) < limit:
            time.sleep(0.002)
        program.send_signal(signal.SIGKILL)
        killed = program.wait() == -signal.SIGKILL
        assert killed
        if point:
            assert not flashing.has_table(backing, image)
        card.set()
        result = flashing.flash(image, [card.device])
    assert not result["failed"], result["msg"]
    assert flashing.holds(backing, image)
    assert flashing.fsck_all(backing, image, tmp_path) == []
    written = result["cards"][0]["bytes"]["written"]
    assert written <= matter * (20 - point) // 20 + 4 * MIB
