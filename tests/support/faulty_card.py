# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A card that misbehaves on demand: one file in a FUSE file system, to be put behind a loop device.

Run as a program: faulty_card.py MOUNTPOINT BACKING FAULTS. FAULTS is a JSON file
that is looked at before every request, so that a card can change on the way:

    wbps, rbps      bytes per second of writes and reads, one at a time as on a card
    write_error     [start, end]: writes there fail with EIO
    read_error      [start, end]: reads there fail with EIO
    sync_error      true: fsync fails with EIO
    vanish_after    bytes written after which every request fails
    wraps_at        a fake card: beyond this many bytes it starts again at its beginning
    lost_from       a fake card: what is written beyond is dropped and reads as zeros
    drop_writes     true: nothing that is written is kept
    heals_after     bytes written after which all faults end
    flip_at         offset of a byte that reads back wrong
"""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Any

import mfusepy

NAME = "/card"


class FaultyCard(mfusepy.Operations):
    use_ns = True

    def __init__(self, backing: Path, faults: Path) -> None:
        self.fd = os.open(backing, os.O_RDWR)
        self.size = os.fstat(self.fd).st_size
        self.faults_file = faults
        self.lock = threading.Lock()
        self.seen = 0
        self.faults: dict[str, Any] = {}
        self.written = 0
        self.free_at = 0.0
        self.late = 0.0

    def getattr(self, path: str, fh: object = None) -> dict[str, int]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path != NAME:
            raise OSError(errno.ENOENT, "no such file")
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": self.size}

    def readdir(self, path: str, fh: object) -> list[str]:
        return [".", "..", NAME[1:]]

    def open(self, path: str, flags: int) -> int:
        return 0

    def read(self, path: str, size: int, offset: int, fh: object) -> bytes:
        self._begin("rbps", size)
        self._fail_in("read_error", offset, size)
        data = bytearray()
        for at, count in self._pieces(offset, min(size, self.size - offset)):
            data += bytes(count) if at < 0 else os.pread(self.fd, count, at)
        flip = self.faults.get("flip_at")
        if flip is not None and offset <= flip < offset + len(data):
            data[flip - offset] ^= 0x10
        self._end()
        return bytes(data)

    def write(self, path: str, data: bytes, offset: int, fh: object) -> int:
        self._begin("wbps", len(data))
        self._fail_in("write_error", offset, len(data))
        if not self.faults.get("drop_writes"):
            done = 0
            for at, count in self._pieces(offset, len(data)):
                if at >= 0:
                    os.pwrite(self.fd, data[done : done + count], at)
                done += count
        self._end()
        return len(data)

    def fsync(self, path: str, datasync: int, fh: object) -> int:
        self._begin("", 0)
        if self.faults.get("sync_error"):
            raise OSError(errno.EIO, "sync fails")
        return 0

    def _begin(self, rate: str, size: int) -> None:
        """Look at the faults, and take the time that a card takes."""
        with self.lock:
            done = self._accept(rate, size)
        # Short sleeps are inexact: being early a little now is made up for later.
        if done - time.monotonic() > 0.002:
            time.sleep(done - time.monotonic())

    def _accept(self, rate: str, size: int) -> float:
        """When the request will be done. One that waits for another begins the moment that one is done."""
        changed = self.faults_file.stat().st_mtime_ns
        if changed != self.seen:
            self.seen = changed
            self.faults = json.loads(self.faults_file.read_text() or "{}")
        if self.written >= self.faults.get("heals_after", self.written + 1):
            self.faults = {}
        limit = self.faults.get("vanish_after")
        if limit is not None and self.written >= limit:
            raise OSError(errno.ENODEV, "unplugged")
        if rate == "wbps":
            self.written += size
        pace = self.faults.get(rate)
        # Only what passed between two requests is idle time of the card.
        self.free_at = max(self.free_at, time.monotonic() - self.late) + (size / pace if pace else 0)
        return self.free_at

    def _end(self) -> None:
        """How far this program, and not the card, is behind: sleeps last too long, and copying takes time."""
        self.late = max(0.0, time.monotonic() - self.free_at)

    def _fail_in(self, fault: str, offset: int, size: int) -> None:
        span = self.faults.get(fault)
        if span and span[0] < offset + size and offset < span[1]:
            raise OSError(errno.EIO, fault)

    def _pieces(self, offset: int, size: int) -> list[tuple[int, int]]:
        """Where bytes really are: offset and count, a negative offset where there is nothing."""
        wraps, lost = self.faults.get("wraps_at"), self.faults.get("lost_from")
        pieces = []
        while size > 0:
            border = wraps if wraps else lost
            room = size if not border else border - offset % border if wraps else max(border - offset, 0)
            count = min(size, room or size)
            place = offset % wraps if wraps else -1 if lost and offset >= lost else offset
            pieces.append((place, count))
            offset += count
            size -= count
        return pieces


if __name__ == "__main__":
    mount, backing, faults = sys.argv[1:]
    mfusepy.FUSE(FaultyCard(Path(backing), Path(faults)), mount, foreground=True)
