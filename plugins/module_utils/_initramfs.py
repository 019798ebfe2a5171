# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Can the kernel start what is in this initramfs? Answered from the archive, without booting it."""

from __future__ import annotations

import posixpath
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_PT_DYNAMIC, _PT_INTERP, _PT_LOAD = 2, 3, 1
_DT_NEEDED, _DT_STRTAB = 1, 5


class InitramfsError(Exception):
    """The archive cannot be read, or what it holds cannot start."""


@dataclass(frozen=True)
class Entry:
    """One file of the archive."""

    mode: int
    content: bytes


def read_cpio(data: bytes) -> dict[str, Entry]:
    """The files of an uncompressed newc archive by absolute path; several archives may follow each other."""
    entries: dict[str, Entry] = {}
    links: dict[tuple[int, int, int], list[str]] = {}
    offset = 0
    while offset + 110 <= len(data):
        if data[offset : offset + 1] == b"\0":
            offset += 4 - offset % 4 if offset % 4 else 4
            continue
        if data[offset : offset + 6] not in (b"070701", b"070702"):
            raise InitramfsError(f"no cpio header at byte {offset}: compressed, cut off or not an initramfs")
        try:
            fields = [int(data[offset + 6 + 8 * n : offset + 14 + 8 * n], 16) for n in range(13)]
        except ValueError as error:
            raise InitramfsError(f"a damaged cpio header at byte {offset}") from error
        inode, mode, count, size, major, minor, length = (fields[n] for n in (0, 1, 4, 6, 7, 8, 11))
        start = offset + 110
        name = data[start : start + length - 1].decode("utf-8", "surrogateescape")
        body = (start + length + 3) & ~3
        if body + size > len(data):
            raise InitramfsError(f"the archive ends within {name}")
        offset = (body + size + 3) & ~3
        if name == "TRAILER!!!":
            continue
        path = posixpath.normpath("/" + name.lstrip("./"))
        entries[path] = Entry(mode, data[body : body + size])
        if count > 1 and stat.S_ISREG(mode):
            links.setdefault((inode, major, minor), []).append(path)
    # The content of hard links stands with the last of them.
    for paths in links.values():
        content = next((entries[path].content for path in paths if entries[path].content), b"")
        for path in paths:
            entries[path] = Entry(entries[path].mode, content)
    return entries


def check(path: Path) -> list[str]:
    """The names in the archive, sorted; an error when /init or what it needs is missing."""
    try:
        entries = read_cpio(path.read_bytes())
    except OSError as error:
        raise InitramfsError(f"{path}: {error.strerror}") from error
    except InitramfsError as error:
        raise InitramfsError(f"{path}: {error}") from error
    if not entries:
        raise InitramfsError(f"{path} is empty: dracut made no initramfs")
    try:
        _runs(entries, "/init", 0)
    except InitramfsError as error:
        raise InitramfsError(
            f"{path} would panic the kernel: {error}. Look for dracut's messages in the log of the build."
        ) from error
    return sorted(entries)


def _runs(entries: Mapping[str, Entry], path: str, depth: int) -> None:
    """Refuse a program whose interpreter, loader or library is not there."""
    real = _resolve(entries, path)
    entry = entries[real]
    if not stat.S_ISREG(entry.mode):
        raise InitramfsError(f"{path} is not a file")
    if depth > 8:
        raise InitramfsError(f"{path} is an endless chain of interpreters")
    if not entry.mode & 0o111 and depth < 8:
        raise InitramfsError(f"{path} is not executable")
    if entry.content.startswith(b"#!"):
        words = entry.content[2:].split(b"\n", 1)[0].split()
        if not words:
            raise InitramfsError(f"{path} names no interpreter")
        _runs(entries, words[0].decode(), depth + 1)
    elif entry.content.startswith(b"\x7fELF"):
        interpreter, needed = _elf(entry.content)
        if interpreter:
            _resolve(entries, interpreter, f"the loader of {path}")
        for library in needed:
            _library(entries, library, path, interpreter)
    else:
        raise InitramfsError(f"{path} is neither a script nor an ELF program")


def _library(entries: Mapping[str, Entry], library: str, user: str, interpreter: str) -> None:
    # Debian keeps libraries in a directory for each architecture, beside the loader itself.
    beside = {posixpath.dirname(interpreter), posixpath.dirname(_resolve(entries, interpreter))}
    for directory in (*sorted(beside), "/lib", "/usr/lib", "/lib64", "/usr/lib64"):
        try:
            _resolve(entries, posixpath.join(directory, library))
        except InitramfsError:
            continue
        return
    # musl's loader is its C library, under another name.
    if library.startswith(("libc.so", "libc.musl")) and posixpath.basename(interpreter).startswith("ld-musl"):
        return
    raise InitramfsError(f"{library}, which {user} needs, is missing")


def _resolve(entries: Mapping[str, Entry], path: str, what: str = "") -> str:
    """Follow links, in every part of the path."""
    todo = [part for part in path.split("/") if part]
    current = "/"
    for _unused in range(200):
        if not todo:
            return current
        step = posixpath.normpath(posixpath.join(current, todo.pop(0)))
        entry = entries.get(step)
        if entry is None:
            raise InitramfsError(f"{what + ', ' if what else ''}{path}{',' if what else ''} is missing")
        if stat.S_ISLNK(entry.mode):
            target = entry.content.rstrip(b"\0").decode("utf-8", "surrogateescape")
            todo = [part for part in target.split("/") if part] + todo
            if target.startswith("/"):
                current = "/"
            continue
        current = step
    raise InitramfsError(f"{path} is a loop of links")


def _elf(data: bytes) -> tuple[str, list[str]]:
    """The loader and the needed libraries of an ELF program."""
    wide = data[4] == 2
    order = "<" if data[5] == 1 else ">"
    try:
        if wide:
            table, size, count = (
                *struct.unpack_from(f"{order}Q", data, 32),
                *struct.unpack_from(f"{order}HH", data, 54),
            )
        else:
            table, size, count = (
                *struct.unpack_from(f"{order}I", data, 28),
                *struct.unpack_from(f"{order}HH", data, 42),
            )
        headers = [_segment(data, table + n * size, order, wide) for n in range(count)]
        interpreter = ""
        needed: list[int] = []
        strings = 0
        for kind, offset, _address, length in headers:
            if kind == _PT_INTERP:
                interpreter = data[offset : offset + length].rstrip(b"\0").decode()
            elif kind == _PT_DYNAMIC:
                entry = f"{order}{'QQ' if wide else 'II'}"
                for tag, value in struct.iter_unpack(entry, data[offset : offset + length]):
                    if tag == _DT_NEEDED:
                        needed.append(value)
                    elif tag == _DT_STRTAB:
                        strings = value
        base = next(
            (
                off + strings - addr
                for kind, off, addr, length in headers
                if kind == _PT_LOAD and addr <= strings < addr + length
            ),
            strings,
        )
        return interpreter, [data[base + at : data.index(b"\0", base + at)].decode() for at in needed]
    except (struct.error, ValueError, IndexError) as error:
        raise InitramfsError(f"a damaged ELF file: {error}") from error


def _segment(data: bytes, at: int, order: str, wide: bool) -> tuple[int, int, int, int]:
    if wide:
        kind, _flags, offset, address, _physical, size = struct.unpack_from(f"{order}IIQQQQ", data, at)
    else:
        kind, offset, address, _physical, size = struct.unpack_from(f"{order}IIIII", data, at)
    return kind, offset, address, size
