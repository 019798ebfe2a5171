# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Go through a card piece by piece, the next piece being read meanwhile: no card waits for us."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import cycle

from ._flash_medium import Buffer, Medium
from ._flash_source import Segment

CHUNK = 1 << 20
RUN = 64 << 10
# Never written, so one for all cards.
ZEROS = Buffer(CHUNK)


class Piece:
    """A place for one chunk: what the card is to hold, and what it holds."""

    def __init__(self, medium: Medium) -> None:
        self.segment = Segment(0, 0, None)
        self.held = Buffer(CHUNK)
        self.has_held = False
        self._medium = medium
        self._loaded = Buffer(CHUNK)

    @property
    def wanted(self) -> Buffer:
        return ZEROS if self.segment.fd is None else self._loaded

    def load(self, segment: Segment) -> Piece:
        """Have what the card is to hold; to be written."""
        self.segment, self.has_held = segment, False
        segment.load(self._loaded, segment.length, 0)
        return self

    def read(self, segment: Segment) -> Piece:
        """Have what the card holds; to be compared."""
        self.segment, self.has_held = segment, True
        self._medium.read(self.held, segment.length, segment.start)
        return self

    def differing(self) -> Iterator[Segment]:
        """The runs in which the card, once read, differs; both sides stay loaded."""
        segment = self.segment
        segment.load(self._loaded, segment.length, 0)
        if self.wanted.same(self.held, segment.length):
            return
        begin = -1
        for at in range(0, segment.length, RUN):
            equal = self.wanted.same(self.held, min(RUN, segment.length - at), at)
            if not equal and begin < 0:
                begin = at
            elif equal and begin >= 0:
                yield segment.cut(segment.start + begin, segment.start + at)
                begin = -1
        if begin >= 0:
            yield segment.cut(segment.start + begin, segment.end)


class Ahead:
    """Two pieces and a thread: one is worked on while the other one is filled."""

    def __init__(self, medium: Medium) -> None:
        self.comparing = True
        self._pieces = (Piece(medium), Piece(medium))
        self._thread = ThreadPoolExecutor(1)

    @property
    def piece(self) -> Piece:
        """For single looks, between two passes."""
        return self._pieces[0]

    def pieces(self, parts: Iterable[Segment], compare: bool) -> Iterator[Piece]:
        """Each chunk: read from the card to compare, else loaded from its source.

        C(comparing) may be changed on the way.
        """
        self.comparing = compare
        coming: Future[Piece] | None = None
        try:
            for chunk, piece in zip(chunks(parts, CHUNK), cycle(self._pieces)):
                fill = piece.read if self.comparing else piece.load
                ready, coming = coming, self._thread.submit(fill, chunk)
                if ready is not None:
                    yield ready.result()
            if coming is not None:
                yield coming.result()
        finally:
            # Whoever stops half-way must find the pieces at rest.
            if coming is not None:
                wait([coming])

    def close(self) -> None:
        self._thread.shutdown()


def chunks(parts: Iterable[Segment], size: int) -> Iterator[Segment]:
    """The parts, none longer than I(size)."""
    for part in parts:
        for start in range(part.start, part.end, size):
            yield part.cut(start, min(start + size, part.end))
