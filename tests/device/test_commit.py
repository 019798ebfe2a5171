# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A base built with a commit no longer differs from the device, but in what was left out."""

from __future__ import annotations

import os
import random
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._commit import (
    Plan,
    plan_commit,
    write_commit,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._contents import fetch_contents
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._diff import Change
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._inspect import inspect_layers
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._layers import (
    Entry,
    WireError,
    parse_layers,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._present import shown
from ansible_collections.br2.readonly_rootfs.tests.device.chaos import device_of, disturb, grow, runner
from ansible_collections.br2.readonly_rootfs.tests.device.fake_device import CHECKOUT, FakeDevice

POST_BUILD = CHECKOUT / "files/buildroot-external/board/common/post-build.sh"
# As Buildroot copies overlays.
RSYNC = ["rsync", "-a", "--ignore-times", "--keep-dirlinks", "--chmod=u=rwX,go=rX", "--exclude=*~"]


def commit(device: FakeDevice, overlay: Path) -> Plan:
    run = runner(device)
    comparison = inspect_layers(run).comparison
    plan = plan_commit(comparison.changes, comparison.merged)
    contents = fetch_contents(run, "current", [change.path for change in plan.files]).merged
    written = write_commit(overlay, "device", plan, contents, check=False)
    assert write_commit(overlay, "device", plan, contents, check=False) == []
    assert written or not (plan.files or plan.links or plan.deleted or plan.modes or plan.directories)
    return plan


def rebuild(base: Path, overlay: Path) -> None:
    overlay.mkdir(exist_ok=True)
    subprocess.run([*RSYNC, f"{overlay}/", f"{base}/"], check=True)
    subprocess.run([POST_BUILD, base], check=True)


@pytest.mark.parametrize("seed", range(12))
def test_a_rebuilt_base_has_what_was_committed(applets: Path, tmp_path: Path, seed: int) -> None:
    with device_of(applets) as device:
        data = os.fsencode(device.base / "data")
        Path(os.fsdecode(data)).mkdir()
        grow(data, random.Random(seed))
        device.boot()
        chance = random.Random(seed)
        for _unused in range(25):
            disturb(os.fsencode(device.root / "data"), chance)
        plan = commit(device, tmp_path / "overlay")
        device.halt()
        rebuild(device.base, tmp_path / "overlay")
        device.mount_overlay()
        rest = inspect_layers(runner(device)).comparison.changes
        left = {
            shown(change.path): f"{change.kind} {change.before} {change.after}"
            for change in rest
            if change.kind not in ("copied_up", "replaced")
        }
        # The parts of what was left out come with it.
        assert {path: left[path] for path in left if not path.startswith(tuple(plan.left_out))} == {}


def test_a_deletion_of_what_an_earlier_commit_brought(applets: Path, tmp_path: Path) -> None:
    with device_of(applets) as device:
        device.boot()
        (device.root / "etc/mine").write_text("mine")
        (device.root / "etc/mine").chmod(0o600)
        commit(device, tmp_path)
        assert (tmp_path / "etc/mine").read_text() == "mine"
        device.halt()
        rebuild(device.base, tmp_path)
        assert (device.base / "etc/mine").stat().st_mode & 0o777 == 0o600
        device.mount_overlay()
        (device.root / "etc/mine").unlink()
        commit(device, tmp_path)
        assert not (tmp_path / "etc/mine").exists()
        lines = (tmp_path / "usr/lib/readonly-rootfs/commit/device").read_text()
        assert lines == "delete etc/mine\n"


def entry(kind: str, target: bytes | None = None) -> Entry:
    mode = 0o755 if kind == "directory" else 0o644
    return Entry(kind, mode, 0, 0, 0, "2026-01-01T00:00:00Z", 1, 1, 0, target=target)


def added(path: bytes, kind: str = "file", target: bytes | None = None) -> Change:
    return Change(path, "added", None, entry(kind, target))


def write(overlay: Path, name: str, *changes: Change) -> list[str]:
    plan = plan_commit(changes, {})
    contents = {change.path: name.encode() for change in plan.files}
    preview = write_commit(overlay, name, plan, contents, check=True)
    written = write_commit(overlay, name, plan, contents, check=False)
    assert preview == written
    assert write_commit(overlay, name, plan, contents, check=False) == []
    return written


def test_a_link_that_was_committed_leads_no_later_commit_astray(tmp_path: Path) -> None:
    """On the controller it may lead to the controller's own files."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "key").write_text("the controller's")
    link = added(b"etc/app", "link", os.fsencode(victim))
    for later in (
        Change(b"etc/app/key", "modified", entry("file"), entry("file")),
        added(b"etc/app/key", "link", b"elsewhere"),
        added(b"etc/app/key", "directory"),
        Change(b"etc/app/key", "deleted", entry("file"), None),
        added(b"etc/app", "directory"),
    ):
        write(tmp_path / "overlay", "one", link)
        assert write(tmp_path / "overlay", "two", later)
        assert [path.name for path in victim.iterdir()] == ["key"]
        assert (victim / "key").read_text() == "the controller's"
        assert (tmp_path / "overlay/etc/app").is_symlink() is (later.after is None)


def test_a_later_commit_wins_over_that_of_another_device(tmp_path: Path) -> None:
    overlay, base = tmp_path / "overlay", tmp_path / "base"
    gone = Change(b"etc/app", "deleted", entry("directory"), None)
    write(
        overlay, "one", gone, Change(b"etc/x", "deleted", entry("file"), None), replace_mode(b"etc/y", 0o600)
    )
    write(overlay, "two", added(b"etc/app/file"), added(b"etc/x"), added(b"etc/y"))
    rebuild(base, overlay)
    assert [(base / name).read_text() for name in ("etc/app/file", "etc/x", "etc/y")] == ["two"] * 3
    assert (base / "etc/y").stat().st_mode & 0o777 == 0o644


def test_devices_that_agree_leave_each_others_lists_alone(tmp_path: Path) -> None:
    changes = [Change(b"etc/x", "deleted", entry("file"), None), replace_mode(b"etc/y", 0o600)]
    for _unused in range(2):
        plan = plan_commit(changes, {})
        written = [
            write_commit(tmp_path, name, plan, {b"etc/y": b""}, check=False) for name in ("one", "two")
        ]
    assert written == [[], []]


def replace_mode(path: bytes, mode: int) -> Change:
    return Change(path, "added", None, replace(entry("file"), mode=mode))


@pytest.mark.parametrize("name", [b"./../x", b"./etc/../../x", b".//etc/x", b"./..", b"/etc/x", b"./etc/./x"])
def test_names_that_lead_out_are_no_names_of_a_device(name: bytes) -> None:
    with pytest.raises(WireError, match="not a path below the root"):
        parse_layers(b"@N\n.\0" + name + b"\0\0\n")


def test_a_list_cannot_reach_out_of_the_tree(tmp_path: Path) -> None:
    victim = tmp_path / "victim/file"
    victim.parent.mkdir()
    victim.write_text("")
    tree = tmp_path / "tree"
    lists = tree / "usr/lib/readonly-rootfs/commit"
    lists.mkdir(parents=True)
    (tree / "link").symlink_to(victim.parent)
    (lists / "device").write_text("delete ../victim/file\ndelete link/file\nmode 00600 link/file\n")
    mode = victim.stat().st_mode
    subprocess.run([POST_BUILD, tree], check=True)
    assert victim.stat().st_mode == mode
    assert not lists.exists()
