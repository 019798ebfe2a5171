# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images from the network, kept on the station by their content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from ._flash_errors import FlashError
from ._flash_image import check_sum

_PIECE = 1 << 20


def fetch(image: str, checksum: str, cache: Path) -> Path:
    """The local file of an image, loaded if it is an address and not in the cache by its checksum."""
    scheme = urlsplit(image).scheme.lower()
    if scheme not in ("http", "https"):
        path = Path(image).expanduser()
        if not path.is_file():
            raise FlashError("image", f"{image}: there is no such file")
        return path
    if scheme == "http" and not checksum:
        raise FlashError("image", f"{image}: without TLS the image needs a checksum")
    name = Path(urlsplit(image).path).name or "image"
    # Without a checksum the address is all that tells it from another sdcard.img.
    key = checksum.lower().rpartition(":")[2] or hashlib.sha256(image.encode()).hexdigest()
    kept = cache / "images" / key / name
    if checksum and _is_whole(kept, checksum):
        return kept
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        return _load(image, checksum, kept)
    except (OSError, HTTPException) as error:
        raise FlashError("image", f"{image}: cannot be loaded ({error})") from error


def _is_whole(kept: Path, checksum: str) -> bool:
    try:
        return kept.is_file() and bool(check_sum(kept, checksum, kept.name))
    except FlashError:
        return False


def _load(image: str, checksum: str, kept: Path) -> Path:
    # Loading this takes longer than comparing a card, and only addresses need it.
    from ansible.module_utils.urls import open_url

    handle, name = tempfile.mkstemp(dir=kept.parent, prefix=".load-")
    temporary = Path(name)
    try:
        # A server that calls a .gz file an encoding must not have it unpacked on the way.
        with os.fdopen(handle, "wb") as out, open_url(image, timeout=60, decompress=False) as answer:
            if not checksum and urlsplit(answer.geturl()).scheme.lower() != "https":
                raise FlashError(
                    "image", f"{image}: leads to {answer.geturl()}; without TLS the image needs a checksum"
                )
            expected = answer.headers.get("Content-Length")
            while piece := answer.read(_PIECE):
                out.write(piece)
            if expected is not None and out.tell() != int(expected):
                raise OSError(f"only {out.tell()} of {expected} bytes arrived")
        if checksum:
            check_sum(temporary, checksum, kept.name)
        temporary.replace(kept)
        return kept
    except BaseException:
        temporary.unlink()
        raise
