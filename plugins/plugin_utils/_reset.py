# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a reset: what goes, and the request file that makes the init do it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import DeviceError
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._diff import Change, parent
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._layers import Layers
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._overlays import ROOT, Overlay
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._present import (
    check_patterns,
    select,
    shown,
)


@dataclass(frozen=True)
class Plan:
    discarded: list[Change]
    request: bytes
    # Paths to keep that the boot does not keep, because they pass through a link.
    linked: list[str]


def plan_reset(
    layers: Layers,
    changes: list[Change],
    *,
    paths: list[str],
    keep: list[str],
    mkfs: bool = False,
    overlay: Overlay = ROOT,
) -> Plan:
    """Everything goes but `keep`; with `paths`, nothing but those. All are paths of the device."""
    check_patterns([*paths, *keep])
    always_kept = [overlay.outer(path) for path in layers.always_kept]
    kept = [path.strip("/").encode("utf-8", "surrogateescape") for path in keep] + always_kept
    if paths:
        chosen = _topmost(change.path for change in select(changes, paths, []))
        _refuse_hidden_base(chosen, changes)
        kept += _others(chosen, {overlay.outer(name) for name in layers.upper_names})
    discarded = [change for change in changes if not any(_below(change.path, path) for path in kept)]
    if paths:
        discarded = [change for change in discarded if any(_below(change.path, path) for path in chosen)]
    lines = [
        b"keep=/" + _expressible(overlay.inner(path)) + b"\n"
        for path in dict.fromkeys(kept)
        if path not in always_kept and overlay.holds(path)
    ]
    linked = [
        shown(path)
        for path in kept
        if overlay.holds(path) and any(_is_link(layers, above) for above in _ancestors(overlay.inner(path)))
    ]
    return Plan(discarded, b"".join(lines) + (b"mkfs=yes\n" if mkfs else b""), linked)


def _is_link(layers: Layers, path: bytes) -> bool:
    entry = layers.upper.get(path) or layers.lower.get(path)
    return entry is not None and entry.type == "link"


def _below(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(directory + b"/")


def _topmost(paths: Iterable[bytes]) -> set[bytes]:
    found: set[bytes] = set()
    for path in sorted(paths):
        if not any(above in found for above in _ancestors(path)):
            found.add(path)
    return found


def _ancestors(path: bytes) -> Iterator[bytes]:
    while path:
        path = parent(path)
        yield path


def _others(chosen: set[bytes], names: set[bytes]) -> Iterator[bytes]:
    """All of the upper layer but the chosen paths: as few names as possible."""
    children: dict[bytes, list[bytes]] = defaultdict(list)
    for name in names:
        if name:
            children[parent(name)].append(name)
    on_the_way = {above for path in chosen for above in _ancestors(path)}
    for directory in sorted(on_the_way):
        for name in sorted(children[directory]):
            if name not in chosen and name not in on_the_way:
                yield name


def _refuse_hidden_base(chosen: set[bytes], changes: list[Change]) -> None:
    """The directories above a chosen path are made anew: they would no longer hide what the base has."""
    hiding = {change.path for change in changes if change.kind in ("replaced", "renamed")}
    for path in sorted(chosen):
        for above in _ancestors(path):
            if above in hiding:
                raise DeviceError(
                    f"{shown(path)} is in {shown(above)}, which replaces a directory of the base: reset that"
                )


def _expressible(path: bytes) -> bytes:
    if b"\n" in path:
        raise DeviceError(
            f"{shown(path)!r} would have to be kept, but a request cannot hold a name with a line break"
        )
    return path
