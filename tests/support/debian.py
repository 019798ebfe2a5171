# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The debian builder as tests run it, each build in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._files import cache_directory
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._tree_sync import synchronise
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._external_tree import load_board, render
from ansible_collections.br2.readonly_rootfs.tests.support.checkout import COLLECTIONS

IMAGE: dict[str, t.Any] = {
    "init": "busybox",
    "rootfs": "ext2",
    "hostname": "gate",
    "packages": [],
    "rootfs_overlays": [],
    "root_login": "keys",
    "root_password_hash": "",
    "authorized_keys": ["ssh-ed25519 AAAA tests"],
    "embedded_initramfs": False,
}
_SCRIPT = """
import json, sys
from pathlib import Path
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _debian_image as builder
given = json.load(sys.stdin)
check = given.pop("check")
paths = {name: Path(given.pop(name)) for name in ("external", "output", "cache")}
try:
    outcome = builder.build(builder.Options(**paths, **{"boot_check": False, **given}), check)
except builder.BuildError as error:
    sys.exit(f"BuildError: {error}")
json.dump({"changed": outcome.changed, "manifest": outcome.manifest, "stages": outcome.stages}, sys.stdout)
"""


class Builder:
    """One board's directory and the builds in it, each in a process of its own."""

    def __init__(self, directory: Path, board: str = "qemu_x86_64", **image: t.Any) -> None:
        self.board = load_board(board, [])
        self.output = directory / board
        self.images = self.output / "images"
        self.cache = cache_directory()
        synchronise(self.output / "external", render(self.board, {**IMAGE, **image}))

    def command(self) -> list[str]:
        return [sys.executable, "-c", _SCRIPT]

    def request(self, check: bool = False, **options: t.Any) -> str:
        return json.dumps(
            {
                "board": self.board,
                "external": str(self.output / "external"),
                "output": str(self.output),
                "cache": str(self.cache),
                "check": check,
                **options,
            }
        )

    def environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(COLLECTIONS), **more}

    def run(
        self, *, prefix: t.Sequence[str] = (), env: dict[str, str] | None = None, **options: t.Any
    ) -> dict[str, t.Any]:
        """Build, and return what came of it; a failed build is a BuildFailed."""
        ended = subprocess.run(
            [*prefix, *self.command()],
            input=self.request(**options),
            capture_output=True,
            text=True,
            env=self.environment(**(env or {})),
            check=False,
        )
        if ended.returncode:
            raise BuildFailed(ended.stderr)
        outcome: dict[str, t.Any] = json.loads(ended.stdout)
        return outcome

    def contents(self) -> dict[str, str]:
        """The SHA-256 of every image, as the manifest has it and as it is."""
        manifest = json.loads((self.images / "manifest.json").read_text())
        listed = {name: entry["sha256"] for name, entry in manifest["files"].items()}
        sums = subprocess.run(
            ["sha256sum", *listed], cwd=self.images, check=True, capture_output=True, text=True
        ).stdout
        found = {name: value for value, name in (line.split() for line in sums.splitlines())}
        assert found == listed
        return found


class BuildFailed(Exception):
    """A build that ended with an error; its text."""
