# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The initramfs as other versions of dracut make it, from the base of the images under test."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _build, _dracut
from ansible_collections.br2.readonly_rootfs.tests.boot.lab import disk
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.rig import REPOSITORY, Rig
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.tree import BUSYBOX

EXTERNAL = REPOSITORY / "files/buildroot-external"
SOURCE = os.environ.get("BR2_DRACUT_NG", "")


def dracut_ng(monkeypatch: pytest.MonkeyPatch, work: Path) -> None:
    """Take dracut-ng's scripts; what it compiles comes from the host's dracut where it is not there."""
    directory = work / "dracut-ng"
    directory.mkdir()
    for source in (Path("/usr/lib/dracut"), Path(SOURCE).resolve()):
        for path in source.iterdir():
            link = directory / path.name
            link.unlink(missing_ok=True)
            link.symlink_to(path)

    def run(command: Sequence[str], *arguments: Any) -> Any:
        assert command[0] == "dracut"
        return _build.run(["bash", str(directory / "dracut.sh"), *command[1:]], *arguments)

    monkeypatch.setattr(_dracut, "_DRACUT", directory)
    monkeypatch.setattr(_dracut, "run", run)


@pytest.mark.parametrize("version", ["host", "ng"])
def test_boots_with_this_dracut(rig: Rig, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """The module makes an initramfs that boots with the host's dracut, and with dracut-ng (BR2_DRACUT_NG)."""
    if rig.images.modular:
        pytest.skip("needs a kernel without modules: build with image_debian_kernel=source")
    if version == "ng":
        if not SOURCE:
            pytest.skip("set BR2_DRACUT_NG to a checkout of dracut-ng 110 or later")
        dracut_ng(monkeypatch, rig.work)
    tree = rig.work / "target"
    tree.mkdir()
    disk.run("debugfs", "-R", f"rdump / {tree}", rig.images.directory / "rootfs.ext2")
    cpio = rig.work / "made.cpio"
    with (rig.work / "dracut.log").open("w") as log:
        _dracut.make_initramfs(tree, EXTERNAL, cpio, None, 1, rig.work, log, BUSYBOX)
    guest = rig.boot([rig.base(), rig.writable()], initramfs=[cpio])
    assert guest.layer() == "persistent"
    guest.off()
