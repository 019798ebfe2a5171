# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cards for tests: loop devices over files, and over files that misbehave. Needs root."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MIB = 1 << 20


def missing() -> str:
    """Why cards cannot be had here; empty if they can."""
    if os.geteuid() != 0:
        return "loop devices need root"
    if not Path("/dev/loop-control").exists():
        return "there are no loop devices"
    if not Path("/dev/fuse").exists():
        return "there is no FUSE"
    return ""


def junk_file(path: Path, size: int, seed: int = 3) -> Path:
    """A file full of old bytes, as a used card is."""
    piece = random.Random(seed).randbytes(MIB)
    with path.open("wb") as out:
        for at in range(0, size, MIB):
            out.write(piece[: min(MIB, size - at)])
    return path


@contextlib.contextmanager
def loop(file: Path, *options: str) -> Iterator[str]:
    """A loop device over a file."""
    device = ""
    for _unused in range(20):
        # Two programs may be given the same free device: the second one tries again.
        ran = subprocess.run(
            ["losetup", "--find", "--show", *options, str(file)], capture_output=True, text=True, check=False
        )
        if ran.returncode == 0:
            device = ran.stdout.strip()
            break
        time.sleep(0.1)
    if not device:
        raise RuntimeError(f"no loop device: {ran.stderr}")
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def written(device: str) -> int:
    """Bytes written to a block device so far; a loop device that is used again keeps counting."""
    return int(Path(f"/sys/block/{Path(device).name}/stat").read_text().split()[6]) * 512


class Faulty:
    """A running card whose faults can be changed."""

    def __init__(self, device: str, backing: Path, faults: Path) -> None:
        self.device = device
        self.backing = backing
        self._faults = faults

    def set(self, **faults: Any) -> None:
        write_faults(self._faults, faults)


def write_faults(path: Path, faults: dict[str, Any]) -> None:
    """Change the faults in one step: the card looks at the file at any time."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(faults))
    new.replace(path)


@contextlib.contextmanager
def faulty(backing: Path, **faults: Any) -> Iterator[Faulty]:
    """A card over a file in a FUSE file system, behind a loop device that passes the page cache by."""
    with tempfile.TemporaryDirectory(prefix="card-") as name:
        directory = Path(name)
        mount, settings = directory / "mount", directory / "faults"
        mount.mkdir()
        write_faults(settings, faults)
        program = Path(__file__).with_name("faulty_card.py")
        server = subprocess.Popen(
            [sys.executable, str(program), str(mount), str(backing), str(settings)], stderr=subprocess.PIPE
        )
        try:
            _wait(server, mount / "card")
            with loop(mount / "card", "--direct-io=on") as device:
                yield Faulty(device, backing, settings)
        finally:
            # Errors on the way out would hide the test's own.
            write_faults(settings, {})
            subprocess.run(["umount", str(mount)], check=False)
            server.terminate()
            server.wait(10)


def _wait(server: subprocess.Popen[bytes], card: Path) -> None:
    for _unused in range(200):
        if card.exists():
            return
        if server.poll() is not None:
            said = server.stderr.read().decode() if server.stderr else ""
            raise RuntimeError(f"the FUSE card did not start: {said}")
        time.sleep(0.05)
    raise RuntimeError("the FUSE card did not appear")
