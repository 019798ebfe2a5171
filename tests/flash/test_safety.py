# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wrong disk is refused, on real devices, before the first write."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _flash
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._blockdev import System, disks
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_medium import Medium, open_card
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_safety import (
    Rules,
    Target,
    refusals,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._image_map import image_map
from ansible_collections.br2.readonly_rootfs.tests.support import cards, flashing, images

MIB = 1 << 20
SIZE = 64 * MIB


@pytest.fixture
def backing(tmp_path: Path, image: Path) -> Path:
    """A card that holds the image."""
    file = tmp_path / "backing"
    images.sparse_copy(image, file)
    with file.open("r+b") as out:
        out.truncate(SIZE)
    return file


@contextlib.contextmanager
def mounted(device: str, place: Path) -> Iterator[None]:
    place.mkdir()
    subprocess.run(["mount", "-o", "ro", device, str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def second(image: Path) -> int:
    """Where the ext4 starts."""
    return image_map(image).volumes[1].partition.start


def refusal(image: Path, device: str, **changes: Any) -> str:
    """The kind of refusal, and the proof that nothing was written."""
    before = cards.written(device)
    (card,) = flashing.flash(image, [device], **changes)["cards"]
    assert card["status"] == "refused"
    assert cards.written(device) == before
    assert device in card["failure"]["message"]
    return str(card["failure"]["kind"])


def test_a_mounted_disk(image: Path, tmp_path: Path) -> None:
    file = images.make_ext(tmp_path / "fs", SIZE)
    with cards.loop(file) as device, mounted(device, tmp_path / "place"):
        assert refusal(image, device) == "mounted"


def test_a_disk_below_a_mounted_loop(image: Path, backing: Path, tmp_path: Path) -> None:
    """Opening it exclusively succeeds: the kernel does not see this use."""
    with (
        cards.loop(backing) as disk,
        cards.loop(Path(disk), "--offset", str(second(image))) as part,
        mounted(part, tmp_path / "place"),
    ):
        os.close(os.open(disk, os.O_RDWR | os.O_EXCL))
        assert refusal(image, disk) == "mounted"


def test_a_disk_below_a_loop(image: Path, backing: Path) -> None:
    with cards.loop(backing) as disk, cards.loop(Path(disk), "--offset", str(second(image))):
        assert refusal(image, disk) == "in_use"


def test_a_loop_over_a_disk(image: Path, backing: Path) -> None:
    with cards.loop(backing) as disk, cards.loop(Path(disk)) as upper:
        assert refusal(image, upper) == "stacked"


def test_the_disk_of_the_running_system() -> None:
    """Asked of the rules alone: a failing test must not cost the machine."""
    system = System()
    kinds = {
        disk.path: [error.kind for error in refusals(disk, Target(disk.path), Rules(), system)]
        for disk in disks(system)
    }
    roots = [path for path, found in kinds.items() if "system_disk" in found]
    if not roots:
        pytest.skip("the root file system is on no disk here")
    assert all("unnamed" in kinds[path] for path in roots)


def test_a_disk_that_another_program_holds(image: Path, backing: Path) -> None:
    with cards.loop(backing) as device:
        held = os.open(device, os.O_RDONLY | os.O_EXCL)
        try:
            assert refusal(image, device) == "busy"
        finally:
            os.close(held)


def test_a_disk_that_another_program_has_locked(image: Path, backing: Path) -> None:
    with cards.loop(backing) as device:
        held = os.open(device, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert refusal(image, device) == "busy"
        finally:
            os.close(held)


def test_a_disk_that_udev_is_just_looking_at(image: Path, backing: Path) -> None:
    with cards.loop(backing) as device:
        held = os.open(device, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_SH)
        threading.Timer(0.5, os.close, [held]).start()
        (card,) = flashing.flash(image, [device])["cards"]
        assert card["status"] == "unchanged"


def test_a_disk_that_is_not_removable(image: Path, backing: Path) -> None:
    with cards.loop(backing) as device:
        assert refusal(image, device, allow=[]) == "not_removable"


def test_a_disk_of_another_size(image: Path, backing: Path) -> None:
    with cards.loop(backing) as device:
        targets = [flashing.target(device, min_size="1G", max_size="2G")]
        assert refusal(image, device, targets=targets) == "unexpected"
        assert refusal(image, device, max_size="32M") == "too_big"


def test_a_node_without_any_expectation(image: Path, backing: Path) -> None:
    with cards.loop(backing) as device:
        targets = [flashing.target(device, min_size=None, max_size=None)]
        assert refusal(image, device, targets=targets) == "unnamed"


def test_a_disk_whose_sectors_do_not_fit(image: Path, backing: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.img"
    bare.write_bytes(b"no table\0" * 1000)
    with cards.loop(backing, "--sector-size", "4096") as device:
        assert refusal(image, device) == "sector_size"
        assert refusal(bare, device) == "sector_size"


def test_a_card_named_twice(image: Path, backing: Path, tmp_path: Path) -> None:
    with cards.loop(backing) as device:
        (tmp_path / "alias").symlink_to(device)
        result = flashing.flash(image, [device, str(tmp_path / "alias")])
    assert [card["status"] for card in result["cards"]] == ["unchanged", "refused"]
    assert result["cards"][1]["failure"]["kind"] == "duplicate"


def test_what_is_no_disk(image: Path, tmp_path: Path) -> None:
    result = flashing.flash(image, [str(image), str(tmp_path / "none")])
    assert [card["failure"]["kind"] for card in result["cards"]] == ["not_block", "not_found"]


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], str]], None]:
    """Have something happen after the look at the disk and before it is opened; returns what is opened."""

    def happen(what: Callable[[], str]) -> None:
        def opened(path: str, name: str, write: bool = True) -> Medium:
            return open_card(what(), name, write)

        monkeypatch.setattr(_flash, "open_card", opened)

    return happen


def test_a_name_that_moves_to_another_disk(
    image: Path, backing: Path, tmp_path: Path, late: Callable[[Callable[[], str]], None]
) -> None:
    with cards.loop(backing) as device, cards.loop(cards.junk_file(tmp_path / "other", SIZE)) as other:
        before = cards.written(other)
        late(lambda: other)
        assert refusal(image, device) == "vanished"
        assert cards.written(other) == before


def test_a_use_that_the_kernel_does_not_see_comes_late(
    image: Path, backing: Path, late: Callable[[Callable[[], str]], None]
) -> None:
    with contextlib.ExitStack() as stack:
        device = stack.enter_context(cards.loop(backing))

        def stacked() -> str:
            stack.enter_context(cards.loop(Path(device)))
            return device

        late(stacked)
        assert refusal(image, device) == "in_use"
