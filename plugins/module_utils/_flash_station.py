# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks of a station, judged: what could be flashed, and what not and why."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.common.text.formatters import human_to_bytes

from ._blockdev import Device, System, disks, find
from ._flash_contents import contents
from ._flash_errors import FlashError
from ._flash_safety import Rules, Target, refusals

_POLL = 0.5


@dataclass(frozen=True)
class Query:
    """Which disks to look at, and how to judge them."""

    paths: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    image_size: int = 0
    min_size: int = 0
    max_size: int = 0
    allow: tuple[str, ...] = ()
    known: tuple[tuple[str, str], ...] = ()


def look(query: Query, wait: bool, timeout: float, system: System | None = None) -> list[dict[str, Any]]:
    """The disks with their refusals, at once or when there is one without any."""
    system = system or System()
    limit = time.monotonic() + timeout
    while True:
        cards = [_judged(device, query, system) for device in _chosen(query, system)]
        if not wait or any(card["usable"] for card in cards):
            return cards
        if time.monotonic() >= limit:
            refused = [card["refusals"][0]["message"] for card in cards if card["refusals"]]
            raise FlashError(
                "not_found", "; ".join([f"after {timeout:g} s there is no card to flash", *refused])
            )
        time.sleep(_POLL)


def size_of(text: str | None, name: str) -> int:
    """A size such as 64G in bytes; 0 for none."""
    if not text:
        return 0
    try:
        return int(human_to_bytes(text))
    except ValueError as error:
        raise FlashError("option", f"{name}: {text!r} is not a size such as 64G") from error


def _chosen(query: Query, system: System) -> Iterator[Device]:
    if not query.paths and not query.ports:
        yield from disks(system)
        return
    named = [device for device in _named(query, system) if device.size]
    yield from named
    yield from (disk for disk in disks(system) if disk.port in query.ports and disk not in named)


def _named(query: Query, system: System) -> Iterator[Device]:
    for path in query.paths:
        try:
            yield find(path, system)
        except FlashError as error:
            # An empty port has no device: that is what waiting is for.
            if error.kind != "not_found":
                raise


def _judged(device: Device, query: Query, system: System) -> dict[str, Any]:
    # The device is named by its place here: what it is expected to be is the user's to say later.
    target = Target(path=f"/dev/disk/by-path/{device.number}", min_size=query.min_size)
    rules = Rules(query.allow, query.max_size)
    reasons = [error.as_dict() for error in refusals(device, target, rules, system, query.image_size)]
    if (device.path, device.sequence) in query.known:
        reasons.append(FlashError("known", f"{device.name}: is done").as_dict())
    return {
        **device.as_dict(),
        "contents": contents(device),
        "usable": not reasons,
        "refusals": reasons,
        "target": _target(device),
        "insertion": {"path": device.path, "sequence": device.sequence},
    }


def _target(device: Device) -> dict[str, str]:
    """What sdcard_flash takes to mean this very card, and no other that takes its place."""
    named = {"serial": device.serial, "port": device.port}
    size = f"{device.size}B"
    return {
        "path": device.path,
        "min_size": size,
        "max_size": size,
        **{key: value for key, value in named.items() if value},
    }
