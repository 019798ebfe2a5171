# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _buildroot_config as config
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _buildroot_sources as sources
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_tree import BuildrootError, Tree

FIXTURE = Path(__file__).parents[1] / "buildroot" / "fixture"
ALL = [f"{name}/{name}.tar.xz" for name in ("busybox", "dracut", "dropbear", "genimage", "linux", "zlib")]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(FIXTURE, tmp_path / "output")
    config.apply(made, (FIXTURE / "configs/plain_defconfig").read_text(), check_mode=False)
    return made


def pack(names: list[str], directory: Path, archive: Path) -> bool:
    with sources.replaced(archive) as files:
        return sources.pack(names, directory, *files)


def unpack(archive: Path, directory: Path, dry_run: bool) -> list[str]:
    with archive.open("rb") as file:
        return sources.unpack(file, directory, dry_run)


def test_downloaded_packed_carried_and_unpacked(tree: Tree, tmp_path: Path) -> None:
    connected, gapped, archive = tmp_path / "dl", tmp_path / "gap", tmp_path / "sources.tar"
    assert sources.missing(sources.needed(tree), connected) == ALL
    sources.download(tree, sources.by_package(tree), connected)
    assert sources.missing(sources.needed(tree), connected) == []
    assert pack(ALL, connected, archive)
    first = archive.read_bytes()
    assert not pack(ALL, connected, archive), "the same files were packed again"
    assert archive.read_bytes() == first
    assert not archive.with_name("sources.tar.new").exists()

    assert unpack(archive, gapped, dry_run=True) == ALL
    assert not gapped.exists()
    assert unpack(archive, gapped, dry_run=False) == ALL
    assert sources.missing(sources.needed(tree), gapped) == []
    assert unpack(archive, gapped, dry_run=False) == []

    archive.unlink()
    pack(ALL, gapped, archive)
    assert archive.read_bytes() == first


def test_a_changed_source_is_brought_again(tree: Tree, tmp_path: Path) -> None:
    directory, archive = tmp_path / "dl", tmp_path / "sources.tar"
    sources.download(tree, sources.by_package(tree), directory)
    pack(ALL, directory, archive)
    (directory / ALL[0]).write_text("cut off")
    assert unpack(archive, directory, dry_run=False) == [ALL[0]]
    assert (directory / ALL[0]).read_text() == "source of busybox\n"


def test_a_damaged_archive(tree: Tree, tmp_path: Path) -> None:
    directory, archive = tmp_path / "dl", tmp_path / "sources.tar"
    sources.download(tree, sources.by_package(tree), directory)
    pack(ALL, directory, archive)
    archive.write_bytes(archive.read_bytes().replace(b"source of linux", b"source of limux"))
    with pytest.raises(BuildrootError, match=r"linux/linux\.tar\.xz is damaged"):
        unpack(archive, tmp_path / "gap", dry_run=False)
    archive.write_bytes(b"\0" * 10240)
    with pytest.raises(BuildrootError, match="is no archive of sources"):
        unpack(archive, tmp_path / "gap", dry_run=False)
    archive.write_text("no tar file")
    with pytest.raises(BuildrootError, match=r"sources\.tar is damaged"):
        unpack(archive, tmp_path / "gap", dry_run=False)


# In a header, and after it.
@pytest.mark.parametrize(
    ("size", "message"),
    [(1700, r"has no busybox/busybox\.tar\.xz: it is damaged"), (2048, "is damaged: unexpected end of data")],
)
def test_an_archive_that_is_cut_off(tree: Tree, tmp_path: Path, size: int, message: str) -> None:
    directory, archive = tmp_path / "dl", tmp_path / "sources.tar"
    sources.download(tree, sources.by_package(tree), directory)
    pack(ALL, directory, archive)
    archive.write_bytes(archive.read_bytes()[:size])
    with pytest.raises(BuildrootError, match=message):
        unpack(archive, tmp_path / "gap", dry_run=False)


def test_what_show_info_does_not_tell(tree: Tree) -> None:
    """The sources of a program that comes ready-made, and a package that comes from a directory."""
    (tree.output / "variables").write_text(
        "LINUX_OVERRIDE_SRCDIR=/src/linux\nHOST_DRACUT_ACTUAL_SOURCE_TARBALL=dracut.src.tar.xz\n"
    )
    wanted = sorted({*ALL, "dracut/dracut.src.tar.xz"} - {"linux/linux.tar.xz"})
    assert sources.needed(tree) == wanted
    assert sources.by_package(tree, legal=False)["host-dracut"].files == ["dracut/dracut.tar.xz"]


def test_what_is_built_already_is_brought_into_another_directory(tree: Tree, tmp_path: Path) -> None:
    """make would not: its stamp says that the source was downloaded. Nor may the package be built again."""
    sources.download(tree, sources.by_package(tree), tmp_path / "dl")
    stamp = tree.output / "build/zlib-1.3.2/.stamp_downloaded"
    os.utime(stamp, (1000, 1000))
    sources.download(tree, sources.by_package(tree), tmp_path / "other")
    sources.demand(ALL, tmp_path / "other")
    assert stamp.stat().st_mtime == 1000

    (tmp_path / "other" / ALL[0]).unlink()
    with pytest.raises(BuildrootError, match=rf"other lacks {ALL[0]}"):
        sources.demand(ALL, tmp_path / "other")


def test_a_source_that_nobody_has_names_its_address(tree: Tree, tmp_path: Path) -> None:
    (tree.output / "fault").write_text("download zlib")
    with pytest.raises(BuildrootError, match=r"https://example\.invalid/zlib\.tar\.xz") as caught:
        sources.download(tree, sources.by_package(tree), tmp_path / "dl")
    assert caught.value.details["package"] == "zlib-1.3.2"
