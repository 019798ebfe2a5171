# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a device for its differences: one round trip, two or three when the first leaves a question open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import DeviceError
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._diff import (
    Comparison,
    Detail,
    WholeTreeNeededError,
    compare,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._layers import Layers, parse_layers
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._status import Mount

# Runs scripts of files/device/, one after the other as one; takes their variables and their input.
Runner = Callable[[tuple[str, ...], dict[str, str | bytes], bytes], bytes]


class NoLayersError(DeviceError):
    """The device has no such overlay; its mounts tell what it has."""

    def __init__(self, message: str, mounts: dict[str, Mount]) -> None:
        super().__init__(message)
        self.mounts = mounts


@dataclass(frozen=True)
class Inspection:
    layers: Layers
    comparison: Comparison
    whole: bool


def inspect_layers(run: Runner, layer: str = "current") -> Inspection:
    variables: dict[str, str | bytes] = {"layer": layer}
    layers = parse_layers(run(("view", "diff"), {**variables, "scope": "upper"}, b""))
    check_overlay(layers, layer)
    whole = False
    try:
        comparison = compare(layers)
    except WholeTreeNeededError:
        whole = True
        layers = parse_layers(run(("view", "diff"), {**variables, "scope": "all"}, b""))
        comparison = compare(layers, whole=True)
    if comparison.unsettled:
        names = b"".join(b"./" + path + b"\0" for path in comparison.unsettled)
        details = parse_details(run(("view", "details"), variables, names))
        comparison = compare(layers, details, whole=whole)
    return Inspection(layers, comparison, whole)


def check_overlay(layers: Layers, layer: str) -> None:
    """Without layers the device prints its mounts and nothing else."""
    if layers.lower:
        return
    root = layers.mounts.get("/")
    if layer == "quarantine":
        raise NoLayersError(
            "no layer is set aside on this device: there is nothing in quarantine", layers.mounts
        )
    if root is None or root.fstype != "overlay":
        kind = root.fstype if root else "unknown"
        raise NoLayersError(
            f"the root of this device is no overlay ({kind}): it has no user layer", layers.mounts
        )
    raise NoLayersError(
        "the layers are not below /media/rfs: the init of this device is not this collection's", layers.mounts
    )


def parse_details(output: bytes) -> dict[bytes, Detail]:
    fields = iter(after_preamble(output).split(b"\0"))
    return {name[2:]: Detail(before, after) for name, before, after in zip(fields, fields, fields)}


def after_preamble(output: bytes) -> bytes:
    """What follows the three sections of view.sh."""
    return output.split(b"\0\n", 3)[3]
