# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of what a user layer changes: made from a device, kept as a file, given back to one.

An archive is a tar file of the merged tree's version of everything that differs, with the
directories above it, and with a whiteout (as overlayfs has it) for everything deleted; first a
member that tells which base it belongs to. Extended attributes are PAX headers, as GNU tar's
--xattrs and others have them.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import DeviceError
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._diff import Change, parent
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._layers import Layers

MANIFEST = ".overlay-backup.json"
FORMAT = 2
XATTR = "SCHILY.xattr."

Member = tuple[tarfile.TarInfo, bytes | None]
Xattrs = dict[str, bytes]


@dataclass(frozen=True)
class Backup:
    manifest: dict[str, Any]
    # Names in the tree, of directories and of all else.
    directories: list[bytes]
    others: list[bytes]
    deleted: list[bytes]
    xattrs: dict[bytes, Xattrs]
    # Of symbolic links, by user and group.
    owners: dict[tuple[int, int], list[bytes]]
    # What a device unpacks, in its own tar's dialect.
    tree: bytes


def names_to_archive(changes: Iterable[Change]) -> list[bytes]:
    """What there is to archive: parents first, so that they get their own mode and owner."""
    names: set[bytes] = set()
    for change in changes:
        path = change.path if change.after is not None else parent(change.path)
        while path:
            names.add(path)
            path = parent(path)
    return sorted(names)


def members(archive: bytes) -> Iterator[Member]:
    """Members with plain relative names, and the content of those that have one."""
    if not archive.strip(b"\0"):
        return
    with tarfile.open(fileobj=io.BytesIO(archive), ignore_zeros=True, encoding="utf-8") as tar:
        for member in tar:
            member.name = member.name.removeprefix("./")
            if member.islnk():
                member.linkname = member.linkname.removeprefix("./")
            file = tar.extractfile(member) if member.isreg() else None
            yield member, file.read() if file else None


def make_backup(layers: Layers, changes: list[Change], archive: bytes) -> bytes:
    """The bytes of the backup file; the same for the same layer."""
    manifest = {
        "format": FORMAT,
        "base_id": layers.status.get("base_id", ""),
        "changes": len(changes),
        "deleted": sum(change.after is None for change in changes),
    }
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as tar,
    ):
        _add(tar, tarfile.TarInfo(MANIFEST), json.dumps(manifest, sort_keys=True).encode())
        for change in changes:
            # What another type takes the place of has to go as well.
            if change.after is None or change.kind == "type_changed":
                whiteout = tarfile.TarInfo(_text(change.path))
                whiteout.type = tarfile.CHRTYPE
                whiteout.mode = 0
                _add(tar, whiteout, None)
        for member, content in _wanted(list(members(archive)), {*map(_text, names_to_archive(changes))}):
            if layers.getfattr == "gnu" and not member.islnk():
                xattrs = layers.user_xattrs(_bytes(member.name))
                member.pax_headers = {XATTR + name: _text(value) for name, value in sorted(xattrs.items())}
            _add(tar, member, content)
    return packed.getvalue()


def _wanted(found: list[Member], names: Collection[str]) -> Iterator[Member]:
    """Those of the names, and what hard links among them are links to."""
    links = {member.linkname for member, _content in found if member.islnk() and member.name in names}
    return (each for each in found if each[0].name in names or each[0].name in links)


def _add(tar: tarfile.TarFile, member: tarfile.TarInfo, content: bytes | None) -> None:
    member.size = len(content) if content is not None else 0
    tar.addfile(member, io.BytesIO(content) if content is not None else None)


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def read_backup(content: bytes) -> Backup:
    try:
        unpacked = gzip.decompress(content)
        found = members(unpacked)
        first, text = next(found)
        if first.name != MANIFEST or text is None:
            raise DeviceError(f"it does not begin with {MANIFEST}")
        manifest: dict[str, Any] = json.loads(text)
        if manifest["format"] != FORMAT:
            raise DeviceError(f"its format is {manifest['format']}, not {FORMAT}")
        return Backup(manifest, *_split(found))
    except (OSError, EOFError, tarfile.TarError, StopIteration, ValueError, KeyError) as error:
        raise DeviceError(f"it is no backup of overlay_backup: {error}") from error


def _split(
    found: Iterable[Member],
) -> tuple[
    list[bytes], list[bytes], list[bytes], dict[bytes, Xattrs], dict[tuple[int, int], list[bytes]], bytes
]:
    directories: list[bytes] = []
    others: list[bytes] = []
    deleted: list[bytes] = []
    xattrs: dict[bytes, Xattrs] = {}
    owners: dict[tuple[int, int], list[bytes]] = defaultdict(list)
    tree = io.BytesIO()
    with tarfile.open(fileobj=tree, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8") as tar:
        for member, content in found:
            name = _bytes(member.name)
            if name.startswith(b"/") or b".." in name.split(b"/"):
                raise DeviceError(f"it holds a path outside of the root: {member.name!r}")
            if member.ischr() and (member.devmajor, member.devminor) == (0, 0):
                deleted.append(name)
                continue
            (directories if member.isdir() else others).append(name)
            attributes = {
                key.removeprefix(XATTR): _bytes(value)
                for key, value in member.pax_headers.items()
                if key.startswith(XATTR)
            }
            if attributes:
                xattrs[name] = attributes
            if member.issym():
                owners[member.uid, member.gid].append(name)
            _add(tar, member, content)
    return sorted(directories), others, deleted, xattrs, owners, tree.getvalue()


def dump_xattrs(xattrs: dict[bytes, Xattrs]) -> bytes:
    """What `setfattr --restore` reads."""
    lines = []
    for path, attributes in xattrs.items():
        lines.append(b"# file: ./" + b"".join(_escaped(byte) for byte in path))
        lines += [f"{name}=0x{value.hex()}".encode() for name, value in sorted(attributes.items())]
        lines.append(b"")
    return b"\n".join(lines)


def _escaped(byte: int) -> bytes:
    return bytes([byte]) if 32 < byte < 127 and byte != ord("\\") else b"\\%03o" % byte
