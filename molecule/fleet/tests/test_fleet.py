# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbooks say of a fleet of which one device cannot be reached."""

from __future__ import annotations

import json
import typing as t

import pytest
import testinfra
from ansible_collections.br2.readonly_rootfs.molecule.resources import guest

INVENTORY = guest.PROJECT / "output/molecule/inventory"
OUTPUT = guest.PROJECT / "output/molecule/fleet"
ALL = [f"fleet_{number}" for number in range(1, 9)]
TWO = ["fleet_3", "fleet_7"]


def report() -> dict[str, t.Any]:
    told: dict[str, t.Any] = json.loads((OUTPUT / "report/report.json").read_text())
    return told


def test_the_report_knows_what_each_device_differs_in() -> None:
    assert report()["summary"] == {
        "devices": 9,
        "same": 0,
        "different": 8,
        "failed": 0,
        "unreachable": 1,
    }
    drift = {entry["path"]: (entry["kinds"], entry["variants"]) for entry in report()["paths"]}
    assert drift == {
        "/etc/hosts": ({"modified": ALL}, 1),
        "/etc/issue": ({"added": TWO}, 1),
        "/etc/profile": ({"deleted": TWO}, 1),
    }


def test_the_device_that_is_gone_is_told_and_ends_nothing() -> None:
    (gone,) = (device for device in report()["devices"] if device["name"] == "fleet_gone")
    assert gone["state"] == "unreachable"
    assert "Connection refused" in gone["message"]


def test_those_to_be_reset_were_saved_before() -> None:
    names = {path.name.rpartition("-")[0] for path in (OUTPUT / "backups").iterdir()}
    assert names == set(TWO)


@pytest.mark.parametrize("name", ["fleet_1", *TWO])
def test_only_they_are_to_be_reset(name: str) -> None:
    host: guest.Host = testinfra.get_host(f"ansible://{name}", ansible_inventory=str(INVENTORY))
    assert host.file("/media/rfs/rw/state/reset").exists == (name in TWO)


def test_the_page_holds_the_report() -> None:
    page = (OUTPUT / "report/report.html").read_text()
    assert "fleet_gone" in page
    assert "src=" not in page
