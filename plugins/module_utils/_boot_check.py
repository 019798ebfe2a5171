# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fresh images booted once in QEMU, and judged from their console: nothing is written to them."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ._build import BuildError, environment
from ._program import Program
from ._qemu import ARCHITECTURES, CONSOLE_LOG, Disk, Guest, QemuError, argv
from ._qemu_accel import choose

# More than an emulated guest on a busy host takes; a kernel that hangs is not waited for longer.
PATIENCE = 300.0
# Prints the mounts before it becomes the device's own init. Twice: kernel messages may break a line.
_INIT = 'init=/bin/sh -- -c "cat /proc/mounts; cat /proc/mounts; exec /sbin/init"'
_MOUNTS = {
    "the read-only base": re.compile(r"^/dev/\S+ /media/rfs/ro \S+ ro\b", re.MULTILINE),
    "the writable layer": re.compile(r"^/dev/\S+ /media/rfs/rw \S+ rw\b", re.MULTILINE),
    "the overlay": re.compile(r"^\S+ / overlay rw\b.*\bupperdir=/media/rfs/rw/", re.MULTILINE),
}
_LOGIN = re.compile(r"^\S+ login:", re.MULTILINE)
_PANIC = re.compile(r"^.*Kernel panic - not syncing.*$", re.MULTILINE)
_TAIL = 25
_UNITS = {"M": 1, "G": 1024}


@dataclass(frozen=True)
class Verdict:
    """A boot that went well, or why there was none."""

    booted: bool
    seconds: float = 0.0
    accelerator: str = ""
    skipped: str = ""


def boot(images: Path, manifest: Mapping[str, t.Any], log: Path, patience: float = PATIENCE) -> Verdict:
    """Boot to the three mounts and a login prompt; the whole console is kept in `log`."""
    if reason := _no_emulator(manifest):
        return Verdict(False, skipped=reason)
    guest = _guest(images, manifest)
    try:
        accelerator = choose(guest.arch)
    except QemuError as error:
        raise BuildError(f"The images cannot be booted: {error}") from error
    # It ends QEMU even if whoever waits here is killed.
    command = ["timeout", "--kill-after=5", str(patience), *argv(guest, accelerator, {})]
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="br2-boot-") as directory:
        said = Path(directory, "qemu")
        with said.open("wb") as output:
            qemu = Program(
                command,
                cwd=directory,
                env=environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            complaint = _watch(qemu, Path(directory, CONSOLE_LOG))
        finally:
            qemu.terminate()
            qemu.wait()
            text = _text(Path(directory, CONSOLE_LOG))
            log.write_text(text, encoding="utf-8")
        if complaint and (words := _text(said).strip()):
            complaint += f" (QEMU: {words})"
    if complaint:
        last = "\n".join(text.strip().splitlines()[-_TAIL:])
        raise BuildError(f"The images do not boot: {complaint}. The whole console: {log}\n{last}")
    return Verdict(True, round(time.monotonic() - begin, 1), accelerator)


def _no_emulator(manifest: Mapping[str, t.Any]) -> str:
    arch, board = str(manifest["architecture"]), manifest["board"]
    if not manifest["qemu"]:
        return f"board {board} has no section qemu"
    if arch not in ARCHITECTURES:
        return f"there is no emulator for {arch} here"
    program = ARCHITECTURES[arch].program
    if shutil.which(program, path=environment()["PATH"]) is None:
        package = manifest["qemu"].get("package", "QEMU")
        return f"{program} is not installed (Debian's package: {package})"
    return ""


def _guest(images: Path, manifest: Mapping[str, t.Any]) -> Guest:
    kernel, qemu = manifest["kernel"], manifest["qemu"]
    size = str(qemu.get("memory", "256M"))
    return Guest(
        name=str(manifest["board"]),
        arch=str(manifest["architecture"]),
        machine=str(qemu.get("machine", "")),
        memory=int(size.rstrip("MG")) * _UNITS.get(size[-1], 1),
        kernel=str(images / kernel["file"]),
        initrd="" if kernel["embedded"] else str(images / kernel["initramfs"]),
        append=f"{kernel['cmdline']} panic=-1 {_INIT}",
        disks=(Disk(str(images / manifest["disk"]["file"]), access="snapshot"),),
        reboot=False,
    )


def _watch(qemu: Program, console: Path) -> str:
    """Nothing, or what is wrong."""
    while True:
        # Looked at before the console is read: what it said last counts.
        ended = qemu.poll() is not None
        text = _text(console)
        if panic := _PANIC.search(text):
            return panic.group().strip()
        absent = [what for what, line in _MOUNTS.items() if not line.search(text)]
        if _LOGIN.search(text):
            return f"{', '.join(absent)} not mounted" if absent else ""
        if ended:
            at = f"{', '.join(absent)} not mounted" if absent else "no login prompt"
            why = "out of time" if qemu.returncode in (124, 137) else "the guest switched itself off"
            return f"{why}, {at}"
        time.sleep(0.1)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace").replace("\r", "")
    except FileNotFoundError:
        return ""
