# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that an image file tells about itself."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from ._bmap import BmapError, check_image, read_bmap
from ._files import cache_directory
from ._flash_errors import FlashError
from ._flash_image import neighbour
from ._flash_unpack import open_unpacked
from ._image_map import Volume, map_fd

_PIECE = 1 << 20


def image_facts(name: str, checksum: bool = True, cache: str | None = None) -> dict[str, Any]:
    """The facts of an image, which is checked against the block map beside it."""
    path = Path(name)
    if path.exists() and not path.is_file():
        raise FlashError("image", f"{path}: is not a file")
    bmap = neighbour(path)
    fd, compression = open_unpacked(path, Path(cache) if cache else cache_directory())
    try:
        size = os.fstat(fd).st_size
        mapping = map_fd(fd, size, scan=True)
        if bmap is not None:
            check_image(fd, size, read_bmap(bmap), path.name)
    except (BmapError, OSError) as error:
        raise FlashError("image", str(error)) from error
    finally:
        os.close(fd)
    return {
        "file": str(path.absolute()),
        "size": size,
        "compression": compression,
        **({"sha256": _sha256(path)} if checksum else {}),
        "table": {"kind": mapping.table.kind, "id": mapping.table.id},
        "partitions": [_partition(volume) for volume in mapping.volumes],
        "map": mapping.summary(),
        "bmap": str(bmap.absolute()) if bmap else None,
        "manifest": _manifest(path),
    }


def _partition(volume: Volume) -> dict[str, Any]:
    part, filesystem = volume.partition, volume.filesystem
    names = ("number", "start", "size", "type", "uuid", "name", "bootable")
    about = ("type", "label", "uuid", "size")
    return {
        **{name: getattr(part, name) for name in names},
        "filesystem": {name: getattr(filesystem, name) for name in about} if filesystem else None,
    }


def _manifest(path: Path) -> dict[str, Any] | None:
    file = path.parent / "manifest.json"
    if not file.is_file():
        return None
    try:
        found = json.loads(file.read_bytes())
    except ValueError as error:
        raise FlashError("image", f"{file}: is not JSON ({error})") from error
    return found if isinstance(found, dict) else None


def _sha256(path: Path) -> str:
    total = hashlib.sha256()
    with path.open("rb") as given:
        while piece := given.read(_PIECE):
            total.update(piece)
    return total.hexdigest()
