# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Buildroot as the checkout's submodule: brought, kept at its pin, and what is said when it cannot be had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "ANSIBLE_NOCOLOR": "1",
    # Submodules from a directory, as here, are not followed otherwise.
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "protocol.file.allow",
    "GIT_CONFIG_VALUE_0": "always",
    **{f"GIT_{who}_{what}": "test@example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


def git(where: Path, *words: str) -> str:
    command = ["git", "-C", str(where), *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT)
    return done.stdout.strip()


def commit(repository: Path, text: str) -> str:
    (repository / "Config.in").write_text(text)
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", text)
    return git(repository, "rev-parse", "HEAD")


class Checkout:
    """A checkout whose submodule `buildroot` is pinned to the second of three commits."""

    def __init__(self, root: Path) -> None:
        self.upstream, author, self.path = root / "upstream", root / "author", root / "checkout"
        for repository in (self.upstream, author):
            repository.mkdir()
            git(repository, "init", "-q", "-b", "main")
        # As the sites that serve shallow clones of a single commit.
        git(self.upstream, "config", "uploadpack.allowAnySHA1InWant", "true")
        self.commits = [commit(self.upstream, text) for text in ("first", "second", "third")]
        git(author, "submodule", "--quiet", "add", f"file://{self.upstream}", "buildroot")
        git(author / "buildroot", "checkout", "-q", self.commits[1])
        git(author, "add", "-A")
        git(author, "commit", "-q", "-m", "pin")
        git(root, "clone", "-q", f"file://{author}", str(self.path))
        self.play = root / "play.yml"
        tasks = {"name": "bring", "ansible.builtin.include_tasks": f"{ROOT}/roles/buildroot/tasks/source.yml"}
        variables = {
            "__buildroot_checkout": str(self.path),
            "__buildroot_submodule": True,
            "buildroot_repo": f"file://{self.upstream}",
            "buildroot_commit": "",
        }
        plays = [{"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": [tasks]}]
        self.play.write_text(json.dumps(plays))

    def bring(self) -> tuple[int, str]:
        program = Path(sys.executable).with_name("ansible-playbook")
        command = [str(program), "-i", "localhost,", "-c", "local", str(self.play)]
        given = f'{{"ansible_python_interpreter": "{sys.executable}"}}'
        done = subprocess.run(
            [*command, "-e", given], env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def head(self) -> str:
        return git(self.path / "buildroot", "rev-parse", "HEAD")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_brought_shallow_and_kept_at_the_pin(checkout: Checkout) -> None:
    code, text = checkout.bring()
    assert code == 0, text
    assert checkout.head() == checkout.commits[1]
    assert git(checkout.path / "buildroot", "rev-list", "--count", "HEAD") == "1"
    assert "changed=0" in checkout.bring()[1]

    git(checkout.path / "buildroot", "fetch", "-q", "origin", checkout.commits[2])
    git(checkout.path / "buildroot", "checkout", "-q", checkout.commits[2])
    code, text = checkout.bring()
    assert code == 0, text
    assert "changed=1" in text
    assert checkout.head() == checkout.commits[1]


def test_out_of_reach_says_what_to_do(checkout: Checkout) -> None:
    checkout.upstream.rename(checkout.upstream.with_name("gone"))
    code, text = checkout.bring()
    assert code != 0
    assert f"could not be brought from file://{checkout.upstream}" in " ".join(text.split())
    assert "Set buildroot_repo to a mirror" in " ".join(text.split())
