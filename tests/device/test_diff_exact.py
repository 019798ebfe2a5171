# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying the diff to the base reproduces the merged tree, whatever was done to it."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._diff import Change
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._inspect import inspect_layers
from ansible_collections.br2.readonly_rootfs.tests.device.chaos import (
    device_of,
    disturb,
    grow,
    remove,
    runner,
    snapshot,
)
from ansible_collections.br2.readonly_rootfs.tests.device.fake_device import (
    copy_libraries,
    make_strict_applets,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def apply(changes: list[Change], base: bytes, merged: bytes) -> None:
    """Change a copy of the base by nothing but the diff, with new contents from the merged tree."""
    for change in changes:
        path, source = base + b"/" + change.path, merged + b"/" + change.path
        if change.kind in ("deleted", "type_changed", "renamed") and os.path.lexists(path):
            remove(path)
        after = change.after
        if after is None:
            continue
        if after.type == "directory":
            os.makedirs(path, exist_ok=True)
        elif change.kind not in ("metadata", "copied_up"):
            with suppress(FileNotFoundError):
                os.unlink(path)
            if after.type == "file":
                shutil.copyfile(source, path)
            elif after.type == "link":
                os.symlink(after.target or b"", path)
            elif after.type == "fifo":
                os.mkfifo(path)
            else:
                kind = stat.S_IFCHR if after.type == "char" else stat.S_IFBLK
                os.mknod(path, kind, os.makedev(*(after.rdev or (0, 0))))
        os.chown(path, after.uid, after.gid, follow_symlinks=False)
        if after.type != "link":
            os.chmod(path, after.mode)


def reproduces(applets: Path, seed: int, steps: int, overlay_options: str = "") -> list[Change]:
    chance = random.Random(seed)
    with device_of(applets, overlay_options) as device:
        data = os.fsencode(device.base / "data")
        os.mkdir(data)
        grow(data, chance)
        copy_libraries(Path("/bin/dash"), device.base)
        device.boot()
        for _unused in range(steps):
            disturb(os.fsencode(device.root / "data"), chance)
        changes = inspect_layers(runner(device)).comparison.changes
        expected = snapshot(os.fsencode(device.root / "data"))
        copy = device.directory / "copy"  # Without hard links: overlayfs breaks them, too.
        subprocess.run(["cp", "-a", "--no-preserve=links", device.base, copy], check=True)
        apply(changes, os.fsencode(copy), os.fsencode(device.root))
        assert snapshot(os.fsencode(copy / "data")) == expected
        assert all(change.path.startswith(b"data") for change in changes)
        return changes


many = settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck), derandomize=True)


@many
@given(seed=st.integers(0, 2**32), steps=st.integers(0, 40))
def test_diff_reproduces_the_merged_tree(applets: Path, seed: int, steps: int) -> None:
    reproduces(applets, seed, steps)


@many
@given(seed=st.integers(0, 2**32), steps=st.integers(0, 40))
def test_diff_reproduces_renamed_directories(applets: Path, seed: int, steps: int) -> None:
    reproduces(applets, seed, steps, ",redirect_dir=on,metacopy=on")


def test_diff_needs_no_more_than_the_applets_of_a_stock_busybox(tmp_path: Path) -> None:
    make_strict_applets(tmp_path / "bin")
    for seed in range(3):
        reproduces(tmp_path / "bin", seed, 30)


def test_everything_that_can_happen_happens(applets: Path) -> None:
    """The generator reaches every kind of change: the properties above are not vacuous."""
    kinds = {change.kind for seed in range(12) for change in reproduces(applets, seed, 60)}
    assert kinds >= {"added", "modified", "deleted", "replaced", "type_changed", "metadata", "copied_up"}


@pytest.fixture(autouse=True)
def _temporary_on_ram(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/dev/shm" if Path("/dev/shm").is_dir() else None)
