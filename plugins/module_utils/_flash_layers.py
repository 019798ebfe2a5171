# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give one card's writable partition its own size and files.

The partition is made in a file and flashed like the rest of the image, so that
it is compared, verified and resumed like it, nothing is ever mounted, and the
base is not touched. The same input gives the same bytes: a second run writes
nothing.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ._flash_errors import FlashError
from ._flash_grow import Grown, grow, mark
from ._flash_image import Image
from ._flash_source import HEAD, Segment, Source, after_head, segments, source_of
from ._flash_tools import require
from ._image_map import Volume, map_fd, with_mapped
from ._program import run_program

UPPER = PurePosixPath("/upperdir")
_COPY = 1 << 20


@dataclass(frozen=True)
class SeedFile:
    """A file or directory of the device's upper layer; C(content) is None for a directory."""

    path: PurePosixPath
    content: bytes | None
    mode: int
    owner: int = 0
    group: int = 0


def seed_file(entry: Mapping[str, object]) -> SeedFile:
    """Check one entry of the seed as the user wrote it."""
    # With two slashes in front it would be a root of its own.
    path = PurePosixPath(re.sub("^/+", "/", str(entry["path"])))
    directory = entry.get("state") == "directory"
    if not path.is_absolute() or ".." in path.parts or path == PurePosixPath("/"):
        raise FlashError("layer", f"seed: {path} is not an absolute path of a file on the device")
    if re.search(r'["\\\n\0]', str(path)):
        raise FlashError("layer", f"seed: {str(path)!r} has a character that cannot be used here")
    if not isinstance(entry.get("mode") or "", str):
        raise FlashError("layer", f"seed: {path}: the mode must be in quotes, such as '0644'")
    text, binary = entry.get("content"), entry.get("content_base64")
    if directory != (text is None and binary is None):
        raise FlashError(
            "layer", f"seed: {path} needs content if it is a file, and none if it is a directory"
        )
    try:
        mode = int(str(entry.get("mode") or ("0755" if directory else "0644")), 8)
        content = (
            None
            if directory
            else str(text).encode()
            if text is not None
            else base64.b64decode(str(binary), validate=True)
        )
    except (ValueError, binascii.Error) as error:
        raise FlashError("layer", f"seed: {path}: {error}") from error
    if not 0 <= mode <= 0o7777:
        raise FlashError("layer", f"seed: {path}: the mode {mode:o} is out of range")
    return SeedFile(path, content, mode, int(str(entry.get("owner") or 0)), int(str(entry.get("group") or 0)))


def layered(image: Image, card_size: int, to_grow: bool, seed: Sequence[SeedFile], cache: Path) -> Source:
    """The contents of a card whose last partition is grown to its end, or holds files of its own."""
    plain = source_of(image.mapping, image.fd)
    if not to_grow and not seed:
        return plain
    try:
        return _layered(plain, image, card_size, to_grow, seed, cache)
    except OSError as error:
        # Not the card's fault: that must not be thrown away for it.
        raise FlashError(
            "cache", f"{cache}: cannot hold a card's layer ({error.strerror})", error=error.errno
        ) from error


def _layered(
    plain: Source, image: Image, card_size: int, to_grow: bool, seed: Sequence[SeedFile], cache: Path
) -> Source:
    volume = _writable(image)
    part = volume.partition
    table = grow(image.mapping, image.fd, part, card_size) if to_grow else Grown(part.end, ())
    fd = _copy_of(image, volume, cache)
    if table.end != part.end:
        os.ftruncate(fd, table.end - part.start)
        _tool(fd, ["resize2fs", "-f"])
    if seed:
        _seed(fd, image, _base(image, volume), seed)
    _tool(fd, ["e2fsck", "-fn"])
    own = map_fd(fd, table.end - part.start)
    if table.end != part.end:
        own = with_mapped(own, fd, mark(fd, part.start, own))
    source = replace(plain, size=max(plain.size, table.end))
    layer = segments(own.extents, fd, part.start)
    return _with_table(_replaced(source, part.start, table.end, layer), table.pieces, cache)


def _replaced(source: Source, start: int, end: int, parts: Iterable[Segment]) -> Source:
    """The source with other contents between two offsets."""
    outside = (piece for given in source.segments for piece in _without(given, start, end))
    return replace(source, segments=tuple(sorted([*outside, *parts], key=lambda piece: piece.start)))


def _with_table(source: Source, pieces: Sequence[tuple[int, bytes]], cache: Path) -> Source:
    """The source with another partition table, held by a sparse file in which it has its places."""
    if not pieces:
        return source
    fd = _nameless(cache)
    os.pwrite(fd, source.head, 0)
    for start, data in pieces:
        os.pwrite(fd, data, start)
        end = start + len(data)
        source = _replaced(source, start, end, after_head([Segment(start, len(data), fd, start)]))
    size = max(source.size, os.fstat(fd).st_size)
    return replace(source, size=size, head=os.pread(fd, HEAD, 0))


def _writable(image: Image) -> Volume:
    """The last partition, which must be an ext4."""
    volumes = sorted(image.mapping.volumes, key=lambda volume: volume.partition.start)
    last = volumes[-1] if volumes else None
    mbr = image.mapping.table.kind == "mbr"
    if last is None or last.partition.number == 0 or (mbr and last.partition.number > 4):
        raise FlashError("layer", f"{image.name}: has no primary partition to grow or to seed")
    if last.filesystem is None or last.filesystem.type != "ext4":
        raise FlashError(
            "layer", f"{image.name}: its last partition is not an ext4, nothing can be put into it"
        )
    return last


def _without(piece: Segment, start: int, end: int) -> list[Segment]:
    """What a range leaves of a segment."""
    rest = [(piece.start, min(piece.end, start)), (max(piece.start, end), piece.end)]
    return [piece.cut(low, high) for low, high in rest if low < high]


def _nameless(cache: Path) -> int:
    """A file that vanishes with the process."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=cache, prefix="layer-") as file:
        return os.dup(file.fileno())


def _copy_of(image: Image, volume: Volume, cache: Path) -> int:
    part = volume.partition
    fd = _nameless(cache)
    os.ftruncate(fd, part.size)
    for start, end in image.mapping.used():
        for at in range(max(start, part.start), min(end, part.end), _COPY):
            piece = os.pread(image.fd, min(_COPY, end - at, part.end - at), at)
            if piece.count(0) != len(piece):
                os.pwrite(fd, piece, at - part.start)
    return fd


def _base(image: Image, writable: Volume) -> Volume | None:
    """What the writable partition is laid over stands right before it: the firmware's own may come first."""
    before = [volume for volume in image.mapping.volumes if volume.partition.start < writable.partition.start]
    return max(before, key=lambda volume: volume.partition.start, default=None)


def _seed(fd: int, image: Image, base: Volume | None, seed: Sequence[SeedFile]) -> None:
    """Put the files in by debugfs, and read them back."""
    with tempfile.TemporaryDirectory(prefix="seed-") as scratch:
        Path(scratch).chmod(0o700)
        script: list[str] = []
        made: set[PurePosixPath] = set()
        for number, entry in enumerate(seed):
            target = UPPER / entry.path.relative_to("/")
            for parent in reversed(target.parents[:-1]):
                if parent not in made and not _is_directory(fd, parent):
                    script += _directory(parent, *_base_directory(image, base, parent))
                made.add(parent)
            script += _entry(fd, entry, target, Path(scratch) / str(number), target in made)
            if entry.content is None:
                _base_directory(image, base, target)
                made.add(target)
        _debugfs(fd, script)
    for entry in seed:
        target = UPPER / entry.path.relative_to("/")
        if (
            entry.content is not None
            and _run(fd, ["debugfs", "-R", f'cat "{target}"']).stdout != entry.content
        ):
            raise FlashError("layer", f"seed: {entry.path} does not read back from the file system")


def _entry(fd: int, entry: SeedFile, target: PurePosixPath, scratch: Path, made: bool) -> list[str]:
    if entry.content is None:
        exists = made or _is_directory(fd, target)
        make = [] if exists else [f'mkdir "{target}"']
        return make + _attributes(target, stat.S_IFDIR | entry.mode, entry.owner, entry.group)
    scratch.write_bytes(entry.content)
    kind = _kind(fd, target)
    if kind not in ("", "regular"):
        raise FlashError("layer", f"seed: {entry.path} is a {kind} in the image already")
    remove = [f'rm "{target}"'] if kind else []
    return [
        *remove,
        f'write "{scratch}" "{target}"',
        *_attributes(target, stat.S_IFREG | entry.mode, entry.owner, entry.group),
    ]


def _directory(path: PurePosixPath, mode: int, owner: int, group: int) -> list[str]:
    return [f'mkdir "{path}"', *_attributes(path, stat.S_IFDIR | mode, owner, group)]


def _attributes(path: PurePosixPath, mode: int, owner: int, group: int) -> list[str]:
    fields = (("mode", f"0{mode:o}"), ("uid", owner), ("gid", group))
    return [f'set_inode_field "{path}" {name} {value}' for name, value in fields]


def _is_directory(fd: int, path: PurePosixPath) -> bool:
    kind = _kind(fd, path)
    if kind not in ("", "directory"):
        raise FlashError("layer", f"seed: {path} is a {kind} in the image already")
    return kind == "directory"


def _kind(fd: int, path: PurePosixPath) -> str:
    found = re.search(rb"Type: (\w+)", _run(fd, ["debugfs", "-R", f'stat "{path}"']).stdout)
    return found[1].decode() if found else ""


def _base_directory(image: Image, base: Volume | None, upper: PurePosixPath) -> tuple[int, int, int]:
    """Mode, owner and group of a directory of the base: one of the upper layer hides them."""
    if base is None or base.filesystem is None or not base.filesystem.type.startswith("ext"):
        return 0o755, 0, 0
    path = PurePosixPath("/") / upper.relative_to(UPPER)
    said = _run(image.fd, ["debugfs", "-R", f'stat "{path}"'], f"?offset={base.partition.start}").stdout
    found = re.search(rb"Type: (\w+) +Mode: +(\d+)[\s\S]*?User: +(\d+) +Group: +(\d+)", said)
    if found is None:
        return 0o755, 0, 0
    kind, mode, owner, group = found.groups()
    if kind != b"directory":
        raise FlashError(
            "layer", f"seed: {path} is a {kind.decode()} of the base, and must not be hidden by a directory"
        )
    return int(mode, 8) & 0o7777, int(owner), int(group)


def _debugfs(fd: int, script: Sequence[str]) -> None:
    """Run commands of debugfs, which reports failures on its error output alone."""
    ran = _run(fd, ["debugfs", "-w", "-f", "-"], text="\n".join(script) + "\n")
    said = [
        line for line in ran.stderr.decode(errors="replace").splitlines() if not line.startswith("debugfs 1.")
    ]
    if ran.returncode or said:
        raise FlashError("layer", f"seed: the file system refused it ({'; '.join(said)})")


def _tool(fd: int, command: Sequence[str]) -> None:
    ran = _run(fd, command)
    if ran.returncode:
        said = (ran.stdout + ran.stderr).decode(errors="replace").strip().splitlines()
        raise FlashError("layer", f"{command[0]} failed on the writable partition ({'; '.join(said[-3:])})")


def _run(
    fd: int, command: Sequence[str], suffix: str = "", text: str = ""
) -> subprocess.CompletedProcess[bytes]:
    """Run a tool of e2fsprogs on an open file, with the file system's own time as the clock."""
    start = int(suffix.partition("=")[2] or 0)
    written = struct.unpack("<I", os.pread(fd, 4, start + 1024 + 48))[0]
    return run_program(
        [require(command[0]), *command[1:], f"/proc/self/fd/{fd}{suffix}"],
        given=text.encode(),
        pass_fds=[fd],
        env={**os.environ, "LC_ALL": "C", "E2FSPROGS_FAKE_TIME": str(written or 1), "DEBUGFS_PAGER": "cat"},
    )
