# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Block devices of a station: which there are, what they are, what uses them.

Everything is read from sysfs and procfs, so that it works without udev; the
roots are parameters, so that it can be tested without devices.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ._flash_errors import FlashError

_NEVER_CARDS = ("ram", "zram", "sr", "fd", "nbd", "dm-", "md")
_MMC_BOOT_AREAS = ("boot0", "boot1", "rpmb")


@dataclass(frozen=True)
class System:
    """Where the kernel tells about itself."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")

    def node(self, number: str) -> Path:
        """The sysfs directory of a block device, C(major:minor)."""
        return (self.sys / "dev/block" / number).resolve()


@dataclass(frozen=True)
class Device:
    """One block device.

    C(serial) is the card's own where the reader tells it, else the reader's.
    C(sequence) is the kernel's number for this insertion of this medium.
    """

    path: str
    number: str
    size: int
    removable: bool
    read_only: bool
    partition: bool
    transport: str
    vendor: str
    model: str
    serial: str
    port: str
    sequence: str
    links: tuple[str, ...]

    @property
    def name(self) -> str:
        """For messages: the node and the serial number."""
        return f"{self.path} ({self.serial})" if self.serial else self.path

    def as_dict(self) -> dict[str, object]:
        """The identity, for results and reports."""
        return {
            "path": self.path,
            "size": self.size,
            "removable": self.removable,
            "read_only": self.read_only,
            "transport": self.transport,
            "vendor": self.vendor,
            "model": self.model,
            "serial": self.serial,
            "port": self.port,
            "sequence": self.sequence,
            "links": list(self.links),
        }


def find(path: str, system: System) -> Device:
    """The block device that a path names now."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise FlashError("not_found", f"{path}: no such device", error=error.errno) from error
    if not stat.S_ISBLK(status.st_mode):
        raise FlashError("not_block", f"{path}: is not a block device")
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    if not system.node(number).is_dir():
        raise FlashError("not_found", f"{path}: the device behind it is gone")
    return describe(number, system)


def disks(system: System) -> list[Device]:
    """All whole disks with a medium in them, by name; no RAM disks, optical drives or layers over disks."""
    found = []
    for entry in _entries(system.sys / "block"):
        if entry.name.startswith(_NEVER_CARDS) or entry.name.endswith(_MMC_BOOT_AREAS):
            continue
        device = describe(_read(entry / "dev"), system)
        if device.size:
            found.append(device)
    return found


def describe(number: str, system: System) -> Device:
    """What sysfs knows of a device."""
    node = system.node(number)
    whole = node.parent if (node / "partition").exists() else node
    hardware = whole / "device"
    usb = _usb(whole)
    transport = _transport(whole, usb)
    path = str(system.dev / node.name.replace("!", "/"))
    return Device(
        path=path,
        number=number,
        size=int(_read(node / "size") or 0) * 512,
        removable=_read(whole / "removable") == "1"
        or (transport == "mmc" and _read(hardware / "type") == "SD"),
        read_only=_read(node / "ro") == "1",
        partition=whole != node,
        transport=transport,
        vendor=_read(hardware / "vendor") or (_read(usb / "manufacturer") if usb else ""),
        model=_read(hardware / "model")
        or _read(hardware / "name")
        or (_read(usb / "product") if usb else ""),
        serial=_serial(whole, usb),
        port=usb.name if usb else "",
        sequence=_read(whole / "diskseq"),
        links=tuple(_links(node.name, system)),
    )


def _serial(whole: Path, usb: Path | None) -> str:
    # A card's CID holds its serial number; virtio keeps one on the disk itself.
    for place in (whole / "device/cid", whole / "device/serial", whole / "serial"):
        if _read(place):
            return _read(place)
    with contextlib.suppress(OSError):
        text = (whole / "device/vpd_pg80").read_bytes()[4:].decode("ascii", "ignore").strip("\0 ")
        if text:
            return text
    return _read(usb / "serial") if usb else ""


def _usb(whole: Path) -> Path | None:
    """The USB device that a disk hangs on."""
    for parent in whole.parents:
        if (parent / "idVendor").exists():
            return parent
    return None


def _transport(whole: Path, usb: Path | None) -> str:
    if usb:
        return "usb"
    for prefix, name in (
        ("mmcblk", "mmc"),
        ("nvme", "nvme"),
        ("loop", "loop"),
        ("vd", "virtio"),
        ("sd", "scsi"),
    ):
        if whole.name.startswith(prefix):
            return name
    return "other"


def _links(name: str, system: System) -> Iterator[str]:
    for directory in ("by-id", "by-path"):
        links = _entries(system.dev / "disk" / directory)
        yield from (str(link) for link in links if link.resolve().name == name)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _entries(directory: Path) -> list[Path]:
    """What a directory holds; nothing when there is none, or its device has just gone."""
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


# What stands on what.


def below(number: str, system: System) -> set[str]:
    """The device and all that it is made of: its disk, the members of its RAID or volume, a loop's device."""
    seen: set[str] = set()
    todo = [number]
    while todo:
        here = todo.pop()
        if here in seen or not system.node(here).is_dir():
            continue
        seen.add(here)
        node = system.node(here)
        if (node / "partition").exists():
            todo.append(_read(node.parent / "dev"))
        todo += [_read(slave / "dev") for slave in _entries(node / "slaves")]
        todo += _behind_loop(node)
    return seen


def _behind_loop(node: Path) -> list[str]:
    """The block device that a loop device reads, or that holds the file which it reads."""
    number = _number_of(_read(node / "loop/backing_file"))
    return [number] if number else []


def is_stacked(device: Device, system: System) -> bool:
    """Whether the device is made of other block devices; a loop over a file is a disk of its own."""
    node = system.node(device.number)
    backing = _read(node / "loop/backing_file")
    over_device = bool(backing) and Path(backing).is_block_device()
    return over_device or bool(_entries(node / "slaves"))


@dataclass(frozen=True)
class Use:
    """One reason why a disk is in use: C(kind) is mounted, swap or in_use."""

    kind: str
    what: str


def uses(device: Device, system: System) -> list[Use]:
    """Who uses the device, any partition of it, or anything that is built on them."""

    @cache
    def stands_on_it(number: str) -> bool:
        return device.number in below(number, system)

    found = []
    for source, number, target in _mounts(system):
        if stands_on_it(number) or stands_on_it(_number_of(source)):
            found.append(Use("mounted", target))
    for source in _swaps(system):
        if stands_on_it(_number_of(source)):
            found.append(Use("swap", source))
    for holder in _holders(device, system):
        found.append(Use("in_use", holder))
    return found


def _mounts(system: System) -> Iterator[tuple[str, str, str]]:
    for line in _read(system.proc / "self/mountinfo").splitlines():
        fields = line.split()
        rest = fields[fields.index("-") + 1 :]
        yield _unescape(rest[1]), fields[2], _unescape(fields[4])


def _swaps(system: System) -> Iterator[str]:
    for line in _read(system.proc / "swaps").splitlines()[1:]:
        yield _unescape(line.split()[0])


def _holders(device: Device, system: System) -> Iterator[str]:
    node = system.node(device.number)
    for place in (node, *(entry for entry in _entries(node) if (entry / "partition").exists())):
        yield from (f"{holder.name} on {place.name}" for holder in _entries(place / "holders"))
    for loop in sorted((system.sys / "block").glob("loop*")):
        backing = _read(loop / "loop/backing_file")
        if (
            backing
            and Path(backing).is_block_device()
            and device.number in below(_number_of(backing), system)
        ):
            yield f"{loop.name} on {backing}"


def _number_of(path: str) -> str:
    """C(major:minor) of a block device, or of the one that holds a file; empty for what is neither."""
    if not path.startswith("/"):
        return ""
    try:
        status = Path(path).stat()
    except OSError:
        return ""
    number = status.st_rdev if stat.S_ISBLK(status.st_mode) else status.st_dev
    return f"{os.major(number)}:{os.minor(number)}"


def _unescape(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text
