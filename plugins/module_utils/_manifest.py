# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of every build, whichever builder: check what is there, map it, describe it.

docs/images.md explains each key of manifest.json.
"""

from __future__ import annotations

import json
import shutil
import typing as t
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ._bmap import write_bmap
from ._build import BuildError, file_sha256, run
from ._files import write_atomically
from ._image_map import ImageMap, Volume

MANIFEST = "manifest.json"
DISK = "sdcard.img"
BMAP = "sdcard.img.bmap"
INITRAMFS = "rootfs.cpio"
BOOT = "boot.vfat"
OVERLAY = "overlay.ext4"
SCRIPT = "start-qemu.sh"
SCHEMA = 1

# Raises BuildError for images, described by their manifest, that must not be used.
Check = t.Callable[[Path, Mapping[str, t.Any]], None]

# Beside the images: what they were made from and how they looked then.
_STAMP = ".images.json"


@dataclass(frozen=True)
class Build:
    """What the builder knows and the images do not show."""

    builder: str
    board: Mapping[str, t.Any]
    rootfs: str
    embedded_initramfs: bool
    base_id: str
    inputs: str
    seconds: float = 0.0
    versions: Mapping[str, t.Any] = field(default_factory=dict)

    @property
    def kernel(self) -> str:
        return str(self.board["kernel"]["image"])

    @property
    def root(self) -> str:
        return f"rootfs.{self.rootfs}"

    @property
    def partitions(self) -> list[str]:
        """The files in the partitions of the disk, in order."""
        return [*([BOOT] if "boot" in self.board["disk"] else []), self.root, OVERLAY]

    @property
    def files(self) -> list[str]:
        """Every file but the manifest."""
        script = [SCRIPT] if "qemu" in self.board else []
        return [self.kernel, INITRAMFS, *self.partitions, DISK, BMAP, *script]


def _accept(_images: Path, _manifest: Mapping[str, t.Any]) -> None:
    """No more is asked than that every file is there."""


def finish(images: Path, build: Build, check: Check = _accept) -> dict[str, t.Any]:
    """Write the block map and, if the images pass the check, the manifest, which makes them finished."""
    (images / MANIFEST).unlink(missing_ok=True)
    missing = [name for name in build.files if name != BMAP and not _has_content(images / name)]
    if missing:
        raise BuildError(f"The build ended without {', '.join(missing)} in {images}.")
    mapping = write_bmap(images / DISK, images / BMAP)
    manifest = _manifest(images, build, mapping)
    check(images, manifest)
    write_atomically(images / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    return manifest


def take_over(source: Path, images: Path, build: Build, check: Check = _accept) -> dict[str, t.Any]:
    """Copies of finished files, described and put into their place all at once."""
    work = images.with_name(f".{images.name}.new")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        # What is missing is told by `finish`.
        names = [source / name for name in build.files if name != BMAP and (source / name).is_file()]
        run(["cp", "--sparse=always", "--reflink=auto", "--preserve=mode,timestamps", *names, work])
        manifest = finish(work, build, check)
        move(work, images)
        return manifest
    finally:
        shutil.rmtree(work, ignore_errors=True)


def remember(images: Path, inputs: str) -> None:
    """Note what the finished images were made from, for is_current."""
    manifest = read(images) or {}
    stamp = {"inputs": inputs, "files": {name: _look(images / name) for name in manifest["files"]}}
    write_atomically(images.parent / _STAMP, json.dumps(stamp) + "\n")


def is_current(images: Path, inputs: str) -> bool:
    """Whether the images are whole, untouched, and made from just these inputs."""
    try:
        stamp = json.loads((images.parent / _STAMP).read_text(encoding="utf-8"))
        unchanged = all(_look(images / name) == seen for name, seen in stamp["files"].items())
    except (OSError, ValueError, LookupError):
        return False
    manifest = read(images)
    return unchanged and manifest is not None and stamp["inputs"] == manifest.get("inputs") == inputs


def read(images: Path) -> dict[str, t.Any] | None:
    """The manifest of a directory of images, None when there is none."""
    try:
        data: dict[str, t.Any] = json.loads((images / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data


def move(source: Path, target: Path) -> None:
    """Put finished images where they belong; the manifest goes first and comes last."""
    old, new = read(target) or {}, read(source) or {}
    target.mkdir(parents=True, exist_ok=True)
    (target / MANIFEST).unlink(missing_ok=True)
    for name in sorted(new["files"]):
        (source / name).replace(target / name)
    for name in set(old.get("files", ())) - set(new["files"]):
        (target / name).unlink(missing_ok=True)
    (source / MANIFEST).replace(target / MANIFEST)


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _look(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _manifest(images: Path, build: Build, mapping: ImageMap) -> dict[str, t.Any]:
    with ThreadPoolExecutor() as pool:
        sums = dict(zip(build.files, pool.map(lambda name: file_sha256(images / name), build.files)))
    board = build.board
    return {
        "schema": SCHEMA,
        "builder": build.builder,
        "board": board["name"],
        "architecture": board["architecture"],
        "base_id": build.base_id,
        "kernel": {
            "file": build.kernel,
            "cmdline": board["kernel"]["cmdline"],
            "console": board["console"],
            "initramfs": INITRAMFS,
            "embedded": build.embedded_initramfs,
        },
        "root": {"file": build.root, "type": build.rootfs},
        "disk": {
            "file": DISK,
            "size": mapping.size,
            "bmap": BMAP,
            "bytes": mapping.summary(),
            "table": mapping.table.kind,
            "id": mapping.table.id,
            "partitions": [_partition(volume) for volume in mapping.volumes],
        },
        "files": {
            name: {"size": (images / name).stat().st_size, "sha256": sums[name]} for name in build.files
        },
        "qemu": board.get("qemu", {}),
        "versions": dict(build.versions),
        "inputs": build.inputs,
        "seconds": build.seconds,
    }


def _partition(volume: Volume) -> dict[str, t.Any]:
    part, system = volume.partition, volume.filesystem
    return {
        "number": part.number,
        "name": part.name,
        "type": part.type,
        "uuid": part.uuid,
        "start": part.start,
        "size": part.size,
        "filesystem": None
        if system is None
        else {"type": system.type, "label": system.label, "uuid": system.uuid},
    }
