# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible_collections.br2.readonly_rootfs.molecule.resources import guest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu import Disk, Guest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu_vm import Vm
from ansible_collections.br2.readonly_rootfs.tests.support import flashing

testinfra_hosts = ["ansible://flash"]
CARDS = guest.PROJECT / "output/molecule/cards"
IMAGES = Path(os.environ.get("BR2_IMAGES") or guest.PROJECT / "output/qemu_x86_64/images")


def cards(run: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((CARDS / f"{run}.json").read_text())["cards"]
    return found


def test_each_card_is_judged_alone() -> None:
    assert [(card["status"], card.get("failure", {}).get("kind")) for card in cards("first")] == [
        ("flashed", None),
        ("refused", "too_small"),
        ("refused", "read_only"),
    ]
    assert cards("first")[0]["verification"] == "full"


def test_a_second_run_writes_nothing() -> None:
    assert [card["status"] for card in cards("second")] == ["unchanged", "refused", "refused"]
    assert cards("second")[0]["bytes"]["written"] == 0


def test_the_readers_are_told_apart() -> None:
    assert [card["device"]["port"] for card in cards("first")] == ["2-1", "2-2", "2-3"]


def test_the_batch_fails_and_is_reported() -> None:
    assert "the image needs" in (CARDS / "report-failed").read_text()
    (report,) = (CARDS / "reports").glob("*.json")
    assert [card["host"] for card in json.loads(report.read_text())["cards"]] == ["gate", "", ""]
    (labels,) = (CARDS / "reports").glob("*.labels.txt")
    assert labels.read_text().count("serial") == 1
    (page,) = (CARDS / "reports").glob("*.html")
    assert "1 of 3 cards hold the image" in page.read_text()


def test_the_good_card_is_sound_and_boots(tmp_path: Path) -> None:
    card = CARDS / "good"
    assert flashing.fsck_all(card, card, tmp_path) == []
    kernel = json.loads((IMAGES / "manifest.json").read_text())["kernel"]
    device = Guest(
        "gate",
        kernel=str(IMAGES / kernel["file"]),
        initrd="" if kernel["embedded"] else str(IMAGES / kernel["initramfs"]),
        append=kernel["cmdline"],
        disks=(Disk(str(card), access="snapshot"),),
        network=False,
        reboot=False,
    )
    with Vm(tmp_path / "vm") as vm:
        vm.start(device)
        vm.wait_for_console(r"gate login:", 180)
