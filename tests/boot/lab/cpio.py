# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives that the kernel unpacks as initramfs; several may be concatenated, the last entry wins."""

from __future__ import annotations

import stat
from pathlib import Path


class Archive:
    """A `newc` archive, written without root: owner 0, whatever the host's files say."""

    def __init__(self) -> None:
        self._entries: list[bytes] = []

    def directory(self, path: str, mode: int = 0o755) -> None:
        self._add(path, stat.S_IFDIR | mode)

    def symlink(self, path: str, target: str) -> None:
        self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def file(self, path: str, content: bytes, mode: int = 0o755) -> None:
        self._add(path, stat.S_IFREG | mode, content)

    def character_device(self, path: str, major: int, minor: int) -> None:
        self._add(path, stat.S_IFCHR | 0o600, device=(major, minor))

    def tree(self, source: Path) -> None:
        for path in sorted(source.rglob("*")):
            name = str(path.relative_to(source))
            if path.is_symlink():
                self.symlink(name, str(path.readlink()))
            elif path.is_dir():
                self.directory(name, stat.S_IMODE(path.stat().st_mode))
            else:
                self.file(name, path.read_bytes(), stat.S_IMODE(path.stat().st_mode))

    def _add(self, path: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        name = path.lstrip("/").encode() + b"\0"
        inode = len(self._entries) + 1
        fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name), 0)
        entry = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        entry += bytes(-len(entry) % 4) + content
        self._entries.append(entry + bytes(-len(entry) % 4))

    def bytes(self) -> bytes:
        whole = Archive()
        whole._add("TRAILER!!!", 0)
        data = b"".join(self._entries) + whole._entries[0]
        return data + bytes(-len(data) % 512)
