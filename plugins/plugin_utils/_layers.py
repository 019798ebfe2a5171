# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse what files/device/diff.sh prints: the two layers of an overlay, names as bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import DeviceError
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._status import (
    Mount,
    parse_mounts,
    parse_status,
)

TYPES = {
    b"-": "file",
    b"d": "directory",
    b"l": "link",
    b"c": "char",
    b"b": "block",
    b"p": "fifo",
    b"s": "socket",
}

_RECORD = re.compile(
    rb"\s*(?P<inode>\d+)\s+(?P<blocks>\d+)\s+(?P<mode>[-dlcbps][-rwxsStT]{9})[.+@]?\s+(?P<nlink>\d+)\s+"
    rb"(?P<uid>\d+)\s+(?P<gid>\d+)\s+(?:(?P<major>\d+),\s*(?P<minor>\d+)|(?P<size>\d+))\s+"
    rb"(?P<mtime>\d+-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.\d+)? [+-]0000 (?P<name>.*)",
    re.DOTALL,
)
_RAW_XATTR = re.compile(rb'^([a-z]+\.[^=\n]+)="(.*?)"$', re.DOTALL | re.MULTILINE)
# Marks of overlayfs' own.
OVERLAY_XATTRS = ("trusted.overlay.", "user.overlay.")
_ASTRAY = re.compile(rb"//|/\.{0,2}(?:/|\Z)")
_CHECKSUM = re.compile(rb"\\?([0-9a-f]{64}) [ *]")


class WireError(DeviceError):
    """The device's output is not what the script prints."""


@dataclass(frozen=True)
class Entry:
    """One inode as `ls` shows it."""

    type: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime: str
    inode: int
    nlink: int
    blocks: int
    rdev: tuple[int, int] | None = None
    target: bytes | None = None

    @property
    def whiteout(self) -> bool:
        return self.type == "char" and self.rdev == (0, 0)

    @property
    def odd_target(self) -> bool:
        """Whether `ls` cannot have shown the target as it is: it prints ? or an escape for odd bytes."""
        return (
            self.target is not None
            and re.fullmatch(rb"[ -\[\]-~]*", self.target.replace(b"?", b"\n")) is None
        )

    @property
    def sparse(self) -> bool:
        return self.type == "file" and self.blocks * 1024 < self.size


@dataclass(frozen=True)
class Detail:
    """Of a symbolic link both targets; of a file, two values that are equal when the contents are."""

    before: bytes
    after: bytes


@dataclass
class Layers:
    """What the device knows: paths are relative to the root, b"" is the root itself."""

    # Whether `upper` has all of the merged tree, because the layer alone does not say where to look.
    whole: bool = False
    mounts: dict[str, Mount] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)
    always_kept: list[bytes] = field(default_factory=list)
    merged: set[bytes] = field(default_factory=set)
    upper_names: set[bytes] = field(default_factory=set)
    upper: dict[bytes, Entry] = field(default_factory=dict)
    lower: dict[bytes, Entry] = field(default_factory=dict)
    checksums: dict[bytes, tuple[bytes, bytes]] = field(default_factory=dict)
    details: dict[bytes, Detail] = field(default_factory=dict)
    getfattr: str | None = None
    upper_xattrs: dict[bytes, dict[str, bytes]] = field(default_factory=dict)
    lower_xattrs: dict[bytes, dict[str, bytes]] = field(default_factory=dict)
    merged_xattrs: dict[bytes, dict[str, bytes]] = field(default_factory=dict)
    # All of the upper layer as tar archives, if that was asked for and nothing was renamed.
    archive: bytes | None = None

    def user_xattrs(self, path: bytes) -> dict[str, bytes]:
        """The attributes that the merged tree has at a path of the upper layer."""
        found = (self.merged_xattrs if self.whole else self.upper_xattrs).get(path, {})
        return {name: value for name, value in found.items() if not name.startswith(OVERLAY_XATTRS)}


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def until(self, end: bytes) -> bytes:
        stop = self.data.find(end, self.position)
        if stop < 0:
            raise WireError(f"no {end!r} after byte {self.position}")
        part = self.data[self.position : stop]
        self.position = stop + len(end)
        return part

    def names(self, count: int) -> list[bytes]:
        return [self.until(b"\0") for _unused in range(count)]

    def lines(self) -> list[bytes]:
        """The lines up to the next one that starts with @, which no line of `ls` does."""
        if self.data.startswith(b"@", self.position):
            return []
        stop = self.data.find(b"\n@", self.position)
        part = self.data[self.position : stop if stop >= 0 else len(self.data)]
        self.position += len(part) + 1
        return part.rstrip(b"\n").split(b"\n") if part else []


def parse_layers(output: bytes) -> Layers:
    layers = Layers()
    reader = _Reader(output)
    while reader.position < len(output):
        tag, *words = reader.until(b"\n").split()
        if tag == b"@P":
            layers.mounts = parse_mounts(reader.until(b"\0\n").decode("utf-8", "backslashreplace"))
        elif tag == b"@S":
            layers.status = parse_status(reader.until(b"\0\n").decode("utf-8", "backslashreplace"))
        elif tag == b"@K":
            lines = reader.until(b"\0\n").split(b"\n")
            layers.always_kept = [line[5:].strip(b"/") for line in lines if line.startswith(b"keep=/")]
        elif tag in (b"@N", b"@O"):
            names_seen = {_plain(name) for name in reader.until(b"\0\n").split(b"\0") if name}
            if tag == b"@N":
                layers.merged = names_seen
            else:
                layers.upper_names = names_seen
        elif tag in (b"@U", b"@L"):
            names = reader.names(int(words[0]))
            into = layers.upper if tag == b"@U" else layers.lower
            into.update(_records(names, reader.lines()))
        elif tag == b"@H":
            names = reader.names(int(words[0]))
            sums = [_checksums(names, reader.until(b"\0")) for _side in ("lower", "merged")]
            reader.until(b"\n")
            layers.checksums.update(
                {_plain(name): (sums[0][name], sums[1][name]) for name in sums[0].keys() & sums[1].keys()}
            )
        elif tag == b"@D":
            triplets = [reader.names(3) for _unused in range(int(words[0]))]
            reader.until(b"\n")
            layers.details.update({_plain(name): Detail(*both) for name, *both in triplets})
        elif tag == b"@W":
            layers.whole = True
        elif tag == b"@A":
            layers.archive = output[reader.position :]
            break
        elif tag == b"@G":
            layers.getfattr = words[0].decode()
        elif tag == b"@X":
            names = reader.names(int(words[1]))
            attributes = _xattrs(names, reader.until(b"\0\n"), gnu=layers.getfattr == "gnu")
            into_xattrs = {b"U": layers.upper_xattrs, b"L": layers.lower_xattrs, b"M": layers.merged_xattrs}
            into_xattrs[words[0]].update(attributes)
        else:
            raise WireError(f"unknown section {tag!r}")
    if not layers.upper_names:
        layers.upper_names = set(layers.upper)
    return layers


def _plain(name: bytes) -> bytes:
    """Relative to the top of the tree. What no `find` prints could lead out of a directory here."""
    if name == b".":
        return b""
    if not name.startswith(b"./") or _ASTRAY.search(name, 1):
        raise WireError(f"not a path below the root: {name!r}")
    return name[2:]


def _records(names: list[bytes], lines: list[bytes]) -> Iterator[tuple[bytes, Entry]]:
    """Join names to the lines of `ls`, which sorts its arguments and keeps silent on what vanished."""
    remaining = iter(sorted(names))
    for line in lines:
        match = _RECORD.fullmatch(line)
        if match is None:
            raise WireError(f"not a line of ls: {line!r}")
        for name in remaining:
            if len(names) == len(lines) or _shown_as(name, match["name"]):
                yield _plain(name), _entry(match, name)
                break
        else:
            raise WireError(f"a name that was not asked for: {line!r}")


def _pattern(name: bytes) -> bytes:
    """How `ls` may show a name: what is not plain ASCII becomes ? or an escape sequence."""
    return b"".join(_pattern_of(byte) for byte in name)


def _pattern_of(byte: int) -> bytes:
    if 32 <= byte < 127:
        return rb"\\?" + re.escape(bytes([byte]))
    return rb"(?:\?|\\\d{3}|\\\w)*"


def _shown_as(name: bytes, shown: bytes) -> bool:
    return re.match(_pattern(name) + rb"(?: -> |\Z)", shown, re.DOTALL) is not None


def _entry(match: re.Match[bytes], name: bytes) -> Entry:
    mode_text = match["mode"]
    kind = TYPES[mode_text[:1]]
    entry = Entry(
        type=kind,
        mode=_mode(mode_text),
        uid=int(match["uid"]),
        gid=int(match["gid"]),
        size=int(match["size"] or 0),
        mtime=match["mtime"].decode().replace(" ", "T") + "Z",
        inode=int(match["inode"]),
        nlink=int(match["nlink"]),
        blocks=int(match["blocks"]),
    )
    if kind in ("char", "block"):
        return replace(entry, rdev=(int(match["major"]), int(match["minor"])))
    if kind == "link":
        shown = re.match(_pattern(name) + rb" -> ", match["name"], re.DOTALL)
        return replace(entry, target=match["name"][shown.end() :] if shown else b"?")
    return entry


def _mode(text: bytes) -> int:
    mode = 0
    for index, char in enumerate(text[1:].decode()):
        if char not in "-ST":
            mode |= 1 << (8 - index)
        if char in "sStT":
            mode |= (0o4000, 0o2000, 0o1000)[index // 3]
    return mode


def _checksums(names: list[bytes], text: bytes) -> dict[bytes, bytes]:
    """sha256sum keeps the order of its arguments, repeats each name, and skips what it cannot read."""
    sums: dict[bytes, bytes] = {}
    position = 0
    for name in names:
        match = _CHECKSUM.match(text, position)
        if match is None:
            continue
        escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
        for spelling in (name, escaped):
            if text.startswith(spelling + b"\n", match.end()):
                sums[name] = match[1]
                position = match.end() + len(spelling) + 1
                break
    return sums


def _xattrs(names: list[bytes], text: bytes, *, gnu: bool) -> dict[bytes, dict[str, bytes]]:
    """getfattr's blocks. GNU's escapes names and prints values in hex; BusyBox's prints both raw."""
    found: dict[bytes, dict[str, bytes]] = {}
    known = set(names)
    for block in re.split(rb"(?:\A|\n)# file: ", text)[1:]:
        if gnu:
            header, _newline, rest = block.partition(b"\n")
            name = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), header)
            values = {
                key.decode("utf-8", "backslashreplace"): bytes.fromhex(value[2:].decode())
                for key, _equals, value in (line.partition(b"=") for line in rest.splitlines() if line)
            }
        else:
            name = next((name for name in _prefixes(block) if name in known), b"")
            pairs = _RAW_XATTR.findall(block[len(name) + 1 :])
            values = {key.decode("utf-8", "backslashreplace"): value for key, value in pairs}
        if name in known:
            found[_plain(name)] = values
    return found


def _prefixes(block: bytes) -> Iterator[bytes]:
    for match in re.finditer(rb"\n", block):
        yield block[: match.start()]
