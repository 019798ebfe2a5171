# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernels of the debian builder, kept by content.

`package` is the distribution's own binary, made of modules. `source` is its
linux-source with the board's configuration; the initramfs goes into it by a
relink in the kept build tree.
"""

from __future__ import annotations

import os
import shutil
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ._apt import Apt, OfflineError, Package
from ._build import BuildError, content_key, environment, file_sha256, locked, made_whole, run
from ._debian_root import unpack
from ._kconfig import lost

SOURCE_TOOLS = {
    "make": "make",
    "gcc": "gcc",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "perl": "perl",
    "xz": "xz-utils",
    "lz4": "lz4",
}
# Where Debian's names for an architecture differ from the kernel's.
_KERNEL_ARCH = {"amd64": "x86_64", "i386": "i386", "arm64": "arm64", "armhf": "arm", "riscv64": "riscv"}
_INITRAMFS = "initramfs.cpio"
_PACKAGE = ".package"
_BUILT = ".built"


@dataclass(frozen=True)
class Kernel:
    """A kernel image; modules, if it has any, in a directory by release."""

    image: Path
    release: str
    version: str
    modules: Path | None = None
    tree: Path | None = None


def package_kernel(apt: Apt, name: str, cache: Path, update: bool) -> Kernel:
    """The distribution's binary kernel that a package such as linux-image-amd64 points to."""
    package = apt.fetch_newest(name, "linux-image-", update)
    kept = cache / "kernel" / f"package-{package.sha256[:32]}"
    with locked(cache / "locks" / kept.name):
        if not kept.exists():
            if apt.offline:
                raise OfflineError
            with made_whole(kept) as directory:
                unpack(apt.path(package), directory)
                modules = _modules(directory)
                run(["depmod", "-b", modules.parents[2], modules.name])
    (image,) = (kept / "boot").glob("vmlinu[xz]-*")
    modules = _modules(kept)
    return Kernel(image, modules.name, package.version, modules=modules.parent)


def _modules(tree: Path) -> Path:
    """The modules of a kernel package, in a directory named by release: in /usr since Debian 13."""
    (directory,) = [*tree.glob("lib/modules/*"), *tree.glob("usr/lib/modules/*")]
    return directory


def source_kernel(
    apt: Apt, board: t.Mapping[str, t.Any], external: Path, cache: Path, update: bool, log: t.IO[str]
) -> Kernel:
    """A kernel from linux-source with the board's linux.config and the common fragment."""
    package = apt.fetch_newest("linux-source", "linux-source-", update)
    boards = external / "board"
    configs = [boards / board["directory"] / "linux.config", boards / "common/linux.fragment"]
    missing = [str(path) for path in configs if not path.is_file()]
    if missing:
        raise BuildError(f"A kernel from source needs {', '.join(missing)}.")
    target = board["kernel"].get("target", board["kernel"]["image"])
    key = content_key(package.sha256, *configs, target, board["debian"])
    tree = cache / "kernel" / f"source-{key}"
    # Only who must build waits for who builds.
    if not (tree / _BUILT).exists():
        if apt.offline:
            raise OfflineError
        with locked(cache / "locks" / tree.name, log):
            if not (tree / _BUILT).exists():
                _build(apt, package, configs, board, target, tree, log)
                (tree / _BUILT).touch()
    release = (tree / "include/config/kernel.release").read_text().strip()
    image = tree / "arch" / _source_arch(board) / "boot" / target
    return Kernel(image, release, package.version, tree=tree)


def embed(
    kernel: Kernel, cpio: Path, board: t.Mapping[str, t.Any], image: Path, cache: Path, log: t.IO[str]
) -> None:
    """Relink a kernel built from source with an initramfs inside; write the result to a path."""
    if kernel.tree is None:
        raise BuildError("The distribution's own kernel cannot take an initramfs in.")
    kept = kernel.tree / "embedded" / file_sha256(cpio)
    with locked(cache / "locks" / kernel.tree.name, log):
        if not kept.exists():
            shutil.copyfile(cpio, kernel.tree / _INITRAMFS)
            _make(kernel.tree, board, log, kernel.image.name)
            kept.parent.mkdir(exist_ok=True)
            temporary = kept.with_name(f".{kept.name}")
            shutil.copyfile(kernel.image, temporary)
            temporary.replace(kept)
            _forget_oldest(kept.parent, keep=5)
    shutil.copyfile(kept, image)


def _build(
    apt: Apt,
    package: Package,
    configs: list[Path],
    board: t.Mapping[str, t.Any],
    target: str,
    tree: Path,
    log: t.IO[str],
) -> None:
    # Built where it stays: make compiles all anew in a tree that was moved. An interrupted build goes on.
    if not tree.exists():
        with made_whole(tree) as directory:
            (directory / _PACKAGE).mkdir()
            unpack(apt.path(package), directory / _PACKAGE)
            (archive,) = (directory / _PACKAGE).glob("usr/src/linux-source-*.tar.*")
            run(["tar", "-x", "-f", archive, "--strip-components=1", "-C", directory], log)
            shutil.rmtree(directory / _PACKAGE)
    (tree / _INITRAMFS).write_bytes(b"")
    # The kernel is compressed as a whole.
    embedded = f'CONFIG_INITRAMFS_SOURCE="{_INITRAMFS}"\nCONFIG_INITRAMFS_COMPRESSION_NONE=y\n'
    (tree / "embedded.config").write_text(embedded)
    merge = ["scripts/kconfig/merge_config.sh", "-m", *map(str, configs), "embedded.config"]
    run(merge, log, _environment(board), cwd=tree)
    _make(tree, board, log, "olddefconfig")
    if dropped := lost(configs, tree / ".config"):
        raise BuildError(f"The kernel's Kconfig does not honour: {', '.join(dropped)}")
    _make(tree, board, log, target)


def _make(tree: Path, board: t.Mapping[str, t.Any], log: t.IO[str], target: str) -> None:
    run(["make", f"-j{os.cpu_count() or 1}", target], log, _environment(board), cwd=tree)


def _source_arch(board: t.Mapping[str, t.Any]) -> str:
    arch = _KERNEL_ARCH[board["debian"]["architecture"]]
    return "x86" if arch in ("x86_64", "i386") else arch


def _environment(board: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Nothing of the time, the user or the host goes into the kernel."""
    return environment(
        ARCH=_KERNEL_ARCH[board["debian"]["architecture"]],
        CROSS_COMPILE=board["debian"].get("cross_compile", ""),
        KBUILD_BUILD_TIMESTAMP="1970-01-01",
        KBUILD_BUILD_VERSION="1",
        KBUILD_BUILD_USER="build",
        KBUILD_BUILD_HOST="readonly-rootfs",
    )


def _forget_oldest(directory: Path, keep: int) -> None:
    files = sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime)
    for path in files[:-keep]:
        path.unlink()
