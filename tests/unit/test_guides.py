# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pages for users name is there: files, headings, variables, modules, playbooks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("roles/*/README.md"),
        *ROOT.glob("examples/**/*.md"),
    ]
)
ROLES = {path.name for path in (ROOT / "roles").iterdir() if path.is_dir()}
MODULES = {path.stem for path in (ROOT / "plugins/modules").glob("*.py")}
PLAYBOOKS = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def options() -> set[str]:
    """Every variable that a role takes."""
    found: set[str] = set()
    for role in ROLES:
        specs = yaml.safe_load(read(ROOT / f"roles/{role}/meta/argument_specs.yml"))["argument_specs"]
        found |= {name for entry in specs.values() for name in entry.get("options", {})}
    return found


def anchors(page: Path) -> set[str]:
    """The headings' anchors, as GitHub and Sphinx make them."""
    text = re.sub(r"^```.*?^```", "", read(page), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _hash, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_variables_are_taken(page: Path) -> None:
    prefixes = "|".join(sorted(ROLES - {"buildroot"}))
    # As code, and as an extra variable.
    named = set(re.findall(rf"`((?:{prefixes})_[a-z0-9_]+)\b", read(page)))
    named |= set(re.findall(r"-e '?(?:\{\")?([a-z]+_[a-z_]+)\"?[=:]", read(page)))
    playbooks = "\n".join(read(path) for path in (ROOT / "playbooks").glob("*.yml"))
    unknown = {
        name
        for name in named - options() - MODULES
        if not re.search(rf"\b{name}\b", playbooks) and not _left_by_a_role(name)
    }
    assert unknown == set()


def _left_by_a_role(name: str) -> bool:
    role = max((role for role in ROLES if name.startswith(f"{role}_")), key=len, default="")
    tasks = "".join(read(path) for path in (ROOT / "roles" / role / "tasks").glob("*.yml")) if role else ""
    return f"register: {name}" in tasks or f"{name}:" in tasks


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_of_the_collection_are_its_own(page: Path) -> None:
    named = set(re.findall(r"\bbr2\.readonly_rootfs\.([a-z][a-z0-9_-]*)", read(page)))
    assert named - ROLES - MODULES - PLAYBOOKS - {"device_selection", "device_waiting"} == set()
    files = set(re.findall(r"\bplaybooks/([a-z-]+)\.yml", read(page)))
    assert files - PLAYBOOKS == set()


def test_every_page_is_reachable_from_the_readme() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached:
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)#\s]+\.md)", read(page))
        todo += [(page.parent / link).resolve() for link in links if "://" not in link]
    assert {path for path in PAGES if path.parent.name == "docs"} - reached == set()


def test_kernel_parameters_are_all_told() -> None:
    """boot.md has each parameter that the boot script knows, no other, and its default."""
    source = read(ROOT / "files/buildroot-external/dracut/99readonly-rootfs-overlay/lib/cmdline.sh")
    cases = source.split("set_parameter() {")[1].split("esac")[0]
    known = {
        name for names in re.findall(r"^ +([a-z |]+)\)", cases, re.MULTILINE) for name in names.split(" | ")
    }
    section = read(ROOT / "docs/boot.md").split("## Parameters")[1].split("### Devices")[0]
    rows = dict(re.findall(r"^\| `([a-z]+)=[^`]*` \|.*\| (.*) \|$", section, re.MULTILINE))
    assert {"rootrw", "rootrwtries", "rootshell"} <= set(rows)
    assert set(rows) <= known <= set(re.findall(r"`([a-z]+)(?:=|`)", section))
    defaults = dict(re.findall(r"\b([a-z]+)=(\S*)", source.split("default_parameters() {")[1].split("}")[0]))
    told = {name: cell.strip("`") for name, cell in rows.items() if cell.startswith("`")}
    assert told == {name: defaults[name] for name in told}
    assert len(told) > 8
