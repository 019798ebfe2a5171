# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scenario's tests ask the guest and the host."""

from __future__ import annotations

import hashlib
import json
import os
import typing as t
from pathlib import Path

# testinfra gives its modules the type of a module.
Host = t.Any

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
SCENARIO = os.environ["MOLECULE_SCENARIO_NAME"]


def console() -> str:
    """All that the guest wrote to its serial console, over all boots."""
    return (PROJECT / f"output/molecule/vm/{SCENARIO}/console.log").read_text(errors="replace")


def images() -> Path:
    """The images that the guest was booted from."""
    state = json.loads((PROJECT / f"output/molecule/vm/{SCENARIO}/vm.json").read_text())
    return Path(state["description"]["kernel"]).parent


def manifest() -> dict[str, t.Any]:
    told: dict[str, t.Any] = json.loads((images() / "manifest.json").read_text())
    return told


def root_partition_sha256() -> str:
    """The SHA-256 of partition 1 as it was built."""
    told = manifest()
    partition = told["disk"]["partitions"][0]
    with (images() / told["disk"]["file"]).open("rb") as disk:
        disk.seek(partition["start"])
        return hashlib.sha256(disk.read(partition["size"])).hexdigest()


def status(host: Host) -> dict[str, str]:
    """The boot's own account of what it did."""
    lines = host.file("/media/rfs/status").content_string.splitlines()
    return dict(line.split("=", 1) for line in lines)


def overlay_options(host: Host) -> dict[str, str]:
    """The layers of the mounted root, by option name."""
    options = host.mount_point("/").options
    return dict(option.split("=", 1) for option in options if "=" in option)
