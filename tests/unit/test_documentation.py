# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module says what it takes, does and returns, as ansible-doc shows it."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.br2.readonly_rootfs.tests.support.checkout import COLLECTIONS, ROOT

PREFIX = "br2.readonly_rootfs."
RELEASES = yaml.safe_load((ROOT / "changelogs/changelog.yaml").read_text())["releases"]
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))


@functools.cache
def documents() -> dict[str, t.Any]:
    """What ansible-doc makes of all modules, fragments included."""
    told = subprocess.run(
        [Path(sys.executable).with_name("ansible-doc"), "--json", *(PREFIX + module for module in MODULES)],
        check=True,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "LC_ALL": "C.UTF-8"},
    )
    found: dict[str, t.Any] = json.loads(told.stdout)
    return found


@pytest.mark.parametrize("module", MODULES)
def test_contract_is_told(module: str) -> None:
    doc = documents()[PREFIX + module]["doc"]
    assert doc["short_description"]
    assert doc["version_added"] in RELEASES
    for attribute in ("check_mode", "diff_mode", "idempotent"):
        assert doc["attributes"][attribute]["support"] in ("full", "partial", "none", "N/A")
        assert doc["attributes"][attribute]["description"]


def described(fields: dict[str, t.Any], where: str, below: str) -> None:
    for name, field in fields.items():
        assert field.get("description"), f"{where}.{name}"
        assert field.get("type"), f"{where}.{name}"
        described(field.get(below) or {}, f"{where}.{name}", below)


@pytest.mark.parametrize("module", MODULES)
def test_options_and_results_are_described(module: str) -> None:
    found = documents()[PREFIX + module]
    described(found["doc"].get("options", {}), "options", "suboptions")
    results = found["return"] or {}
    described(results, "return", "contains")
    assert all(result.get("returned") for result in results.values())


@pytest.mark.parametrize("module", MODULES)
def test_examples_use_the_module_by_its_full_name(module: str) -> None:
    examples = yaml.safe_load(documents()[PREFIX + module]["examples"])
    tasks = [task for example in examples for task in [example, *example.get("tasks", [])]]
    assert any(PREFIX + module in task for task in tasks)
