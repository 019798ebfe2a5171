# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A device without hardware: BusyBox in a chroot whose root is a real overlay, mounted as the init does."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from contextlib import suppress
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
# What a stock Buildroot and Debian's busybox both have, and all that the scripts may use.
APPLETS = """
[ ash cat chmod chown cmp cut dd df echo env false find grep head id kill ln ls mkdir mktemp mount
mv printf ps readlink reboot rm rmdir sed setsid sh sha256sum sleep sort sync tail tar test touch tr
true umount uname wc xargs
"""


def busybox() -> Path:
    """A static BusyBox; of the distributions that we test on, package busybox-static has it."""
    found = shutil.which("busybox")
    if found is None or b"statically linked" not in subprocess.check_output(["file", "-L", found]):
        raise FileNotFoundError("a static busybox is needed: apt-get install busybox-static file")
    return Path(found).resolve()


def make_applets(directory: Path) -> None:
    directory.mkdir(parents=True)
    shutil.copy2(busybox(), directory / "busybox")
    for applet in APPLETS.split():
        (directory / applet).symlink_to("busybox")


def make_strict_applets(directory: Path) -> None:
    """The same with dash as shell: Debian's BusyBox shell would find applets that are not there."""
    make_applets(directory)
    (directory / "sh").unlink()
    shutil.copy2("/bin/dash", directory / "sh")


def copy_libraries(program: Path, base: Path) -> None:
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for library in map(Path, listing.split()):
        if library.is_absolute():
            target = base / library.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(library, target)


def install_attr(base: Path) -> None:
    """GNU getfattr and setfattr, as images have them."""
    (base / "usr/bin").mkdir(parents=True, exist_ok=True)
    for name in ("getfattr", "setfattr"):
        program = Path(shutil.which(name) or f"/usr/bin/{name}")
        shutil.copy2(program, base / "usr/bin")
        copy_libraries(program, base)


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True)


class FakeDevice:
    """`base` is the read-only layer's tree, `root` the running system's."""

    def __init__(
        self, directory: Path, applets: Path, *, base: Path | None = None, overlay_options: str = ""
    ) -> None:
        self.directory = directory
        self.applets = applets
        self.overlay_options = overlay_options
        self.base = base or directory / "base"
        self.root = directory / "root"
        self.rfs = directory / "rfs"
        self.upper = self.rfs / "rw" / "upperdir"
        self.state = self.rfs / "rw" / "state"
        directory.mkdir(parents=True)
        mount("-t", "tmpfs", "device", directory)
        self.root.mkdir()
        self.rfs.mkdir()
        if base is None:
            for name in ("bin", "dev", "media/rfs", "proc", "root", "run", "tmp", "etc"):
                (self.base / name).mkdir(parents=True)
            (self.base / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")

    def install_programs(self) -> None:
        """What an image has on its base."""
        overlay = CHECKOUT / "files/buildroot-external/rootfs-overlay"
        shutil.copytree(overlay / "usr", self.base / "usr", symlinks=True, dirs_exist_ok=True)

    def boot(self) -> None:
        mount("-t", "tmpfs", "-o", "mode=755", "rfs", self.rfs)
        for name in ("ro", "rw"):
            (self.rfs / name).mkdir()
        mount("--bind", self.base, self.rfs / "ro")
        mount("-t", "tmpfs", "rw", self.rfs / "rw")
        for path in (self.upper, self.rfs / "rw/work"):
            path.mkdir()
        self.state.mkdir(mode=0o700)
        self.mount_overlay()

    def mount_overlay(self) -> None:
        options = (
            f"lowerdir={self.rfs}/ro,upperdir={self.upper},workdir={self.rfs}/rw/work{self.overlay_options}"
        )
        mount("-t", "overlay", "-o", options + self.overlay_options, "overlay", self.root)
        mount("--rbind", self.rfs, self.root / "media/rfs")
        mount("--bind", self.applets, self.root / "bin")
        mount("-t", "proc", "proc", self.root / "proc")
        mount("--bind", "/dev", self.root / "dev")

    def mount_plain(self) -> None:
        """A system without overlay."""
        mount("--bind", self.base, self.root)
        mount("--bind", self.applets, self.root / "bin")
        mount("-t", "proc", "proc", self.root / "proc")
        mount("--bind", "/dev", self.root / "dev")

    def halt(self) -> None:
        """Take the running system down; mount_overlay() is the next boot."""
        subprocess.run(["umount", "-l", self.root], check=True)

    def shell(self, script: bytes, data: bytes = b"") -> bytes:
        """Run a script as the plugins do: loaded from standard input, with BusyBox ash."""
        loader = f'eval "$(dd bs=1 count={len(script)} 2>/dev/null)"'
        answer = subprocess.run(
            ["/usr/sbin/chroot", self.root, "/bin/sh", "-c", loader],
            input=script + data,
            capture_output=True,
            env={"PATH": "/bin"},
            check=False,
        )
        if answer.returncode != 0:
            raise RuntimeError(f"exit status {answer.returncode}: {os.fsdecode(answer.stderr)}")
        return answer.stdout

    def new_boot_id(self) -> None:
        boot_id = self.directory / "boot_id"
        boot_id.write_text(f"{uuid.uuid4()}\n")
        mount("--bind", boot_id, self.root / "proc/sys/kernel/random/boot_id")

    def hide_layers(self) -> None:
        mount("-t", "tmpfs", "nothing", self.root / "media/rfs")

    def fill(self) -> None:
        """No space is left on the writable layer."""
        mount("-o", "remount,size=16k,nr_inodes=12", self.rfs / "rw")
        with suppress(OSError):
            (self.rfs / "rw/filler").write_bytes(bytes(1 << 20))

    def stop(self) -> None:
        """Lazily: takes all the mounts below at once."""
        subprocess.run(["umount", "-l", self.directory], check=True)
        self.directory.rmdir()
