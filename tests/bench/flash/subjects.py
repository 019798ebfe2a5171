# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that are flashed, and the programs that flash them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._bmap import check_image, write_bmap
from ansible_collections.br2.readonly_rootfs.tests.support import flashing, images

MIB = 1 << 20
PROJECT = Path(__file__).parents[3]
THEIRS = ".bmaptool"


@dataclass(frozen=True)
class Images:
    """One image, the same with a change of 3 MiB in place, and the same with one longer file."""

    plain: Path
    small_change: Path
    shifted: Path


def make_images(directory: Path, data: int, partition: int) -> Images:
    """Images of two partitions of I(partition) MiB with I(data) MiB of files, with their block maps."""
    tree = images.fill_tree(directory / "tree", data // 2)
    for number in range(data // 2):
        (tree / f"bin/tool{number:03}").write_bytes((tree / "bin/busybox").read_bytes()[number * MIB :][:MIB])
    # As the builders make their file systems, whatever this machine's own configuration says.
    os.environ["MKE2FS_CONFIG"] = str(PROJECT / "files/buildroot-external/board/common/mke2fs.conf")
    overlay = images.make_ext(directory / "overlay.ext4", partition * MIB, "ext4", None, "-J", "size=4")
    made = {}
    for name in ("plain", "shifted"):
        inodes = str(sum(1 for _unused in tree.rglob("*")) + 256)
        root = images.make_ext(directory / f"{name}.ext2", partition * MIB, "ext2", tree, "-N", inodes)
        made[name] = images.make_mbr(directory / f"{name}.img", [root, overlay])
        root.unlink()
        with (tree / "bin/busybox").open("ab") as out:
            out.write(b"x" * (100 << 10))
    made["small_change"] = directory / "small.img"
    images.sparse_copy(made["plain"], made["small_change"])
    with made["small_change"].open("r+b") as out:
        out.seek(40 * MIB)
        out.write(b"\xa5" * 3 * MIB)
    for image in made.values():
        write_bmap(image, f"{image}.bmap")
        subprocess.run(["bmaptool", "-q", "create", "-o", f"{image}{THEIRS}", str(image)], check=True)
    return Images(**made)


def compress(image: Path, tool: str) -> Path:
    """The image as a distributor would pack it."""
    suffix, command = {
        "zst": (".zst", ["zstd", "-q", "-c", "-T0"]),
        "xz": (".xz", ["xz", "-c", "-T0", "-1"]),
        "gz": (".gz", ["gzip", "-c"]),
    }[tool]
    target = Path(f"{image}{suffix}")
    with target.open("wb") as out:
        subprocess.run([*command, str(image)], check=True, stdout=out)
    return target


Command = list[str]


def ours(image: Path, devices: Sequence[str], verify: str) -> list[Command]:
    """The module's own work, in one process, without Ansible."""
    given = flashing.params(image, devices, verify=verify, max_size="1T")
    for target in given["targets"]:
        target["max_size"] = "1T"
    program = (
        "import json, sys\n"
        "from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_run import run\n"
        "result = run(json.loads(sys.argv[1]), False)\n"
        "sys.exit(result['msg'] if result['failed'] else 0)\n"
    )
    return [[sys.executable, "-c", program, json.dumps(given)]]


def _raw(image: Path) -> Path:
    """The image that a packed one was made from."""
    return image if image.suffix == ".img" else image.with_suffix("")


def bmaptool(image: Path, devices: Sequence[str], suffix: str = THEIRS) -> list[Command]:
    """One process for each card: it knows only one. By default with a map that it made itself."""
    bmap = f"{_raw(image)}{suffix}"
    return [["bmaptool", "-q", "copy", "--bmap", bmap, str(image), device] for device in devices]


def bmaptool_and_read_back(image: Path, devices: Sequence[str]) -> list[Command]:
    """What people do who want to be sure: read the mapped ranges again, and compare their checksums."""
    program = (
        "import os, subprocess, sys\n"
        f"from {check_image.__module__} import check_image, read_bmap\n"
        "image, bmap, device = sys.argv[1:]\n"
        "subprocess.run(['bmaptool', '-q', 'copy', '--bmap', bmap, image, device], check=True)\n"
        "subprocess.run(['blockdev', '--flushbufs', device], check=True)\n"
        "fd, found = os.open(device, os.O_RDONLY), read_bmap(bmap)\n"
        "check_image(fd, found.image_size, found, device)\n"
    )
    return [[sys.executable, "-c", program, str(image), f"{image}{THEIRS}", device] for device in devices]


def shell(text: str, image: Path, devices: Sequence[str]) -> list[Command]:
    """A command line of another program; IMAGE and CARD stand for what they say."""
    line = text.replace("IMAGE", shlex.quote(str(image)))
    return [["sh", "-c", line.replace("CARD", device)] for device in devices]


def missing() -> list[str]:
    """Programs that the comparison needs and that are not here."""
    return [
        tool for tool in ("bmaptool", "dd", "cp", "rsync", "zstd", "xz", "gzip") if not shutil.which(tool)
    ]
