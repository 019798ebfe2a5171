# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flash one card: compare or write, read back, first block last."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ._flash_errors import FlashError
from ._flash_medium import Buffer, Medium
from ._flash_source import HEAD, Segment, Source

CHUNK = 2 << 20
RUN = 64 << 10
_WINDOW = 16 << 20
_SAMPLES = 3
# Comparing costs a read and spares a write; below this many equal chunks it no longer pays.
_DIFFERENT_CHUNKS = 2
# Never written, so one for all cards.
_ZEROS = Buffer(CHUNK)


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
    """One card and its contents. Buffers are the job's own, so that each card goes at its own pace."""

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
        self._image = Buffer(CHUNK)
        self._card = Buffer(CHUNK)

    def plan(self) -> int:
        """Compare everything and write nothing; returns the bytes that would be written."""
        self._phase("compare")
        count = 0 if self._head_is(self.source.head) else HEAD
        for segment in self.source.segments:
            for part in _chunks(segment, CHUNK):
                count += sum(run.length for run in self._differing(part))
        self._phase("done")
        return count

    def flash(self) -> bool:
        """Make the card hold its contents; returns whether anything was written."""
        self._phase("write")
        self.tally.position = HEAD
        for window in _windows(self.source.segments):
            self._window(window)
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

    # The pass that writes.

    def _window(self, window: list[Segment]) -> None:
        """Compare first where samples say that the card may hold the bytes, else write blindly."""
        compare = self._looks_alike(window) or (self.discard and self._discarded(window))
        different = 0
        for segment in window:
            for part in _chunks(segment, CHUNK):
                if not compare:
                    self._write(part, load=True)
                    continue
                runs = list(self._differing(part))
                for run in runs:
                    self._write(run, load=False, at=run.start - part.start)
                equal = part.length - sum(run.length for run in runs)
                self.tally.skipped += equal
                self.tally.position += equal
                different = 0 if equal else different + 1
                compare = different < _DIFFERENT_CHUNKS

    def _looks_alike(self, window: list[Segment]) -> bool:
        total = sum(segment.length for segment in window)
        for sample in range(_SAMPLES):
            at = (2 * sample + 1) * total // (2 * _SAMPLES)
            for segment in window:
                if at < segment.length:
                    begin = segment.start + at // RUN * RUN
                    part = segment.cut(begin, min(begin + RUN, segment.end))
                    if not any(self._differing(part, count=False)):
                        return True
                    break
                at -= segment.length
        return False

    def _discarded(self, window: list[Segment]) -> bool:
        """Whether zeros could be had by a discard. Cards promise little: what it reads as is looked at."""
        if window[0].fd is not None:
            return False
        self._blank()
        for segment in window:
            self.medium.discard(segment.start, segment.length)
            self.touched.append(segment)
        return self._looks_alike(window)

    def _differing(self, part: Segment, count: bool = True) -> Iterator[Segment]:
        """The runs of a chunk in which the card differs; both sides stay loaded."""
        image = self._loaded(part)
        self.medium.read(self._card, part.length, part.start)
        if count:
            self.tally.compared += part.length
        if image.same(self._card, part.length):
            return
        begin = -1
        for at in range(0, part.length, RUN):
            equal = image.same(self._card, min(RUN, part.length - at), at)
            if not equal and begin < 0:
                begin = at
            elif equal and begin >= 0:
                yield part.cut(part.start + begin, part.start + at)
                begin = -1
        if begin >= 0:
            yield part.cut(part.start + begin, part.end)

    def _loaded(self, part: Segment) -> Buffer:
        if part.fd is None:
            return _ZEROS
        part.load(self._image, part.length, 0)
        return self._image

    def _write(self, part: Segment, load: bool, at: int = 0) -> None:
        image = self._loaded(part) if load else _ZEROS if part.fd is None else self._image
        self._blank()
        self.medium.write(image, part.length, part.start, at)
        self.touched.append(part)
        self.tally.written += part.length
        self.tally.position += part.length
        if part.fd is None:
            self.tally.zeroed += part.length

    def _blank(self) -> None:
        """Before anything else is changed: a card that is not finished must not boot."""
        if not self.changed:
            self.recheck()
            self.medium.write(_ZEROS, HEAD, 0)
            self.medium.flush()
            self.changed = True

    # The pass that reads back, after all writes: a fake card wraps late.

    def _verify(self) -> None:
        bad = self._bad_ranges()
        if bad:
            self._phase("rewrite")
            for part in bad:
                self.tally.position -= part.length
                for chunk in _chunks(part, CHUNK):
                    self._write(chunk, load=True)
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
        for segment in parts:
            for part in _chunks(segment, CHUNK):
                bad += self._differing(part, count=False)
                self.tally.verified += part.length
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
        self.medium.read(self._card, part.length, part.start)
        held = bytes(self._card.view[: part.length])
        # A sector's worth of the place that is not the same byte over and over.
        needles = (held[at : at + 512] for at in range(0, len(held), 512))
        needle = next((piece for piece in needles if len(set(piece)) > 16), None)
        if needle is None:
            return None
        shift = held.index(needle)
        for segment in self.source.segments:
            if segment.fd is None:
                continue
            for chunk in _chunks(segment, CHUNK):
                chunk.load(self._image, chunk.length, 0)
                found = bytes(self._image.view[: chunk.length]).find(needle)
                if found >= 0 and chunk.start + found != bad.start + shift:
                    return chunk.start + found - shift
        return None

    # The end: only a verified card gets its first block.

    def _finish(self) -> None:
        self._phase("finish")
        self.recheck()
        self._image.view[:HEAD] = self.source.head
        self.medium.write(self._image, HEAD, 0)
        self.touched.append(Segment(0, HEAD, None))
        self.tally.written += HEAD
        self.medium.flush()
        if self.verify != "none" and not self._head_is(self.source.head):
            self.medium.write(_ZEROS, HEAD, 0)
            self.medium.flush()
            raise FlashError(
                "verify_mismatch",
                f"{self.medium.name}: the first block does not read back",
                0,
                ranges=[(0, HEAD)],
            )
        self.medium.reread_partitions()

    def _head_is(self, wanted: bytes) -> bool:
        self.medium.read(self._card, HEAD, 0)
        return bytes(self._card.view[:HEAD]) == wanted.ljust(HEAD, b"\0")

    def _phase(self, name: str) -> None:
        now = time.monotonic()
        if self.tally.phase in self.tally.seconds:
            self.tally.seconds[self.tally.phase] += now
        self.tally.phase = name
        self.tally.position = self.tally.position if name == "rewrite" else 0
        if name != "done":
            self.tally.seconds[name] = self.tally.seconds.get(name, 0.0) - now


def _chunks(segment: Segment, size: int) -> Iterator[Segment]:
    for start in range(segment.start, segment.end, size):
        yield segment.cut(start, min(start + size, segment.end))


def _windows(parts: tuple[Segment, ...]) -> Iterator[list[Segment]]:
    """Neighbours of one kind, up to a window's worth, so that samples speak for all of it."""
    window: list[Segment] = []
    room = _WINDOW
    for segment in parts:
        for part in _chunks(segment, _WINDOW):
            if window and (part.length > room or (part.fd is None) != (window[0].fd is None)):
                yield window
                window, room = [], _WINDOW
            window.append(part)
            room -= part.length
    if window:
        yield window
