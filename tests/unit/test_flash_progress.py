# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of progress, and which files go to a station."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._flash_progress import (
    Lines,
    all_over,
    pause,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._flash_transfer import (
    companions,
    install_command,
    is_address,
    sha256,
)


def card(phase: str, done: int = 0, name: str = "/dev/sdb (S1)") -> dict[str, Any]:
    return {"name": name, "phase": phase, "done": done << 20, "total": 200 << 20}


def test_a_line_for_each_phase_and_now_and_then() -> None:
    lines = Lines("bench-1")
    assert list(lines.new([card("waiting")], 0)) == []
    assert list(lines.new([card("write", 10)], 1)) == ["[bench-1] /dev/sdb (S1) write 5 % of 200 MiB"]
    assert list(lines.new([card("write", 20)], 2)) == []
    assert list(lines.new([card("write", 100)], 7)) == ["[bench-1] /dev/sdb (S1) write 50 % of 200 MiB"]
    assert list(lines.new([card("verify", 0)], 8)) == ["[bench-1] /dev/sdb (S1) verify 0 % of 200 MiB"]
    assert list(lines.new([card("done", 200)], 9)) == ["[bench-1] /dev/sdb (S1) done"]
    assert list(lines.new([card("done", 200)], 99)) == []


def test_each_card_has_its_own_lines() -> None:
    lines = Lines("bench-1")
    cards = [card("write", 1, "/dev/sdb"), card("failed", 0, "/dev/sdc")]
    assert len(list(lines.new(cards, 0))) == 2
    assert list(lines.new(cards, 1)) == []
    assert len(list(lines.new(cards, 99))) == 1, "a failure is told once"


def test_a_run_is_over_when_all_its_cards_are() -> None:
    assert not all_over([])
    assert not all_over([card("done"), card("verify")])
    assert all_over([card("done"), card("failed"), card("refused")])


def test_a_long_run_is_asked_less_often() -> None:
    assert pause(2) < 1
    assert pause(20) == 5
    assert pause(9999) == 15


@pytest.mark.parametrize(
    ("image", "address"),
    [("https://host/x.img", True), ("HTTP://host/x", True), ("x.img", False), ("/srv/http/x.img", False)],
)
def test_addresses_are_left_to_the_station(image: str, address: bool) -> None:
    assert is_address(image) is address


def test_the_block_map_goes_along(tmp_path: Path) -> None:
    image, bmap = tmp_path / "sdcard.img.xz", tmp_path / "sdcard.img.bmap"
    image.write_bytes(b"image")
    assert companions(image, None) == {"image": image}
    bmap.write_bytes(b"map")
    assert companions(image, None) == {"image": image, "bmap": bmap}
    assert companions(image, str(tmp_path / "other")) == {"image": image, "bmap": tmp_path / "other"}


def test_what_arrives_whole_is_kept(tmp_path: Path) -> None:
    arrived, target = tmp_path / "an image", tmp_path / "the cache/it's/sdcard.img"
    arrived.write_bytes(b"one")
    digest = sha256(arrived)
    install = ["sh", "-c", install_command(str(arrived), digest, str(target))]
    assert subprocess.run(install, check=False).returncode == 0
    assert target.read_bytes() == b"one"
    target.unlink()
    arrived.write_bytes(b"on")
    assert subprocess.run(install, check=False).returncode != 0
    assert not target.exists()
    assert list(target.parent.iterdir()) == []


def test_two_plays_bring_the_same_image(tmp_path: Path) -> None:
    """What one has brought whole is not what the other is just beginning to write."""
    commands = [
        install_command(f"/tmp/{play}/sdcard.img", "0", "/cache/sdcard.img") for play in ("one", "two")
    ]
    halves = [re.findall(r"/cache/sdcard\.img\.[^ ]+", command) for command in commands]
    assert not set(halves[0]) & set(halves[1])
