# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the module's parameters to its result."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ._blockdev import System
from ._files import cache_directory, write_atomically
from ._flash import Card, Options, flash
from ._flash_contents import contents
from ._flash_errors import FlashError
from ._flash_fetch import fetch
from ._flash_image import Image, neighbour, open_image
from ._flash_layers import seed_file
from ._flash_result import card_result, diff_of, image_summary, progress, summary
from ._flash_safety import Rules, Target, resolve
from ._flash_station import size_of


def run(params: Mapping[str, Any], check: bool, system: System | None = None) -> dict[str, Any]:
    """Flash as the parameters say; raises FlashError only for what concerns all cards."""
    system = system or System()
    cache = Path(params["cache_dir"]) if params["cache_dir"] else cache_directory()
    options = Options(
        verify=params["verify"],
        grow=params["grow"],
        wipe=params["wipe"],
        cache=cache,
        rules=Rules(tuple(params["allow"]), size_of(params["max_size"], "max_size")),
    )
    cards = [_card(target, params["expect"], params["seed"]) for target in params["targets"]]
    image = _image(params, cache)
    try:
        _look(cards, system)
        flash(image, cards, options, check, _reporter(params["progress_path"]), system)
        return _result(image, cards, params["verify"], check)
    finally:
        image.close()


def _card(given: Mapping[str, Any], expect: Mapping[str, Any], seed: Sequence[Mapping[str, Any]]) -> Card:
    target = Target(
        path=given["path"] or "",
        serial=given["serial"] or "",
        model=given["model"] or expect.get("model") or "",
        port=given["port"] or "",
        min_size=size_of(given["min_size"] or expect.get("min_size"), "min_size"),
        max_size=size_of(given["max_size"] or expect.get("max_size"), "max_size"),
        host=given["host"] or "",
    )
    # What is given for one card replaces what is given for all.
    files = {file.path: file for file in (seed_file(entry) for entry in [*seed, *given["seed"]])}
    return Card(target, tuple(files.values()))


def _image(params: Mapping[str, Any], cache: Path) -> Image:
    path = fetch(params["image"], params["checksum"] or "", cache)
    bmap = Path(params["bmap"]) if params["bmap"] else neighbour(path)
    signature, keyring = (Path(params[name]) if params[name] else None for name in ("signature", "keyring"))
    return open_image(path, cache, params["checksum"] or "", bmap, signature, keyring)


def _look(cards: Sequence[Card], system: System) -> None:
    for card in cards:
        try:
            card.contents_before = contents(resolve(card.target, system))
        except FlashError:
            # Told, with its reason, when the card is prepared.
            continue


def _reporter(path: str | None) -> Callable[[Sequence[Card]], None] | None:
    if not path:
        return None
    target = Path(path)

    def report(cards: Sequence[Card]) -> None:
        # To look on is no reason to end a run, nor to lose its result.
        with contextlib.suppress(OSError):
            write_atomically(target, json.dumps(progress(cards)), 0o644)

    return report


def _result(image: Image, cards: Sequence[Card], verify: str, check: bool) -> dict[str, Any]:
    return {
        "changed": any(card.changed for card in cards),
        "failed": any(card.error for card in cards),
        "msg": summary(cards, check),
        "cards": [card_result(card, image, verify, check) for card in cards],
        "image": image_summary(image),
        "diff": [diff_of(card, image) for card in cards if not card.error],
    }
