# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._initramfs import InitramfsError, check

LOADER = Path("/lib64/ld-linux-x86-64.so.2")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An initramfs that starts: a script, a shell linked with the C library, merged-usr links."""
    if not LOADER.exists():
        pytest.skip("takes the programs of an x86_64 host as its material")
    tree = tmp_path / "root"
    for name in ("usr/bin", "usr/lib", "usr/lib64"):
        (tree / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (tree / name).symlink_to(f"usr/{name}")
    shutil.copy("/bin/dash", tree / "bin/busybox")
    (tree / "bin/sh").symlink_to("/bin/busybox")
    shutil.copy(LOADER, tree / "lib64")
    shutil.copy("/lib/x86_64-linux-gnu/libc.so.6", tree / "lib")
    (tree / "init").write_text("#!/bin/sh -e\n")
    (tree / "init").chmod(0o755)
    return tree


def pack(root: Path) -> Path:
    archive = root.parent / "rootfs.cpio"
    names = subprocess.run(["find", "."], cwd=root, capture_output=True, check=True).stdout
    with archive.open("wb") as output:
        subprocess.run(
            ["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, input=names, stdout=output, check=True
        )
    return archive


def test_a_good_one(root: Path) -> None:
    assert "/usr/bin/busybox" in check(pack(root))


def test_two_archives_one_after_the_other(root: Path, tmp_path: Path) -> None:
    early = tmp_path / "early"
    early.mkdir()
    (early / "microcode").write_text("x")
    names = subprocess.run(["find", "."], cwd=early, capture_output=True, check=True).stdout
    first = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"], cwd=early, input=names, capture_output=True, check=True
    ).stdout
    archive = pack(root)
    archive.write_bytes(first + archive.read_bytes())
    assert {"/init", "/microcode"} <= set(check(archive))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda root: (root / "init").unlink(), "/init is missing"),
        (lambda root: (root / "init").chmod(0o644), "/init is not executable"),
        (lambda root: (root / "init").write_text("plain text"), "neither a script nor an ELF"),
        (lambda root: (root / "init").write_text("#!\n"), "names no interpreter"),
        (lambda root: (root / "bin/busybox").unlink(), "/bin/sh is missing"),
        (lambda root: (root / "lib64" / LOADER.name).unlink(), "the loader of /bin/sh.*is missing"),
        (lambda root: (root / "lib/libc.so.6").unlink(), r"libc\.so\.6, which /bin/sh needs, is missing"),
        (lambda root: (root / "init").write_text("#!/init\n"), "endless chain"),
    ],
)
def test_what_would_panic_is_named(root: Path, harm: Callable[[Path], None], message: str) -> None:
    harm(root)
    with pytest.raises(InitramfsError, match=message):
        check(pack(root))


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b compressed", b"070701"])
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rootfs.cpio"
    path.write_bytes(content.ljust(200, b"x") if content else b"")
    with pytest.raises(InitramfsError, match=str(path)):
        check(path)


def test_a_cut_archive(root: Path) -> None:
    archive = pack(root)
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(InitramfsError, match="ends within"):
        check(archive)
