# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of QEMU's accelerators really runs a guest here.

A device node says little: under some hypervisors /dev/kvm opens and every
guest then crawls or hangs. So a guest of a few instructions is run, bounded in
time, and the verdict is kept until the host boots again.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import tempfile
import typing as t

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._files import (
    cache_directory,
    write_atomically,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._program import run_program
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu import ARCHITECTURES, QemuError
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu_process import boot_id

ACCELERATORS = ("auto", "kvm", "hvf", "tcg")
ENVIRONMENT = "BR2_QEMU_ACCEL"
NATIVE = {"Linux": "kvm", "Darwin": "hvf"}

# A working accelerator needs a tenth of a second, a crippled one minutes.
TRIAL_SECONDS = 2.0
_LOOPS = 20_000_000


def choose(arch: str, wanted: str = "auto") -> str:
    """The accelerator for a guest of ``arch``: the one asked for, the environment's, or what works."""
    asked = wanted if wanted != "auto" else os.environ.get(ENVIRONMENT, "auto")
    if asked not in ACCELERATORS:
        raise QemuError(f"Unknown accelerator {asked!r} in {ENVIRONMENT}. Known: {', '.join(ACCELERATORS)}.")
    if asked != "auto":
        return asked
    native = NATIVE.get(platform.system())
    if (
        native is None
        or _host_arch() != arch
        or (native == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK))
    ):
        return "tcg"
    return _remembered(arch, native)


def _remembered(arch: str, native: str) -> str:
    path = cache_directory() / f"accel-{arch}.json"
    circumstances = {"boot": boot_id(), "accel": native, "uid": os.getuid()}
    try:
        verdict: dict[str, t.Any] = json.loads(path.read_text(encoding="utf-8"))
        if verdict["circumstances"] == circumstances:
            return native if verdict["works"] else "tcg"
    except (OSError, ValueError, LookupError, TypeError):
        pass
    works = trial(arch, native)
    write_atomically(path, json.dumps({"circumstances": circumstances, "works": works}) + "\n")
    return native if works else "tcg"


def trial(arch: str, accel: str, seconds: float = TRIAL_SECONDS) -> bool:
    """Whether a guest that counts and then switches itself off does so in time."""
    with tempfile.NamedTemporaryFile(prefix="br2-accel-") as file:
        words, expected = _trial_guest(arch, accel, file)
        file.flush()
        command = [ARCHITECTURES[arch].program, "-nodefaults", "-no-user-config", "-display", "none"]
        command += ["-m", "32", "-accel", accel, *words]
        try:
            ended = run_program(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=seconds,
            )
        except FileNotFoundError:
            raise QemuError(f"{command[0]} is not installed. Install QEMU for {arch} guests.") from None
        except subprocess.TimeoutExpired:
            return False
    return ended.returncode == expected


def _trial_guest(arch: str, accel: str, file: t.IO[bytes]) -> tuple[list[str], int]:
    loops = _LOOPS.to_bytes(4, "little")
    if arch == "x86_64":
        # A boot sector: mov ecx, LOOPS; 1: dec ecx; jnz 1b; out 0xf4, 0x10; hlt
        code = b"\x66\xb9" + loops + b"\x66\x49\x75\xfc" + b"\xba\xf4\x00\xb0\x10\xee\xf4"
        file.write(code.ljust(510, b"\0") + b"\x55\xaa")
        # isa-debug-exit ends QEMU with 2 * value + 1.
        exit_port = ["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
        return [*exit_port, "-drive", f"file={file.name},format=raw,if=ide"], 33
    # movz/movk w1, LOOPS; 1: subs w1, w1, #1; b.ne 1b; w0 = PSCI SYSTEM_OFF; hvc #0
    low, high = (int.from_bytes(loops[i : i + 2], "little") for i in (0, 2))
    code_words = (
        0x52800001 | low << 5,
        0x72A00001 | high << 5,
        0x71000421,
        0x54FFFFE1,
        0x52800100,
        0x72B08000,
        0xD4000002,
    )
    file.write(b"".join(word.to_bytes(4, "little") for word in code_words))
    cpu = ARCHITECTURES[arch].tcg_cpu if accel == "tcg" else "host"
    return ["-machine", "virt", "-cpu", cpu, "-bios", file.name], 0


def _host_arch() -> str:
    return {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
