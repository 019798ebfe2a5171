# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible as a user runs it, against fake devices."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible_collections.br2.readonly_rootfs.tests.device.endpoints import Endpoint

CHECKOUT = Path(__file__).parents[2]
# No module may hang, whatever the device does.
TIMEOUT = 120


class Controller:
    """Runs the collection's modules and playbooks on some endpoints."""

    def __init__(self, directory: Path, endpoints: dict[str, Endpoint]) -> None:
        self.directory = directory
        self.output = ""
        self.inventory = directory / "inventory.json"
        hosts = {name: endpoint.variables() for name, endpoint in endpoints.items()}
        self.inventory.write_text(json.dumps({"devices": {"hosts": hosts}}))
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_LOCAL_TEMP": str(directory / "tmp"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(directory / "cp"),
        }

    def module(self, name: str, arguments: dict[str, Any] | None = None, *options: str) -> dict[str, Any]:
        """The result of one module on the only host."""
        tree = self.directory / "results"
        command = ["ansible", "-i", self.inventory, "all", "-m", f"br2.readonly_rootfs.{name}", *options]
        command += ["--tree", tree, *(["-a", json.dumps(arguments)] if arguments else [])]
        answered = subprocess.run(
            [str(word) for word in command],
            cwd=CHECKOUT,
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        self.output = answered.stdout
        (answer,) = tree.iterdir()
        result: dict[str, Any] = json.loads(answer.read_text())
        answer.unlink()
        return result

    def round_trips(self) -> int:
        """How many commands the device answered the last module, of -vvv; who finds it down has no answer."""
        return len(re.findall(r"^<127\.0\.0\.1> \(0, ", self.output, re.MULTILINE))

    def playbook(self, name: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ansible-playbook", "-i", self.inventory, CHECKOUT / "playbooks" / f"{name}.yml", *options],
            cwd=CHECKOUT,
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
        )
