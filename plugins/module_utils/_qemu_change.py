# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the state a VM is in to the state it should be in: what module qemu_vm does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import typing as t
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _qemu as qemu
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._files import cache_directory
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu import Disk, Forward, Guest, QemuError
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu_accel import ACCELERATORS
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu_process import (
    ended_by_exceptions,
    uninterrupted,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu_state import describe
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu_vm import Vm

Values = dict[str, t.Any]

ARGUMENTS: Values = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["started", "stopped", "absent"], "default": "started"},
    "recreate": {"type": "bool", "default": False},
    "work_dir": {"type": "path"},
    "arch": {"type": "str", "choices": list(qemu.ARCHITECTURES), "default": "x86_64"},
    "machine": {"type": "str", "default": ""},
    "cpu": {"type": "str", "default": ""},
    "accel": {"type": "str", "choices": list(ACCELERATORS), "default": "auto"},
    "memory": {"type": "int", "default": 256},
    "smp": {"type": "int", "default": 1},
    "kernel": {"type": "path"},
    "initrd": {"type": "path"},
    "append": {"type": "str", "default": ""},
    "disks": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "file": {"type": "path", "required": True},
            "format": {"type": "str", "choices": ["raw", "qcow2"], "default": "raw"},
            "interface": {"type": "str", "choices": list(qemu.INTERFACES), "default": "virtio"},
            "access": {"type": "str", "choices": list(qemu.ACCESS), "default": "overlay"},
        },
    },
    "network": {"type": "bool", "default": True},
    "forwards": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "guest": {"type": "int", "required": True},
            "host": {"type": "int", "default": 0},
        },
    },
    "reboot": {"type": "bool", "default": True},
    "extra_args": {"type": "list", "elements": "str", "default": []},
    "wait_console": {"type": "str"},
    "wait_port": {"type": "int"},
    "wait_banner": {"type": "str", "default": "^SSH-"},
    "wait_timeout": {"type": "float", "default": 120},
    "shutdown_timeout": {"type": "float", "default": 20},
}

# Given to the guest's description as they are.
_PLAIN = ("name", "arch", "machine", "cpu", "accel", "memory", "smp", "append", "network", "reboot")


def apply(params: Values, check_mode: bool) -> Values:
    """Bring the VM into the state that ``params`` describe; the module's result."""
    if not re.fullmatch(r"\w[\w.-]*", params["name"]):
        raise QemuError(f"{params['name']!r} cannot name a VM: letters, digits, '.', '_' and '-' can.")
    directory = Path(params["work_dir"] or cache_directory() / "vm").absolute() / params["name"]
    with ended_by_exceptions(), _locked(directory, check_mode):
        # What another process left when it let go is known by now.
        vm = Vm(directory)
        before = _situation(vm)
        if params["state"] == "started":
            result = _started(vm, params, check_mode)
        else:
            result = _ended(vm, params, check_mode)
    changed, after = result.pop("changed"), result.pop("after", None)
    return {
        **result,
        "changed": changed,
        "directory": str(vm.directory),
        "console": str(vm.path(qemu.CONSOLE_LOG)),
        "running": vm.running,
        **({"pid": vm.state.pid} if vm.running else {}),
        "diff": {"before": before, "after": after or _situation(vm)},
    }


def _started(vm: Vm, params: Values, check_mode: bool) -> Values:
    guest = _guest(params)
    _check_waits(params, guest)
    description = describe(guest)
    fits = vm.state.description == description
    if vm.running and not fits and not params["recreate"]:
        differing = [key for key, value in description.items() if vm.state.description.get(key) != value]
        raise QemuError(
            f"VM {guest.name!r} runs with another {', '.join(differing)} than asked for. "
            "Stop it first to keep its overlay disks, or set recreate to begin anew."
        )
    changed = not (vm.running and fits)
    if check_mode:
        ports = vm.ports if vm.running and fits else {port.guest: port.host for port in guest.forwards}
        after = {"state": "started", **description}
    else:
        if changed and not fits and params["recreate"]:
            vm.remove()
        _run(vm, guest, params, changed)
        ports, after = vm.ports, None
    accel = vm.state.accel or guest.accel
    return {
        "changed": changed,
        "after": after,
        "accel": accel,
        "cmd": qemu.argv(guest, accel, ports),
        "ports": {str(port): host for port, host in ports.items()},
    }


def _check_waits(params: Values, guest: Guest) -> None:
    if params["wait_port"] not in [None, *(forward.guest for forward in guest.forwards)]:
        raise QemuError(f"Port {params['wait_port']} is waited for, but not forwarded. Name it in forwards.")
    for name in ("wait_console", "wait_banner"):
        try:
            re.compile(params[name] or "")
        except re.error as error:
            raise QemuError(f"{name} {params[name]!r} is not a regular expression: {error}.") from None


def _run(vm: Vm, guest: Guest, params: Values, start: bool) -> None:
    """Start the VM if need be, and wait until it is ready; a start that fails is taken back."""
    new = not vm.exists
    try:
        if start:
            vm.start(guest)
        if params["wait_console"] is not None:
            vm.wait_for_console(params["wait_console"], params["wait_timeout"])
        if params["wait_port"] is not None:
            vm.wait_for_port(params["wait_port"], params["wait_banner"], params["wait_timeout"])
        if not vm.running:
            raise QemuError(f"VM {guest.name!r} ended at once. The end of its logs:\n{vm.tail()}")
    except BaseException:
        if start:
            with uninterrupted():
                vm.remove() if new else vm.kill()
        raise


def _ended(vm: Vm, params: Values, check_mode: bool) -> Values:
    absent = params["state"] == "absent"
    changed = vm.exists if absent else vm.running
    if check_mode:
        after = {"state": "absent"} if absent or not vm.exists else {**_situation(vm), "state": "stopped"}
        return {"changed": changed, "after": after}
    writes_outside = any(disk["access"] == "rw" for disk in vm.state.description.get("disks", []))
    if not absent or writes_outside:
        vm.power_off(params["shutdown_timeout"])
    if absent:
        vm.remove()
    return {"changed": changed}


def _situation(vm: Vm) -> Values:
    if not vm.exists:
        return {"state": "absent"}
    return {"state": "started" if vm.running else "stopped", **vm.state.description}


def _guest(params: Values) -> Guest:
    def absolute(path: str | None) -> str:
        return str(Path(path).absolute()) if path else ""

    return Guest(
        **{key: params[key] for key in _PLAIN},
        kernel=absolute(params["kernel"]),
        initrd=absolute(params["initrd"]),
        disks=tuple(Disk(**{**disk, "file": absolute(disk["file"])}) for disk in params["disks"]),
        forwards=tuple(Forward(**forward) for forward in params["forwards"]),
        extra_args=tuple(params["extra_args"]),
    )


@contextlib.contextmanager
def _locked(path: Path, check_mode: bool) -> t.Iterator[None]:
    """Keep other processes that drive VMs from this one."""
    if check_mode:
        yield
        return
    path.mkdir(parents=True, exist_ok=True)
    directory = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise QemuError(f"Another process is at work on {path}. Try again when it is done.") from None
    finally:
        os.close(directory)
        with contextlib.suppress(OSError):  # not empty: a VM is there
            path.rmdir()
