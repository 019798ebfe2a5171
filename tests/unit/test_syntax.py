# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users copy can be parsed: the modules' examples, the sample inventory, the playbooks with it."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import yaml
from ansible_collections.br2.readonly_rootfs.tests.support.checkout import COLLECTIONS, ROOT

SAMPLE = ROOT / "inventory/sample"
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))


def ansible(program: str, *words: str | Path) -> str:
    ended = subprocess.run(
        [Path(sys.executable).with_name(program), *words],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def as_plays(examples: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Plays as they are, and tasks in one."""
    plays = [example for example in examples if "hosts" in example]
    tasks = [example for example in examples if "hosts" not in example]
    return plays + ([{"hosts": "all", "gather_facts": False, "tasks": tasks}] if tasks else [])


def test_examples_of_modules(tmp_path: Path) -> None:
    files = []
    for name in MODULES:
        module = importlib.import_module(f"ansible_collections.br2.readonly_rootfs.plugins.modules.{name}")
        file = tmp_path / f"{name}.yml"
        file.write_text(yaml.safe_dump(as_plays(yaml.safe_load(module.EXAMPLES)), sort_keys=False))
        files.append(file)
    assert len(files) > 20
    ansible("ansible-playbook", "--syntax-check", "-i", "localhost,", *files)


def test_a_wrong_example_is_found(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yml"
    file.write_text(yaml.safe_dump(as_plays([{"name": "No", "br2.readonly_rootfs.no_such": {"path": "/"}}])))
    try:
        ansible("ansible-playbook", "--syntax-check", "-i", "localhost,", file)
    except AssertionError as error:
        assert "no_such" in str(error)
    else:
        raise AssertionError("nothing was found")


def test_playbooks_with_the_sample_inventory() -> None:
    ansible(
        "ansible-playbook", "--syntax-check", "-i", SAMPLE, *PLAYBOOKS, ROOT / "examples/module_defaults.yml"
    )


def test_the_sample_inventory_has_what_playbooks_ask_for() -> None:
    inventory = json.loads(ansible("ansible-inventory", "-i", SAMPLE, "--list"))
    defaults = {
        group for path in PLAYBOOKS for group in re.findall(r"hosts:.*default\('(\w+)'\)", path.read_text())
    }
    assert defaults - {"localhost"} <= set(inventory)
    assert set(inventory["all"]["children"]) - {"ungrouped"} == {"build_hosts", "flash_stations", "devices"}
    assert len(inventory["_meta"]["hostvars"]) > 20


def test_the_sample_sets_what_roles_take() -> None:
    taken: set[str] = set()
    for specs in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(specs.read_text())["argument_specs"].values():
            taken |= set(entry.get("options", {}))
    files = [*SAMPLE.glob("group_vars/*/*.yml"), ROOT / "examples/runner/env/extravars"]
    given = {name for file in files for name in yaml.safe_load(file.read_text())}
    assert {name for name in given - taken if not name.startswith("ansible_")} == set()
