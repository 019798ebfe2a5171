# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The root file system tree of the debian builder.

Packages are unpacked, their scripts are not run: the tree can be made without
root and for any architecture. All files belong to root in the image; who owns
them here does not matter.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import typing as t
from collections.abc import Iterable, Sequence
from pathlib import Path

from ._build import BuildError, clamp_times, environment, newest_time, run
from ._program import Program, run_program

TOOLS = {"dpkg-deb": "dpkg", "tar": "tar", "depmod": "kmod"}

_MERGED = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
_DIRECTORIES = {
    "dev": 0o755,
    "etc": 0o755,
    "media": 0o755,
    "mnt": 0o755,
    "proc": 0o555,
    "root": 0o700,
    "run": 0o755,
    "sys": 0o555,
    "tmp": 0o1777,
    "usr": 0o755,
    "var/log": 0o755,
    "var/tmp": 0o1777,
}
_SECRET = {"etc/shadow": 0o600, "root/.ssh": 0o700, "root/.ssh/authorized_keys": 0o600}
# What is of no use on a device.
_LEFT_OUT = (
    *(
        f"usr/share/{name}"
        for name in ("bash-completion", "bug", "doc", "info", "initramfs-tools", "lintian", "locale", "man")
    ),
    # Sources of a database that is not compiled here.
    "lib/udev/hwdb.d",
)
# As many as Linux follows.
_MOST_LINKS = 40
_KERNEL_FILE_SYSTEMS = ("ext4", "overlay", "squashfs", "erofs", "f2fs", "btrfs")
_APPLET_LIST = re.compile(rb"\0\[\0\[\[\0((?:[a-z0-9_.-]+\0)+)")


def build_root(
    tree: Path, packages: Iterable[Path], external: Path, init: str, overlays: Sequence[str]
) -> int:
    """Fill an empty directory; returns the time of its newest package file, which stands for the build."""
    for name, mode in _DIRECTORIES.items():
        (tree / name).mkdir(parents=True, exist_ok=True)
        (tree / name).chmod(mode)
    for name in _MERGED:
        (tree / "usr" / name).mkdir()
        (tree / name).symlink_to(f"usr/{name}")
    for package in packages:
        unpack(package, tree)
    epoch = newest_time(tree)
    for name in _MERGED:
        if not any((tree / "usr" / name).iterdir()):
            (tree / "usr" / name).rmdir()
            (tree / name).unlink()
    _link_applets(tree, _words(external / "debian/sbin-applets"))
    skeletons = (external / "debian/skeleton", external / f"debian/init-{init}")
    for layer in (*skeletons, external / "rootfs-overlay", *map(Path, overlays)):
        _copy_over(layer, tree)
    for name, mode in _SECRET.items():
        secret = _on_device(tree, Path(name))
        if secret.exists():
            secret.chmod(mode)
    return epoch


def seal(tree: Path, external: Path, epoch: int, log: t.IO[str]) -> str:
    """Give the finished tree its identity and its times; returns the identity."""
    run([external / "board/common/post-build.sh", tree], log)
    clamp_times(tree, epoch)
    return (tree / "usr/lib/readonly-rootfs/base-id").read_text().strip()


def unpack(package: Path, tree: Path) -> None:
    """The files of a package, with their modes and times, owned by whoever we are."""
    command = ["tar", "-x", "-p", "--no-same-owner", "--keep-directory-symlink", "-C", str(tree)]
    command += [f"--exclude=./{path}" for path in _LEFT_OUT]
    unpacking: list[str | Path] = ["dpkg-deb", "--fsys-tarfile", package]
    with Program(unpacking, stdout=subprocess.PIPE, env=environment()) as reader:
        ended = run_program(command, stdin=reader.stdout, env=environment(), text=True)
    if ended.returncode or reader.returncode:
        raise BuildError(f"{package.name} cannot be unpacked: {ended.stderr.strip() or 'it is damaged'}")


def install_modules(tree: Path, modules: Path, release: str, wanted: Iterable[str]) -> None:
    """Copy the named kernel modules, and what they need, out of a full set."""
    source, target = modules / release, tree / "usr/lib/modules" / release
    needs = {
        _module_name(path): [path, *more.split()]
        for path, _unused, more in (
            line.partition(":") for line in (source / "modules.dep").read_text().splitlines()
        )
    }
    builtin = {_module_name(line) for line in (source / "modules.builtin").read_text().splitlines()}
    unknown = [name for name in wanted if name not in needs and name not in builtin]
    if unknown:
        raise BuildError(f"Kernel {release} has no module {', '.join(unknown)}.")
    present = [*wanted, *(name for name in _KERNEL_FILE_SYSTEMS if name in needs)]
    for path in sorted({path for name in present for path in needs.get(name, [])}):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / path, target / path)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        shutil.copy2(source / name, target / name)
    run(["depmod", "-b", tree / "usr", release])


def _module_name(path: str) -> str:
    return Path(path).name.split(".")[0].replace("-", "_")


def _link_applets(tree: Path, in_sbin: set[str]) -> None:
    """A link for each applet that BusyBox has, unless a package brought the program itself."""
    busybox = tree / "usr/bin/busybox"
    if not busybox.exists():
        return
    found = _APPLET_LIST.search(busybox.read_bytes())
    if not found:
        raise BuildError(f"{busybox} has no list of applets; is it BusyBox?")
    for applet in ["[", "[[", *found[1].decode().split("\0")[:-1]]:
        directory = "sbin" if applet in in_sbin else "bin"
        # A package's link may be absolute: its target is in the tree, not on this machine.
        if not any(os.path.lexists(tree / "usr" / place / applet) for place in ("bin", "sbin")):
            (tree / "usr" / directory / applet).symlink_to("/usr/bin/busybox")


def _words(path: Path) -> set[str]:
    """The lines of a file but its comments."""
    return {line for line in path.read_text().splitlines() if not line.startswith("#")}


def _copy_over(layer: Path, tree: Path) -> None:
    """Copy a tree over another, through links to directories such as /bin."""
    for path in sorted(layer.rglob("*")):
        name = path.relative_to(layer)
        target = _on_device(tree, name.parent) / name.name
        if path.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir() and not target.is_symlink():
                # One that holds something is not lost silently.
                target.rmdir()
            target.unlink(missing_ok=True)
            target.symlink_to(path.readlink())
        elif path.is_dir():
            _on_device(tree, name).mkdir(parents=True, exist_ok=True)
        elif path.is_file():
            target.unlink(missing_ok=True)
            shutil.copy(path, target)
        else:
            raise BuildError(f"{path} is neither a file, a directory nor a link.")


def _on_device(tree: Path, name: Path) -> Path:
    """Where a name leads on the device: an absolute link starts at the tree's root, not at this machine's."""
    place, ahead, links = tree, [*reversed(name.parts)], 0
    while ahead:
        part = ahead.pop()
        if part == "/":
            place = tree
        elif part == "..":
            place = place if place == tree else place.parent
        elif (place / part).is_symlink():
            links += 1
            if links > _MOST_LINKS:
                raise BuildError(f"/{name} of the root file system is a link that leads in circles.")
            ahead += reversed((place / part).readlink().parts)
        else:
            place /= part
    return place
