# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _qemu_accel as accel
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu import QemuError


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A Linux host on x86_64 with a /dev/kvm that everybody may open."""
    monkeypatch.setenv("BR2_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv(accel.ENVIRONMENT, raising=False)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(os, "access", lambda path, mode: path == "/dev/kvm")
    return monkeypatch


def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """A qemu-system-x86_64 that does ``body``."""
    program = tmp_path / "bin" / "qemu-system-x86_64"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho run >>{tmp_path}/runs\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_an_accelerator_that_works_is_taken_and_remembered(tmp_path: Path, host: pytest.MonkeyPatch) -> None:
    script(tmp_path, host, "exit 33")
    assert [accel.choose("x86_64") for _unused in range(3)] == ["kvm"] * 3
    assert (tmp_path / "runs").read_text() == "run\n"


def test_an_accelerator_that_hangs_is_given_up_in_time(tmp_path: Path, host: pytest.MonkeyPatch) -> None:
    script(tmp_path, host, "exec sleep 60")
    host.setattr(accel, "trial", lambda arch, name, run=accel.trial: run(arch, name, seconds=0.2))
    began = time.monotonic()
    assert accel.choose("x86_64") == "tcg"
    assert time.monotonic() - began < 5
    assert accel.choose("x86_64") == "tcg"
    assert (tmp_path / "runs").read_text() == "run\n"


@pytest.mark.parametrize("body", ["exit 1", "exit 0", "kill -9 $$"])
def test_an_accelerator_that_fails_is_given_up(tmp_path: Path, host: pytest.MonkeyPatch, body: str) -> None:
    script(tmp_path, host, body)
    assert accel.choose("x86_64") == "tcg"


def test_another_boot_of_the_host_asks_again(tmp_path: Path, host: pytest.MonkeyPatch) -> None:
    script(tmp_path, host, "exit 33")
    accel.choose("x86_64")
    host.setattr(accel, "boot_id", lambda: "another")
    accel.choose("x86_64")
    assert (tmp_path / "runs").read_text() == "run\n" * 2


def test_a_damaged_memory_asks_again(tmp_path: Path, host: pytest.MonkeyPatch) -> None:
    script(tmp_path, host, "exit 33")
    (tmp_path / "cache").mkdir()
    for content in ("", "[]", "{}", '{"circumstances": null}'):
        (tmp_path / "cache" / "accel-x86_64.json").write_text(content)
        assert accel.choose("x86_64") == "kvm"


def test_a_foreign_architecture_or_no_kvm_needs_no_trial(tmp_path: Path, host: pytest.MonkeyPatch) -> None:
    script(tmp_path, host, "exit 33")
    assert accel.choose("aarch64") == "tcg"
    host.setattr(os, "access", lambda path, mode: False)
    assert accel.choose("x86_64") == "tcg"
    assert not (tmp_path / "runs").exists()


def test_what_is_asked_for_beats_the_environment(tmp_path: Path, host: pytest.MonkeyPatch) -> None:
    script(tmp_path, host, "exit 1")
    host.setenv(accel.ENVIRONMENT, "kvm")
    assert accel.choose("x86_64") == "kvm"
    assert accel.choose("x86_64", "tcg") == "tcg"
    host.setenv(accel.ENVIRONMENT, "xen")
    with pytest.raises(QemuError, match="Unknown accelerator 'xen' in BR2_QEMU_ACCEL"):
        accel.choose("x86_64")


def test_without_qemu_the_error_names_it(tmp_path: Path, host: pytest.MonkeyPatch) -> None:
    host.setenv("PATH", str(tmp_path))
    with pytest.raises(QemuError, match="qemu-system-x86_64 is not installed"):
        accel.choose("x86_64")
