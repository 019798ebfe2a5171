# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The initramfs that dracut makes from a root file system tree with our module."""

from __future__ import annotations

import os
import shutil
import typing as t
from pathlib import Path

from ._build import BuildError, environment, run

TOOLS = {"dracut": "dracut-core", "cpio": "cpio", "ldconfig": "libc-bin"}
_DRACUT = Path("/usr/lib/dracut")
_NEEDED = ("init", "usr/bin/busybox")


def make_initramfs(
    tree: Path, external: Path, cpio: Path, release: str | None, epoch: int, work: Path, log: t.IO[str]
) -> None:
    """Write the cpio; a kernel release adds that kernel's modules from the tree."""
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
    (base / "empty").touch()
    shutil.copy(external / "board/common/dracut.conf", base / "conf")
    # Paths go by the environment: dracut writes its command line into the initramfs.
    env = environment(
        dracutbasedir=str(base),
        dracutsysrootdir=str(tree),
        conffile=str(base / "empty"),
        confdir=str(base / "conf"),
        TMPDIR=str(base / "tmp"),
        DRACUT_INSTALL=str(base / "dracut-install"),
        DRACUT_LDCONFIG=shutil.which("ldconfig", path=environment()["PATH"]) or "ldconfig",
        SOURCE_DATE_EPOCH=str(epoch),
    )
    kernel = ["--kver", release] if release else ["--no-kernel"]
    command = ["dracut", "--force", "--no-compress", "--reproducible", *kernel, str(cpio)]
    run(command, log, env)
    cpio.chmod(0o644)
    _check(cpio)


def _check(cpio: Path) -> None:
    """dracut ends well even when it failed to install what the module wants."""
    with cpio.open("rb") as file:
        names = _cpio_names(file)
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise BuildError(f"dracut made an initramfs without {', '.join(missing)}; its log says why.")


def _cpio_names(file: t.BinaryIO) -> set[str]:
    """The names in a newc archive."""
    names: set[str] = set()
    while True:
        header = file.read(110)
        if header[:6] != b"070701":
            raise BuildError(f"{file.name} is not a cpio archive in newc format.")
        size, length = int(header[54:62], 16), int(header[94:102], 16)
        name = file.read(length)[:-1].decode()
        if name == "TRAILER!!!":
            return names
        names.add(name.removeprefix("./"))
        file.seek(-(110 + length) % 4 + size + -size % 4, 1)
