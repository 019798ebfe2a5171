# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Block maps in the format of bmaptool, version 2.0.

Those written here map DATA and ZERO, so that bmaptool, too, leaves nothing of a
card's old contents where a file system expects zeros.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ._files import write_atomically
from ._image_map import BLOCK, ImageMap, image_map

# Long ranges are split: a damaged one is then known closely, and checking them runs in parallel.
_RANGE = 16 << 20
# Read again and again into the same place, which so stays in the processor's cache.
_PIECE = 256 << 10


class BmapError(Exception):
    """A block map that cannot be used, or an image that is not the one it describes."""


@dataclass(frozen=True)
class Bmap:
    """A block map; C(ranges) are first byte, end, and the checksum or an empty string."""

    image_size: int
    checksum_type: str
    ranges: tuple[tuple[int, int, str], ...]

    def mapped(self) -> list[tuple[int, int]]:
        return [(start, end) for start, end, _unused in self.ranges]


def write_bmap(image: str | os.PathLike[str], bmap: str | os.PathLike[str]) -> ImageMap:
    """Write the block map of an image file, whole or not at all; returns the map."""
    mapping = image_map(image, scan=True)
    write_atomically(Path(bmap), render(image, mapping))
    return mapping


def render(image: str | os.PathLike[str], mapping: ImageMap) -> str:
    """The text of the block map of an image."""
    ranges = pieces(mapping)
    fd = os.open(image, os.O_RDONLY)
    try:
        sums = digests(fd, ranges)
    finally:
        os.close(fd)
    lines = [_range_line(start, end, digest) for (start, end), digest in zip(ranges, sums)]
    text = _TEMPLATE.format(
        size=mapping.size,
        block=BLOCK,
        blocks=-(-mapping.size // BLOCK),
        mapped=sum(-(-(end - start) // BLOCK) for start, end in ranges),
        own="0" * 64,
        ranges="\n".join(lines),
    )
    return text.replace("0" * 64, hashlib.sha256(text.encode()).hexdigest(), 1)


def pieces(mapping: ImageMap) -> list[tuple[int, int]]:
    """The ranges that matter, the long ones split."""
    return [
        (low, min(low + _RANGE, end)) for start, end in mapping.used() for low in range(start, end, _RANGE)
    ]


_TEMPLATE = """\
<?xml version="1.0" ?>
<!-- The blocks of the image that matter: what holds data, and what must read
     as zeros. Blocks that are not listed are free in their file system.
     Usable with bmaptool. -->
<bmap version="2.0">
    <ImageSize> {size} </ImageSize>
    <BlockSize> {block} </BlockSize>
    <BlocksCount> {blocks} </BlocksCount>
    <MappedBlocksCount> {mapped} </MappedBlocksCount>
    <ChecksumType> sha256 </ChecksumType>
    <BmapFileChecksum> {own} </BmapFileChecksum>
    <BlockMap>
{ranges}
    </BlockMap>
</bmap>
"""


def _range_line(start: int, end: int, digest: str) -> str:
    first, last = start // BLOCK, -(-end // BLOCK) - 1
    span = str(first) if first == last else f"{first}-{last}"
    return f'        <Range chksum="{digest}"> {span} </Range>'


def read_bmap(bmap: str | os.PathLike[str]) -> Bmap:
    """Read a block map of format 1.2 to 2.0 and check it against itself."""
    raw = Path(bmap).read_bytes()
    try:
        # The format is flat, and a pattern has no entities to expand.
        text = _COMMENT.sub("", raw.decode("utf-8"))
        version = _VERSION.search(text)
        if version is None:
            raise ValueError("no <bmap version=...>")
        size, block = int(_field(text, "ImageSize")), int(_field(text, "BlockSize"))
        if size <= 0 or block <= 0:
            raise ValueError("no image size or block size")
        kind = _field(text, "ChecksumType", "sha1" if version[1].startswith("1.") else "none")
        ranges = tuple(_ranges(text, size, block))
    except ValueError as error:
        raise BmapError(f"{bmap}: not a block map ({error}); make it anew from its image") from error
    if kind != "none" and kind not in hashlib.algorithms_available:
        raise BmapError(f"{bmap}: unknown checksum type {kind!r}; make it anew from its image")
    own = _field(text, "BmapFileChecksum", _field(text, "BmapFileSHA1", ""))
    if own and kind != "none":
        zeroed = raw.replace(own.encode(), b"0" * len(own), 1)
        if hashlib.new(kind, zeroed).hexdigest() != own.lower():
            raise BmapError(f"{bmap}: its own checksum does not match, it is damaged; make or copy it anew")
    return Bmap(size, kind, ranges)


_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_VERSION = re.compile(r"<bmap\s+version=\"([0-9.]+)\"\s*>")
_RANGE_LINE = re.compile(r"<Range\b([^>]*)>\s*(\d+)(?:\s*-\s*(\d+))?\s*</Range>")
_CHECKSUM = re.compile(r"\b(?:chksum|sha1)=\"([0-9a-fA-F]+)\"")


def _field(text: str, name: str, default: str | None = None) -> str:
    found = re.search(rf"<{name}>\s*([^<]*?)\s*</{name}>", text)
    if found is not None:
        return found[1]
    if default is None:
        raise ValueError(f"no <{name}>")
    return default


def _ranges(text: str, size: int, block: int) -> Iterator[tuple[int, int, str]]:
    last_end = 0
    lines = list(_RANGE_LINE.finditer(text))
    if len(lines) != text.count("<Range"):
        raise ValueError("a <Range> is malformed")
    for line in lines:
        attributes, first, last = line.groups()
        start, end = int(first) * block, min((int(last or first) + 1) * block, size)
        if not last_end <= start < end:
            raise ValueError(f"the range at block {first} is out of order or outside of the image")
        last_end = end
        digest = _CHECKSUM.search(attributes)
        yield start, end, digest[1].lower() if digest else ""


def check_image(fd: int, size: int, bmap: Bmap, name: str) -> None:
    """Raise BmapError unless the open image is the one that the map describes."""
    if size != bmap.image_size:
        raise BmapError(
            f"{name}: has {size} bytes, its block map says {bmap.image_size}: they do not belong together"
        )
    summed = [(start, end, digest) for start, end, digest in bmap.ranges if digest]
    found = digests(fd, [(start, end) for start, end, _unused in summed], bmap.checksum_type)
    for (start, end, wanted), digest in zip(summed, found):
        if digest != wanted:
            raise BmapError(
                f"{name}: bytes {start} to {end} do not match the block map; "
                "the image is damaged or the map is another image's: copy both anew"
            )


def digests(fd: int, ranges: list[tuple[int, int]], kind: str = "sha256") -> list[str]:
    """The checksum of each range of an open file."""
    local = threading.local()

    def begin() -> None:
        local.piece = memoryview(bytearray(_PIECE))

    def digest(span: tuple[int, int]) -> str:
        at, end = span
        total = hashlib.new(kind)
        while at < end:
            count = os.preadv(fd, [local.piece[: min(_PIECE, end - at)]], at)
            if count == 0:
                break
            total.update(local.piece[:count])
            at += count
        return total.hexdigest()

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), initializer=begin) as pool:
        return list(pool.map(digest, ranges))
