# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flash one image to many cards at once: one thread per card, each at its own pace.

All read the same file, so that the page cache is the buffer between them: the
image is read once, and a slow card does not hold back the others.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from ._blockdev import Device, System, describe
from ._flash_card import CardJob
from ._flash_errors import FlashError
from ._flash_image import Image
from ._flash_layers import SeedFile, layered
from ._flash_medium import Medium, open_card
from ._flash_safety import Rules, Target, in_use, refusals, resolve
from ._flash_source import Source, wiped

_TICK = 0.5


@dataclass(frozen=True)
class Options:
    """How to flash; the same for all cards of a run."""

    verify: str = "full"
    grow: bool = False
    wipe: bool = False
    cache: Path = Path("/var/cache/br2-readonly-rootfs")
    rules: Rules = field(default_factory=Rules)


@dataclass
class Card:
    """A card on its way: a target becomes a device, the device a job, and the job a result."""

    target: Target
    seed: tuple[SeedFile, ...] = ()
    device: Device | None = None
    medium: Medium | None = None
    job: CardJob | None = None
    contents_before: str = ""
    changed: bool = False
    to_write: int = 0
    seconds: float = 0.0
    finished: float = field(default_factory=time.time)
    error: FlashError | None = None

    @property
    def name(self) -> str:
        return self.device.name if self.device else self.target.path or self.target.serial or self.target.port


Progress = Callable[[Sequence[Card]], None]


def flash(
    image: Image,
    cards: Sequence[Card],
    options: Options,
    check: bool = False,
    progress: Progress | None = None,
    system: System | None = None,
) -> None:
    """Flash the cards, or with I(check) only find out what would be written; each card gets its result."""
    system = system or System()
    prepare(image, cards, options, check, system)
    with ThreadPoolExecutor(max(1, len(cards))) as pool:
        running = [pool.submit(_run, card, card.job, check) for card in cards if card.job is not None]
        _watch(running, cards, progress)
    for card in cards:
        if card.job is not None:
            card.job.close()
        if card.medium is not None:
            os.close(card.medium.fd)


def prepare(image: Image, cards: Sequence[Card], options: Options, check: bool, system: System) -> None:
    """Refuse what can be refused, and open the rest, before anything is written."""
    sources: dict[object, Source] = {}
    seen: dict[str, str] = {}
    for card in cards:
        try:
            card.device = device = resolve(card.target, system)
            if device.number in seen:
                raise FlashError("duplicate", f"{device.name}: is named twice, also as {seen[device.number]}")
            seen[device.number] = card.target.path or device.path
            for refusal in refusals(device, card.target, options.rules, system, image.size):
                raise refusal
            card.medium = medium = open_card(device.path, device.name, write=not check)
            recheck = _recheck(device, medium, system)
            recheck()
            # What came between the look and the exclusive open; the kernel keeps out all but a loop device.
            for refusal in in_use(device, system):
                raise refusal
            _fits(medium, image)
            if options.grow or card.seed:
                # What is made of the image is no better than the image.
                image.prove()
            key = (medium.size if options.grow else 0, card.seed)
            if key not in sources:
                sources[key] = layered(image, medium.size, options.grow, card.seed, options.cache)
            source = wiped(sources[key], medium.size) if options.wipe else sources[key]
            card.job = CardJob(
                medium, source, _ready(image, recheck), verify=options.verify, discard=options.wipe
            )
        except FlashError as error:
            card.error = error
        except OSError as error:
            card.error = FlashError("read_error", f"{card.name}: {error.strerror}", error=error.errno)


def _fits(medium: Medium, image: Image) -> None:
    """What only the open device tells."""
    if medium.read_only:
        raise FlashError("read_only", f"{medium.name}: is write-protected")
    if medium.size < image.size:
        raise FlashError("too_small", f"{medium.name}: has {medium.size} bytes, the image needs {image.size}")
    if medium.sector != 512 and (image.mapping.table.kind != "none" or image.size % medium.sector):
        raise FlashError(
            "sector_size", f"{medium.name}: has sectors of {medium.sector} bytes, the image is made of 512"
        )


def _recheck(device: Device, medium: Medium, system: System) -> Callable[[], None]:
    """Whether the open device is still the one that was looked at: readers swap cards under a name."""

    def check() -> None:
        now = describe(device.number, system)
        if medium.number != device.number or _insertion(now) != _insertion(device):
            raise FlashError("vanished", f"{device.name}: another card is in its place")

    return check


def _ready(image: Image, recheck: Callable[[], None]) -> Callable[[], None]:
    """What must hold before a card is written."""

    def check() -> None:
        image.prove()
        recheck()

    return check


def _insertion(device: Device) -> tuple[int, str, str, str]:
    return device.size, device.serial, device.port, device.sequence


def _run(card: Card, job: CardJob, check: bool) -> None:
    start = time.monotonic()
    try:
        if check:
            card.to_write = job.plan()
            card.changed = card.to_write > 0
        else:
            job.flash()
    except FlashError as error:
        card.error = error
    except OSError as error:
        card.error = FlashError("read_error", f"{card.name}: {error.strerror}", error=error.errno)
    finally:
        card.changed = card.changed or job.changed
        card.seconds = time.monotonic() - start
        card.finished = time.time()


def _watch(running: list[Future[None]], cards: Sequence[Card], progress: Progress | None) -> None:
    pending = set(running)
    while pending:
        done, pending = wait(pending, timeout=_TICK)
        for future in done:
            future.result()
        if progress is not None:
            progress(cards)
