# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every role and entry playbook."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if (path / "meta").is_dir())


def load(path: Path) -> dict[str, t.Any]:
    return yaml.safe_load(path.read_text()) or {} if path.exists() else {}


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_what_the_argument_specs_say(role: str) -> None:
    specs = load(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    options = {name: spec for entry in specs.values() for name, spec in entry.get("options", {}).items()}
    stated = {name: spec["default"] for name, spec in options.items() if "default" in spec}
    assert load(ROOT / "roles" / role / "defaults/main.yml") == stated
    optional = {name for name, spec in options.items() if not spec.get("required")}
    assert all(name.startswith(f"{role}_") for name in options)
    assert optional - set(stated) == set()


@pytest.mark.parametrize("role", ROLES)
def test_what_is_said_on_the_command_line_is_a_boolean_too(role: str) -> None:
    """`-e name=false` is a text, which is true where it is not converted; modules convert by themselves."""
    specs = load(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    options = {name: spec for entry in specs.values() for name, spec in entry.get("options", {}).items()}
    names = "|".join(name for name, spec in options.items() if spec.get("type") == "bool") or "none"
    used = re.compile(rf"\b({names})\b(?! \| bool\b)")
    passed_on = re.compile(rf'^ *\w+: "{{{{ ({names}) }}}}"$')
    for folder in ("tasks", "handlers", "vars", "templates"):
        for path in (ROOT / "roles" / role / folder).glob("**/*.*"):
            lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
            assert not [line for line in lines if used.search(line) and not passed_on.match(line)], path


@pytest.mark.parametrize("path", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.name)
def test_entry_playbooks_stay_thin(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) <= 15
