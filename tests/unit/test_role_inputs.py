# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What roles make of the texts that a command line gives them."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from pathlib import Path

ROLES = Path(__file__).parents[2] / "roles"


def made_of(role: str, cwd: Path, given: dict[str, str], wanted: list[str]) -> dict[str, t.Any]:
    """Variables of a role, run by a user who stands in ``cwd`` with a playbook that is elsewhere."""
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars_files": [str(ROLES / role / name / "main.yml") for name in ("defaults", "vars")],
        "tasks": [
            {
                "ansible.builtin.copy": {
                    "content": "{{ {" + ", ".join(f"'{name}': {name}" for name in wanted) + "} | to_json }}",
                    "dest": str(cwd / "seen.json"),
                    "mode": "0644",
                }
            }
        ],
    }
    (cwd / "books").mkdir()
    (cwd / "books/play.yml").write_text(json.dumps([play]))
    subprocess.run(
        ["ansible-playbook", "books/play.yml", "-e", json.dumps(given)],
        cwd=cwd,
        env={**os.environ, "PWD": str(cwd)},
        check=True,
        capture_output=True,
    )
    seen: dict[str, t.Any] = json.loads((cwd / "seen.json").read_text())
    return seen


def test_lists_of_images_may_be_texts(tmp_path: Path) -> None:
    given = {
        "image_overlay_dirs": "/etc,/var",
        "image_packages": "nano,less",
        "image_rootfs_overlays": "one,/two",
        "image_buildroot_patch_dirs": "patches",
        "image_buildroot_external": "more",
        "image_authorized_keys": 'restrict,command="a" ssh-ed25519 AAAA me\nssh-ed25519 BBBB you\n',
        "image_cache_dir": "cache",
    }
    seen = made_of(
        "image", tmp_path, given, ["__image_template_data", "__image_external", "__image_cache_dir"]
    )
    data = seen["__image_template_data"]
    assert data["overlay_dirs"] == ["/etc", "/var"]
    assert data["systemd_var"] == "overlay"
    assert data["packages"] == ["nano", "less"]
    assert data["rootfs_overlays"] == [f"{tmp_path}/one", "/two"]
    assert data["patch_dirs"] == [f"{tmp_path}/patches"]
    assert data["authorized_keys"] == [
        'restrict,command="a" ssh-ed25519 AAAA me',
        "ssh-ed25519 BBBB you",
    ]
    assert seen["__image_external"] == [f"{tmp_path}/more"]
    assert seen["__image_cache_dir"] == f"{tmp_path}/cache"


def test_paths_of_machines_start_where_the_user_stands(tmp_path: Path) -> None:
    names = {"vm_images_dir": "__vm_images_dir", "vm_work_dir": "__vm_work_dir", "vm_card": "__vm_card"}
    for folder, given, expected in (
        ("relative", "some/where", str(tmp_path / "relative/some/where")),
        ("absolute", "/some/where", "/some/where"),
    ):
        (tmp_path / folder).mkdir()
        seen = made_of("vm", tmp_path / folder, dict.fromkeys(names, given), list(names.values()))
        assert seen == dict.fromkeys(names.values(), expected)
    (tmp_path / "home").mkdir()
    seen = made_of("vm", tmp_path / "home", dict.fromkeys(names, "~/where"), list(names.values()))
    # The module knows whose home it is.
    assert seen["__vm_images_dir"] == seen["__vm_work_dir"] == "~/where"
    assert seen["__vm_card"] == os.path.realpath(Path("~/where").expanduser())
