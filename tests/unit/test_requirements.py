# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools' environments differ in what they hold, not in its version."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "requirements.txt", *ROOT.glob("tests/**/requirements.txt"), *ROOT.glob(".ci/tools/*.txt")]


def test_a_package_has_one_pin() -> None:
    pins: dict[str, set[str]] = {}
    for file in FILES:
        for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", file.read_text(), re.MULTILINE):
            # ansible-core is tested in several series.
            series = version.rpartition(".")[0] if name == "ansible-core" else ""
            pins.setdefault(f"{name} {series}", set()).add(version)
    assert len(pins) > 20
    assert {name: versions for name, versions in pins.items() if len(versions) > 1} == {}
