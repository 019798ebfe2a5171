# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The initramfs that dracut makes from a root file system tree with our module."""

from __future__ import annotations

import os
import shutil
import sys
import typing as t
from pathlib import Path

from ._build import BuildError, environment, run
from ._initramfs import InitramfsError, check

TOOLS = {"dracut": "dracut-core", "cpio": "cpio", "ldconfig": "libc-bin"}
_DRACUT = Path("/usr/lib/dracut")


def make_initramfs(
    tree: Path,
    external: Path,
    cpio: Path,
    release: str | None,
    epoch: int,
    work: Path,
    log: t.IO[str],
    busybox: Path,
) -> None:
    """Write the cpio, with this BusyBox; a kernel release adds that kernel's modules from the tree."""
    # dracut takes modules only from beside its own functions: a directory of links to both.
    base = work / "dracut"
    (base / "modules.d").mkdir(parents=True)
    (base / "conf").mkdir()
    (base / "tmp").mkdir()
    for path in _DRACUT.iterdir():
        if path.name != "modules.d":
            (base / path.name).symlink_to(path)
    for source in (_DRACUT / "modules.d", external / "dracut"):
        for path in source.iterdir():
            (base / "modules.d" / path.name).symlink_to(path)
    # Nothing in the initramfs gets a later time than this file has.
    reference = base / "dracut-functions.sh"
    reference.unlink()
    shutil.copyfile(_DRACUT / reference.name, reference)
    os.utime(reference, (epoch, epoch))
    # Called often: by this very Python, and without what it imports at start-up.
    code = (external / "debian/cross-ldd").read_text(encoding="utf-8")
    (base / "ldd").write_text(f"#!{sys.executable} -IS\n{code}", encoding="utf-8")
    (base / "ldd").chmod(0o755)
    (base / "empty").touch()
    shutil.copy(external / "board/common/dracut.conf", base / "conf")
    env = environment(
        dracutbasedir=str(base),
        dracutsysrootdir=str(tree),
        conffile=str(base / "empty"),
        confdir=str(base / "conf"),
        TMPDIR=str(base / "tmp"),
        READONLY_ROOTFS_BUSYBOX=str(busybox),
        DRACUT_INSTALL=str(base / "dracut-install"),
        DRACUT_LDD=str(base / "ldd"),
        DRACUT_LDCONFIG=shutil.which("ldconfig", path=environment()["PATH"]) or "ldconfig",
        SOURCE_DATE_EPOCH=str(epoch),
        # As root outside of containers, and nowhere else, it would make devices; init needs none.
        DRACUT_NO_MKNOD="1",
        DRACUT_NO_XATTR="1",
    )
    kernel = ["--kver", release] if release else ["--no-kernel"]
    command = ["dracut", "--force", "--no-compress", "--reproducible", *kernel, str(cpio)]
    run(command, log, env)
    cpio.chmod(0o644)
    try:
        # dracut ends well even when it failed to install what the module wants.
        check(cpio)
    except InitramfsError as error:
        raise BuildError(str(error)) from error
