# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source kernel's life in the cache, with a kernel of two files and the real make."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._apt import Apt
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._build import BuildError
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._debian_kernel import (
    embed,
    package_kernel,
    source_kernel,
)
from ansible_collections.br2.readonly_rootfs.tests.support.packages import make_deb, write_index

BOARD: dict[str, t.Any] = {
    "directory": "b",
    "kernel": {"image": "bzImage"},
    "debian": {"architecture": "amd64"},
}
# Objects depend on where the tree is, as the kernel's do by its objtool.
MAKEFILE = """\
olddefconfig:
\tgrep -v DROPPED .config >.new; mv .new .config
\tmkdir -p include/config arch/x86/boot; echo 6.1.0 >include/config/kernel.release
place: ; pwd | cmp -s - place || pwd >place
core.o: place main.c
\techo compiled >>compilations
\ttest ! -e ../../interrupt
\tcp main.c core.o
bzImage: arch/x86/boot/bzImage
arch/x86/boot/bzImage: core.o initramfs.cpio
\tcat core.o initramfs.cpio >$@
"""


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[t.Callable[[], t.Any]]:
    source = tmp_path / "linux-source-6.1"
    (source / "scripts/kconfig").mkdir(parents=True)
    (source / "Makefile").write_text(MAKEFILE)
    (source / "main.c").write_text("core;")
    merge = source / "scripts/kconfig/merge_config.sh"
    merge.write_text('#!/bin/sh\nshift\ncat "$@" >.config\n')
    merge.chmod(0o755)
    archive = tmp_path / "archive"
    tree = archive / "tree-linux-source-6.1-1.0/usr/src"
    tree.mkdir(parents=True)
    subprocess.run(["tar", "-cJf", tree / "linux-source-6.1.tar.xz", "-C", tmp_path, source.name], check=True)
    make_deb(archive, "linux-source-6.1", files={"usr/share/linux/x": ""})
    make_deb(archive, "linux-source", depends="linux-source-6.1")
    external = tmp_path / "external/board"
    (external / "b").mkdir(parents=True)
    (external / "common").mkdir()
    (external / "b/linux.config").write_text("CONFIG_A=y\n")
    (external / "common/linux.fragment").write_text("CONFIG_B=y\n")
    with tempfile.TemporaryFile("w+") as log:
        apt = Apt(tmp_path / "cache", "amd64", [write_index(archive)], log)
        yield lambda: source_kernel(apt, BOARD, external.parent, tmp_path / "cache", False, log)


def compilations(kernel: t.Any) -> int:
    return len((kernel.tree / "compilations").read_text().splitlines())


def test_the_initramfs_goes_in_without_compiling_again(kernel: t.Callable[[], t.Any], tmp_path: Path) -> None:
    built = kernel()
    assert built.release == "6.1.0"
    for content in ("one", "two"):
        (tmp_path / "cpio").write_text(content)
        with tempfile.TemporaryFile("w+") as log:
            embed(built, tmp_path / "cpio", BOARD, tmp_path / "image", tmp_path / "cache", log)
        assert (tmp_path / "image").read_text() == f"core;{content}"
    assert kernel() == built
    assert compilations(built) == 1


def test_an_interrupted_build_goes_on(kernel: t.Callable[[], t.Any], tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(exist_ok=True)
    (tmp_path / "cache/interrupt").touch()
    with pytest.raises(BuildError, match="make failed"):
        kernel()
    (tree,) = (tmp_path / "cache/kernel").iterdir()
    (tree / "witness").touch()
    (tmp_path / "cache/interrupt").unlink()
    assert (kernel().tree / "witness").exists()


def test_a_dropped_symbol_is_named(kernel: t.Callable[[], t.Any], tmp_path: Path) -> None:
    (tmp_path / "external/board/b/linux.config").write_text("CONFIG_A=y\nCONFIG_DROPPED=y\n")
    with pytest.raises(BuildError, match="does not honour: CONFIG_DROPPED=y"):
        kernel()
    shutil.rmtree(tmp_path / "cache")


@pytest.mark.parametrize("place", ["lib", "usr/lib"])
def test_modules_of_a_package_are_found_in_usr_too(place: str, tmp_path: Path) -> None:
    release = "6.12-amd64"
    modules = f"{place}/modules/{release}"
    made = {
        f"boot/vmlinuz-{release}": "kernel",
        f"{modules}/modules.order": "",
        f"{modules}/modules.builtin": "",
    }
    make_deb(tmp_path / "archive", f"linux-image-{release}", files=made)
    make_deb(tmp_path / "archive", "linux-image-amd64", depends=f"linux-image-{release}")
    with tempfile.TemporaryFile("w+") as log:
        apt = Apt(tmp_path / "cache", "amd64", [write_index(tmp_path / "archive")], log)
        for _again in range(2):
            kernel = package_kernel(apt, "linux-image-amd64", tmp_path / "cache", update=False)
            assert kernel.release == release
            assert kernel.image.read_text() == "kernel"
            assert kernel.modules is not None
            assert (kernel.modules / release / "modules.dep").exists()
