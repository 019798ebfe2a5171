# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import random
import re
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._build import BuildError
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._filesystem_image import make_image
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._image_filesystems import identify

CONFIG = Path(__file__).parents[2] / "files/buildroot-external/board/common/mke2fs.conf"
EPOCH = 1_700_000_000


def fill(tree: Path, seed: int, extra: int = 0) -> Path:
    """The same files, written in another order for every seed."""
    contents = random.Random(1)
    files = {f"d{number % 7}/f {number:03}": contents.randbytes(2000) for number in range(200)}
    for number in range(extra):
        files[f"z/new{number}"] = contents.randbytes(4000)
    names = list(files)
    random.Random(seed).shuffle(names)
    for name in names:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(files[name])
    (tree / "link").symlink_to("d1")
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o755)
    for path in [tree, *tree.rglob("*")]:
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)
    return tree


def image_of(tree: Path, kind: str, target: Path, size: str = "4M") -> bytes:
    with tempfile.TemporaryFile("w+") as log:
        make_image(kind, tree, target, size, "board", CONFIG, EPOCH, log)
    return target.read_bytes()


@pytest.mark.parametrize("kind", ["ext2", "ext4", "squashfs", "erofs"])
def test_the_same_tree_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    first = image_of(fill(tmp_path / "one", 1), kind, tmp_path / "a")
    time.sleep(1.1)
    second = image_of(fill(tmp_path / "elsewhere/two", 2), kind, tmp_path / "b")
    assert first == second


@pytest.mark.parametrize("kind", ["ext2", "ext4", "erofs"])
def test_another_base_has_another_uuid(tmp_path: Path, kind: str) -> None:
    """With the same, overlayfs takes a layer's copy of a file for one of what has its inode number now."""
    uuids: list[str] = []
    for base_id in ("one", "two", "one"):
        tree = fill(tmp_path / f"tree{len(uuids)}", 1)
        (tree / "usr/lib/readonly-rootfs").mkdir(parents=True)
        (tree / "usr/lib/readonly-rootfs/base-id").write_text(base_id)
        image = tmp_path / f"image{len(uuids)}"
        size = len(image_of(tree, kind, image))
        with image.open("rb") as file:
            system = identify(file.fileno(), 0, size)
        assert system
        uuids.append(system.uuid)
    assert uuids[0] == uuids[2] != uuids[1]


@pytest.mark.parametrize("kind", ["ext2", "ext4"])
def test_the_image_is_sound_and_all_roots(tmp_path: Path, kind: str) -> None:
    image_of(fill(tmp_path / "tree", 1), kind, tmp_path / "image")
    subprocess.run(["e2fsck", "-fn", tmp_path / "image"], check=True, capture_output=True)
    said = subprocess.run(
        ["debugfs", "-R", "stat /run", tmp_path / "image"], check=True, capture_output=True, text=True
    ).stdout
    assert "Mode:  0755" in said
    assert "User:     0   Group:     0" in said
    assert {line.split()[1].split(":")[0] for line in said.splitlines() if "time:" in line} == {hex(EPOCH)}


def test_a_small_change_is_a_small_change(tmp_path: Path) -> None:
    before = image_of(fill(tmp_path / "one", 1), "ext2", tmp_path / "a")
    after = image_of(fill(tmp_path / "two", 1, extra=3), "ext2", tmp_path / "b")
    differing = sum(before[at : at + 4096] != after[at : at + 4096] for at in range(0, len(before), 4096))
    assert 0 < differing < 20


@pytest.mark.parametrize("kind", ["ext2", "ext4"])
def test_there_are_inodes_for_all_files_and_few_more(tmp_path: Path, kind: str) -> None:
    tree = fill(tmp_path / "tree", 1)
    for number in range(1000):
        (tree / f"small{number}").touch()
    image_of(tree, kind, tmp_path / "image")
    said = subprocess.run(
        ["dumpe2fs", "-h", tmp_path / "image"], check=True, capture_output=True, text=True
    ).stdout
    found = re.search(r"Free inodes: +(\d+)", said)
    assert found is not None
    assert 100 < int(found[1]) < 300


def test_a_tree_that_does_not_fit_says_what_to_raise(tmp_path: Path) -> None:
    tree = fill(tmp_path / "tree", 1)
    (tree / "big").write_bytes(random.Random(1).randbytes(5 << 20))
    with pytest.raises(BuildError, match=r"does not fit into 4M: raise disk\.root"):
        image_of(tree, "ext2", tmp_path / "image")


@pytest.mark.parametrize("name", ['a"b', os.fsdecode(b"\xff")])
def test_a_name_that_cannot_be_quoted_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / name).touch()
    with pytest.raises(BuildError, match="quotation mark"):
        image_of(tmp_path / "tree", "ext2", tmp_path / "image")
