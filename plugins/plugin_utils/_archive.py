# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of what a user layer changes: made from a device, kept as a file, given back to one.

An archive is a tar file of the merged tree's version of everything that differs, with the
directories above it, and with a whiteout (as overlayfs has it) for everything deleted; first a
member that tells which base it belongs to. Nothing in it depends on extended attributes.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import DeviceError
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._diff import Change, parent
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._inspect import Runner, after_preamble
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._layers import Layers

MANIFEST = ".overlay-backup.json"
FORMAT = 1


@dataclass(frozen=True)
class Backup:
    manifest: dict[str, Any]
    deleted: list[bytes]
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


def fetch_tree(run: Runner, layer: str, names: list[bytes]) -> bytes:
    """The device's own tar of some paths of the merged tree."""
    data = b"".join(b"./" + name + b"\0" for name in names)
    return after_preamble(run(("view", "archive"), {"layer": layer}, data))


def members(archive: bytes) -> Iterator[tuple[tarfile.TarInfo, bytes | None]]:
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
    }
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8") as tar,
    ):
        _add(tar, tarfile.TarInfo(MANIFEST), json.dumps(manifest, sort_keys=True).encode())
        for member, content in members(archive):
            _add(tar, member, content)
        for change in changes:
            if change.after is None:
                whiteout = tarfile.TarInfo(change.path.decode("utf-8", "surrogateescape"))
                whiteout.type = tarfile.CHRTYPE
                whiteout.mode = 0
                _add(tar, whiteout, None)
    return packed.getvalue()


def _add(tar: tarfile.TarFile, member: tarfile.TarInfo, content: bytes | None) -> None:
    member.size = len(content) if content is not None else 0
    tar.addfile(member, io.BytesIO(content) if content is not None else None)


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


def _split(found: Iterable[tuple[tarfile.TarInfo, bytes | None]]) -> tuple[list[bytes], bytes]:
    deleted = []
    tree = io.BytesIO()
    with tarfile.open(fileobj=tree, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8") as tar:
        for member, content in found:
            name = member.name.encode("utf-8", "surrogateescape")
            if name.startswith(b"/") or b".." in name.split(b"/"):
                raise DeviceError(f"it holds a path outside of the root: {member.name!r}")
            if member.ischr() and (member.devmajor, member.devminor) == (0, 0):
                deleted.append(name)
            else:
                _add(tar, member, content)
    return deleted, tree.getvalue()
