# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bench for one test: disks in a scratch directory, machines booted from them, what they said."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _qemu as qemu
from ansible_collections.br2.readonly_rootfs.tests.boot.lab import disk
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.cpio import Archive
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.machine import PATIENCE, Disappointment, Machine
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.tree import Base

MIB = disk.MIB
REPOSITORY = Path(__file__).parents[3]
ROOT, WRITABLE = "/dev/vda", "/dev/vdb"
PLAIN = f"root={ROOT} rootrw={WRITABLE}"
# Kernel messages begin with a bracket; BusyBox' line editor asks for the cursor after its prompt.
PROMPT = r"^[^\[\n]*[#$] (\x1b|$|\[)"
# A shell that asks for no password, on the console of a device.
FREE_SHELL = re.compile(PROMPT + r"|can't access tty|Please press Enter|BusyBox v", re.MULTILINE)
KERNEL_LINE = re.compile(r"^\[ *\d+\.\d+\] .*\n", re.MULTILINE)
PANIC = r"Kernel panic - not syncing.*"


@dataclass(frozen=True)
class Images:
    """The artefacts under test."""

    directory: Path
    unpacked: Path
    """The files of the initramfs."""

    @classmethod
    def at(cls, directory: Path, scratch: Path) -> Images:
        """The images in `directory`, their initramfs unpacked below `scratch`."""
        scratch.mkdir()
        with (directory / "rootfs.cpio").open("rb") as archive:
            # Device nodes need root and are of no use here: what fails is left out.
            subprocess.run(
                ["cpio", "--extract", "--make-directories", "--no-absolute-filenames", "--quiet"],
                check=False,
                stdin=archive,
                stderr=subprocess.DEVNULL,
                cwd=scratch,
            )
        return cls(directory, scratch)

    @property
    def modular(self) -> bool:
        """Whether the kernel needs modules for a disk and a file system."""
        return any(self.unpacked.glob("**/overlay.ko*"))

    @property
    def kernel(self) -> Path:
        return self.directory / "bzImage"

    @property
    def initramfs(self) -> Path:
        return self.directory / "rootfs.cpio"


@dataclass(frozen=True)
class Drive:
    """A virtio disk; with `log`, every write is recorded in order; `late` ones are plugged in by the test."""

    image: Path
    readonly: bool = False
    log: Path | None = None
    late: bool = False

    def words(self, name: str) -> list[str]:
        """QEMU's options; what the collection's own VMs never need is said here."""
        access = "on" if self.readonly else "off"
        node = f"{name}-file" if self.log else name
        words = ["-blockdev", f"driver=file,node-name={node},filename={self.image},read-only={access}"]
        if self.log:
            disk.blank(self.log, 0)
            words += ["-blockdev", f"driver=file,node-name={name}-log,filename={self.log}"]
            words += ["-blockdev", f"driver=blklogwrites,node-name={name},file={node},log={name}-log"]
        if self.late:
            words += ["-device", f"pcie-root-port,id={name}-port,chassis={name[-1]}"]
        else:
            words += ["-device", f"virtio-blk-pci,drive={name}"]
        return words


class Guest:
    """A booted system, driven through the agent on its console."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def ready(self, timeout: float = PATIENCE) -> list[str]:
        """Wait for the agent; return its argument list, its own name first."""
        line = self.machine.expect(r"^.*@@BOOT .*\|\r?\n", timeout, never=PANIC).group()
        return re.findall(r"@@BOOT ([^|]*)\|", line)

    def sh(self, command: str, timeout: float = PATIENCE) -> str:
        """Run one line in the guest and return what it printed; it must succeed."""
        code, output = self.run(command, timeout)
        if code:
            raise Disappointment(f"guest: {command!r} ended with {code}\n{output}")
        return output

    def run(self, command: str, timeout: float = PATIENCE) -> tuple[int, str]:
        self.machine.type(command + "\n")
        found = self.machine.expect(r"((?:.*\n)*?)\n?@@RC (\d+)\r?\n", timeout, never=PANIC)
        return int(found.group(2)), KERNEL_LINE.sub("", found.group(1)).strip("\n")

    def mounts(self) -> dict[str, tuple[str, str, set[str]]]:
        """Mount point to source, type and options; the topmost mount wins."""
        table = {}
        for line in self.sh("cat /proc/mounts").splitlines():
            source, point, kind, options = line.split()[:4]
            table[point] = (source, kind, set(options.split(",")))
        return table

    def status(self) -> dict[str, str]:
        """What the init says of this boot."""
        # Elsewhere only where the base's own /media leads astray.
        lines = self.sh("cat /media/rfs/status 2>/dev/null || cat /.rfs/status").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def layer(self) -> str:
        """The status' `layer`: persistent, tmpfs or fallback; what is mounted must agree."""
        mounts = self.mounts()
        found = mounts.get("/media/rfs/rw") or mounts.get("/.rfs/rw")
        if not found:
            raise Disappointment(f"the writable layer is mounted nowhere: {sorted(mounts)}")
        source, kind, _unused = found
        said = self.status()["layer"]
        if (said == "persistent") != (kind != "tmpfs"):
            raise Disappointment(f"status says layer={said}, but {source} ({kind}) is mounted")
        return said

    def uptime_at_init(self) -> float:
        """Seconds from the kernel's start to the real init, by the guest's clock."""
        return max(float(value) for key, value in self.status().items() if key.startswith("time_"))

    def processes(self) -> int:
        """How many processes and threads the kernel has started so far."""
        return int(self.sh("grep ^processes /proc/stat").split()[1])

    def exists(self, path: str) -> bool:
        return self.run(f"[ -e {path} ] || [ -L {path} ]")[0] == 0

    def off(self) -> None:
        """Power off at once, as if the user had asked: everything written, nothing unmounted."""
        self.machine.type("sync; poweroff -f\n")
        self.machine.wait_end()


class Rig:
    """Makes disks and boots machines inside one directory."""

    def __init__(self, images: Images, work: Path) -> None:
        self.images = images
        self.work = work
        self._serial = itertools.count(1)
        self._machines: list[Machine] = []

    # -- disks -----------------------------------------------------------

    def base(self, base: Base | None = None, kind: str = "ext2", size: int = 12 * MIB) -> Path:
        number = next(self._serial)
        tree = (base or Base()).build(self.work / f"tree{number}")
        image = self.work / f"base{number}.{kind}"
        # No journal: a base is never written, and ext4 without one is the smaller image.
        options = ("-O", "^has_journal") if kind == "ext4" else ()
        disk.make_fs(image, kind, size, tree, options)
        shutil.rmtree(tree)
        return image

    def writable(
        self,
        content: Mapping[str, str | bytes] | None = None,
        kind: str = "ext4",
        size: int = 24 * MIB,
        options: Sequence[str] = (),
    ) -> Path:
        """A writable file system; `content` maps paths to file contents, or to nothing for `directory/`."""
        number = next(self._serial)
        tree = None
        if content:
            tree = self.work / f"user{number}"
            for name, data in content.items():
                path = tree / name
                if name.endswith("/"):
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data.encode() if isinstance(data, str) else data)
                path.chmod(0o755 if path.read_bytes()[:2] in (b"#!", b"\x7fE") else 0o644)
        return disk.make_fs(self.work / f"rw{number}.{kind}", kind, size, tree, options)

    def addition(self, files: Mapping[str, str | bytes], links: Mapping[str, str] | None = None) -> Archive:
        """An archive to concatenate to an initramfs; what it holds replaces what was there."""
        archive = Archive()
        for name, content in files.items():
            for parent in reversed(Path(name).parents):
                # A directory entry would replace a link such as bin -> usr/bin.
                if str(parent) != "." and not (self.images.unpacked / parent).exists():
                    archive.directory(str(parent))
            archive.file(name, content.encode() if isinstance(content, str) else content)
        for name, target in (links or {}).items():
            archive.symlink(name, target)
        return archive

    @property
    def rootfs_overlay(self) -> Path:
        """What every image carries on its base: confirmation, shutdown, reset request."""
        return REPOSITORY / "files/buildroot-external/rootfs-overlay"

    @property
    def initramfs_tree(self) -> Path:
        return self.images.unpacked

    def script_tree(self) -> Path:
        """The boot script of the images under test, laid out for a base that boots without an initramfs."""
        tree = self.work / f"script{next(self._serial)}"
        library = "usr/lib/readonly-rootfs"
        shutil.copytree(self.images.unpacked / library, tree / library)
        for name in ("initramfs", "drivers"):
            (tree / library / name).unlink(missing_ok=True)
        shutil.copy2(self.images.unpacked / "init", tree / "init")
        return tree

    def tune(self, image: Path, *options: str) -> None:
        disk.run("tune2fs", *options, image)

    def copy(self, image: Path) -> Path:
        return Path(shutil.copyfile(image, self.work / f"copy{next(self._serial)}"))

    @staticmethod
    def no_shell(said: str) -> None:
        """Fail when the console shows that something offers a shell."""
        if found := FREE_SHELL.search(said):
            raise Disappointment(f"a shell nobody asked for: {found.group()!r}")

    # -- machines --------------------------------------------------------

    def start(
        self,
        drives: Sequence[Drive | Path],
        words: str = PLAIN,
        *,
        initramfs: Sequence[Path | Archive] | None = None,
        stay: bool = False,
        memory: int = 256,
    ) -> Machine:
        """Boot with `words` on the kernel's command line; a reboot ends the machine unless it may `stay`."""
        directory = self.work / f"vm{next(self._serial)}"
        directory.mkdir()
        archive = self._initramfs(initramfs)
        plugged = [drive if isinstance(drive, Drive) else Drive(drive) for drive in drives]
        guest = qemu.Guest(
            name=directory.name,
            memory=memory,
            kernel=str(self.images.kernel),
            initrd=str(archive or ""),
            # On a machine under load the kernel finds its timer too slow, and panics.
            append=f"console=ttyS0 panic=1 no_timer_check {words}",
            network=False,
            reboot=stay,
            extra_args=tuple(
                word for index, drive in enumerate(plugged) for word in drive.words(f"disk{index}")
            ),
        )
        # The same accelerator everywhere, so that times compare; it is also the one that works everywhere.
        machine = Machine(qemu.argv(guest, "tcg", {}), directory)
        self._machines.append(machine)
        return machine

    def boot(self, drives: Sequence[Drive | Path], words: str = PLAIN, **options: object) -> Guest:
        """Boot and wait for the agent."""
        return self.guest(self.start(drives, words, **options))  # type: ignore[arg-type]

    @staticmethod
    def guest(machine: Machine) -> Guest:
        guest = Guest(machine)
        guest.ready()
        return guest

    def close(self) -> None:
        for machine in self._machines:
            machine.kill()

    def _initramfs(self, parts: Sequence[Path | Archive] | None) -> Path | None:
        if parts is None:
            return self.images.initramfs
        if not parts:
            return None
        target = self.work / f"initramfs{next(self._serial)}.cpio"
        with target.open("wb") as sink:
            for part in parts:
                sink.write(part.read_bytes() if isinstance(part, Path) else part.bytes())
        return target
