# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path

import pytest

from .conftest import Run


@pytest.mark.parametrize(
    ("listed", "symbolic"),
    [
        ("drwxr-xr-x", "u=rwx,g=rx,o=rx"),
        ("drwx------", "u=rwx,g=,o="),
        ("drwxrwxrwt", "u=rwx,g=rwx,o=rwx,+t"),
        ("drwxrwx--T", "u=rwx,g=rwx,o=,+t"),
        ("drwsr-sr-x", "u=rwxs,g=rxs,o=rx"),
        ("drwSr-S---", "u=rws,g=rs,o="),
        ("drwxr-xr-x+", "u=rwx,g=rx,o=rx"),
    ],
)
def test_symbolic_mode(run: Run, listed: str, symbolic: str) -> None:
    assert run('symbolic_mode "$1"; echo "$symbolic"', listed) == f"{symbolic}\n"


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o1777, 0o2750, 0o6711, 0o555])
def test_like_directory(run: Run, tmp_path: Path, mode: int) -> None:
    source, target = tmp_path / "a b", tmp_path / "c d"
    source.mkdir()
    target.mkdir(mode=0o755)
    source.chmod(mode)
    run('like_directory "$1" "$2"', str(source), str(target))
    assert target.stat().st_mode == source.stat().st_mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_like_directory_copies_the_owner(run: Run, tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.mkdir()
    target.mkdir()
    os.chown(source, 1234, 567)
    run('like_directory "$1" "$2"', str(source), str(target))
    assert (target.stat().st_uid, target.stat().st_gid) == (1234, 567)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ("rw,noatime,mode=755", "rw,noatime"),
        ("mode=755", ""),
        ("", ""),
        ("rw,size=1m,,data=journal", "rw,data=journal"),
        ("modeless,mode", "modeless"),
        ("a=*,b=?", "a=*,b=?"),
    ],
)
def test_options_that_only_a_tmpfs_knows(run: Run, options: str, kept: str) -> None:
    assert run('without "$1" mode size; echo "$kept"', options) == f"{kept}\n"


def test_tries_are_lines(run: Run, rfs: Path) -> None:
    show = 'count_tries; echo "$tries"'
    assert run(show) == "0\n"
    state = rfs / "rw/state"
    state.mkdir()
    for count in (0, 1, 3):
        (state / "tries").write_text("boot\n" * count)
        assert run(show) == f"{count}\n"


def test_tries_that_are_no_file(run: Run, rfs: Path) -> None:
    state = rfs / "rw/state"
    state.mkdir()
    os.mkfifo(state / "tries")
    assert run('count_tries; echo "$tries"') == "0\n"


def make(path: Path, kind: str) -> None:
    if kind == "file":
        path.write_text("")
    elif kind == "link to a directory":
        path.symlink_to("/")
    elif kind == "dangling link":
        path.symlink_to("/nonexistent")
    elif kind == "pipe":
        os.mkfifo(path)


@pytest.mark.parametrize("name", ["upperdir", "work", "state"])
@pytest.mark.parametrize("kind", ["file", "link to a directory", "dangling link", "pipe"])
def test_odd_layers(run: Run, rfs: Path, name: str, kind: str) -> None:
    make(rfs / "rw" / name, kind)
    show = 'is_own_directory "$rfs/rw/$1" && echo good || echo "$reason: $detail"'
    assert run(show, name) == f"odd: {name} on /dev/rw is not a directory\n"


def test_a_fresh_layer(run: Run, rfs: Path) -> None:
    (rfs / "ro").chmod(0o751)
    run("layer_base_id=; make_layer")
    rw = rfs / "rw"
    assert sorted(path.name for path in rw.iterdir()) == ["state", "upperdir", "work"]
    assert (rw / "upperdir").stat().st_mode & 0o7777 == 0o751
    assert (rw / "state").stat().st_mode & 0o7777 == 0o700
    assert (rw / "state/base-id").read_text() == "base-one\n"


STALE = 'check_base_id && echo "used, stale=$stale" || echo "$reason"'


@pytest.mark.parametrize(
    ("policy", "output"),
    [("keep", "used, stale=yes\n"), ("warn", "used, stale=yes\n"), ("tmpfs", "stale\n")],
)
def test_another_base(run: Run, rfs: Path, policy: str, output: str) -> None:
    state = rfs / "rw/state"
    state.mkdir()
    (state / "base-id").write_text("base-zero\n")
    printed = run(f"rootrwstale={policy} stale=no; {STALE}")
    assert printed.endswith(output)
    assert ("base-zero" in printed) is (policy == "warn")
    assert (state / "base-id").read_text() == "base-zero\n"


def test_the_same_base_or_one_unknown(run: Run, rfs: Path) -> None:
    state = rfs / "rw/state"
    state.mkdir()
    for known in ("", "base-one\n"):
        (state / "base-id").write_text(known)
        assert run(f"rootrwstale=tmpfs stale=no; {STALE}") == "used, stale=no\n"


def test_the_identity_of_the_base(run: Run, rfs: Path) -> None:
    show = "base_device=''; read_base_id; echo \"[$base_id]\""
    assert run(show) == "[]\n"
    directory = rfs / "ro/usr/lib/readonly-rootfs"
    directory.mkdir(parents=True)
    (directory / "base-id").write_text("abc123\n")
    assert run(show) == "[abc123]\n"
