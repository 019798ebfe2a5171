# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on a console, with a program in QEMU's place that says what a guest would."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._boot_check import boot
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._build import BuildError

BASE = "/dev/vda1 /media/rfs/ro ext2 ro,noatime 0 0"
LAYER = "/dev/vda2 /media/rfs/rw ext4 rw,noatime 0 0"
OVERLAY = "overlay / overlay rw,lowerdir=/media/rfs/ro,upperdir=/media/rfs/rw/upperdir 0 0"
GOOD = f"{BASE}\r\n{LAYER}\r\n{OVERLAY}\r\n[ 2.1] eth0: up\r\nreadonly-rootfs login: "
MANIFEST: dict[str, Any] = {
    "board": "b",
    "architecture": "x86_64",
    "kernel": {"file": "bzImage", "cmdline": "console=ttyS0", "initramfs": "rootfs.cpio", "embedded": True},
    "disk": {"file": "sdcard.img"},
    "qemu": {"machine": "q35", "memory": "1G", "package": "qemu-system-x86"},
}


@pytest.fixture
def qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    monkeypatch.setenv("BR2_QEMU_ACCEL", "tcg")
    return directory / "qemu-system-x86_64"


def guest(program: Path, console: str, then: str) -> None:
    """A guest that says this on its console and goes on like that."""
    said = program.with_name("said")
    said.write_text(console)
    program.write_text(f'#!/bin/sh\necho "$@" >{program}.argv\ncat {said} >console.log\n{then}\n')
    program.chmod(0o755)


def test_mounts_and_a_prompt_are_a_boot(qemu: Path, tmp_path: Path) -> None:
    guest(qemu, GOOD, "exec sleep 60")
    begin = time.monotonic()
    verdict = boot(tmp_path, MANIFEST, tmp_path / "log", 30)
    assert (verdict.booted, verdict.accelerator, verdict.skipped) == (True, "tcg", "")
    assert time.monotonic() - begin < 20
    assert "login:" in (tmp_path / "log").read_text()
    words = Path(f"{qemu}.argv").read_text()
    assert "-m 1024 " in words
    assert "snapshot=on" in words
    assert "-initrd" not in words


def test_an_initramfs_beside_the_kernel_is_given_to_it(qemu: Path, tmp_path: Path) -> None:
    guest(qemu, GOOD, "exec sleep 60")
    beside = json.loads(json.dumps(MANIFEST))
    beside["kernel"]["embedded"] = False
    assert boot(tmp_path, beside, tmp_path / "log", 30).booted
    assert f"-initrd {tmp_path}/rootfs.cpio" in Path(f"{qemu}.argv").read_text()


@pytest.mark.parametrize(
    ("console", "then", "complaint"),
    [
        ("[ 1.2] Kernel panic - not syncing: No working init found.\n", "exit 0", "No working init found"),
        (
            GOOD.replace(LAYER, "tmpfs /media/rfs/rw tmpfs rw 0 0"),
            "exec sleep 60",
            "the writable layer not mounted",
        ),
        (GOOD.replace(OVERLAY, "/dev/vda1 / ext2 ro 0 0"), "exec sleep 60", "the overlay not mounted"),
        (GOOD.replace(BASE, BASE.replace(" ro,", " rw,")), "exec sleep 60", "the read-only base not mounted"),
        (GOOD.rpartition("\r\n")[0], "exit 0", "switched itself off, no login prompt"),
        ("", "exec sleep 60", "out of time, the read-only base, the writable layer, the overlay not mounted"),
        ("", "echo no such machine >&2; exit 1", "QEMU: no such machine"),
    ],
)
def test_what_is_no_boot_is_said(qemu: Path, tmp_path: Path, console: str, then: str, complaint: str) -> None:
    guest(qemu, console, then)
    with pytest.raises(BuildError, match=complaint):
        boot(tmp_path, MANIFEST, tmp_path / "log", 2 if not console and "sleep" in then else 30)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, r"qemu-system-x86_64 is not installed \(Debian's package: qemu-system-x86\)"),
        ({"architecture": "riscv64"}, "no emulator for riscv64"),
        ({"qemu": {}}, "board b has no section qemu"),
    ],
)
def test_what_cannot_be_booted_is_no_failure(
    qemu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], reason: str
) -> None:
    # The real one may be installed.
    monkeypatch.setattr("shutil.which", lambda name, path: None)
    verdict = boot(tmp_path, {**MANIFEST, **change}, tmp_path / "log")
    assert not verdict.booted
    assert re.search(reason, verdict.skipped)
