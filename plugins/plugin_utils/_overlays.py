# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The overlays of a device: that of its root, and those that systemd mounts on single directories.

The device's scripts and the comparison know an overlay by paths relative to its own top; the rest
of the collection speaks of paths of the device. This is where one becomes the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._diff import Change
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._inspect import (
    Inspection,
    NoLayersError,
    Runner,
    inspect_layers,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._status import Mount

# Where the layers are; the second for a name that a mount option cannot hold.
_PLACES = ("/run/buildroot/mounts", "/run/readonly-rootfs")


@dataclass(frozen=True)
class Overlay:
    """An overlay on `directory`, the layers of which are in `place`; the root's place is the init's."""

    directory: str = "/"
    place: str = ""

    @property
    def prefix(self) -> bytes:
        return self.directory.strip("/").encode("utf-8", "surrogateescape")

    def bind(self, run: Runner) -> Runner:
        """The runner of scripts for this overlay."""

        def run_here(names: tuple[str, ...], variables: dict[str, str | bytes], data: bytes) -> bytes:
            return run(names, {**variables, "directory": self.directory, "place": self.place}, data)

        return run_here

    def outer(self, path: bytes) -> bytes:
        """The path on the device of a path in the overlay; neither begins with a slash."""
        return b"/".join(part for part in (self.prefix, path) if part)

    def inner(self, path: bytes) -> bytes:
        return path[len(self.prefix) :].lstrip(b"/")

    def holds(self, path: bytes) -> bool:
        return not self.prefix or path == self.prefix or path.startswith(self.prefix + b"/")

    def is_within(self, paths: Iterable[str]) -> bool:
        """Whether one of these paths is that of the overlay, or above it."""
        own = PurePosixPath(self.directory)
        return any(PurePosixPath(path) in (own, *own.parents) for path in paths)


ROOT = Overlay()


@dataclass(frozen=True)
class Inspected:
    overlay: Overlay
    inspection: Inspection
    changes: list[Change]

    @property
    def status(self) -> dict[str, str]:
        return self.inspection.layers.status


def directory_overlays(mounts: dict[str, Mount]) -> list[Overlay]:
    """Those of the mount table, in the order of their directories."""
    found = []
    for directory, mount in sorted(mounts.items()):
        upper = PurePosixPath(mount.option("upperdir") or "/")
        if mount.fstype == "overlay" and str(upper.parent.parent) in _PLACES:
            found.append(Overlay(directory, str(upper.parent)))
    return found


def inspect_overlays(run: Runner, layer: str = "current") -> list[Inspected]:
    """All overlays of a device, the root's first; one that has no such layer is left out."""
    mounts: dict[str, Mount] = {}
    found, failure = [], None
    try:
        found.append(_inspect(run, ROOT, layer))
        mounts = found[0].inspection.layers.mounts
    except NoLayersError as error:
        mounts, failure = error.mounts, error
    for overlay in directory_overlays(mounts):
        try:
            found.append(_inspect(run, overlay, layer))
        except NoLayersError as error:
            failure = failure or error
    if failure and not found:
        raise failure
    return found


def _inspect(run: Runner, overlay: Overlay, layer: str) -> Inspected:
    inspection = inspect_layers(overlay.bind(run), layer)
    return Inspected(
        overlay, inspection, [_outer(overlay, change) for change in inspection.comparison.changes]
    )


def _outer(overlay: Overlay, change: Change) -> Change:
    if overlay == ROOT:
        return change
    origin = change.origin and b"/" + overlay.outer(change.origin.lstrip(b"/"))
    links = tuple(overlay.outer(path) for path in change.links)
    return replace(change, path=overlay.outer(change.path), origin=origin, links=links)
