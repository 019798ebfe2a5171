# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `ansible-galaxy collection install` brings works by itself."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.tests.support.user import ROOT, Run

NAMESPACE = "br2.readonly_rootfs."
# What somebody who installed it has no use for.
LEFT_OUT = ("buildroot", "molecule", "output", "tests", "Makefile", "requirements.txt")


def test_the_tarball_holds_what_is_tracked_and_nothing_else(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        files = {member.name for member in archive if not member.isdir()}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    strangers = files - set(tracked.stdout.splitlines()) - {"MANIFEST.json", "FILES.json"}
    assert strangers == set()
    assert [name for name in files if name.startswith(".") or name.split("/")[0] in LEFT_OUT] == []
    assert {"README.md", "LICENSES/MIT.txt", "docs/guide.md", "playbooks/site.yml"} <= files
    assert tarball.stat().st_size < 1_000_000


def test_every_plugin_and_role_is_documented(command: Run) -> None:
    dumped = json.loads(command("ansible-doc", "--json", "--metadata-dump", "br2.readonly_rootfs").stdout)[
        "all"
    ]
    modules = {path.stem for path in (ROOT / "plugins/modules").glob("*.py")}
    roles = {path.name for path in (ROOT / "roles").iterdir() if path.is_dir()}
    assert {name.removeprefix(NAMESPACE) for name in dumped["module"]} == modules
    assert {name.removeprefix(NAMESPACE) for name in dumped["role"]} == roles
    for kind, name in [("module", name) for name in modules] + [("role", name) for name in roles]:
        assert "error" not in dumped[kind][NAMESPACE + name]
    text = command("ansible-doc", "-t", "role", *(NAMESPACE + name for name in roles)).stdout
    assert "ERROR" not in text


def test_every_playbook_goes_by_its_name(command: Run) -> None:
    names = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
    told = command("ansible-playbook", "--syntax-check", *(NAMESPACE + name for name in names)).stdout
    assert [Path(line).stem for line in told.splitlines() if line] == names


def test_the_whole_way(whole_way: Path) -> None:
    """Built, flashed, booted and verified by the installed collection alone, in an empty directory."""
    recap = (whole_way / "site.log").read_text().split("PLAY RECAP")[1]
    assert {line.split()[0] for line in recap.splitlines()[1:] if line} == {"localhost", "site"}
    (report,) = (whole_way / "output/flash").glob("*.json")
    assert [card["status"] for card in json.loads(report.read_text())["cards"]] == ["flashed"]
    manifest = json.loads((whole_way / "output/qemu_x86_64/images/manifest.json").read_text())
    assert manifest["builder"] == "debian"
