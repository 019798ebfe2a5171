# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Execution environments, and the project for ansible-runner, as AWX and Controller use them."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import yaml
from ansible_collections.br2.readonly_rootfs.tests.support.user import ROOT, Run, guest

TOOL = ROOT / ".ci/tool"


def test_an_execution_environment_has_what_the_collection_says(command: Run, installed: Path) -> None:
    told = yaml.safe_load(command(TOOL, "runner", "ansible-builder", "introspect", installed).stdout)
    assert any("qemu.qmp" in line for line in told["python"])
    assert any("openssh-client" in line for line in told["system"])


def test_an_execution_environment_can_be_described(command: Run, tmp_path: Path) -> None:
    description = ROOT / "examples/execution-environment.yml"
    create = ["create", "-f", description, "-c", tmp_path / "context", "--output-filename", "Containerfile"]
    command(TOOL, "runner", "ansible-builder", *create)
    wanted = yaml.safe_load((tmp_path / "context/_build/requirements.yml").read_text())
    assert wanted == {"collections": [{"name": "br2.readonly_rootfs"}]}
    assert "registry.fedoraproject.org/fedora" in (tmp_path / "context/Containerfile").read_text()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_runner_builds_flashes_and_reports(whole_way: Path, command: Run, tmp_path: Path) -> None:
    project = tmp_path / "runner"
    shutil.copytree(ROOT / "examples/runner", project)
    port = free_port()
    given = project / "env/extravars"
    extra = yaml.safe_load(given.read_text()) | {
        "image_output_dir": str(whole_way / "output"),
        "rehearsal_port": port,
        "vm_forwards": [{"guest": 22, "host": port}],
    }
    given.write_text(yaml.safe_dump(extra))
    with guest(command, "site"):
        for name in ("site", "report"):
            runner = [TOOL, "runner", "ansible-runner", "run", project, "--ident", name]
            command(*runner, "-p", f"br2.readonly_rootfs.{name}")
    (batch,) = (project / "output/flash").glob("*.json")
    assert [card["status"] for card in json.loads(batch.read_text())["cards"]] == ["flashed"]
    (device,) = json.loads((project / "output/report/report.json").read_text())["devices"]
    assert (device["name"], device["layer"]) == ("rehearsal", "persistent")
    assert list((project / "artifacts/report/job_events").glob("*.json"))
