# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks made and examined offline, without root and without mounting anything."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20


def run(*command: str | Path, check: bool = True, stdin: str | None = None) -> str:
    """Run a tool and return its output; sbin is not in every user's PATH."""
    done = subprocess.run(
        [str(word) for word in command],
        check=False,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "LC_ALL": "C"},
    )
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}")
    return done.stdout


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def blank(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def make_fs(path: Path, kind: str, size: int, tree: Path | None = None, options: Sequence[str] = ()) -> Path:
    """A file system of `kind` in file `path`, holding `tree`; `options` go to the maker."""
    if kind == "squashfs":
        run("mksquashfs", tree or "", path, "-noappend", "-quiet", "-comp", "zstd", "-all-root", *options)
    elif kind == "erofs":
        run("mkfs.erofs", "--quiet", "--all-root", *options, path, tree or "")
    elif kind.startswith("ext"):
        populate = ("-d", tree) if tree else ()
        run("mke2fs", "-q", "-F", "-t", kind, *populate, *options, blank(path, size))
    else:
        run(f"mkfs.{kind}", *options, blank(path, size))
    return path


@dataclass(frozen=True)
class Partition:
    """One partition of a disk: what it holds, and its name and UUID in a GPT."""

    content: Path
    name: str = ""
    uuid: str = ""


def partitioned(path: Path, label: str, partitions: Sequence[Partition], disk_id: str) -> Path:
    """A disk with an MBR (`dos`) or GPT (`gpt`) table, as a card or an eMMC has."""
    script = [f"label: {label}", f"label-id: {disk_id}"]
    start, contents = MIB, []
    for part in partitions:
        size = -(-part.content.stat().st_size // MIB) * MIB
        words = [f"start={start // 512}", f"size={size // 512}", f"type={'L' if label == 'gpt' else '83'}"]
        words += [f'name="{part.name}"'] if part.name else []
        words += [f"uuid={part.uuid}"] if part.uuid else []
        script.append(", ".join(words))
        contents.append((part.content, start))
        start += size
    blank(path, start + MIB)
    run("sfdisk", "--quiet", path, stdin="\n".join(script))
    for content, offset in contents:
        write_at(path, offset, content.read_bytes())
    return path


def write_at(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def extracted(disk: Path, number: int, target: Path) -> Path:
    """Partition `number` (from 1) of a disk as a file of its own."""
    rows = [line for line in run("sfdisk", "--dump", disk).splitlines() if line.startswith(str(disk))]
    fields = dict(
        word.strip().split("=", 1) for word in rows[number - 1].split(":", 1)[1].split(",") if "=" in word
    )
    with disk.open("rb") as source, target.open("wb") as sink:
        source.seek(int(fields["start"]) * 512)
        sink.write(source.read(int(fields["size"]) * 512))
    return target


class Ext:
    """An ext2/3/4 file system examined offline."""

    def __init__(self, image: Path) -> None:
        self.image = image

    def recovered(self, scratch: Path) -> Ext:
        """A copy with its journal replayed, as the next mount would see it."""
        shutil.copyfile(self.image, scratch)
        run("e2fsck", "-fp", scratch, check=False)
        return Ext(scratch)

    def problems(self) -> str:
        """Empty when the file system is whole and needs no journal replay."""
        report = run("e2fsck", "-fn", self.image, check=False)
        dirty = "needs_recovery" in run("dumpe2fs", "-h", self.image)
        complaints = [line for line in report.splitlines() if "?" in line or "WARNING" in line]
        return "\n".join([*(["needs_recovery"] if dirty else []), *complaints])

    def names(self, path: str) -> set[str]:
        """The names in a directory; empty when there is no such directory."""
        lines = self._debugfs(f'ls -p "{path}"').splitlines()
        return {line.split("/")[5] for line in lines if line.startswith("/")} - {".", "..", ""}

    def exists(self, path: str) -> bool:
        return "Inode:" in self._debugfs(f'stat "{path}"')

    def stat(self, path: str) -> str:
        return self._debugfs(f'stat "{path}"')

    def read(self, path: str) -> str:
        if not self.exists(path):
            raise FileNotFoundError(f"{self.image}: {path}")
        return self._debugfs(f'cat "{path}"')

    def make_device(self, path: str, kind: str, major: int, minor: int) -> None:
        """A device node; `c 0 0` is overlayfs' mark for a deleted file."""
        parent, name = path.rsplit("/", 1)
        self.change(f'cd "{parent or "/"}"', f"mknod {name} {kind} {major} {minor}")

    def whiteout(self, path: str) -> None:
        self.make_device(path, "c", 0, 0)

    def change(self, *commands: str) -> None:
        """Edit the file system with debugfs commands."""
        run("debugfs", "-w", "-f", "-", self.image, stdin="\n".join(commands) + "\n")

    def _debugfs(self, command: str) -> str:
        return subprocess.run(
            ["/usr/sbin/debugfs", "-R", command, str(self.image)],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
        ).stdout
