# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and writing a card past the page cache, and comparing memory."""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import mmap
import os
import stat
import time

from ._flash_errors import FlashError, io_error

BLKROGET, BLKRRPART, BLKFLSBUF = 0x125E, 0x125F, 0x1261
BLKSSZGET, BLKDISCARD = 0x1268, 0x1277
# udev holds the lock while it looks at a card that was just inserted.
_PATIENCE = 3.0

_libc = ctypes.CDLL(None)
_libc.memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


class Buffer:
    """Page-aligned memory, as direct I/O needs it."""

    def __init__(self, size: int) -> None:
        self._memory = mmap.mmap(-1, size)
        self.view = memoryview(self._memory)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))

    def same(self, other: Buffer, length: int, at: int = 0) -> bool:
        """Whether I(length) bytes at I(at) are equal: a memcmp that lets other threads run."""
        return bool(_libc.memcmp(self._address + at, other._address + at, length) == 0)


class Medium:
    """An open card. Offsets and lengths are multiples of its sectors."""

    def __init__(self, fd: int, name: str) -> None:
        self.fd = fd
        self.name = name
        status = os.fstat(fd)
        self._block = stat.S_ISBLK(status.st_mode)
        self.number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        self.size = os.lseek(fd, 0, os.SEEK_END)
        self.sector = self._ioctl_number(BLKSSZGET, "i") if self._block else 512
        self.read_only = self._block and bool(self._ioctl_number(BLKROGET, "i"))

    def read(self, buffer: Buffer, length: int, offset: int) -> None:
        """Fill the start of the buffer from the card."""
        done = 0
        while done < length:
            try:
                count = os.preadv(self.fd, [buffer.view[done:length]], offset + done)
            except OSError as error:
                raise io_error("read", self.name, offset + done, error) from error
            if count == 0:
                raise FlashError(
                    "too_small", f"{self.name}: the card ends at byte {offset + done}", offset + done
                )
            done += count

    def write(self, buffer: Buffer, length: int, offset: int, at: int = 0) -> None:
        """Write I(length) bytes at I(at) of the buffer to the card."""
        done = 0
        while done < length:
            try:
                count = os.pwrite(self.fd, buffer.view[at + done : at + length], offset + done)
            except OSError as error:
                raise io_error("write", self.name, offset + done, error) from error
            if count == 0:
                raise io_error(
                    "write", self.name, offset + done, OSError(errno.ENOSPC, "nothing was written")
                )
            done += count

    def flush(self) -> None:
        """Have everything on the card, and nothing of it in memory."""
        try:
            os.fsync(self.fd)
            if self._block:
                fcntl.ioctl(self.fd, BLKFLSBUF)
        except OSError as error:
            raise io_error("write", self.name, self.size, error) from error

    def discard(self, start: int, length: int) -> None:
        """Tell the card that a range is unused; what it reads afterwards is not relied on."""
        if not self._block:
            return
        try:
            fcntl.ioctl(self.fd, BLKDISCARD, array.array("Q", [start, length]).tobytes())
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.EIO):
                raise io_error("write", self.name, start, error) from error

    def reread_partitions(self) -> None:
        """Let the kernel see the new partition table; a card whose driver has no partitions refuses."""
        if self._block:
            try:
                fcntl.ioctl(self.fd, BLKRRPART)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOTTY, errno.EBUSY):
                    raise io_error("read", self.name, 0, error) from error

    def _ioctl_number(self, request: int, form: str) -> int:
        answer = array.array(form, [0])
        fcntl.ioctl(self.fd, request, answer)
        return int(answer[0])


def open_card(path: str, name: str, write: bool = True) -> Medium:
    """Open a block device for this process alone, until its descriptor is closed."""
    flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_EXCL | os.O_DIRECT | os.O_CLOEXEC
    try:
        fd = os.open(path, flags)
    except OSError as error:
        kind = {
            errno.EBUSY: "busy",
            errno.ENOMEDIUM: "no_media",
            errno.EROFS: "read_only",
            errno.EACCES: "permission",
            errno.EPERM: "permission",
            errno.ENOENT: "not_found",
            errno.ENXIO: "not_found",
        }.get(error.errno or 0, "read_error")
        raise FlashError(kind, f"{name}: cannot be opened ({error.strerror})", error=error.errno) from error
    try:
        _lock(fd)
        return Medium(fd, name)
    except BlockingIOError as error:
        os.close(fd)
        raise FlashError("busy", f"{name}: is locked by another program", error=error.errno) from error


def _lock(fd: int) -> None:
    """The agreed lock of block devices: udev and other flashers keep away."""
    limit = time.monotonic() + _PATIENCE
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= limit:
                raise
        time.sleep(0.05)
