# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong with a card, by kind, with what to do about it."""

from __future__ import annotations

import errno

ADVICE = {
    "not_found": "check that the card is inserted, and the name with sdcard_info",
    "not_block": "name a block device; an image file is written with cp",
    "no_media": "insert a card into the reader",
    "unnamed": "name the target by /dev/disk/by-id or by-path, or add what it is expected to be: "
    "serial, model, or min_size and max_size",
    "option": "correct the option",
    "unexpected": "check which card is in which reader",
    "duplicate": "name every card once",
    "partition": "name the whole disk",
    "stacked": "name the disk below it",
    "system_disk": "nothing allows this",
    "mounted": "unmount it",
    "swap": "switch the swap off with swapoff",
    "in_use": "stop what uses it: LVM, RAID, encryption or a loop device",
    "busy": "end the program that has it open, for example another flash run",
    "permission": "become root on the station",
    "read_only": "slide the card's lock switch, or replace the card: worn-out cards lock themselves",
    "not_removable": "add non_removable to allow if this is really the disk to overwrite",
    "known": "take it out and insert the next one",
    "too_small": "use a larger card",
    "too_big": "raise max_size if this is really the disk to overwrite",
    "sector_size": "use a card with 512-byte sectors",
    "vanished": "check the reader and its cable, and flash again: it resumes",
    "write_error": "flash again; if it fails again, discard the card",
    "read_error": "flash again; if it fails again, discard the card",
    "verify_mismatch": "discard the card: it does not keep what is written to it",
    "fake_capacity": "discard the card: it is smaller than it says",
    "image": "copy or build the image anew",
    "cache": "make room there, or name another place with cache_dir",
    "tool": "install the missing program on the station",
    "layer": "correct the seed or the image",
}


class FlashError(Exception):
    """One card, or the image, cannot be used; C(kind) is a key of ADVICE."""

    def __init__(
        self,
        kind: str,
        message: str,
        offset: int | None = None,
        error: int | None = None,
        ranges: list[tuple[int, int]] | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.offset = offset
        self.error = error
        self.ranges = ranges or []

    @property
    def advice(self) -> str:
        return ADVICE[self.kind]

    def as_dict(self) -> dict[str, object]:
        """For results and reports; empty facts are left out."""
        return {
            "kind": self.kind,
            "message": self.message,
            "advice": self.advice,
            **({"offset": self.offset} if self.offset is not None else {}),
            **({"errno": errno.errorcode.get(self.error, str(self.error))} if self.error else {}),
            **({"bad_ranges": [list(span) for span in self.ranges]} if self.ranges else {}),
        }


def io_error(doing: str, name: str, offset: int, error: OSError) -> FlashError:
    """The kind of a failed read or write."""
    number = error.errno or errno.EIO
    if number in (errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM, errno.ESHUTDOWN):
        kind, what = "vanished", "the card is gone"
    elif number in (errno.EROFS, errno.EPERM, errno.EACCES):
        kind, what = "read_only", "the card cannot be written"
    elif number == errno.ENOSPC:
        kind, what = "too_small", "the card ends before its size says"
    else:
        kind, what = f"{doing}_error", f"{doing} failed"
    return FlashError(kind, f"{name}: {what} at byte {offset} ({error.strerror})", offset, number)
