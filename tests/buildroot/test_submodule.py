# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Buildroot as a submodule or a clone: brought, kept at its pin, and what is said when it cannot be had."""

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


def upstream(root: Path) -> tuple[Path, list[str]]:
    """A Buildroot of three commits, the second of them tagged."""
    repository = root / "upstream"
    repository.mkdir()
    git(repository, "init", "-q", "-b", "main")
    # As the sites that serve shallow clones of a single commit.
    git(repository, "config", "uploadpack.allowAnySHA1InWant", "true")
    commits = [commit(repository, text) for text in ("first", "second", "third")]
    git(repository, "tag", "1.0", commits[1])
    return repository, commits


def bring(root: Path, **variables: str | bool) -> tuple[int, str]:
    """What a play with the role's tasks ended with, and said in one line."""
    tasks = {"name": "bring", "ansible.builtin.include_tasks": f"{ROOT}/roles/buildroot/tasks/source.yml"}
    play = root / "play.yml"
    play.write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": [tasks]}])
    )
    program = Path(sys.executable).with_name("ansible-playbook")
    given = f'{{"ansible_python_interpreter": "{sys.executable}"}}'
    command = [str(program), "-i", "localhost,", "-c", "local", str(play), "-e", given]
    done = subprocess.run(command, env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


class Checkout:
    """A checkout whose submodule `buildroot` is pinned to the second of three commits."""

    def __init__(self, root: Path) -> None:
        author, self.root, self.path = root / "author", root, root / "checkout"
        self.upstream, self.commits = upstream(root)
        author.mkdir()
        git(author, "init", "-q", "-b", "main")
        git(author, "submodule", "--quiet", "add", f"file://{self.upstream}", "buildroot")
        git(author / "buildroot", "checkout", "-q", self.commits[1])
        git(author, "add", "-A")
        git(author, "commit", "-q", "-m", "pin")
        git(root, "clone", "-q", f"file://{author}", str(self.path))

    def bring(self) -> tuple[int, str]:
        return bring(
            self.root,
            __buildroot_checkout=str(self.path),
            __buildroot_submodule=True,
            buildroot_repo=f"file://{self.upstream}",
            buildroot_commit="",
        )

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
    assert f"could not be brought from file://{checkout.upstream}" in text
    assert "Set buildroot_repo to a mirror" in text


def test_a_clone_is_shallow_and_no_other_commit_than_the_pinned_one(tmp_path: Path) -> None:
    repository, commits = upstream(tmp_path)
    source = tmp_path / "source"

    def clone(commit: str) -> tuple[int, str]:
        return bring(
            tmp_path,
            __buildroot_source=str(source),
            __buildroot_submodule=False,
            buildroot_repo=f"file://{repository}",
            buildroot_version="1.0",
            buildroot_commit=commit,
        )

    # Somebody moved the tag: refused, and again when the clone is there already.
    for _run in range(2):
        code, text = clone(commits[0])
        assert code != 0
        assert f"has {commits[1]} as 1.0, not the pinned {commits[0]}" in text

    code, text = clone(commits[1])
    assert code == 0, text
    assert git(source, "rev-list", "--count", "HEAD") == "1"
    assert git(source, "rev-parse", "HEAD") == commits[1]

    # What is there is not asked for again.
    repository.rename(tmp_path / "gone")
    code, text = clone(commits[1])
    assert code == 0, text
    assert "changed=0" in text
    code, text = clone(commits[2])
    assert code != 0
    assert f"could not be brought from file://{repository}" in text
