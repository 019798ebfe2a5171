# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Go through a card chunk by chunk with two requests under way, so that no card waits for us."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import cycle

from ._flash_medium import Buffer, Medium
from ._flash_source import Segment

CHUNK = 1 << 20
RUN = 64 << 10
_REQUESTS = 2
# Never written, so one for all cards.
ZEROS = Buffer(CHUNK)


class Piece:
    """A place for one chunk: what the card is to hold, what it holds, and the runs in which it differs."""

    def __init__(self, medium: Medium, size: int) -> None:
        self.segment = Segment(0, 0, None)
        self.compared = False
        self.runs: list[Segment] = []
        self.held = Buffer(size)
        self._medium = medium
        self._loaded = Buffer(size)

    @property
    def wanted(self) -> Buffer:
        return ZEROS if self.segment.fd is None else self._loaded

    def load(self, segment: Segment) -> Piece:
        """Have what the card is to hold."""
        self.segment, self.compared, self.runs = segment, False, [segment]
        segment.load(self._loaded, segment.length, 0)
        return self

    def write(self, segment: Segment) -> Piece:
        """Write what the card is to hold, whatever it holds."""
        self.load(segment)
        self.write_run(segment)
        return self

    def compare(self, segment: Segment) -> Piece:
        """Have both, and find out where they differ."""
        self._medium.read(self.held, segment.length, segment.start)
        self.load(segment)
        self.compared, self.runs = True, list(self._differing())
        return self

    def write_run(self, run: Segment) -> None:
        """Write a part of what was loaded."""
        self._medium.write(self.wanted, run.length, run.start, run.start - self.segment.start)

    def _differing(self) -> Iterator[Segment]:
        segment = self.segment
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
    """Two pieces on which threads are at work, and one that is looked at meanwhile."""

    def __init__(self, medium: Medium) -> None:
        self.single = Piece(medium, RUN)
        """For looks between and beside the passes, of up to C(RUN) bytes."""
        self._pieces = [Piece(medium, CHUNK) for _unused in range(_REQUESTS + 1)]
        self._threads = ThreadPoolExecutor(_REQUESTS)

    def each(self, work: Callable[[Piece, Segment], Piece], parts: Iterable[Segment]) -> Iterator[Piece]:
        """The same work on all chunks of the parts, such as C(Piece.compare)."""
        return self.pieces((work, chunk) for chunk in chunks(parts, CHUNK))

    def pieces(self, steps: Iterable[tuple[Callable[[Piece, Segment], Piece], Segment]]) -> Iterator[Piece]:
        """Each step's piece, in order. Steps are asked for shortly before they are begun."""
        coming: deque[Future[Piece]] = deque()
        try:
            for (work, chunk), piece in zip(steps, cycle(self._pieces)):
                coming.append(self._threads.submit(work, piece, chunk))
                if len(coming) > _REQUESTS:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            # Whoever stops half-way must find the pieces at rest.
            wait(coming)

    def close(self) -> None:
        self._threads.shutdown()


def chunks(parts: Iterable[Segment], size: int) -> Iterator[Segment]:
    """The parts, none longer than I(size)."""
    for part in parts:
        for start in range(part.start, part.end, size):
            yield part.cut(start, min(start + size, part.end))
