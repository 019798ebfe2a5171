# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _debian_image, _tree_sync
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._tree_sync import (
    LIST,
    Node,
    TreeError,
    synchronise,
)
from ansible_collections.br2.readonly_rootfs.plugins.modules import external_tree

TREE = {"a": Node(b"1\n"), "d/e/run": Node(b"#!\n", executable=True), "d/link": Node(link="../a")}


def snapshot(root: Path) -> dict[str, object]:
    return {
        path.relative_to(root).as_posix(): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in root.rglob("*")
        if (path.is_symlink() or path.is_file()) and path.name != LIST
    }


def test_first_run_creates_all_and_second_changes_nothing(tmp_path: Path) -> None:
    first = synchronise(tmp_path / "t", TREE)
    assert first.created == ["a", "d/e/run", "d/link"]
    assert snapshot(tmp_path / "t") == {"a": b"1\n", "d/e/run": b"#!\n", "d/link": "../a"}
    assert os.access(tmp_path / "t/d/e/run", os.X_OK)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "t").rglob("*")}
    assert not synchronise(tmp_path / "t", TREE)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "t").rglob("*")}


def test_dry_run_tells_the_same_and_writes_nothing(tmp_path: Path) -> None:
    planned = synchronise(tmp_path / "t", TREE, dry_run=True)
    assert not (tmp_path / "t").exists()
    assert planned == synchronise(tmp_path / "t", TREE)


def test_what_no_longer_belongs_goes_with_its_empty_directories(tmp_path: Path) -> None:
    synchronise(tmp_path, TREE)
    (tmp_path / "d/mine").write_text("user")
    changes = synchronise(tmp_path, {"a": Node(b"2\n")})
    assert (changes.updated, changes.removed) == (["a"], ["d/e/run", "d/link"])
    assert snapshot(tmp_path) == {"a": b"2\n", "d/mine": b"user"}
    assert not (tmp_path / "d/e").exists()


def test_lost_executable_bit_and_replaced_link_are_mended(tmp_path: Path) -> None:
    synchronise(tmp_path, TREE)
    (tmp_path / "d/e/run").chmod(0o644)
    (tmp_path / "d/link").unlink()
    (tmp_path / "d/link").write_text("file")
    assert synchronise(tmp_path, TREE).updated == ["d/e/run", "d/link"]
    assert not synchronise(tmp_path, TREE)


def test_a_file_of_the_user_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    with pytest.raises(TreeError, match="not from this collection"):
        synchronise(tmp_path, TREE)
    assert snapshot(tmp_path) == {"a": b"mine"}


@pytest.mark.parametrize("name", ["../a", "/a", "d/../../a"])
def test_names_outside_the_tree_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(TreeError, match="inside the tree"):
        synchronise(tmp_path / "t", {name: Node(b"")})


def test_a_directory_in_the_way_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(TreeError, match="neither a file nor a link"):
        synchronise(tmp_path, TREE)


def test_an_interrupted_run_is_finished_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synchronise(tmp_path, {"old": Node(b"")})
    real = _tree_sync._write

    def dies(path: Path, node: Node) -> None:
        if path.name == "run":
            raise OSError(28, "No space left on device")
        real(path, node)

    monkeypatch.setattr(_tree_sync, "_write", dies)
    with pytest.raises(OSError, match="No space"):
        synchronise(tmp_path, TREE)
    monkeypatch.undo()
    synchronise(tmp_path, TREE)
    assert set(snapshot(tmp_path)) == set(TREE)
    assert not synchronise(tmp_path, {}).created
    assert snapshot(tmp_path) == {}


def test_a_tree_stays_while_a_build_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another play for the same directory would mix its own files into those images."""
    tree = tmp_path / "external"
    synchronise(tree, {"a": Node(b"1")})
    seen: list[bytes] = []

    def other() -> None:
        given = {"path": str(tree), "board": "b", "files": {"a": {"content": "Mg==", "executable": False}}}
        with patch_module_args(given), pytest.raises(SystemExit):
            external_tree.main()

    play = threading.Thread(target=other)

    def read(*_: object) -> None:
        play.start()
        play.join(1)
        seen.append((tree / "a").read_bytes())

    monkeypatch.setattr(_debian_image, "need_tools", lambda tools: None)
    monkeypatch.setattr(_debian_image, "_gather", read)
    board = {"name": "b", "debian": {}}
    _debian_image.build(_debian_image.Options(board, tree, tmp_path, tmp_path))
    play.join()
    assert seen == [b"1"]
    assert (tree / "a").read_bytes() == b"2"


def test_check_mode_has_no_tree_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_debian_image, "need_tools", lambda tools: None)
    options = _debian_image.Options({"name": "b", "debian": {}}, tmp_path / "none", tmp_path, tmp_path)
    assert _debian_image.build(options, check=True).changed
