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
from uuid import uuid4

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._diff import Change
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._inspect import (
    Inspection,
    NoLayersError,
    Runner,
    judge,
    question,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._status import Mount

# Where the layers are; the second for a name that a mount option cannot hold.
_PLACES = ("/run/buildroot/mounts/", "/run/readonly-rootfs/")


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
            return run(names, self.variables(variables), data)

        return run_here

    def variables(self, others: dict[str, str | bytes]) -> dict[str, str | bytes]:
        """Those that make a script mean this overlay, with the others that it takes."""
        return {**others, "directory": self.directory, "place": self.place}

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


def directory_overlays(mounts: dict[str, Mount]) -> list[str]:
    """The directories, in order, on which the mount table has such overlays."""
    return sorted(
        directory
        for directory, mount in mounts.items()
        if mount.fstype == "overlay" and (mount.option("upperdir") or "").startswith(_PLACES)
    )


def inspect_overlays(run: Runner, layer: str = "current", *, archive: bool = False) -> list[Inspected]:
    """All overlays of a device, the root's first; one that has no such layer is left out."""
    token = uuid4().hex
    scripts, variables, data = question(layer, archive=archive)
    answer = run(("each", *scripts), {**variables, "token": token}, data)
    root, *others = answer.split(f"\n{token}\n".encode())
    answers = [(ROOT, root)]
    for other in others:
        directory, place, rest = other.split(b"\0", 2)
        answers.append((Overlay(_text(directory), _text(place)), rest))
    answers[1:] = sorted(answers[1:], key=lambda found: found[0].directory)
    found, failures = [], []
    for overlay, text in answers:
        try:
            inspection = judge(overlay.bind(run), text.removesuffix(b"@END\n"), layer)
            changes = [_outer(overlay, change) for change in inspection.comparison.changes]
            found.append(Inspected(overlay, inspection, changes))
        except NoLayersError as error:
            failures.append(error)
    if not found:
        raise failures[0]
    return found


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _outer(overlay: Overlay, change: Change) -> Change:
    if overlay == ROOT:
        return change
    origin = change.origin and b"/" + overlay.outer(change.origin.lstrip(b"/"))
    links = tuple(overlay.outer(path) for path in change.links)
    return replace(change, path=overlay.outer(change.path), origin=origin, links=links)
