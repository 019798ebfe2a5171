# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flash as the module does, and judge the card from outside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_run import run
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._image_map import Kind, image_map
from ansible_collections.br2.readonly_rootfs.tests.support import images


def params(image: Path, devices: Sequence[str], **changes: Any) -> dict[str, Any]:
    """The module's parameters with their defaults; the targets are loop devices."""
    named: dict[str, Any] = {
        "image": str(image),
        "checksum": None,
        "signature": None,
        "keyring": None,
        "bmap": None,
        "targets": [target(device) for device in devices],
        "expect": {},
        "seed": [],
        "grow": False,
        "wipe": False,
        "verify": "full",
        "allow": ["non_removable"],
        "max_size": "512G",
        "cache_dir": str(image.parent / "cache"),
        "progress_path": None,
    }
    return {**named, **changes}


def target(device: str, **changes: Any) -> dict[str, Any]:
    """A target as the module's arguments give it."""
    named: dict[str, Any] = {
        "path": device,
        "serial": None,
        "model": None,
        "port": None,
        "min_size": "1M",
        "max_size": "1G",
        "host": None,
        "seed": [],
    }
    return {**named, **changes}


def flash(image: Path, devices: Sequence[str], check: bool = False, **changes: Any) -> dict[str, Any]:
    """The module's result."""
    return run(params(image, devices, **changes), check)


def holds(card: Path, image: Path) -> bool:
    """Whether all bytes that matter are on the card."""
    with card.open("rb") as found, image.open("rb") as wanted:
        for extent in image_map(image).extents:
            if extent.kind is Kind.FREE:
                continue
            found.seek(extent.start)
            wanted.seek(extent.start)
            expected = bytes(extent.length) if extent.kind is Kind.ZERO else wanted.read(extent.length)
            if found.read(extent.length) != expected:
                return False
    return True


def has_table(card: Path, image: Path) -> bool:
    """Whether the card starts as the image does, so that it would boot."""
    with card.open("rb") as found, image.open("rb") as wanted:
        return found.read(512) == wanted.read(512)


def fsck_all(card: Path, image: Path, scratch: Path) -> list[str]:
    """What e2fsck has against each partition of the card; empty when nothing."""
    complaints = []
    for volume in image_map(image).volumes:
        part = images.extract(card, volume.partition.start, volume.partition.size, scratch / "part")
        checked = images.fsck(part)
        if checked.returncode:
            complaints.append(checked.stdout)
    return complaints
