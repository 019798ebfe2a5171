# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dracut module asks for exactly the programs that the boot script calls."""

from __future__ import annotations

import re
import subprocess

import pytest

from .conftest import MODULE

# Asked for where they matter: in installkernel(), and not in an initramfs.
ELSEWHERE = {"modprobe", "pivot_root"}
COMMAND = re.compile(
    r"(?:^(?:exec )?|&&|\|\||[;|{!(]|\bthen|\bdo|\belse|\bcommand -v)\s*([a-z][a-z0-9_]+)(?=\s|$|\))"
)


def declared(name: str) -> set[str]:
    match = re.search(rf"^{name}=\((.*?)\)", (MODULE / "module-setup.sh").read_text(), re.S | re.M)
    assert match
    return set(match[1].split())


def called() -> set[str]:
    """The words in command position that no shell function and no builtin has."""
    words: set[str] = set()
    functions: set[str] = set()
    for path in [MODULE / "init", *MODULE.glob("lib/*.sh")]:
        text = re.sub(r"\\\n", " ", path.read_text())
        functions |= set(re.findall(r"^([a-z_0-9]+)\(\) \{", text, re.M))
        for line in text.splitlines():
            code = re.sub(r"(^|\s)#.*", "", line).strip()
            # Messages and patterns are no commands; what "$(...)" runs is.
            code = re.sub(r'"\$\(', "$(", code)
            code = re.sub(r'"(?:\\.|[^"\\])*"|\'[^\']*\'', '""', code)
            code = re.sub(r"^[^()]*\)(\s|$)", "", code)
            words |= set(COMMAND.findall(code))
    builtin = subprocess.run(["bash", "-c", "compgen -b -k"], capture_output=True, text=True, check=True)
    return {word for word in words - functions if word not in builtin.stdout.split()}


def known_programs() -> set[str]:
    listed = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    return set(listed) | declared("required_tools") | declared("optional_tools") | ELSEWHERE


def test_every_program_that_is_called_is_asked_for() -> None:
    wanted = called() & known_programs()
    assert wanted - ELSEWHERE <= declared("required_tools") | declared("optional_tools")
    assert wanted >= {"mount", "od", "mv", "sync", "switch_root"}, "the search no longer finds what is called"


@pytest.mark.parametrize("kind", ["required_tools", "optional_tools"])
def test_nothing_is_asked_for_that_is_not_called(kind: str) -> None:
    text = "\n".join(path.read_text() for path in [MODULE / "init", *MODULE.glob("lib/*.sh")])
    unused = {tool for tool in declared(kind) if not re.search(rf"\b{tool}\b", text)}
    assert not unused
