# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The debian builder from end to end: packages, kernel, tree, initramfs, images."""

from __future__ import annotations

import inspect
import os
import shutil
import sys
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import _apt, _debian_kernel, _debian_root, _dracut, _filesystem_image, _manifest
from ._apt import Apt, Package
from ._boot_check import Verdict
from ._build import BuildError, Stages, clamp_times, content_key, environment, held, locked, need_tools, run
from ._debian_kernel import Kernel
from ._image_check import Judge
from ._program import run_program

# What every image has: BusyBox, the ssh server, getfattr and setfattr for backups, and their C library.
BASE_PACKAGES = ("attr", "busybox", "dropbear-bin")
# In the initramfs in place of the one above: without a loader and libraries each of the
# boot script's programs starts several times sooner.
INITRAMFS_PACKAGE = "busybox-static"
INIT_PACKAGES = {"busybox": (), "systemd": ("systemd", "systemd-sysv", "udev", "dbus")}
_IMAGE_TOOLS = {"genimage": "genimage", "mke2fs": "e2fsprogs", "sha256sum": "coreutils"}
_LOG = "debian.log"
_BOOT_LOG = "boot-check.log"


@dataclass(frozen=True)
class Options:
    """What is to be built, and where."""

    board: Mapping[str, t.Any]
    external: Path
    output: Path
    cache: Path
    init: str = "busybox"
    kernel: str = "package"
    rootfs: str = "ext2"
    packages: Sequence[str] = ()
    rootfs_overlays: Sequence[str] = ()
    sources: Sequence[str] = ()
    update: bool = False
    boot_check: bool = True

    @property
    def images(self) -> Path:
        return self.output / "images"

    @property
    def log(self) -> Path:
        return self.output / _LOG


@dataclass
class Outcome:
    """What a run did, or in check mode would do."""

    changed: bool
    manifest: dict[str, t.Any] | None
    before: dict[str, t.Any] | None = None
    stages: dict[str, float] = field(default_factory=dict)
    boot: Verdict | None = None


@dataclass(frozen=True)
class _Ingredients:
    packages: list[Package]
    initramfs: list[Package]
    kernel: Kernel
    apt: Apt

    def versions(self) -> dict[str, t.Any]:
        return {
            "kernel": self.kernel.version,
            "kernel_release": self.kernel.release,
            "packages": {package.name: package.version for package in (*self.packages, *self.initramfs)},
            "tools": _tool_versions(),
        }


def build(options: Options, check: bool = False) -> Outcome:
    """Make the images unless they are there already."""
    missing = [path for path in options.rootfs_overlays if not Path(path).is_dir()]
    if missing:
        raise BuildError(f"There is no directory {', '.join(missing)} to copy over the root file system.")
    need_tools(tools_for(options.kernel, options.rootfs))
    if "debian" not in options.board:
        raise BuildError(f"Board {options.board['name']} has no section debian: the builder cannot serve it.")
    if any(character.isspace() for character in str(options.output)):
        raise BuildError(f"dracut cannot work below {str(options.output)!r}: the path has white space in it.")
    before = _manifest.read(options.images)
    if check and not (options.output.is_dir() and options.external.is_dir()):
        return Outcome(True, before, before)
    with (
        locked(options.output),
        held(options.external),
        options.log.open("w+", encoding="utf-8", errors="replace") as log,
    ):
        stages = Stages(log)
        try:
            found = _gather(options, stages, log, check)
            if found is None:
                return Outcome(True, before, before)
            inputs = _inputs(options, found)
            if _manifest.is_current(options.images, inputs):
                return Outcome(False, before, before, stages.seconds)
            if check:
                return Outcome(True, before, before)
            manifest, boot = _make(options, found, inputs, stages, log)
            stages.leave()
        except BuildError as error:
            raise BuildError(f"{error}\nThe whole log: {options.log}") from error
    return Outcome(True, manifest, before, stages.seconds, boot)


def tools_for(kernel: str, rootfs: str) -> dict[str, str]:
    """The programs that a build needs, with the Debian package of each."""
    source = _debian_kernel.SOURCE_TOOLS if kernel == "source" else {}
    tables = (_apt.TOOLS, _debian_root.TOOLS, _dracut.TOOLS, _IMAGE_TOOLS, source)
    found = dict(_filesystem_image.TOOLS[rootfs])
    for table in tables:
        found.update(table)
    return found


def _gather(options: Options, stages: Stages, log: t.IO[str], check: bool) -> _Ingredients | None:
    """Packages and kernel; None in check mode when that would mean to download or to compile."""
    board = options.board
    sources = options.sources or _apt.host_sources()
    apt = Apt(options.cache, board["debian"]["architecture"], sources, log, offline=check)
    try:
        stages.enter("packages")
        packages = apt.fetch(
            [*BASE_PACKAGES, *INIT_PACKAGES[options.init], *options.packages], options.update
        )
        initramfs = apt.fetch([INITRAMFS_PACKAGE], options.update)
        stages.enter("kernel")
        if options.kernel == "source":
            kernel = _debian_kernel.source_kernel(
                apt, board, options.external, options.cache, options.update, log
            )
        else:
            name = board["debian"]["kernel"]
            kernel = _debian_kernel.package_kernel(apt, name, options.cache, options.update)
    except _apt.OfflineError:
        return None
    stages.leave()
    return _Ingredients(packages, initramfs, kernel, apt)


def _inputs(options: Options, found: _Ingredients) -> str:
    """One name for all that decides what the images are."""
    return content_key(
        options.board,
        options.external,
        [options.init, options.kernel, options.rootfs],
        *(Path(path) for path in options.rootfs_overlays),
        [asdict(package) for package in (*found.packages, *found.initramfs)],
        [str(found.kernel.image.relative_to(options.cache)), found.kernel.version],
        _tool_versions(),
        _own_source(),
    )


def _own_source() -> list[str]:
    """The code of this builder: a newer collection may build otherwise."""
    package = __name__.rpartition(".")[0]
    own = sorted(name for name in sys.modules if name.startswith(package + "."))
    return [inspect.getsource(sys.modules[name]) for name in own]


def _tool_versions() -> dict[str, str]:
    """The Debian packages of the build host whose programs write into the images."""
    names = ["cpio", "dracut-core", "e2fsprogs", "erofs-utils", "genimage", "kmod", "squashfs-tools"]
    query = ["dpkg-query", "-W", "-f", r"${db:Status-Status} ${Package} ${Version}\n", *names]
    try:
        # It fails when it does not know one of them, and answers for the others all the same.
        listing = run_program(query, env=environment(), text=True).stdout
    except FileNotFoundError:
        return {}
    found = (line.split() for line in listing.splitlines())
    return {words[1]: words[2] for words in found if len(words) == 3 and words[0] == "installed"}


def _make(
    options: Options, found: _Ingredients, inputs: str, stages: Stages, log: t.IO[str]
) -> tuple[dict[str, t.Any], Verdict]:
    work = options.output / ".build"
    shutil.rmtree(work, ignore_errors=True)
    tree, images = work / "root", work / "images"
    images.mkdir(parents=True)
    tree.mkdir()
    try:
        # The user's would decide who may enter the device's directories.
        mask = os.umask(0o022)
        try:
            manifest, boot = _make_in(options, found, inputs, stages, log, tree, images)
        finally:
            os.umask(mask)
        _manifest.move(images, options.images)
        _manifest.remember(options.images, inputs)
        return manifest, boot
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _make_in(
    options: Options,
    found: _Ingredients,
    inputs: str,
    stages: Stages,
    log: t.IO[str],
    tree: Path,
    images: Path,
) -> tuple[dict[str, t.Any], Verdict]:
    board, external, kernel = options.board, options.external, found.kernel
    archives = [found.apt.path(package) for package in found.packages]
    stages.enter("root tree")
    epoch = _debian_root.build_root(tree, archives, external, options.init, options.rootfs_overlays)
    if kernel.modules:
        _debian_root.install_modules(tree, kernel.modules, kernel.release, board["kernel"].get("modules", []))
    base_id = _debian_root.seal(tree, external, epoch, log)

    stages.enter("initramfs")
    cpio = images / _manifest.INITRAMFS
    release = kernel.release if kernel.modules else None
    programs = images.parent / "initramfs"
    programs.mkdir()
    for package in found.initramfs:
        _debian_root.unpack(found.apt.path(package), programs)
    # In /usr since Debian 13.
    (busybox,) = programs.glob("**/bin/busybox")
    _dracut.make_initramfs(tree, external, cpio, release, epoch, images.parent, log, busybox)

    image = images / board["kernel"]["image"]
    if kernel.tree:
        stages.enter("kernel with initramfs")
        _debian_kernel.embed(kernel, cpio, board, image, options.cache, log)
    else:
        shutil.copyfile(kernel.image, image)

    stages.enter("root file system")
    common = external / "board/common"
    clamp_times(tree, epoch)
    _filesystem_image.make_image(
        options.rootfs,
        tree,
        images / f"rootfs.{options.rootfs}",
        board["disk"]["root"],
        board["name"],
        common / "mke2fs.conf",
        epoch,
        log,
    )
    stages.enter("disk image")
    run([common / "post-image.sh", images], log, environment(SOURCE_DATE_EPOCH=str(epoch)))
    described = _manifest.Build(
        builder="debian",
        board=board,
        rootfs=options.rootfs,
        embedded_initramfs=kernel.tree is not None,
        base_id=base_id,
        inputs=inputs,
        seconds=stages.total,
        versions=found.versions(),
    )
    stages.enter("check")
    judge = Judge(described.partitions, options.output / _BOOT_LOG, options.boot_check)
    return _manifest.finish(images, described, judge), judge.verdict
