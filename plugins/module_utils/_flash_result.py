# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told about cards: on the way, and at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from ._flash import Card
from ._flash_image import Image

MB = 10**6


def image_summary(image: Image) -> dict[str, object]:
    """The image, for results and reports."""
    return {
        "name": image.name,
        "id": image.id,
        "compression": image.compression,
        "size": image.size,
        **image.mapping.summary(),
    }


def card_result(card: Card, image: Image, verify: str, check: bool) -> dict[str, object]:
    """Everything that is known about one card in the end."""
    tally = card.job.tally if card.job else None
    target = {
        key: getattr(card.target, key) for key in ("path", "serial", "port") if getattr(card.target, key)
    }
    result: dict[str, object] = {
        "target": target,
        "host": card.target.host,
        "device": card.device.as_dict() if card.device else None,
        "image_id": image.id,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(card.finished)),
        "changed": card.changed,
        "status": _status(card, check),
        "before": card.contents_before,
    }
    if check:
        result["to_write"] = card.to_write
    if tally:
        result["bytes"] = {
            name: getattr(tally, name)
            for name in ("total", "compared", "written", "zeroed", "skipped", "verified")
        }
        result["seconds"] = {"total": round(card.seconds, 3), **_rounded(tally.seconds)}
        result["mb_per_s"] = {
            name: round(amount / MB / tally.seconds[phase], 1)
            for name, phase, amount in (
                ("write", "write", tally.written + tally.skipped),
                ("verify", "verify", tally.verified),
            )
            if tally.seconds.get(phase, 0) > 0
        }
        result["verification"] = _verification(card, verify, check)
    if card.error:
        result["failure"] = card.error.as_dict()
    return result


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    # A phase that failed has no end.
    return {name: round(value, 3) for name, value in seconds.items() if value >= 0}


def _status(card: Card, check: bool) -> str:
    if card.error:
        return "failed" if card.job else "refused"
    if check:
        return "would flash" if card.changed else "unchanged"
    return "flashed" if card.changed else "unchanged"


def _verification(card: Card, verify: str, check: bool) -> str:
    """How the bytes on the card were proven: by comparison when nothing was written."""
    if card.error:
        return "failed"
    if not card.changed:
        return "compared"
    return "none" if check else verify


def progress(cards: Sequence[Card]) -> list[dict[str, object]]:
    """Where each card is, for a line while it runs."""
    return [
        {
            "name": card.name,
            "phase": _phase(card),
            "done": _done(card),
            "total": card.job.tally.total if card.job else 0,
        }
        for card in cards
    ]


def _phase(card: Card) -> str:
    if card.job is None:
        return "refused" if card.error else "waiting"
    return "failed" if card.error else card.job.tally.phase


def _done(card: Card) -> int:
    if card.job is None:
        return 0
    tally = card.job.tally
    return {"verify": tally.verified, "compare": tally.compared, "done": tally.total}.get(
        tally.phase, tally.position
    )


def diff_of(card: Card, image: Image) -> dict[str, str]:
    """Before and after, for diff mode."""
    after = card.contents_before
    if card.changed:
        kinds = ", ".join(
            (volume.filesystem.type if volume.filesystem else "unknown") for volume in image.mapping.volumes
        )
        after = f"{image.mapping.table.kind}: {kinds}\n{image.name} {image.id}"
    return {
        "before_header": card.name,
        "after_header": card.name,
        "before": f"{card.contents_before}\n",
        "after": f"{after}\n",
    }


def summary(cards: Sequence[Card], check: bool) -> str:
    """One sentence on all cards, naming the bad ones."""
    failed = [card.error for card in cards if card.error]
    good = len(cards) - len(failed)
    said = f"{good} of {len(cards)} cards {'could be flashed' if check else 'hold the image'}"
    return ". ".join([said, *(f"{error.message}: {error.advice}" for error in failed)])
