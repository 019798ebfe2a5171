# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what differs between the base and the merged tree, path by path.

The merged tree is the truth. The upper layer says where to look; overlayfs' own marks (whiteout,
opaque, redirect) only name what happened, so that the answer is exact without reading them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._layers import (
    OVERLAY_XATTRS,
    Entry,
    Layers,
)

KINDS = ("added", "modified", "deleted", "replaced", "renamed", "type_changed", "metadata", "copied_up")
# The init adds them, by a second lower layer, where the base lacks them.
SYSTEM_MOUNT_POINTS = frozenset({b"media", b"media/rfs", b".rfs", b"proc", b"sys", b"dev"})


class WholeTreeNeededError(Exception):
    """A directory was renamed by redirect: the upper layer alone does not say where to look."""


@dataclass(frozen=True)
class Change:
    path: bytes
    kind: str
    before: Entry | None
    after: Entry | None
    origin: bytes | None = None
    links: tuple[bytes, ...] = ()
    xattrs: tuple[str, ...] = ()
    checksum: bytes | None = None


@dataclass
class Comparison:
    changes: list[Change] = field(default_factory=list)
    merged: Mapping[bytes, Entry] = field(default_factory=dict)


def compare(layers: Layers) -> Comparison:
    """Compare the merged tree to the base."""
    return _Comparer(layers).run()


class _Comparer:
    def __init__(self, layers: Layers) -> None:
        self.layers = layers
        self.result = Comparison()
        whole = layers.whole
        self.lower = dict(_reachable(layers.lower))
        if not whole and any(self._mark(path, "redirect") for path in layers.upper_xattrs):
            raise WholeTreeNeededError
        self.merged = dict(_reachable(layers.upper if whole else self._merged_from_upper()))
        # Without getfattr, a directory that hides something of the base without a whiteout is opaque.
        self.hiding = (
            set()
            if whole
            else {parent(path) for path in self.lower.keys() - self.merged.keys() - layers.upper.keys()}
        )

    def run(self) -> Comparison:
        links = self._hard_links()
        for path in sorted(self.lower.keys() | self.merged.keys()):
            before, after = self.lower.get(path), self.merged.get(path)
            if before is after:
                continue
            after = self._with_exact_target(path, after)
            kind = self._kind(path, before, after)
            if kind is None:
                continue
            self.result.changes.append(
                Change(
                    path=path,
                    kind=kind,
                    before=before,
                    after=after,
                    origin=self._origin(path),
                    links=links.get(after.inode, ()) if after and after.nlink > 1 else (),
                    xattrs=self._changed_xattrs(path) if after else (),
                    checksum=self.layers.checksums.get(path, (None, None))[1],
                )
            )
        self.result.changes = _without_mount_points(self.result.changes)
        self.result.merged = self.merged
        return self.result

    def _merged_from_upper(self) -> dict[bytes, Entry]:
        entries: dict[bytes, Entry] = {}
        for path in self.layers.merged:
            upper = self.layers.upper.get(path)
            if upper is not None and not upper.whiteout:
                entries[path] = upper
            elif path in self.lower:
                entries[path] = self.lower[path]
            elif upper is None and path not in SYSTEM_MOUNT_POINTS:
                raise WholeTreeNeededError
        return entries

    def _kind(self, path: bytes, before: Entry | None, after: Entry | None) -> str | None:
        if after is None:
            above = self.merged.get(parent(path))
            return "deleted" if above is not None and above.type == "directory" else None
        if self._mark(path, "redirect") is not None:
            return "renamed"
        if before is None:
            return "added"
        if before.type != after.type:
            return "type_changed"
        if self._content_differs(path, before, after):
            return "modified"
        if after.type == "directory" and self._opaque(path):
            return "replaced"
        if _permissions(before) != _permissions(after) or self._changed_xattrs(path):
            return "metadata"
        return "copied_up" if after.type != "directory" and path in self.layers.upper_names else None

    def _content_differs(self, path: bytes, before: Entry, after: Entry) -> bool:
        if after.type not in ("file", "link"):
            return before.rdev != after.rdev
        if before.size != after.size:
            return True
        if path in self.layers.details:
            detail = self.layers.details[path]
            return detail.before != detail.after
        if after.type == "link":
            return before.target != after.target
        # Without checksums one of them could not be read: they cannot be called equal.
        lower, merged = self.layers.checksums.get(path, (b"", None))
        return lower != merged

    def _with_exact_target(self, path: bytes, after: Entry | None) -> Entry | None:
        if after is None or not after.odd_target:
            return after
        detail = self.layers.details.get(path)
        return replace(after, target=detail.after) if detail else after

    def _opaque(self, path: bytes) -> bool:
        if self.layers.getfattr:
            return self._mark(path, "opaque") == b"y"
        return path in self.hiding

    def _origin(self, path: bytes) -> bytes | None:
        redirect = self._mark(path, "redirect")
        if redirect is None or redirect.startswith(b"/"):
            return redirect
        return b"/".join((b"", parent(path), redirect)) if parent(path) else b"/" + redirect

    def _mark(self, path: bytes, name: str) -> bytes | None:
        marks = self.layers.upper_xattrs.get(path, {})
        return next((marks[prefix + name] for prefix in OVERLAY_XATTRS if prefix + name in marks), None)

    def _changed_xattrs(self, path: bytes) -> tuple[str, ...]:
        if not self.layers.getfattr or not (self.layers.whole or path in self.layers.upper_names):
            return ()
        before = self.layers.lower_xattrs.get(path, {}) if path in self.lower else {}
        after = self.layers.user_xattrs(path)
        return tuple(
            sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        )

    def _hard_links(self) -> dict[int, tuple[bytes, ...]]:
        groups: dict[int, list[bytes]] = defaultdict(list)
        for path, entry in self.merged.items():
            if entry.nlink > 1 and entry.type != "directory" and path in self.layers.upper_names:
                groups[entry.inode].append(path)
        return {inode: tuple(sorted(paths)) for inode, paths in groups.items() if len(paths) > 1}


def parent(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def _permissions(entry: Entry) -> tuple[int, int, int]:
    return entry.uid, entry.gid, 0 if entry.type == "link" else entry.mode


def _reachable(entries: Mapping[bytes, Entry]) -> Iterator[tuple[bytes, Entry]]:
    """Leave out what lies below something that is no directory: the device looked through a link."""
    directories: set[bytes] = set()
    for path in sorted(entries):
        if path and parent(path) not in directories:
            continue
        if entries[path].type == "directory":
            directories.add(path)
        yield path, entries[path]


def _without_mount_points(changes: list[Change]) -> list[Change]:
    """Drop the init's own mount points, unless the user put something below them."""
    kept: list[Change] = []
    for change in reversed(changes):
        ours = change.kind == "added" and change.path in SYSTEM_MOUNT_POINTS
        if not ours or any(other.path.startswith(change.path + b"/") for other in kept):
            kept.append(change)
    return kept[::-1]
