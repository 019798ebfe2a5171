# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service's program, on real mounts in a mount namespace of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import EXTERNAL

LIBRARY = EXTERNAL / "dracut/99readonly-rootfs-overlay/lib"
PROGRAM = EXTERNAL / "rootfs-overlay/usr/lib/readonly-rootfs/overlay-dir"

Run = Callable[..., str]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The directory that gets the overlay."""
    directory = tmp_path / "base dir"
    (directory / "foo").mkdir(parents=True)
    (directory / "foo/bar").write_text("foobar\n")
    (directory / "sub").mkdir()
    directory.chmod(0o1775)
    return directory


@pytest.fixture
def run(shell: list[str], tmp_path: Path, base: Path) -> Run:
    """Run shell commands as root of a namespace, in which 'overlay-dir' and 'mount_overlay' work."""
    library = tmp_path / "lib"
    shutil.copytree(LIBRARY, library)
    shutil.copy(PROGRAM, library)
    name = r"base\x2ddir"
    prologue = f"""
        set -eu
        mount -t tmpfs tmpfs /run
        name='{name}' base='{base}' library='{library}'
        place=/run/buildroot/mounts/$name status=/run/readonly-rootfs/$name/status
        overlay_dir() {{ {" ".join(shell)} '{library}/overlay-dir' "$1" "$name" "$base" 2>&1; }}
        # The machine's other mounts come and go.
        mounts() {{ cut -d' ' -f5- /proc/self/mountinfo | grep -e '^{tmp_path}/' -e '^/run/[br0-9]' || :; }}
        mount_overlay() {{
            layers=/run/readonly-rootfs/base_x2ddir
            mount -t overlay overlay_x -o \\
                "lowerdir=$layers/lower,upperdir=$layers/upper,workdir=$layers/work,index=off" "$base"
        }}
    """

    def run_script(script: str) -> str:
        ended = subprocess.run(
            ["unshare", "-rm", "sh", "-c", prologue + script],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={"PATH": os.environ["PATH"]},
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    return run_script


def test_a_file_is_in_the_upper_layer_only_once_it_is_written(run: Run) -> None:
    said = run(
        """
        overlay_dir open; mount_overlay
        cat "$base/foo/bar"
        test ! -e "$place/upper/foo/bar"
        echo barfoo >"$base/foo/bar"
        cat "$base/foo/bar" "$place/upper/foo/bar" "$place/lower/foo/bar"
        """
    )
    assert said.split() == ["foobar", "barfoo", "barfoo", "foobar"]


def test_the_overlay_has_the_mode_of_the_directory(run: Run) -> None:
    said = run('overlay_dir open; mount_overlay; stat -c %a "$base" "$place/upper"')
    assert said.split() == ["1775", "1775"]


def test_extended_attributes_are_kept(run: Run, base: Path) -> None:
    try:
        os.setxattr(base, "user.colour", b"blue")
    except OSError:
        pytest.skip("the file system of the temporary directory has no user attributes")
    said = run('overlay_dir open; /usr/bin/getfattr --only-values -n user.colour "$place/upper" 2>/dev/null')
    assert said == "blue"


def test_the_lower_layer_is_read_only_with_all_that_is_mounted_in_it(run: Run) -> None:
    run(
        """
        mount -t tmpfs -o nosuid sub "$base/sub"; echo below >"$base/sub/file"
        overlay_dir open
        test "$(cat "$place/lower/sub/file")" = below
        for file in foo/bar sub/file; do
            ! ( echo x >"$place/lower/$file" ) 2>/dev/null
        done
        """
    )


def test_what_was_mounted_in_the_directory_is_mounted_in_the_overlay(run: Run) -> None:
    said = run(
        """
        mount -t tmpfs -o nosuid,noexec sub "$base/sub"; mkdir "$base/sub/deep er"
        mount -t tmpfs -o ro deep "$base/sub/deep er"
        overlay_dir open; mount_overlay
        test ! -e "$base/sub/deep er"
        overlay_dir mounts
        echo written >"$base/sub/file"
        grep -c ' - tmpfs sub ' /proc/self/mountinfo
        findmnt -n -o OPTIONS --target "$base/sub" | cut -d, -f1-3
        ! ( : >"$base/sub/deep er/file" ) 2>/dev/null
        """
    )
    assert said.split()[1] == "rw,nosuid,noexec"


def test_a_mounted_file_is_moved_into_the_overlay_and_back(run: Run) -> None:
    run(
        """
        echo id >/run/id; : >"$base/id"; mount -o bind /run/id "$base/id"; mount -o remount,bind,ro "$base/id"
        before=$(mounts)
        overlay_dir open
        ! grep -q 'dir/id ' /proc/mounts || test ! -s "$base/id"
        mount_overlay; overlay_dir mounts
        test "$(cat "$base/id")" = id
        ! ( echo x >"$base/id" ) 2>/dev/null
        umount "$base/id"
        test ! -s "$base/id"
        umount "$base"
        overlay_dir close
        test "$(mounts)" = "$before"
        """
    )


def test_without_a_backing_the_layer_is_a_tmpfs(run: Run) -> None:
    said = run('overlay_dir open; cat "$status"; stat -f -c %T "$place"')
    assert "layer=tmpfs\nreason=\n" in said
    assert said.endswith("tmpfs\n")


def test_a_backing_that_was_asked_for_and_is_missing_is_a_fallback(run: Run) -> None:
    said = run('export asked=yes; overlay_dir open >/dev/null; mount_overlay; : >"$base/new"; cat "$status"')
    assert "layer=fallback\nreason=missing\n" in said


BACKING = """
    mkdir -p "$place" "$base.disk"; mount -o bind "$base.disk" "$place"
"""


def test_a_backing_keeps_what_was_written(run: Run, tmp_path: Path) -> None:
    on = subprocess.run(["stat", "-fc%T", tmp_path], check=True, capture_output=True, text=True).stdout
    layer = "tmpfs" if on == "tmpfs\n" else "persistent"  # where the tests' directory is
    keep = BACKING + 'overlay_dir open; mount_overlay; cat "$status"; '
    assert f"layer={layer}\n" in run(keep + 'echo kept >"$base/new"')
    assert run(keep + 'cat "$base/new"').endswith("kept\n")


def test_a_read_only_backing_is_a_fallback(run: Run) -> None:
    said = run(
        BACKING
        + 'mount -o remount,bind,ro "$place"; overlay_dir open >/dev/null; mount_overlay; '
        + ': >"$base/new"; cat "$status"'
    )
    assert "layer=fallback\nreason=read-only\n" in said


@pytest.mark.parametrize("odd", ["upper", "work", "state", "lower"])
def test_an_odd_backing_is_a_fallback_and_stays_readable(run: Run, odd: str) -> None:
    said = run(
        BACKING
        + f'ln -s /etc "$place/{odd}"; echo data >"$place/data"; overlay_dir open >/dev/null; mount_overlay; '
        + ': >"$base/new"; cat "$status"; cat "/run/readonly-rootfs/$name/quarantine/data"; '
        + '! ( : >"/run/readonly-rootfs/$name/quarantine/data" ) 2>/dev/null'
    )
    assert "layer=fallback\nreason=odd\n" in said
    assert said.endswith("data\n")


def test_a_request_resets_the_layer_once_and_keeps_what_it_names(run: Run) -> None:
    again = BACKING + "overlay_dir open >/dev/null; mount_overlay; "
    run(
        again
        + 'mkdir "$base/keep"; echo k >"$base/keep/file"; echo new >"$base/foo/bar"; '
        + 'echo keep=/keep/file >"$place/state/reset"'
    )
    said = run(again + 'cat "$base/foo/bar" "$base/keep/file"; test ! -e "$place/state/reset"; cat "$status"')
    assert said.startswith("foobar\nk\n")
    assert "reset=yes\n" in said
    assert "reset=no\n" in run(again + 'cat "$status"')


def test_when_no_layers_can_be_made_nothing_is_mounted_and_the_mount_is_skipped(run: Run) -> None:
    run(
        """
        before=$(mounts)
        mkdir -p /run/buildroot/mounts; : >"$place"
        overlay_dir open && exit 1
        rm "$place"
        echo 'make_layer() { return 1; }' >>"$library/layer.sh"
        overlay_dir open && exit 1
        echo 'know_filesystem() { return 1; }' >>"$library/mount.sh"
        overlay_dir open && exit 1
        test "$(mounts)" = "$before"
        test ! -e "$status"
        """
    )


def test_where_the_kernel_stacks_no_more_overlays_none_is_mounted(run: Run) -> None:
    run(
        """
        for level in 1 2; do
            mkdir -p /run/$level/upper /run/$level/work /run/$level/merged
            mount -t overlay -o \
                "lowerdir=$base,upperdir=/run/$level/upper,workdir=/run/$level/work" \
                overlay /run/$level/merged
            base=/run/$level/merged
        done
        before=$(mounts)
        overlay_dir open && exit 1
        test "$(mounts)" = "$before"
        test ! -e "$status"
        """
    )


def test_closing_unmounts_all_that_opening_mounted(run: Run) -> None:
    script = """
        mount -t tmpfs sub "$base/sub"
        before=$(mounts)
        overlay_dir open >/dev/null
        overlay_dir close
        test "$(mounts)" = "$before"
    """
    run(script)
    run(BACKING + script)
    run(BACKING + 'mkdir -p "$base.disk"; rm -rf "$base.disk/upper"; : >"$base.disk/upper"' + script)


def test_it_refuses_a_directory_that_still_has_its_overlay(run: Run) -> None:
    said = run("overlay_dir open; mount_overlay; overlay_dir open || echo refused")
    assert "still has its overlay" in said or said.endswith("refused\n")
