# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flash one card: compare or write, read back, first block last."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ._flash_ahead import CHUNK, RUN, ZEROS, Ahead, Piece, chunks
from ._flash_errors import FlashError
from ._flash_medium import Medium
from ._flash_source import HEAD, Segment, Source

_WINDOW = 16 << 20
_SAMPLES = 3
_SAMPLE = 16 << 10
# Comparing costs a read and spares a write; below this many equal chunks it no longer pays.
_DIFFERENT_CHUNKS = 4


@dataclass
class Tally:
    """What was done to one card; read by others while it runs."""

    total: int = 0
    phase: str = "waiting"
    position: int = 0
    compared: int = 0
    written: int = 0
    zeroed: int = 0
    skipped: int = 0
    verified: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


class CardJob:
    """One card and its contents. Buffers are the job's own, so that each card goes at its own pace.

    To be closed before the card is.
    """

    def __init__(
        self,
        medium: Medium,
        source: Source,
        recheck: Callable[[], None],
        verify: str = "full",
        discard: bool = False,
    ) -> None:
        self.medium = medium
        self.source = source
        self.recheck = recheck
        self.verify = verify
        self.discard = discard
        self.tally = Tally(total=source.total())
        self.changed = False
        self.touched: list[Segment] = []
        self._ahead = Ahead(medium)
        # Of data, and of zeros: whether the card seems to hold them.
        self._alike = [False, False]
        self._different = 0

    def plan(self) -> int:
        """Compare everything and write nothing; returns the bytes that would be written."""
        self._phase("compare")
        count = 0 if self._head_is(self.source.head) else HEAD
        for piece in self._ahead.each(Piece.compare, self.source.segments):
            count += sum(run.length for run in piece.runs)
            self.tally.compared += piece.segment.length
        self._phase("done")
        return count

    def flash(self) -> bool:
        """Make the card hold its contents; returns whether anything was written."""
        self._phase("write")
        self.tally.position = HEAD
        for piece in self._ahead.pieces(self._steps()):
            self._settle(piece)
        if not self.changed and self._head_is(self.source.head):
            self._phase("done")
            return False
        self._blank()
        self.medium.flush()
        if self.verify != "none":
            self._verify()
        self._finish()
        self._phase("done")
        return True

    def close(self) -> None:
        self._ahead.close()

    # The pass that writes.

    def _steps(self) -> Iterator[tuple[Callable[[Piece, Segment], Piece], Segment]]:
        """Compare where the card seems to hold the bytes, else write blindly."""
        for window in _windows(self.source.segments):
            zero = window[0].fd is None
            # Samples make the card wait: while comparing pays, it goes on.
            if not self._alike[zero] or (zero and self.discard):
                self._alike[zero] = self._looks_alike(window) or self._discarded(window)
            for chunk in chunks(window, CHUNK):
                if self._alike[zero]:
                    yield Piece.compare, chunk
                else:
                    self._blank()
                    yield Piece.write, chunk

    def _settle(self, piece: Piece) -> None:
        """Write what a comparison found, and learn from it whether to go on comparing."""
        whole = piece.segment
        equal = whole.length - sum(run.length for run in piece.runs)
        if piece.compared:
            for run in piece.runs:
                self._blank()
                piece.write_run(run)
            self.tally.compared += whole.length
            self._different = 0 if equal else self._different + 1
            if self._different >= _DIFFERENT_CHUNKS:
                self._alike[whole.fd is None] = False
        self._count_written(piece.runs)
        self.tally.skipped += equal
        self.tally.position += equal

    def _looks_alike(self, window: list[Segment]) -> bool:
        total = sum(segment.length for segment in window)
        for sample in range(_SAMPLES):
            at = (2 * sample + 1) * total // (2 * _SAMPLES)
            for segment in window:
                if at < segment.length:
                    begin = segment.start + at // _SAMPLE * _SAMPLE
                    part = segment.cut(begin, min(begin + _SAMPLE, segment.end))
                    if not self._ahead.single.compare(part).runs:
                        return True
                    break
                at -= segment.length
        return False

    def _discarded(self, window: list[Segment]) -> bool:
        """Whether zeros could be had by a discard. Cards promise little: what it reads as is looked at."""
        if window[0].fd is not None or not self.discard:
            return False
        self._blank()
        for segment in window:
            self.medium.discard(segment.start, segment.length)
            self.touched.append(segment)
        return self._looks_alike(window)

    def _count_written(self, runs: list[Segment]) -> None:
        self.touched += runs
        for run in runs:
            self.tally.written += run.length
            self.tally.position += run.length
            self.tally.zeroed += run.length if run.fd is None else 0

    def _blank(self) -> None:
        """Before anything else is changed: a card that is not finished must not boot."""
        if not self.changed:
            self.recheck()
            self.medium.write(ZEROS, HEAD, 0)
            self.medium.flush()
            self.changed = True

    # The pass that reads back, after all writes: a fake card wraps late.

    def _verify(self) -> None:
        bad = self._bad_ranges()
        if bad:
            self._phase("rewrite")
            self.tally.position -= sum(part.length for part in bad)
            for piece in self._ahead.each(Piece.write, bad):
                self._count_written(piece.runs)
            self.medium.flush()
            # All again: on a card that wraps, mending one place breaks another.
            bad = self._bad_ranges()
        if bad:
            raise self._mismatch(bad)

    def _bad_ranges(self) -> list[Segment]:
        self._phase("verify")
        self.tally.verified = 0
        bad: list[Segment] = []
        parts = (
            self.source.segments
            if self.verify == "full"
            else sorted(self.touched, key=lambda part: part.start)
        )
        for piece in self._ahead.each(Piece.compare, parts):
            bad += piece.runs
            self.tally.verified += piece.segment.length
        if not self._head_is(b""):
            bad.append(Segment(0, HEAD, None))
        return bad

    def _mismatch(self, bad: list[Segment]) -> FlashError:
        ranges = [(part.start, part.length) for part in bad[:16]]
        total = sum(part.length for part in bad)
        name, first = self.medium.name, bad[0]
        for part in bad[:16]:
            origin = self._origin(part)
            if origin is not None:
                return FlashError(
                    "fake_capacity",
                    f"{name}: reading at byte {part.start} gives what was written at byte {origin}: "
                    f"the card wraps around, it holds less than it says",
                    part.start,
                    ranges=ranges,
                )
        return FlashError(
            "verify_mismatch",
            f"{name}: {total} bytes in {len(bad)} places read back differently from what was written, "
            f"first at byte {first.start}",
            first.start,
            ranges=ranges,
        )

    def _origin(self, bad: Segment) -> int | None:
        """Where the bytes that a bad place now holds belong, if they are others of this image."""
        part = bad.cut(bad.start, min(bad.end, bad.start + RUN))
        held = bytes(self._ahead.single.compare(part).held.view[: part.length])
        # A sector's worth of the place that is not the same byte over and over.
        needles = (held[at : at + 512] for at in range(0, len(held), 512))
        needle = next((piece for piece in needles if len(set(piece)) > 16), None)
        if needle is None:
            return None
        shift = held.index(needle)
        for piece in self._ahead.each(Piece.load, self.source.segments):
            chunk = piece.segment
            if chunk.fd is None:
                continue
            found = bytes(piece.wanted.view[: chunk.length]).find(needle)
            if found >= 0 and chunk.start + found != bad.start + shift:
                return chunk.start + found - shift
        return None

    # The end: only a verified card gets its first block.

    def _finish(self) -> None:
        self._phase("finish")
        self.recheck()
        try:
            self._write_head()
            self.medium.reread_partitions()
        except FlashError:
            # It may have arrived all the same.
            with contextlib.suppress(FlashError):
                self.medium.write(ZEROS, HEAD, 0)
                self.medium.flush()
            raise

    def _write_head(self) -> None:
        scratch = self._ahead.single.held
        scratch.view[:HEAD] = self.source.head
        self.medium.write(scratch, HEAD, 0)
        self.tally.written += HEAD
        self.medium.flush()
        if self.verify != "none" and not self._head_is(self.source.head):
            raise FlashError(
                "verify_mismatch",
                f"{self.medium.name}: the first block does not read back",
                0,
                ranges=[(0, HEAD)],
            )

    def _head_is(self, wanted: bytes) -> bool:
        head = self._ahead.single.compare(Segment(0, HEAD, None)).held
        return bytes(head.view[:HEAD]) == wanted.ljust(HEAD, b"\0")

    def _phase(self, name: str) -> None:
        now = time.monotonic()
        if self.tally.phase in self.tally.seconds:
            self.tally.seconds[self.tally.phase] += now
        self.tally.phase = name
        self.tally.position = self.tally.position if name == "rewrite" else 0
        if name != "done":
            self.tally.seconds[name] = self.tally.seconds.get(name, 0.0) - now


def _windows(parts: tuple[Segment, ...]) -> Iterator[list[Segment]]:
    """Neighbours of one kind, up to a window's worth, so that samples speak for all of it."""
    window: list[Segment] = []
    room = _WINDOW
    for part in chunks(parts, _WINDOW):
        if window and (part.length > room or (part.fd is None) != (window[0].fd is None)):
            yield window
            window, room = [], _WINDOW
        window.append(part)
        room -= part.length
    if window:
        yield window
