# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a backup of a layer's changes, write it where it belongs, and give it back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._files import write_atomically
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._archive import (
    Backup,
    dump_xattrs,
    make_backup,
    names_to_archive,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import DeviceError, shell_quote
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._diff import Change
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._inspect import (
    Inspection,
    Runner,
    after_preamble,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._overlays import directory_overlays
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._present import count_kinds, shown

NO_XATTRS = (
    "the device has no GNU getfattr (package attr): file capabilities, ACLs and other extended attributes "
    "of its files are not in the backup"
)

NO_SETFATTR = (
    "the device has no GNU setfattr (package attr): file capabilities, ACLs and other extended attributes "
    "in the backup were not restored"
)


@dataclass(frozen=True)
class Taken:
    content: bytes
    result: dict[str, Any]

    def write(self, dest: Path, *, check: bool) -> dict[str, Any]:
        try:
            changed = not dest.is_file() or dest.read_bytes() != self.content
            if changed and not check:
                write_atomically(dest, self.content, mode=0o600)
        except OSError as error:
            raise DeviceError(f"cannot write the backup: {error}") from error
        return {**self.result, "dest": str(dest), "changed": changed}


def take_backup(
    run: Runner, layer: str, inspection: Inspection, choose: Callable[[list[Change]], list[Change]]
) -> Taken:
    layers = inspection.layers
    changes = [change for change in choose(inspection.comparison.changes) if change.kind != "copied_up"]
    archive, names = layers.archive, names_to_archive(changes)
    if archive is None:
        archive = fetch_tree(run, layer, names) if names else b""
    content = make_backup(layers, changes, archive)
    xattrs = layers.getfattr == "gnu"
    result: dict[str, Any] = {
        "size": len(content),
        "counts": count_kinds(changes),
        "xattrs": xattrs,
        "left_out": [shown(change.path) for change in changes if _incomplete(change, inspection, xattrs)],
    }
    warnings = [] if xattrs else [NO_XATTRS]
    if directories := directory_overlays(layers.mounts):
        result["not_covered"] = directories
        warnings.append(f"not in the backup: the overlays of {', '.join(directories)}")
    if warnings:
        result["warnings"] = warnings
    return Taken(content, result)


def fetch_tree(run: Runner, layer: str, names: list[bytes]) -> bytes:
    """The device's own tar of some paths of the merged tree."""
    return after_preamble(run(("view", "archive"), {"layer": layer, "wanted": "names"}, _named(names)))


def _named(names: list[bytes]) -> bytes:
    return b"".join(b"./" + name + b"\0" for name in names)


def _incomplete(change: Change, inspection: Inspection, xattrs: bool) -> bool:
    """A socket is made by who listens on it; attributes need getfattr, and are not taken from directories."""
    if change.after is None:
        return False
    if change.after.type == "socket":
        return True
    if not xattrs:
        return bool(change.xattrs)
    has = inspection.layers.user_xattrs(change.path)
    return change.kind == "metadata" and any(name not in has for name in change.xattrs)


def give_backup(run: Runner, backup: Backup) -> dict[str, Any]:
    """Make its changes on the device."""
    dump = dump_xattrs(backup.xattrs)
    parts = {
        "directories": _named(backup.directories),
        "others": _named(backup.others),
        "deleted": _named(backup.deleted),
        "attributes": dump,
    }
    variables: dict[str, str | bytes] = {
        "layer": "current",
        **{name: str(len(part)) for name, part in parts.items()},
        "owners": b"".join(_chown(*owner, links) for owner, links in sorted(backup.owners.items())),
    }
    data = b"".join([*parts.values(), backup.tree])
    answer = after_preamble(run(("view", "restore"), variables, data))
    left_out = [] if b"@xattrs" in answer else [shown(path) for path in backup.xattrs]
    return {"left_out": left_out, **({"warnings": [NO_SETFATTR]} if left_out else {})}


def _chown(user: int, group: int, links: list[bytes]) -> bytes:
    """In commands of a bearable length."""
    return b"".join(
        b"chown -h %d:%d -- %b || fail 'cannot set the owner of a symbolic link'\n"
        % (user, group, b" ".join(shell_quote(b"./" + name) for name in links[start : start + 200]))
        for start in range(0, len(links), 200)
    )
