# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cards that were flashed, booted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._image_map import image_map
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu import Disk, Guest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu_vm import Vm
from ansible_collections.br2.readonly_rootfs.tests.support import cards, flashing

PROJECT = Path(__file__).parents[2]
IMAGES = PROJECT / (os.environ.get("BR2_IMAGES") or "output/qemu_x86_64/images")
MIB = 1 << 20


@pytest.mark.skipif(bool(cards.missing()), reason=cards.missing() or "cards can be had")
def test_a_junk_card_boots_with_its_own_name(tmp_path: Path) -> None:
    """A card full of old bytes, flashed, grown and seeded, boots as the device that it is for."""
    if not (IMAGES / "manifest.json").exists():
        pytest.fail(f"there are no images in {IMAGES}: build some first, or point BR2_IMAGES at them")
    image = IMAGES / "sdcard.img"
    manifest = json.loads((IMAGES / "manifest.json").read_text())
    kernel = manifest["kernel"]
    backing = cards.junk_file(tmp_path / "card", image.stat().st_size + 64 * MIB)
    seed = [{"path": "/etc/hostname", "content": "gate-017\n"}]
    with cards.loop(backing) as device:
        result = flashing.flash(image, [device], grow=True, seed=seed)
        assert not result["failed"], result["msg"]
    last = image_map(backing).volumes[-1]
    assert last.filesystem is not None
    assert last.filesystem.size > image_map(image).volumes[-1].partition.size + 60 * MIB
    guest = Guest(
        "card",
        kernel=str(IMAGES / kernel["file"]),
        initrd="" if kernel["embedded"] else str(IMAGES / kernel["initramfs"]),
        append=kernel["cmdline"],
        disks=(Disk(str(backing)),),
        network=False,
        reboot=False,
    )
    with Vm(tmp_path / "vm") as vm:
        vm.start(guest)
        vm.wait_for_console(r"gate-017 login:", 120)
