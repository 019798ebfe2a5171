# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one card is to hold: ranges from files, ranges of zeros, and the first block."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ._flash_errors import FlashError
from ._flash_medium import Buffer
from ._image_map import Extent, ImageMap, Kind

HEAD = 4096
"""The first block: while it is blank, a card neither boots nor mounts."""

# Below this, one request costs more than the bytes that it leaves out.
_GAP = 64 << 10


@dataclass(frozen=True)
class Segment:
    """Bytes of the card, from C(at) of file C(fd), or zeros when there is no file."""

    start: int
    length: int
    fd: int | None
    at: int = 0

    @property
    def end(self) -> int:
        return self.start + self.length

    def cut(self, start: int, end: int) -> Segment:
        """The part between two offsets of the card."""
        return replace(self, start=start, length=end - start, at=self.at + start - self.start)

    def load(self, buffer: Buffer, length: int, offset: int) -> None:
        """Fill the buffer from I(offset) of the segment; what a file lacks in its last sector is zero."""
        if self.fd is None:
            return
        done, end = 0, min(length, self.length - offset)
        while done < end:
            try:
                count = os.preadv(self.fd, [buffer.view[done:end]], self.at + offset + done)
            except OSError as error:
                # Not the card's fault: that must not be thrown away for it.
                raise FlashError(
                    "image", f"the image cannot be read ({error.strerror})", error=error.errno
                ) from error
            if count == 0:
                break
            done += count
        if done < end and self.at + offset + end > _sectors(os.fstat(self.fd).st_size):
            raise FlashError("image", "the image became shorter while it was read")
        if done < length:
            buffer.view[done:length] = bytes(length - done)


@dataclass(frozen=True)
class Source:
    """The contents for one card; C(size) is the least size of a card that takes them."""

    size: int
    head: bytes
    segments: tuple[Segment, ...]

    def total(self) -> int:
        return sum(segment.length for segment in self.segments) + len(self.head)


def source_of(mapping: ImageMap, fd: int) -> Source:
    """The contents that an image asks for."""
    head = os.pread(fd, HEAD, 0)
    if len(head) < HEAD:
        raise FlashError("image", f"the image has {len(head)} bytes, a disk image has more")
    return Source(mapping.size, head, tuple(after_head(segments(mapping.extents, fd))))


def segments(extents: Iterable[Extent], fd: int, start: int = 0) -> Iterator[Segment]:
    """The used extents as ranges of the card from I(start) on, joined where they are close."""
    pending: Segment | None = None
    for extent in extents:
        if extent.kind is Kind.FREE:
            continue
        zero = extent.kind is Kind.ZERO
        here = Segment(
            start + extent.start, _sectors(extent.length), None if zero else fd, 0 if zero else extent.start
        )
        if pending is not None:
            same = zero if pending.fd is None else not zero or extent.length <= _GAP
            if same and here.start - pending.end <= _GAP:
                pending = replace(pending, length=here.end - pending.start)
                continue
            yield pending
        pending = here
    if pending is not None:
        yield pending


def _sectors(length: int) -> int:
    """Rounded up to whole sectors: only the end of an image may need it."""
    return -(-length // 512) * 512


def after_head(parts: Iterable[Segment]) -> Iterator[Segment]:
    """The segments without the first block."""
    for part in parts:
        if part.end > HEAD:
            yield part if part.start >= HEAD else part.cut(HEAD, part.end)


def wiped(source: Source, size: int) -> Source:
    """The same, with zeros wherever nothing else belongs, up to the end of a card."""
    parts: list[Segment] = []
    at = HEAD
    for part in source.segments:
        if at < part.start:
            parts.append(Segment(at, part.start - at, None))
        parts.append(part)
        at = part.end
    if at < size:
        parts.append(Segment(at, size - at, None))
    return replace(source, segments=tuple(parts))
