# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reset on a plain directory: no mount is needed to see what it renames."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from .conftest import Run

RESET = "rootrwtries=0 tries='' stale=no; reset_is_due && reset_layer && echo \"reset=$reset\""

# After each command that changes something, or before it, the power may go.
CUT = """
cut_left=$1
step() { [ "$cut_left" -gt 0 ] || exit 99; cut_left=$((cut_left - 1)); }
mv() { step; command mv "$@" && step; }
rm() { step; command rm "$@" && step; }
mkdir() { step; command mkdir "$@" && step; }
ln() { step; command ln "$@" && step; }
chmod() { step; command chmod "$@" && step; }
sync() { :; }
"""


@pytest.fixture
def rw(rfs: Path) -> Path:
    """A layer in use, with what a reset must keep, drop or not follow."""
    rw = rfs / "rw"
    etc = rw / "upperdir/etc"
    (etc / "ssh").mkdir(parents=True)
    (etc / "ssh").chmod(0o700)
    (etc / "ssh/key").write_text("secret\n")
    (etc / "hostname").write_text("device\n")
    (etc / "hidden").symlink_to("/etc/ssh")
    (etc / "other").write_text("lost\n")
    (rw / "upperdir/.dot").write_text("lost\n")
    (rw / "work/work").mkdir(parents=True)
    (rw / "state").mkdir()
    (rw / "state/tries").write_text("a\nb\n")
    (rw / "state/base-id").write_text("base-zero\n")
    (rfs / "ro/etc").mkdir()
    (rfs / "ro").chmod(0o755)
    return rw


def upper(rw: Path) -> list[str]:
    return sorted(str(path.relative_to(rw / "upperdir")) for path in (rw / "upperdir").rglob("*"))


def request(rw: Path, *lines: str, name: str = "reset") -> None:
    (rw / "state" / name).write_text("".join(f"{line}\n" for line in lines))


def test_not_due(run: Run, rw: Path) -> None:
    assert run("reset_is_due || echo no") == "no\n"


@pytest.mark.parametrize("kind", ["directory", "link"])
def test_a_request_that_could_not_be_cleared(run: Run, rw: Path, kind: str) -> None:
    if kind == "directory":
        (rw / "state/reset").mkdir()
    else:
        (rw / "state/reset").symlink_to("base-id")
    assert run("reset_is_due || echo no") == "no\n"


def test_everything_goes(run: Run, rw: Path) -> None:
    (rw / "stray").mkdir()
    (rw / ".hidden").write_text("")
    (rw / "..odd").write_text("")
    (rw / "lost+found").mkdir()
    (rw / "lost+found/#12").write_text("")
    request(rw)
    assert run(RESET).endswith("reset=yes\n")
    assert upper(rw) == []
    names = {path.name for path in rw.iterdir() if not path.name.startswith("trash.")}
    assert names == {"state", "upperdir", "work", "lost+found"}
    assert [path.name for path in (rw / "state").iterdir()] == ["base-id"]
    assert (rw / "state/base-id").read_text() == "base-one\n"
    assert list((rw / "lost+found").iterdir()) == []


def test_the_command_line_does_the_same(run: Run, rw: Path) -> None:
    assert run(f"rootrwreset=yes; {RESET}").endswith("reset=yes\n")
    assert upper(rw) == []
    assert not (rw / "state/reset").exists()


def test_a_first_boot_with_reset(run: Run, rfs: Path) -> None:
    assert run(f"rootrwreset=yes; {RESET}").endswith("reset=yes\n")
    assert upper(rfs / "rw") == []


def test_kept(run: Run, rw: Path) -> None:
    (rw / "upperdir/etc").chmod(0o711)
    request(rw, "keep=/etc/ssh/", "keep=/etc/absent", "anything else", "keep=/etc/hidden")
    request(rw, "keep=/etc/hostname", name="keep")
    run(RESET)
    assert upper(rw) == ["etc", "etc/hidden", "etc/hostname", "etc/ssh", "etc/ssh/key"]
    assert (rw / "upperdir/etc/hidden").is_symlink()
    assert (rw / "upperdir/etc").stat().st_mode & 0o777 == 0o711
    assert (rw / "upperdir/etc/ssh").stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in (rw / "state").iterdir()) == ["base-id", "keep"]


@pytest.mark.parametrize(
    "path",
    [
        "etc/hostname",
        "/",
        "//",
        "///",
        "",
        "/etc/../etc/hostname",
        "/./etc/hostname",
        "//etc/hostname",
        "/etc/..",
    ],
)
def test_paths_that_are_not_plain(run: Run, rw: Path, path: str) -> None:
    request(rw, f"keep={path}")
    assert "not a plain absolute path" in run(RESET)
    assert upper(rw) == []


def test_keep_does_not_follow_links(run: Run, rw: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("theirs\n")
    (rw / "upperdir/out").symlink_to(outside)
    request(rw, "keep=/out/file", "keep=/etc/hidden/key")
    output = run(RESET)
    assert "/out is a link" in output
    assert "/etc/hidden is a link" in output
    assert (outside / "file").read_text() == "theirs\n"
    assert upper(rw) == []


@pytest.mark.parametrize(
    "paths",
    ["/a /b", "/a /a", "/a /a/b", "/a/b /a", "/a/b/c /a /b /a/b", "/a* /a*/x /ab", "/a*/x /ab /a*"],
)
def test_kept_paths_in_one_another(run: Run, rw: Path, paths: str) -> None:
    """The list may have them in any order."""
    for name in ("a/b/c", "a/x", "b/y", "a*/x", "a*/z", "ab/x"):
        (rw / "upperdir" / name).parent.mkdir(parents=True, exist_ok=True)
        (rw / "upperdir" / name).write_text(name)
    there = upper(rw)
    request(rw, *(f"keep={path}" for path in paths.split()))
    run(RESET)
    tops = {path.split("/")[1] for path in paths.split()}
    assert upper(rw) == [path for path in there if path.split("/")[0] in tops]
    assert sorted(path.name for path in (rw / "state").iterdir()) == ["base-id"]


def test_a_long_keep_list_takes_no_longer_than_its_length(run: Run, rw: Path) -> None:
    """A reset of one path keeps all that is beside it, which may be thousands of names."""
    request(rw, *(f"keep=/var/lib/of/the/application/{number}" for number in range(4000)))
    begun = time.monotonic()
    run(RESET)
    assert time.monotonic() - begun < 20


def test_a_link_of_the_base_on_the_way_is_reported(run: Run, rfs: Path, rw: Path) -> None:
    (rfs / "ro/bin").symlink_to("etc")
    (rfs / "ro/run").symlink_to("etc")
    (rw / "upperdir/run").mkdir()
    (rw / "upperdir/run/mine").write_text("")
    request(rw, "keep=/bin/other", "keep=/run/mine")
    output = run(RESET)
    assert "keep=/bin/other: /bin is a link" in output
    assert "keep=/run/mine" not in output
    assert upper(rw) == ["run", "run/mine"]


@pytest.mark.parametrize("pair", [("/etc", "/etc/ssh"), ("/etc/ssh", "/etc")])
def test_one_kept_path_in_another(run: Run, rw: Path, pair: tuple[str, str]) -> None:
    request(rw, *(f"keep={path}" for path in pair))
    run(RESET)
    assert upper(rw) == ["etc", "etc/hidden", "etc/hostname", "etc/other", "etc/ssh", "etc/ssh/key"]
    assert sorted(path.name for path in (rw / "state").iterdir()) == ["base-id"]


def test_no_space_for_the_directories_above_a_kept_path(run: Run, rw: Path) -> None:
    """The old layer is deleted first."""
    (rw / "upperdir/home/me/a/b").mkdir(parents=True)
    (rw / "upperdir/home/me/a/b/key").write_text("secret\n")
    full = '[ ! -e "$rw_dir/trash.0" ] || case $* in *parent.new*) return 1 ;; esac'
    request(rw, "keep=/home/me/a/b/key")
    run(f'mkdir() {{ {full}; command mkdir "$@"; }}; {RESET}')
    assert (rw / "upperdir/home/me/a/b/key").read_text() == "secret\n"


def test_a_cut_at_any_point(run: Run, rw: Path, tmp_path: Path) -> None:
    """Whatever point the power goes at, the next boot ends where an undisturbed one does."""
    (rw / "stray").write_text("")
    (rw / "upperdir/etc").chmod(0o711)
    request(rw, "keep=/etc/ssh", "keep=/etc/hostname")
    start = tmp_path / "start"
    shutil.copytree(rw, start, symlinks=True)
    cuts = 0
    for cut in range(200):
        shutil.rmtree(rw)
        shutil.copytree(start, rw, symlinks=True)
        finished = "reset=yes" in run(CUT + RESET, str(cut), check=False)
        if not finished:
            cuts += 1
            pending = (rw / "state/reset").exists()
            if not pending:  # only after everything else is done
                assert cut > 10
            run(f"{RESET} || :")
        assert upper(rw) == ["etc", "etc/hostname", "etc/ssh", "etc/ssh/key"], f"cut {cut}"
        assert (rw / "upperdir/etc/ssh/key").read_text() == "secret\n"
        assert (rw / "upperdir/etc").stat().st_mode & 0o777 == 0o711, f"cut {cut}"
        assert sorted(path.name for path in (rw / "state").iterdir()) == ["base-id"], f"cut {cut}"
        assert (rw / "state/base-id").read_text() == "base-one\n"
        if finished:
            break
    assert cuts > 20
