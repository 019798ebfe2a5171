# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup made on one device and restored on another of the same base makes the two equal."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._archive import (
    fetch_tree,
    make_backup,
    names_to_archive,
    read_backup,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import DeviceError
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._inspect import inspect_layers
from ansible_collections.br2.readonly_rootfs.tests.device.chaos import (
    device_of,
    disturb,
    grow,
    runner,
    snapshot,
)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("options", ["", ",redirect_dir=on,metacopy=on"])
def test_a_restored_device_equals_the_saved_one(applets: Path, seed: int, options: str) -> None:
    with device_of(applets, options) as saved, device_of(applets) as restored:
        for device in (saved, restored):
            (device.base / "data").mkdir()
            grow(os.fsencode(device.base / "data"), random.Random(seed))
            device.boot()
        chance = random.Random(seed)
        for _unused in range(40):
            disturb(os.fsencode(saved.root / "data"), chance)
        run = runner(saved)
        inspection = inspect_layers(run)
        changes = inspection.comparison.changes
        archive = fetch_tree(run, "current", names_to_archive(changes))
        backup = read_backup(make_backup(inspection.layers, changes, archive))
        run = runner(restored)
        run(
            ("view", "remove"),
            {"layer": "current"},
            b"".join(b"./" + name + b"\0" for name in backup.deleted),
        )
        run(("view", "extract"), {"layer": "current"}, backup.tree)
        assert snapshot(os.fsencode(restored.root / "data")) == snapshot(os.fsencode(saved.root / "data"))


@pytest.mark.parametrize("content", [b"", b"no backup", b"\x1f\x8b\x08\0"])
def test_what_is_no_backup_is_refused(content: bytes) -> None:
    with pytest.raises(DeviceError, match="no backup"):
        read_backup(content)
