# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of progress: one when a card enters a phase, and one in a while in between."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_MIB = 1 << 20
_QUIET = 5.0
_SILENT = ("waiting", "refused")
_OVER = ("done", "failed", "refused")
_RARELY = 15.0


class Lines:
    """Remembers what was said last of each card of one station."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._said: dict[str, tuple[str, float]] = {}

    def new(self, cards: Sequence[Mapping[str, Any]], now: float | None = None) -> Iterator[str]:
        """What is worth a line."""
        now = time.monotonic() if now is None else now
        for card in cards:
            name, phase = card["name"], card["phase"]
            last_phase, last_time = self._said.get(name, ("", -_QUIET))
            if phase in _SILENT or (phase == last_phase and (phase in _OVER or now - last_time < _QUIET)):
                continue
            self._said[name] = (phase, now)
            yield f"[{self._host}] {name} {phase}{_share(card)}"


def all_over(cards: Sequence[Mapping[str, Any]]) -> bool:
    """Whether nothing is left to wait for but the result."""
    return bool(cards) and all(card["phase"] in _OVER for card in cards)


def pause(elapsed: float) -> float:
    """Seconds between two questions whether a run has ended.

    Each costs the station as much as a module does, from the cards' own share:
    what fails soon is told soon, and a long run is left alone.
    """
    return min(elapsed / 4, _RARELY)


def _share(card: Mapping[str, Any]) -> str:
    done, total = card["done"], card["total"]
    if card["phase"] in ("done", "failed", "finish") or not total:
        return ""
    return f" {100 * min(done, total) // total} % of {total // _MIB} MiB"
