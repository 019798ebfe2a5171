# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A base built with a commit no longer differs from the device, but in what was left out."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._commit import (
    Plan,
    plan_commit,
    write_commit,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._contents import fetch_contents
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._inspect import inspect_layers
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
