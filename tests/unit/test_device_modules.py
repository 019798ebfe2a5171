# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of the modules for devices and what their action plugins take are one contract."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.br2.readonly_rootfs.plugins.doc_fragments._device import ModuleDocFragment
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._info import describe_device
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._status import parse_mounts

PLUGINS = Path(__file__).parents[2] / "plugins"
MODULES = sorted(
    path.stem for path in PLUGINS.glob("modules/*.py") if path.stem.startswith(("overlay_", "device_"))
)
NAME = "ansible_collections.br2.readonly_rootfs.plugins.{}.{}"


def documented(module: str) -> dict[str, Any]:
    documentation = yaml.safe_load(importlib.import_module(NAME.format("modules", module)).DOCUMENTATION)
    options: dict[str, Any] = dict(documentation.get("options", {}))
    for fragment in documentation.get("extends_documentation_fragment", []):
        name = (fragment.split(".")[3:] or ["documentation"])[0].upper()
        options.update(yaml.safe_load(getattr(ModuleDocFragment, name))["options"])
    return {
        option: {key: value for key, value in facts.items() if key not in ("description", "version_added")}
        for option, facts in options.items()
    }


@pytest.mark.parametrize("module", MODULES)
def test_documented_options_are_the_accepted_ones(module: str) -> None:
    accepted = importlib.import_module(NAME.format("action", module)).ActionModule.ARGUMENTS
    assert documented(module) == accepted


@pytest.mark.parametrize(
    ("group", "fragment"),
    [
        ("buildroot", "_buildroot"),
        ("device_selection", "_device.selection"),
        ("device_waiting", "_device.waiting"),
    ],
)
def test_an_action_group_has_the_modules_that_take_its_options(group: str, fragment: str) -> None:
    """module_defaults gives them to each of its modules, and one that does not take them fails."""
    runtime = yaml.safe_load((PLUGINS.parent / "meta/runtime.yml").read_text())
    line = f"  - br2.readonly_rootfs.{fragment}\n"
    taking = sorted(path.stem for path in (PLUGINS / "modules").glob("*.py") if line in path.read_text())
    assert taking
    assert runtime["action_groups"][group] == taking


INFO = b"""
@boot_id
2f6bba6d-9d0a-4a34-a2c1-9bb3dca30d3c

@uptime
12.34 20.00

@release
6.12.1

@mounts
rfs /media/rfs tmpfs rw 0 0
/dev/vda1 /media/rfs/ro ext2 ro,noatime 0 0
/dev/vda2 /media/rfs/rw ext4 rw 0 0
overlay / overlay rw,lowerdir=/media/rfs/ro 0 0

@status
layer=fallback
reason=tries
detail=the layer was booted 3 times = too often
tries=3
tries_max=3
time_init=0.9
time_switch=
unknown=
@rfs
/media/rfs

@space
Filesystem 1024-blocks Used Available Capacity Mounted on
/dev/vda2 1000 200 800 20% /media/rfs/rw

@inodes

@changes
11

@request
pending
"""


def test_info_of_a_device_in_fallback() -> None:
    info = describe_device(INFO)
    assert info["overlay"] is True
    assert (info["layer"], info["reason"], info["tries"]) == ("fallback", "tries", 3)
    assert info["detail"] == "the layer was booted 3 times = too often"
    assert info["space_kib"] == {"total": 1000, "available": 800}
    assert info["inodes"] is None
    assert info["entries"] == 10
    assert info["stages"] == {"init": 0.9}
    assert info["reset_pending"] is True
    assert info["confirmed"] is False
    assert info["base"] == {"device": "/dev/vda1", "fstype": "ext2", "options": ["ro", "noatime"]}


def test_info_of_a_device_without_overlay() -> None:
    plain = INFO.replace(b"overlay / overlay", b"/dev/sda1 / ext4").replace(b"/media/rfs/", b"/x/")
    info = describe_device(plain)
    assert info["overlay"] is False
    assert info["layer"] is None
    assert info["base"] is None


@pytest.mark.parametrize("separator", ["\f", "\v", "\x1c", "\x85", "\u2028"])
def test_the_name_of_a_medium_is_no_line_of_the_mount_table(separator: str) -> None:
    """The kernel escapes blanks and line feeds only."""
    stick = f"/dev/sda1 /media/stick{separator}none / vfat rw 0 0\n"
    assert parse_mounts(f"overlay / overlay rw 0 0\n{stick}")["/"].fstype == "overlay"
