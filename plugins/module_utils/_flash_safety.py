# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which devices must not be written, and why: refuse rather than destroy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ._blockdev import Device, System, disks, find, is_stacked, uses
from ._flash_errors import FlashError

_SYSTEM = ("/", "/boot", "/usr", "/var", "/etc", "/home", "/efi", "/nix")


@dataclass(frozen=True)
class Target:
    """A card as the user names it, and what it is expected to be."""

    path: str = ""
    serial: str = ""
    model: str = ""
    port: str = ""
    min_size: int = 0
    max_size: int = 0
    host: str = ""

    @property
    def expectations(self) -> bool:
        return bool(self.serial or self.model or self.port or (self.min_size and self.max_size))


@dataclass(frozen=True)
class Rules:
    """What holds for all cards of a run."""

    allow: tuple[str, ...] = ()
    max_size: int = 512 * 10**9


def resolve(target: Target, system: System) -> Device:
    """The one device that a target names."""
    if target.path:
        return find(target.path, system)
    wanted = ", ".join(f"{key} {value}" for key in ("serial", "port") if (value := getattr(target, key)))
    if not wanted:
        raise FlashError("not_found", "a target names no device: it has neither path, serial nor port")
    matching = [
        disk
        for disk in disks(system)
        if (not target.serial or disk.serial == target.serial)
        and (not target.port or disk.port == target.port)
    ]
    if len(matching) != 1:
        names = ", ".join(disk.path for disk in matching) or "none"
        raise FlashError("not_found", f"one device should have {wanted}, found: {names}")
    return matching[0]


def refusals(
    device: Device, target: Target, rules: Rules, system: System, image_size: int = 0
) -> Iterator[FlashError]:
    """Every reason not to write the device, the weightiest first."""
    name = device.name
    yield from in_use(device, system)
    if device.partition:
        yield FlashError("partition", f"{name}: is a partition, not a disk")
    if is_stacked(device, system):
        yield FlashError("stacked", f"{name}: is made of other block devices")
    if not device.size:
        yield FlashError("no_media", f"{name}: there is no card in it")
        return
    if device.read_only:
        yield FlashError("read_only", f"{name}: is read-only")
    if not device.removable and "non_removable" not in rules.allow:
        yield FlashError(
            "not_removable", f"{name}: is not a removable disk ({device.transport}, {device.model})"
        )
    if image_size and device.size < image_size:
        yield FlashError("too_small", f"{name}: has {device.size} bytes, the image needs {image_size}")
    if device.size > rules.max_size:
        yield FlashError("too_big", f"{name}: has {device.size} bytes, more than max_size {rules.max_size}")
    yield from _unexpected(device, target)


def in_use(device: Device, system: System) -> Iterator[FlashError]:
    """The reasons that may come up at any time."""
    found = uses(device, system)
    mounts = [use.what for use in found if use.kind == "mounted"]
    if any(mount in _SYSTEM or mount.startswith("/boot/") for mount in mounts):
        yield FlashError(
            "system_disk", f"{device.name}: the station runs from it ({', '.join(sorted(mounts))})"
        )
    elif mounts:
        yield FlashError("mounted", f"{device.name}: is mounted on {', '.join(sorted(mounts))}")
    for use in found:
        if use.kind == "swap":
            yield FlashError("swap", f"{device.name}: the station swaps to {use.what}")
        elif use.kind == "in_use":
            yield FlashError("in_use", f"{device.name}: is used by {use.what}")


def _unexpected(device: Device, target: Target) -> Iterator[FlashError]:
    if target.path and not _stable(target.path) and not target.expectations:
        yield FlashError(
            "unnamed",
            f"{device.name}: {target.path} may be another disk tomorrow, and nothing says what it should be",
        )
    for what in ("serial", "model", "port"):
        wanted, found = getattr(target, what), getattr(device, what)
        if wanted and wanted != found:
            yield FlashError("unexpected", f"{device.name}: {what} is {found!r}, expected {wanted!r}")
    if device.size < target.min_size:
        yield FlashError(
            "unexpected", f"{device.name}: has {device.size} bytes, expected at least {target.min_size}"
        )
    if target.max_size and device.size > target.max_size:
        yield FlashError(
            "unexpected", f"{device.name}: has {device.size} bytes, expected at most {target.max_size}"
        )


def _stable(path: str) -> bool:
    return path.startswith(("/dev/disk/by-id/", "/dev/disk/by-path/"))
