# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine on ordinary files: whatever the card held, it ends right, and no more is written than needed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _flash_ahead, _flash_card
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_card import CardJob
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_errors import FlashError
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_medium import Buffer, Medium
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_source import (
    HEAD,
    Segment,
    Source,
    segments,
    source_of,
    wiped,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._image_map import (
    Extent,
    ImageMap,
    Kind,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._image_partitions import NO_TABLE
from hypothesis import given, settings
from hypothesis import strategies as st

BLOCK = 4096


class Files:
    """An image and a card in files; the map is given, as the content is no file system."""

    def __init__(self, directory: Path, kinds: str, card: bytes) -> None:
        self.image, self.card = directory / "image", directory / "card"
        self.kinds = kinds
        content = b"".join(
            (bytes(BLOCK) if kind == "z" else bytes([65 + at % 26]) * BLOCK) for at, kind in enumerate(kinds)
        )
        self.image.write_bytes(content)
        self.card.write_bytes(card)
        names = {"d": Kind.DATA, "z": Kind.ZERO, "f": Kind.FREE}
        self.mapping = ImageMap(
            len(content),
            tuple(Extent(at * BLOCK, (at + 1) * BLOCK, names[kind]) for at, kind in enumerate(kinds)),
            NO_TABLE,
            (),
        )

    def run(self, verify: str = "full") -> CardJob:
        image, card = os.open(self.image, os.O_RDONLY), os.open(self.card, os.O_RDWR)
        job = CardJob(Medium(card, "card"), source_of(self.mapping, image), lambda: None, verify)
        try:
            job.flash()
            return job
        finally:
            job.close()
            os.close(image)
            os.close(card)

    def right(self) -> bool:
        wanted, found = self.image.read_bytes(), self.card.read_bytes()
        return all(
            found[at * BLOCK : (at + 1) * BLOCK] == wanted[at * BLOCK : (at + 1) * BLOCK]
            for at, kind in enumerate(self.kinds)
            if kind != "f" or at == 0
        )


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pieces, so that small images have many."""
    for module in (_flash_ahead, _flash_card):
        monkeypatch.setattr(module, "CHUNK", 4 * BLOCK)
        monkeypatch.setattr(module, "RUN", BLOCK)
    monkeypatch.setattr(_flash_card, "_SAMPLE", BLOCK)
    monkeypatch.setattr(_flash_card, "_WINDOW", 16 * BLOCK)


@settings(max_examples=80, deadline=None)
@given(
    kinds=st.text("dzf", min_size=1, max_size=60),
    before=st.sampled_from(["junk", "zeros", "image", "mixed"]),
    verify=st.sampled_from(["full", "written", "none"]),
)
def test_any_card_ends_right(
    tmp_path_factory: pytest.TempPathFactory, kinds: str, before: str, verify: str
) -> None:
    files = Files(tmp_path_factory.mktemp("card"), kinds, b"")
    image = files.image.read_bytes()
    junk = b"\xee" * (len(image) + 8 * BLOCK)
    card = {
        "junk": junk,
        "zeros": bytes(len(junk)),
        "image": image + junk[len(image) :],
        "mixed": b"".join(
            (image if at % 3 else junk)[at * BLOCK : (at + 1) * BLOCK] for at in range(len(junk) // BLOCK)
        ),
    }[before].ljust(len(junk), b"\xee")
    files.card.write_bytes(card)
    touched = files.card.stat().st_mtime_ns
    job = files.run(verify)
    assert files.right()
    assert files.card.read_bytes()[len(image) :] == card[len(image) :], "nothing beyond the image is touched"
    assert files.card.stat().st_size == len(junk)
    # Small free gaps are written with their neighbours, so they may differ once.
    if before == "image" and "f" not in kinds:
        assert not job.changed
        assert files.card.stat().st_mtime_ns == touched
    again = files.run(verify)
    assert not again.changed


class Dying(Medium):
    """Power is cut after so many writes."""

    def __init__(self, fd: int, writes: int) -> None:
        super().__init__(fd, "card")
        self.left = writes

    def write(self, *args: object, **options: object) -> None:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        super().write(*args, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("writes", range(12))
def test_a_card_cut_off_at_any_write_does_not_boot(tmp_path: Path, writes: int) -> None:
    files = Files(tmp_path, "d" * 40, b"\xee" * 40 * BLOCK)
    image, card = os.open(files.image, os.O_RDONLY), os.open(files.card, os.O_RDWR)
    job = CardJob(Dying(card, writes), source_of(files.mapping, image), lambda: None)
    try:
        finished = job.flash()
    except KeyboardInterrupt:
        finished = False
    head = files.card.read_bytes()[:HEAD]
    if writes == 0:
        assert head == b"\xee" * HEAD, "nothing was changed yet"
    elif not finished:
        assert head == bytes(HEAD)
    os.close(image)
    os.close(card)
    files.run()
    assert files.right()


class Slow(Medium):
    """Requests take a moment; those of a kind at some offsets fail, the first of them last."""

    def __init__(self, fd: int, kind: str = "", failing: tuple[int, ...] = ()) -> None:
        super().__init__(fd, "card")
        self.failing = {(kind, offset) for offset in failing}
        self.last = (kind, min(failing, default=-1))
        self.under_way = self.most = 0
        self._lock = threading.Lock()

    def _request(self, kind: str, offset: int) -> None:
        with self._lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        time.sleep(0.05 if (kind, offset) == self.last else 0.002)
        with self._lock:
            self.under_way -= 1
        if (kind, offset) in self.failing:
            raise FlashError(f"{kind}_error", f"byte {offset}", offset)

    def read(self, buffer: Buffer, length: int, offset: int) -> None:
        self._request("read", offset)
        super().read(buffer, length, offset)

    def write(self, buffer: Buffer, length: int, offset: int, at: int = 0) -> None:
        self._request("write", offset)
        super().write(buffer, length, offset, at)


@pytest.mark.parametrize("before", ["image", "junk"])
def test_a_card_always_has_two_requests(tmp_path: Path, before: str) -> None:
    files = Files(tmp_path, "d" * 40, b"\xee" * 40 * BLOCK)
    if before == "image":
        files.run()
    image, card = os.open(files.image, os.O_RDONLY), os.open(files.card, os.O_RDWR)
    medium = Slow(card)
    CardJob(medium, source_of(files.mapping, image), lambda: None).flash()
    # A third one may be a sample.
    assert medium.most in (2, 3)
    os.close(image)
    os.close(card)


@pytest.mark.parametrize(("before", "kind"), [("image", "read"), ("junk", "write")])
def test_of_two_failed_requests_the_first_is_told_and_none_is_left(
    tmp_path: Path, before: str, kind: str
) -> None:
    """The second one fails earlier."""
    files = Files(tmp_path, "d" * 40, b"\xee" * 40 * BLOCK)
    if before == "image":
        files.run()
    image, card = os.open(files.image, os.O_RDONLY), os.open(files.card, os.O_RDWR)
    places = HEAD + 4 * BLOCK, HEAD + 8 * BLOCK
    medium = Slow(card, kind, places)
    with pytest.raises(FlashError) as caught:
        CardJob(medium, source_of(files.mapping, image), lambda: None).flash()
    assert (caught.value.kind, caught.value.offset) == (f"{kind}_error", places[0])
    assert medium.under_way == 0
    os.close(image)
    os.close(card)


class Failing(Medium):
    """Fails at the end, when the first block has been written."""

    def __init__(self, fd: int, what: str) -> None:
        super().__init__(fd, "card")
        self.what = what
        self.written = False

    def write(self, buffer: Buffer, length: int, offset: int, at: int = 0) -> None:
        super().write(buffer, length, offset, at)
        if offset == 0 and bytes(buffer.view[:HEAD]) != bytes(HEAD):
            self.written = True

    def _fail(self, what: str) -> None:
        if self.written and what == self.what:
            self.written = False
            raise FlashError("write_error", what)

    def flush(self) -> None:
        self._fail("flush")
        super().flush()

    def read(self, buffer: Buffer, length: int, offset: int) -> None:
        self._fail("read")
        super().read(buffer, length, offset)

    def reread_partitions(self) -> None:
        self._fail("reread")


@pytest.mark.parametrize("what", ["flush", "read", "reread"])
def test_a_card_that_fails_at_the_very_end_does_not_boot(tmp_path: Path, what: str) -> None:
    files = Files(tmp_path, "dddd", b"\xee" * 4 * BLOCK)
    image, card = os.open(files.image, os.O_RDONLY), os.open(files.card, os.O_RDWR)
    with pytest.raises(FlashError, match=what):
        CardJob(Failing(card, what), source_of(files.mapping, image), lambda: None).flash()
    assert files.card.read_bytes()[:HEAD] == bytes(HEAD)
    os.close(image)
    os.close(card)


def test_a_changed_card_is_noticed_before_the_first_write(tmp_path: Path) -> None:
    files = Files(tmp_path, "dddd", b"\xee" * 4 * BLOCK)

    def swapped() -> None:
        raise FlashError("vanished", "another card")

    image, card = os.open(files.image, os.O_RDONLY), os.open(files.card, os.O_RDWR)
    with pytest.raises(FlashError, match="another card"):
        CardJob(Medium(card, "card"), source_of(files.mapping, image), swapped).flash()
    assert files.card.read_bytes() == b"\xee" * 4 * BLOCK
    os.close(image)
    os.close(card)


def test_an_image_cut_while_it_is_read(tmp_path: Path) -> None:
    files = Files(tmp_path, "d" * 8, b"\xee" * 8 * BLOCK)
    os.truncate(files.image, 5 * BLOCK)
    with pytest.raises(FlashError, match="became shorter"):
        files.run()
    assert files.card.read_bytes()[:HEAD] in (bytes(HEAD), b"\xee" * HEAD)


def test_an_image_that_cannot_be_read_is_not_the_card_s_fault(tmp_path: Path) -> None:
    files = Files(tmp_path, "d" * 8, b"\xee" * 8 * BLOCK)
    unreadable, card = os.open(tmp_path, os.O_RDONLY), os.open(files.card, os.O_RDWR)
    source = Source(8 * BLOCK, b"", (Segment(HEAD, 4 * BLOCK, unreadable),))
    with pytest.raises(FlashError) as caught:
        CardJob(Medium(card, "card"), source, lambda: None).flash()
    assert caught.value.kind == "image"
    os.close(unreadable)
    os.close(card)


@given(st.lists(st.tuples(st.integers(1, 40), st.sampled_from(list(Kind))), min_size=1, max_size=30))
def test_segments_keep_every_byte_that_matters(pieces: list[tuple[int, Kind]]) -> None:
    extents, at = [], 0
    for blocks, kind in pieces:
        extents.append(Extent(at, at + blocks * BLOCK, kind))
        at += blocks * BLOCK
    found = list(segments(extents, 7))
    assert all(left.end <= right.start for left, right in zip(found, found[1:], strict=False))
    for extent in extents:
        inside = [part for part in found if part.start <= extent.start and extent.end <= part.end]
        if extent.kind is not Kind.FREE:
            assert len(inside) == 1
        if extent.kind is Kind.DATA:
            assert inside[0].fd == 7
    assert all(part.at == part.start for part in found if part.fd is not None)


def test_wiping_fills_all_gaps(tmp_path: Path) -> None:
    files = Files(tmp_path, "d" + "f" * 40 + "d" + "f" * 3, b"")
    image = os.open(files.image, os.O_RDONLY)
    parts = wiped(source_of(files.mapping, image), 60 * BLOCK).segments
    os.close(image)
    assert list(_gaps(parts)) == []
    assert (parts[0].start, parts[-1].end) == (HEAD, 60 * BLOCK)


def _gaps(parts: tuple[Segment, ...]) -> Iterator[int]:
    for left, right in zip(parts, parts[1:], strict=False):
        if left.end != right.start:
            yield left.end
