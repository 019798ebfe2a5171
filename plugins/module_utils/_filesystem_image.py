# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file system image from a tree, the same bytes for the same tree.

Every file belongs to root. mke2fs runs under fakeroot for that; it sorts
directories itself, but stores the change times of the source, which nobody can
set: debugfs puts the build's time there.
"""

from __future__ import annotations

import re
import tempfile
import typing as t
from pathlib import Path

from ._build import BuildError, environment, identifier, run

TOOLS = {
    "ext2": {"mke2fs": "e2fsprogs", "debugfs": "e2fsprogs", "fakeroot": "fakeroot"},
    "ext4": {"mke2fs": "e2fsprogs", "debugfs": "e2fsprogs", "fakeroot": "fakeroot"},
    "squashfs": {"mksquashfs": "squashfs-tools"},
    "erofs": {"mkfs.erofs": "erofs-utils"},
}

_LABEL = "rootfs"
# Nobody adds files to a base, and every inode must be zero on every card: few beyond those of its files.
_MORE_INODES = 256
# debugfs quotes names with double quotes and knows no escape for these; the last are bytes that are no UTF-8.
_UNQUOTABLE = re.compile('["\n\r\udc80-\udcff]')


def make_image(
    kind: str, tree: Path, image: Path, size: str, board: str, config: Path, epoch: int, log: t.IO[str]
) -> None:
    """Write the image; the size bounds ext2 and ext4, the others are as small as they come out."""
    uuid = _uuid(tree, board)
    if kind == "squashfs":
        # mksquashfs refuses its own time options beside this one.
        times = environment(SOURCE_DATE_EPOCH=str(epoch))
        options = ["-noappend", "-all-root", "-no-progress", "-no-exports", "-comp", "zstd"]
        run(["mksquashfs", tree, image, *options], log, times)
    elif kind == "erofs":
        run(["mkfs.erofs", f"-T{epoch}", f"-U{uuid}", "--all-root", image, tree], log)
    else:
        seed = identifier(board, _LABEL)
        _make_ext(kind, tree, image, size, uuid, seed, config, epoch, log)


def _uuid(tree: Path, board: str) -> str:
    """Another one for every base: by it overlayfs knows that a layer's copies are not of the base below."""
    base_id = tree / "usr/lib/readonly-rootfs/base-id"
    return identifier(board, base_id.read_text() if base_id.exists() else _LABEL)


def _make_ext(
    kind: str,
    tree: Path,
    image: Path,
    size: str,
    uuid: str,
    seed: str,
    config: Path,
    epoch: int,
    log: t.IO[str],
) -> None:
    env = environment(MKE2FS_CONFIG=str(config), E2FSPROGS_FAKE_TIME=str(epoch))
    extended = f"hash_seed={seed},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"
    names = _names(tree)
    options = ["-q", "-t", kind, "-d", str(tree), "-L", _LABEL, "-U", uuid, "-m", "0", "-E", extended]
    options += ["-N", str(len(names) + _MORE_INODES)]
    try:
        run(["fakeroot", "mke2fs", *options, image, size], log, env)
    except BuildError as error:
        if "Could not allocate" in str(error) or "No space left in" in str(error):
            raise BuildError(
                f"The root file system does not fit into {size}: raise disk.root in the board's file, "
                f"or choose fewer packages. {error}"
            ) from error
        raise
    script = "".join(
        f'set_inode_field "/{name}" {field} @{epoch}\n' for name in names for field in ("ctime", "atime")
    )
    # debugfs ends well whatever happened; it repeats each command, and says nothing more when all is well.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        run(["debugfs", "-w", "-f", "-", image], said, env, stdin=script)
        said.seek(0)
        faults = [line for line in said if not line.startswith(("debugfs", "$"))]
    if faults:
        raise BuildError(f"debugfs cannot set the times in {image.name}: {faults[0]}")


def _names(tree: Path) -> list[str]:
    names = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*"))
    odd = [name for name in names if _UNQUOTABLE.search(name)]
    if odd:
        raise BuildError(
            "A name with a quotation mark, a line break or other than UTF-8 "
            f"cannot go into an image: {odd[0]!r}"
        )
    return ["", *names]
