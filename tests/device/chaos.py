# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random trees, random things done to them, and what they are afterwards."""

from __future__ import annotations

import os
import random
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import load_script
from ansible_collections.br2.readonly_rootfs.tests.device.fake_device import FakeDevice

NAMES = [
    b"a",
    b"b",
    b"-n",
    b"new\nline",
    b"\xff\xfe",
    "ä ö".encode(),
    b"q?",
    b"w'x\"",
    b"back\\slash",
    b"@END",
]
ACTIONS = ["make"] * 3 + ["remove", "write", "rename"] * 2
ACTIONS += ["chmod", "chown", "touch", "link", "replace", "same"]
WITH_ATTRIBUTES = [*ACTIONS, "attribute", "attribute"]


def grow(tree: bytes, chance: random.Random, depth: int = 3) -> None:
    """Fill a directory of the base with a bit of everything."""
    for name in chance.sample(NAMES, 5):
        path = tree + b"/" + name
        kind = chance.choice(["file", "file", "dir", "dir", "link", "fifo", "device", "hardlink"])
        make(kind, path, chance)
        if kind == "dir" and depth:
            grow(path, chance, depth - 1)


def make(kind: str, path: bytes, chance: random.Random) -> None:
    if os.path.lexists(path):
        return
    if kind == "dir":
        os.mkdir(path)
    elif kind == "link":
        os.symlink(chance.choice([b"a", b"/nowhere", b"x\ny", b"\xfe?", b"x?y"]), path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, chance.choice([3, 5])))
    elif kind == "hardlink":
        Path(os.fsdecode(path)).write_text(chance.choice(["one", "two"]))
        os.link(path, path + b".link")
    else:
        with open(path, "wb") as file:
            file.write(chance.choice([b"", b"one", b"two", b"longer\n"]))
            if chance.random() < 0.1:
                file.truncate(1 << 20)
    if kind != "link" and chance.random() < 0.3:
        os.chmod(path, chance.choice([0o600, 0o755, 0o4755, 0o1777, 0o000]))


def every(tree: bytes) -> list[bytes]:
    return sorted(os.path.join(top, name) for top, dirs, files in os.walk(tree) for name in dirs + files)


def disturb(tree: bytes, chance: random.Random, actions: list[str] | None = None) -> None:
    """One thing that a user may do to a running system."""
    paths = every(tree)
    if not paths:
        make("dir", tree + b"/a", chance)
        return
    path = chance.choice(paths)
    other = chance.choice(
        [os.path.dirname(chance.choice(paths)) + b"/" + chance.choice(NAMES), chance.choice(paths)]
    )
    action = chance.choice(actions or ACTIONS)
    if action in ("write", "same") and not stat.S_ISREG(os.lstat(path).st_mode):
        return
    if action == "chmod" and os.path.islink(path):  # The target may be the host's.
        return
    with suppress(OSError, shutil.Error):
        if action == "make":
            make(chance.choice(["file", "dir", "link", "fifo", "device", "hardlink"]), other, chance)
        elif action == "remove":
            remove(path)
        elif action == "write":
            with open(path, "ab" if chance.random() < 0.5 else "r+b") as file:
                file.write(chance.choice([b"one", b"TWO"]))
        elif action == "chmod":
            os.chmod(path, chance.choice([0o640, 0o711, 0o2755]))
        elif action == "chown":
            os.chown(path, chance.choice([0, 1000]), 100, follow_symlinks=False)
        elif action == "touch":
            os.utime(path, (1, chance.choice([1, 10**9])), follow_symlinks=False)
        elif action == "rename":
            os.rename(path, other)
        elif action == "attribute":
            set_attribute(path, chance)
        elif action == "link":
            os.link(path, other, follow_symlinks=False)
        elif action == "replace":
            mode = os.lstat(path).st_mode
            remove(path)
            make("dir" if stat.S_ISDIR(mode) or chance.random() < 0.2 else "file", path, chance)
        elif action == "same":
            with open(path, "r+b") as file:
                content = file.read()
                file.seek(0)
                file.write(content)


def set_attribute(path: bytes, chance: random.Random) -> None:
    name = chance.choice(["trusted.one", "security.two"])
    if name in os.listxattr(path, follow_symlinks=False) and chance.random() < 0.5:
        os.removexattr(path, name, follow_symlinks=False)
    else:
        value = chance.choice([b"", b"text", b"\x01\0\0\x02", b'\xff\n"=\\'])
        os.setxattr(path, name, value, follow_symlinks=False)


def remove(path: bytes) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def snapshot(tree: bytes) -> dict[bytes, tuple[object, ...]]:
    found: dict[bytes, tuple[object, ...]] = {}
    for path in [tree, *every(tree)]:
        status = os.lstat(path)
        content: object = None
        if stat.S_ISREG(status.st_mode):
            with open(path, "rb") as file:
                content = file.read()
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        elif stat.S_ISCHR(status.st_mode):
            content = status.st_rdev
        attributes = {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)
        }
        found[path[len(tree) :]] = (status.st_mode, status.st_uid, status.st_gid, content, attributes)
    return found


@contextmanager
def device_of(applets: Path, overlay_options: str = "") -> Iterator[FakeDevice]:
    directory = Path(tempfile.mkdtemp(prefix="device-"))
    device = FakeDevice(directory / "device", applets, overlay_options=overlay_options)
    try:
        yield device
    finally:
        device.stop()
        directory.rmdir()


def runner(device: FakeDevice) -> Callable[[tuple[str, ...], dict[str, str | bytes], bytes], bytes]:
    def run(names: tuple[str, ...], variables: dict[str, str | bytes], data: bytes) -> bytes:
        output = device.shell(load_script(names, variables), data)
        assert ".overlay-view." not in Path("/proc/mounts").read_text()
        assert output.endswith(b"@END\n")
        return output[: -len(b"@END\n")]

    return run
