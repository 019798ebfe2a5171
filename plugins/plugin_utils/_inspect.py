# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a device for its differences: one round trip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import DeviceError
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._diff import (
    SYSTEM_MOUNT_POINTS,
    Comparison,
    WholeTreeNeededError,
    compare,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._layers import Layers, parse_layers

# Runs scripts of files/device/, one after the other as one; takes their variables and their input.
Question = tuple[tuple[str, ...], dict[str, str | bytes], bytes]
Runner = Callable[[tuple[str, ...], dict[str, str | bytes], bytes], bytes]


class NoLayersError(DeviceError):
    """The device has no such overlay."""


@dataclass(frozen=True)
class Inspection:
    layers: Layers
    comparison: Comparison


def inspect_layers(run: Runner, layer: str = "current", *, archive: bool = False) -> Inspection:
    """Of one overlay. With `archive`, the layer's files come with the same answer where that can be."""
    return judge(run, run(*question(layer, archive=archive)), layer)


def question(layer: str, scope: str = "upper", *, archive: bool) -> Question:
    variables: dict[str, str | bytes] = {
        "layer": layer,
        "scope": scope,
        "mount_points": b" ".join(b"./" + path for path in sorted(SYSTEM_MOUNT_POINTS)),
        "wanted": "layer",
    }
    return ("view", "diff", *(["archive"] if archive else [])), variables, b""


def judge(run: Runner, answer: bytes, layer: str) -> Inspection:
    layers = parse_layers(answer)
    check_overlay(layers, layer)
    try:
        comparison = compare(layers)
    except WholeTreeNeededError:  # What the device could not see itself.
        layers = parse_layers(run(*question(layer, "all", archive=False)))
        comparison = compare(layers)
    return Inspection(layers, comparison)


def check_overlay(layers: Layers, layer: str) -> None:
    """Without layers the device prints its mounts and nothing else."""
    if layers.lower:
        return
    root = layers.mounts.get("/")
    if layer == "quarantine":
        raise NoLayersError("no layer is set aside on this device: there is nothing in quarantine")
    if root is None or root.fstype != "overlay":
        kind = root.fstype if root else "unknown"
        raise NoLayersError(f"the root of this device is no overlay ({kind}): it has no user layer")
    raise NoLayersError(
        "the layers are not below /media/rfs: the init of this device is not this collection's"
    )


def after_preamble(output: bytes) -> bytes:
    """What follows the three sections of view.sh."""
    return output.split(b"\0\n", 3)[3]
