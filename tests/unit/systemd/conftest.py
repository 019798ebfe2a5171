# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The external tree's systemd parts, run by the systemd and the kernel of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

EXTERNAL = Path(__file__).parents[3] / "files/buildroot-external"
SYSTEMD = EXTERNAL / "rootfs-overlay/usr/lib/systemd"
SHELLS = {"ash": ["busybox", "ash"], "dash": ["dash"], "bash": ["bash", "--posix"]}
TOOLS = {"systemd-escape": "systemd", "systemd-analyze": "systemd", "unshare": "util-linux"}


@pytest.fixture(scope="session", autouse=True)
def _tools() -> None:
    missing = {tool: package for tool, package in TOOLS.items() if shutil.which(tool) is None}
    if missing:
        pytest.fail(f"these tests need {', '.join(missing)}: apt-get install {' '.join(missing.values())}")


@pytest.fixture(params=sorted(SHELLS))
def shell(request: pytest.FixtureRequest) -> list[str]:
    command = SHELLS[request.param]
    if shutil.which(command[0]) is None:
        pytest.fail(f"the tests of what runs on the device need {command[0]}: install its package")
    return command


class Unit(dict[str, dict[str, list[str]]]):
    """A unit file: section, key, all values in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        section: dict[str, list[str]] = {}
        for line in path.read_text().splitlines():
            if line.startswith("["):
                section = self.setdefault(line.strip("[]"), {})
            elif "=" in line and not line.startswith("#"):
                key, _unused, value = line.partition("=")
                section.setdefault(key, []).append(value)

    def words(self, section: str, key: str) -> list[str]:
        return [word for value in self[section].get(key, []) for word in value.split()]


@dataclass
class Generated:
    """What a run of the generator left."""

    normal: Path
    early: Path
    messages: str

    def unit(self, name: str) -> Unit:
        return Unit(self.normal / name)

    def files(self) -> set[str]:
        return {
            path.relative_to(self.normal).as_posix()
            for path in self.normal.rglob("*")
            if path.is_symlink() or path.is_file()
        }


@dataclass
class Target:
    """The root file system that the generator sees."""

    root: Path
    shell: list[str]

    def write(self, path: str, text: str) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def ask(self, directory: str, *more: str, name: str = "", place: str = "etc") -> None:
        name = name or directory.strip("/").replace("/", "-")
        text = "\n".join([f"directory={directory}", *more]) + "\n"
        self.write(f"{place}/readonly-rootfs/overlay-dirs.d/{name}.conf", text)

    def generate(self) -> Generated:
        out = [self.root.parent / name for name in ("normal", "early", "late")]
        for directory in out:
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
        run = subprocess.run(
            [*self.shell, str(SYSTEMD / "system-generators/overlay-dirs"), *map(str, out)],
            env={"PATH": os.environ["PATH"], "OVERLAY_DIRS_ROOT": str(self.root)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert not run.stdout
        return Generated(out[0], out[1], run.stderr)


@pytest.fixture
def target(shell: list[str], tmp_path: Path) -> Target:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    return Target(root, shell)
