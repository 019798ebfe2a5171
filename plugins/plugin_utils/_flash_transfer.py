# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of the controller a station needs, and what they are called there."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path, PurePosixPath

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_image import neighbour

_PIECE = 1 << 20


def is_address(image: str) -> bool:
    """Whether the station itself loads the image."""
    return image.lower().startswith(("http://", "https://"))


def companions(image: Path, bmap: str | None) -> dict[str, Path]:
    """The files to bring, by the module's option."""
    beside = Path(bmap).expanduser().absolute() if bmap else neighbour(image)
    return {"image": image, **({"bmap": beside} if beside else {})}


def sha256(path: Path) -> str:
    """The content's name: equal files are brought once, changed ones anew."""
    total = hashlib.sha256()
    with path.open("rb") as given:
        while piece := given.read(_PIECE):
            total.update(piece)
    return total.hexdigest()


def check_command(path: str, digest: str) -> str:
    """Whether a file of a station still is what it was, for the shell there."""
    return f"echo {digest}'  '{shlex.quote(path)} | sha256sum -c - >/dev/null 2>&1"


def install_command(arrived: str, digest: str, target: str) -> str:
    """Put a file that arrived at its place in the cache, whole or not at all, for the shell of a station."""
    # Of this play alone: of two that bring the same file none may touch the other's half.
    part = f"{target}.{PurePosixPath(arrived).parent.name}"
    place, kept, half = (shlex.quote(name) for name in (str(PurePosixPath(target).parent), target, part))
    return (
        f"umask 022 && mkdir -p {place} && cp {shlex.quote(arrived)} {half}"
        f" && {check_command(part, digest)} && mv {half} {kept} || {{ rm -f {half}; false; }}"
    )
