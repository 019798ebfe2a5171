# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Can these images be right? Asked of the files, after every build and before they get their names."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from pathlib import Path

from . import _initramfs
from ._boot_check import Verdict, boot
from ._build import BuildError

_PIECE = 1 << 20


class Judge:
    """Refuses images that cannot be right, or do not boot; holds how the boot went."""

    def __init__(self, contents: list[str], log: Path, boots: bool) -> None:
        self.contents = contents
        self.log = log
        self.boots = boots
        self.verdict = Verdict(False)

    def __call__(self, images: Path, manifest: Mapping[str, t.Any]) -> None:
        inspect(images, manifest, self.contents)
        if self.boots:
            self.verdict = boot(images, manifest, self.log)


def inspect(images: Path, manifest: Mapping[str, t.Any], contents: list[str]) -> None:
    """An initramfs that can start, and a disk whose partitions hold just these files, in this order."""
    try:
        _initramfs.check(images / manifest["kernel"]["initramfs"])
    except _initramfs.InitramfsError as error:
        raise BuildError(str(error)) from error
    disk = manifest["disk"]
    partitions = disk["partitions"]
    if len(partitions) != len(contents):
        raise BuildError(
            f"{disk['file']} has {len(partitions)} partitions; {', '.join(contents)} want {len(contents)}."
        )
    with (images / disk["file"]).open("rb") as image:
        for partition, name in zip(partitions, contents):
            size = (images / name).stat().st_size
            if size > partition["size"]:
                raise BuildError(
                    f"{name} has {size} bytes, partition {partition['number']} of {disk['file']} "
                    f"{partition['size']}: make the partition larger in the board's file (disk)."
                )
            image.seek(partition["start"])
            if not _begins_with(image, images / name):
                raise BuildError(
                    f"Partition {partition['number']} of {disk['file']} does not hold {name}: "
                    "it is from another build, or a script changed one of them."
                )


def _begins_with(image: t.BinaryIO, path: Path) -> bool:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            if image.read(len(piece)) != piece:
                return False
    return True
