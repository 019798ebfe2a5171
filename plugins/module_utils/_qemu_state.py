# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM's directory remembers between one process that drives the VM and the next."""

from __future__ import annotations

import dataclasses
import json
import typing as t
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._files import write_atomically
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu import Guest, QemuError


@dataclasses.dataclass
class State:
    """What ``vm.json`` holds; of the run recorded last."""

    description: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    accel: str = ""
    ports: dict[int, int] = dataclasses.field(default_factory=dict)
    pid: int = 0
    birth: str = ""

    @classmethod
    def load(cls, path: Path) -> State:
        try:
            state = cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError) as error:
            raise QemuError(f"{path} is not the state of a VM: {error}. Remove it.") from None
        state.ports = {int(guest): host for guest, host in state.ports.items()}
        return state

    def save(self, path: Path) -> None:
        write_atomically(path, json.dumps(dataclasses.asdict(self), indent=2) + "\n")


def describe(guest: Guest) -> dict[str, t.Any]:
    """The guest and the identity of the files it starts from, as JSON has it."""
    inputs = {}
    for file in [*guest.inputs, *(disk.file for disk in guest.disks)]:
        try:
            status = Path(file).stat()
        except OSError as error:
            raise QemuError(
                f"VM {guest.name!r} needs {file}: {error.strerror}. Build the image first."
            ) from None
        if file in guest.inputs:
            inputs[file] = [status.st_size, status.st_mtime_ns]
    described: dict[str, t.Any] = json.loads(json.dumps({**dataclasses.asdict(guest), "inputs": inputs}))
    return described
