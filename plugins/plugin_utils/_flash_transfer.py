# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of the controller a station needs, and what they are called there."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_image import neighbour

_PIECE = 1 << 20


def is_address(image: str) -> bool:
    """Whether the station itself loads the image."""
    return image.lower().startswith(("http://", "https://"))


def companions(image: Path, bmap: str | None) -> dict[str, Path]:
    """The files to bring, by the module's option."""
    beside = Path(bmap).expanduser().absolute() if bmap else neighbour(image)
    return {"image": image, **({"bmap": beside} if beside else {})}


def kept_name(path: Path) -> str:
    """A name that stands for the content: equal files are brought once, changed ones anew."""
    total = hashlib.sha256()
    with path.open("rb") as given:
        while piece := given.read(_PIECE):
            total.update(piece)
    return f"{total.hexdigest()}/{path.name}"
