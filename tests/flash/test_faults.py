# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad cards are named, never pass for good ones, and never boot."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _flash_image
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._bmap import check_image, write_bmap
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_errors import FlashError
from ansible_collections.br2.readonly_rootfs.tests.support import cards, flashing, images

MIB = 1 << 20
SIZE = 64 * MIB
# In the data of the root partition, far from the first block.
INSIDE = 4 * MIB


@pytest.fixture
def backing(tmp_path: Path) -> Path:
    return cards.junk_file(tmp_path / "backing", SIZE)


def only_card(result: dict[str, Any]) -> dict[str, Any]:
    (card,) = result["cards"]
    assert isinstance(card, dict)
    return card


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        ({"write_error": [INSIDE, INSIDE + 4096]}, "write_error"),
        ({"write_error": [0, 4096]}, "write_error"),
        ({"sync_error": True}, "write_error"),
        ({"vanish_after": 3 * MIB}, "vanished"),
        ({"read_error": [INSIDE, INSIDE + 4096]}, "read_error"),
        ({"wraps_at": 4 * MIB}, "fake_capacity"),
        ({"wraps_at": 8 * MIB}, "fake_capacity"),
        ({"lost_from": INSIDE}, "verify_mismatch"),
        ({"drop_writes": True}, "verify_mismatch"),
        ({"flip_at": INSIDE + 12345}, "verify_mismatch"),
        ({"flip_at": 100}, "verify_mismatch"),
    ],
    ids=str,
)
def test_a_bad_card_fails_and_does_not_boot(
    image: Path, backing: Path, faults: dict[str, Any], kind: str
) -> None:
    with cards.faulty(backing, **faults) as bad:
        result = flashing.flash(image, [bad.device])
        card = only_card(result)
        assert result["failed"]
        assert card["status"] == "failed"
        assert card["verification"] == "failed"
        assert card["failure"]["kind"] == kind
        assert bad.device in card["failure"]["message"]
        assert card["failure"]["advice"]
    assert not flashing.has_table(backing, image)


@pytest.mark.parametrize("fault", ["wraps_at", "lost_from"])
@pytest.mark.parametrize("capacity", [96 * MIB, 100 * MIB, 190 * MIB + 512])
def test_a_fake_card_to_whose_end_a_file_system_grew(
    image: Path, tmp_path: Path, fault: str, capacity: int
) -> None:
    """The image alone fits in what the card has."""
    backing = cards.junk_file(tmp_path / "backing", 200 * MIB)
    with cards.faulty(backing, **{fault: capacity}) as bad:
        card = only_card(flashing.flash(image, [bad.device], grow=True))
    assert card["status"] == "failed"
    assert card["failure"]["kind"] == ("fake_capacity" if fault == "wraps_at" else "verify_mismatch")
    assert backing.read_bytes()[510:512] != b"\x55\xaa"


def test_a_bad_place_is_named(image: Path, backing: Path) -> None:
    at = INSIDE + 12345
    with cards.faulty(backing, flip_at=at) as bad:
        failure = only_card(flashing.flash(image, [bad.device]))["failure"]
    ((start, length),) = failure["bad_ranges"]
    assert start <= at < start + length
    assert length <= 64 << 10


def test_a_write_error_tells_where(image: Path, backing: Path) -> None:
    with cards.faulty(backing, write_error=[INSIDE, INSIDE + 4096]) as bad:
        failure = only_card(flashing.flash(image, [bad.device]))["failure"]
    assert failure["errno"] == "EIO"
    assert failure["offset"] <= INSIDE < failure["offset"] + 2 * MIB


def test_a_passing_fault_is_written_again(image: Path, backing: Path) -> None:
    """A mismatch is rewritten once; a card that then reads back right is good."""
    with cards.faulty(backing, drop_writes=True, heals_after=8 * MIB) as card:
        result = flashing.flash(image, [card.device])
    assert not result["failed"], result["msg"]
    assert "rewrite" in only_card(result)["seconds"]
    assert flashing.holds(backing, image)


def test_without_verification_it_is_said(image: Path, backing: Path) -> None:
    with cards.faulty(backing, drop_writes=True) as bad:
        result = flashing.flash(image, [bad.device], verify="none")
    assert only_card(result)["verification"] == "none"


def test_a_short_card_is_not_touched(image: Path, tmp_path: Path) -> None:
    backing = cards.junk_file(tmp_path / "short", 40 * MIB)
    before = backing.read_bytes()
    with cards.loop(backing) as device:
        card = only_card(flashing.flash(image, [device]))
    assert card["status"] == "refused"
    assert card["failure"]["kind"] == "too_small"
    assert backing.read_bytes() == before


def test_a_locked_card_is_not_touched(image: Path, backing: Path) -> None:
    with cards.loop(backing, "--read-only") as device:
        assert only_card(flashing.flash(image, [device]))["failure"]["kind"] == "read_only"


def test_a_card_locked_by_the_kernel_is_not_touched(image: Path, backing: Path) -> None:
    """Such a device opens for writing without an error."""
    before = backing.read_bytes()
    with cards.loop(backing) as device:
        subprocess.run(["blockdev", "--setro", device], check=True)
        assert only_card(flashing.flash(image, [device]))["failure"]["kind"] == "read_only"
        subprocess.run(["blockdev", "--setrw", device], check=True)
    assert backing.read_bytes() == before


@pytest.mark.parametrize("changes", [{}, {"wipe": True}, {"grow": True}], ids=str)
def test_a_damaged_image_touches_no_card(
    image: Path, backing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    """However long it takes to find out: cards are looked at meanwhile, and not written."""
    damaged = tmp_path / "damaged.img"
    images.sparse_copy(image, damaged)
    write_bmap(image, f"{damaged}.bmap")
    with damaged.open("r+b") as out:
        out.seek(INSIDE)
        out.write(b"damage")

    def slowly(*given: Any) -> None:
        time.sleep(1)
        check_image(*given)

    monkeypatch.setattr(_flash_image, "check_image", slowly)
    before = backing.read_bytes()
    with (
        cards.loop(backing, "--direct-io=on") as device,
        pytest.raises(FlashError, match="do not match the block map"),
    ):
        flashing.flash(damaged, [device], **changes)
    assert backing.read_bytes() == before


def test_one_bad_card_among_eight(image: Path, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        files = [cards.junk_file(tmp_path / f"card{number}", SIZE, number) for number in range(8)]
        devices = [stack.enter_context(cards.loop(file)) for file in files[:7]]
        bad = stack.enter_context(cards.faulty(files[7], write_error=[INSIDE, INSIDE + 512]))
        result = flashing.flash(image, [*devices[:3], bad.device, *devices[3:]])
    assert result["failed"]
    assert [card["status"] for card in result["cards"]] == ["flashed"] * 3 + ["failed"] + ["flashed"] * 4
    assert bad.device in result["msg"]
    assert str(result["cards"][3]["failure"]["offset"]) in result["msg"]
    for file in files[:7]:
        assert flashing.holds(file, image)
    assert not flashing.has_table(files[7], image)


@pytest.fixture
def slow_run(image: Path, backing: Path) -> Iterator[tuple[str, threading.Thread]]:
    with cards.faulty(backing, wbps=6e6) as card:
        before = cards.written(card.device)
        running = threading.Thread(target=flashing.flash, args=(image, [card.device]))
        running.start()
        while running.is_alive() and cards.written(card.device) == before:
            time.sleep(0.02)
        yield card.device, running
        running.join()


def test_an_image_that_is_written_to_meanwhile(image: Path, backing: Path, tmp_path: Path) -> None:
    """The card would hold a bit of each, and read back well."""
    changing = tmp_path / "changing.img"
    images.sparse_copy(image, changing)
    results: list[dict[str, Any]] = []
    with cards.faulty(backing, wbps=6e6) as card:
        before = cards.written(card.device)
        running = threading.Thread(target=lambda: results.append(flashing.flash(changing, [card.device])))
        running.start()
        while running.is_alive() and cards.written(card.device) == before:
            time.sleep(0.02)
        with changing.open("r+b") as out:
            out.seek(INSIDE)
            out.write(b"newer")
        card.set()
        running.join()
    assert only_card(results[0])["failure"]["kind"] == "image"
    assert not flashing.has_table(backing, image)


def test_who_cannot_look_on_does_not_end_a_run(image: Path, backing: Path) -> None:
    with cards.loop(backing) as device:
        result = flashing.flash(image, [device], progress_path="/proc/nowhere/progress.json")
    assert only_card(result)["status"] == "flashed"


def test_two_runs_never_write_one_card(
    image: Path, backing: Path, slow_run: tuple[str, threading.Thread]
) -> None:
    device, first = slow_run
    second = only_card(flashing.flash(image, [device]))
    assert second["status"] == "refused"
    assert second["failure"]["kind"] == "busy"
    first.join()
    assert flashing.holds(backing, image)
