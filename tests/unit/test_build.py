# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._build import (
    BuildError,
    clamp_times,
    content_key,
    identifier,
    locked,
    made_whole,
    need_tools,
    newest_time,
    run,
)


def test_a_key_follows_content_names_modes_and_links_and_nothing_else(tmp_path: Path) -> None:
    tree = tmp_path / "t"
    (tree / "d").mkdir(parents=True)
    (tree / "d/f").write_text("1")
    (tree / "l").symlink_to("d/f")
    first = content_key({"a": 1}, tree)
    os.utime(tree / "d/f", (1, 1))
    assert content_key({"a": 1}, tree) == first
    copy = tmp_path / "elsewhere"
    subprocess.run(["cp", "-a", tree, copy], check=True)
    assert content_key({"a": 1}, copy) == first
    seen = {first, content_key({"a": 2}, tree)}
    (tree / "d/f").write_text("2")
    seen.add(content_key({"a": 1}, tree))
    (tree / "d/f").chmod(0o755)
    seen.add(content_key({"a": 1}, tree))
    (tree / "d/f").rename(tree / "d/g")
    seen.add(content_key({"a": 1}, tree))
    (tree / "l").unlink()
    (tree / "l").symlink_to("d/g")
    seen.add(content_key({"a": 1}, tree))
    assert len(seen) == 6


def test_a_key_takes_names_that_are_not_utf_8(tmp_path: Path) -> None:
    keys = [content_key(tmp_path)]
    for name in (b"\xff", b"\xfe"):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).mkdir()
        keys.append(content_key(tmp_path))
    Path(os.fsdecode(bytes(tmp_path) + b"/link")).symlink_to(os.fsdecode(b"\xff"))
    assert len({*keys, content_key(tmp_path)}) == 4


def test_a_failed_program_is_named_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"^sh failed \(3\): no space$"):
        run(["sh", "-c", "echo no space >&2; exit 3"])
    with (tmp_path / "log").open("w+") as log:
        run(["echo", "before"], log)
        with pytest.raises(BuildError, match=r"^sh failed \(3\): no space$"):
            run(["sh", "-c", "echo no space >&2; exit 3"], log)
        run(["echo", "after"], log)
    said = (tmp_path / "log").read_text().splitlines()
    assert [line for line in said if not line.startswith("$")] == ["before", "no space", "after"]


def test_what_a_program_says_is_in_the_log_while_it_runs(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with (tmp_path / "log").open("w+") as log:
        run(["sh", "-c", f"echo early; grep -c early {tmp_path}/log >{seen}"], log)
    assert int(seen.read_text()) >= 2


def test_programs_see_neither_locale_nor_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LD_PRELOAD", "x.so")
    seen = dict(line.split("=", 1) for line in run(["env"]).splitlines())
    assert (seen["LC_ALL"], seen["TZ"]) == ("C", "UTC")
    assert not {"LANG", "LD_PRELOAD"} & set(seen)


def test_missing_programs_are_named_together_with_their_packages() -> None:
    with pytest.raises(BuildError, match=r"no-such-a, no-such-b\..*apt-get install pa pb"):
        need_tools({"sh": "dash", "no-such-b": "pb", "no-such-a": "pa"})


def test_a_directory_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "t"
    with pytest.raises(RuntimeError), made_whole(target) as directory:
        (directory / "f").write_text("half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    # What a killed run left behind is in nobody's way.
    (tmp_path / ".t.new").mkdir()
    (tmp_path / ".t.new/rest").write_text("old")
    with made_whole(target) as directory:
        (directory / "f").write_text("whole")
    assert [path.name for path in target.iterdir()] == ["f"]
    assert list(tmp_path.iterdir()) == [target]


def test_one_at_a_time(tmp_path: Path) -> None:
    probe = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    command = [sys.executable, "-c", probe, str(tmp_path / "d/.lock")]
    with locked(tmp_path / "d"):
        assert subprocess.run(command, capture_output=True, check=False).returncode
    assert subprocess.run(command, check=False).returncode == 0


def test_times_after_the_epoch_become_it_and_earlier_ones_stay(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    (tmp_path / "new").touch()
    (tmp_path / "link").symlink_to("old")
    os.utime(tmp_path / "old", (1000, 1000))
    os.utime(tmp_path / "new", (3000, 3000))
    clamp_times(tmp_path, 2000)
    assert [int((tmp_path / name).lstat().st_mtime) for name in ("old", "new", "link")] == [1000, 2000, 2000]
    assert newest_time(tmp_path) == 2000


def test_identifiers_differ_by_board_and_use() -> None:
    assert identifier("a", "x") == identifier("a", "x")
    assert len({identifier("a", "x"), identifier("b", "x"), identifier("a", "y")}) == 3
