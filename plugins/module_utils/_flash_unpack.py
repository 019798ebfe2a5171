# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unpack compressed images strictly: neither a cut nor a padded file passes for an image."""

from __future__ import annotations

import lzma
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from ._flash_errors import FlashError
from ._flash_tools import require
from ._program import run_program

# Of the compressed file: zeros shrink by a thousand, and memory is to stay small.
_PIECE = 8 << 10
_HOLE = 64 << 10
_ZEROS = bytes(_HOLE)
_FOREIGN = (
    (0, b"BZh", "packed with bzip2"),
    (0, b"\x04\x22\x4d\x18", "packed with lz4"),
    (0, b"LZIP", "packed with lzip"),
    (0, b"\x89LZO\x00", "packed with lzop"),
    (0, b"\x5d\x00\x00", "packed with lzma"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"QFI\xfb", "a qcow2 image"),
    (0, b"\x3a\xff\x26\xed", "an Android sparse image"),
)
_MAGIC = (
    (b"\x1f\x8b", "gz"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zst"),
    # What pzstd begins with: a frame to be skipped.
    *((bytes([0x50 + number]) + b"\x2a\x4d\x18", "zst") for number in range(16)),
)


def open_unpacked(path: Path, cache: Path, name: str = "") -> tuple[int, str]:
    """A descriptor of the raw image, and how the file was compressed.

    A compressed one is unpacked into a sparse file in I(cache) that has no name
    and so vanishes with the process.
    """
    name = name or path.name
    try:
        given = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise FlashError("image", f"{path}: cannot be read ({error.strerror})", error=error.errno) from error
    head = os.pread(given, 6, 0)
    compression = next((name for magic, name in _MAGIC if head.startswith(magic)), "raw")
    out = -1
    try:
        if compression == "raw":
            out = os.dup(given)
        else:
            out = _nameless(cache)
            _unpack(given, compression, out)
        _require_raw(out)
        return out, compression
    except (EOFError, zlib.error, lzma.LZMAError, FlashError) as error:
        os.close(out)
        if isinstance(error, FlashError) and error.kind == "tool":
            raise
        raise FlashError("image", f"{name}: is damaged or cannot be unpacked ({error})") from error
    except OSError as error:
        if out >= 0:
            os.close(out)
        raise FlashError("cache", f"{cache}: cannot hold the unpacked image ({error.strerror})") from error
    finally:
        os.close(given)


def _require_raw(fd: int) -> None:
    """Written as it is, a packed image would read back well, and never boot."""
    head = os.pread(fd, 512, 0)
    for at, magic, kind in (
        *_FOREIGN,
        *((0, magic, f"packed with {kind} once more") for magic, kind in _MAGIC),
    ):
        if head.startswith(magic, at):
            raise FlashError("image", f"it is {kind}: unpack that first")
    if head.isascii() and b"\0" not in head:
        raise FlashError("image", "it is a text, such as a server sends with an error")


def _nameless(cache: Path) -> int:
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=cache, prefix="image-") as file:
        return os.dup(file.fileno())


def _unpack(given: int, compression: str, out: int) -> None:
    if compression == "gz":
        _write_sparse(out, _members(given, lambda: zlib.decompressobj(wbits=31)))
        return
    try:
        # These write zeros as holes, as their output is a file.
        command = {"xz": ["xz", "-dc", "-T0"], "zst": ["zstd", "-dcq", "--sparse"]}[compression]
        command[0] = _full(require(command[0]))
    except FlashError:
        if compression != "xz":
            raise
        _write_sparse(out, _members(given, lzma.LZMADecompressor))
        return
    ran = run_program(command, stdin=given, stdout=out)
    if ran.returncode:
        said = ran.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise FlashError("image", said[-1])


def _full(tool: str) -> str:
    """BusyBox knows neither the options nor sparse output."""
    if Path(tool).resolve().name == "busybox":
        raise FlashError("tool", f"{tool} is BusyBox's: the full program is needed for this")
    return tool


class _Member(Protocol):
    """What the decompressors of zlib and lzma have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def _members(given: int, make: Callable[[], _Member]) -> Iterator[bytes]:
    """The contents of all members of a file; what follows the last one and is none is an error."""
    member = make()
    at = 0
    while piece := os.pread(given, _PIECE, at):
        at += len(piece)
        while piece:
            if member.eof:
                member = make()
            yield member.decompress(piece)
            piece = member.unused_data
    if not member.eof:
        raise EOFError("it ends too early")


def _write_sparse(out: int, pieces: Iterator[bytes]) -> None:
    """Write, leaving holes for zeros."""
    at = 0
    for piece in pieces:
        for low in range(0, len(piece), _HOLE):
            part = piece[low : low + _HOLE]
            if part != _ZEROS[: len(part)]:
                os.pwrite(out, part, at + low)
        at += len(piece)
    os.ftruncate(out, at)
