# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook as a user runs it: stations, a bad card, the report, and watching."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.br2.readonly_rootfs.tests.support import cards, flashing

PROJECT = Path(__file__).parents[2]
MIB = 1 << 20


def play(
    directory: Path, image: Path, stations: dict[str, Any], *options: str
) -> subprocess.CompletedProcess[str]:
    """Run the playbook with an inventory of stations on this machine."""
    inventory = {
        "flash_stations": {
            "vars": {
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
                "flash_image": str(image),
                "flash_allow": ["non_removable"],
                "flash_expect": {"min_size": "1M", "max_size": "1G"},
                "flash_become": False,
                "flash_cache_dir": str(directory / "cache"),
                "flash_report_dir": str(directory / "reports"),
            },
            "hosts": stations,
        }
    }
    file = directory / "inventory.json"
    file.write_text(json.dumps(inventory))
    program = Path(sys.executable).with_name("ansible-playbook")
    return subprocess.run(
        [str(program), "-i", str(file), "playbooks/flash.yml", *options],
        cwd=PROJECT,
        check=False,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_HOME": str(directory / "ansible"),
        },
    )


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [
        cards.junk_file(tmp_path / f"card{at}", size)
        for at, size in enumerate([64 * MIB, 64 * MIB, 16 * MIB])
    ]


def test_two_stations_and_a_bad_card(image: Path, tmp_path: Path, files: list[Path]) -> None:
    with cards.loop(files[0]) as first, cards.loop(files[1]) as second, cards.loop(files[2]) as short:
        # The name of the device is in its seed, which is a secret for Ansible, and is told all the same.
        seeded = {"host": "gate-3", "seed": [{"path": "/etc/hostname", "content": "gate-3"}]}
        stations = {
            "lost": {
                "ansible_connection": "ssh",
                "ansible_host": "127.0.0.1",
                "ansible_port": 1,
                "flash_targets": [{"port": "1-1"}],
            },
            "one": {"flash_targets": [{"path": first, "host": "gate-1"}]},
            "two": {"flash_targets": [{"path": second, "host": "<gate-2>"}, {**seeded, "path": short}]},
        }
        ran = play(tmp_path, image, stations)
        again = play(tmp_path, image, {"one": stations["one"]})
    assert ran.returncode in (2, 4), ran.stdout
    assert f"[one] {first} done" in ran.stdout
    assert f"{short}: has 16777216 bytes" in ran.stdout
    assert all(flashing.holds(file, image) for file in files[:2])
    report, _unused = sorted((tmp_path / "reports").glob("*.json"))
    told = json.loads(report.read_text())
    found = {card["device"]["path"]: card["status"] for card in told["cards"]}
    assert found == {first: "flashed", second: "flashed", short: "refused"}
    assert {card["host"] for card in told["cards"]} == {"gate-1", "<gate-2>", "gate-3"}
    assert [failure["station"] for failure in told["stations_failed"]] == ["lost"]
    page = report.with_suffix(".html").read_text()
    assert "2 of 3 cards hold the image" in page
    assert "&lt;gate-2&gt;" in page
    assert "<gate-2>" not in page
    assert again.returncode == 0, again.stdout
    assert "changed=0" in again.stdout


def test_watching_takes_a_card_once(image: Path, tmp_path: Path, files: list[Path]) -> None:
    """The second round finds the same card still inserted, says so, and gives up in time."""
    with cards.loop(files[0]) as device:
        stations = {
            "one": {
                "flash_watch": True,
                "flash_watch_paths": [device],
                "flash_watch_timeout": 1,
                "flash_max_size": "1G",
                "flash_count": 2,
            }
        }
        ran = play(tmp_path, image, stations)
    assert flashing.holds(files[0], image)
    assert ran.returncode != 0
    assert f"{device}: is done" in ran.stdout
    (report,) = (tmp_path / "reports").glob("*.json")
    told = json.loads(report.read_text())
    assert [card["status"] for card in told["cards"]] == ["flashed"], "what was done before is reported"
    assert "there is no card to flash" in told["stations_failed"][0]["message"]


def test_watching_holds_cards_to_what_is_expected(image: Path, tmp_path: Path, files: list[Path]) -> None:
    before = files[0].read_bytes()
    with cards.loop(files[0]) as device:
        watch = {"flash_watch": True, "flash_watch_paths": [device], "flash_watch_timeout": 1}
        expected = {"flash_expect": {"min_size": "128M", "max_size": "1G"}}
        ran = play(tmp_path, image, {"one": {**watch, **expected}})
    assert ran.returncode == 2
    assert "expected at least 134217728" in ran.stdout
    assert files[0].read_bytes() == before


def test_flashing_everything_or_nothing_is_refused(image: Path, tmp_path: Path) -> None:
    ran = play(tmp_path, image, {"one": {"flash_watch": True}, "two": {}})
    assert ran.returncode == 2
    (report,) = (tmp_path / "reports").glob("*.json")
    one, two = (failure["message"] for failure in json.loads(report.read_text())["stations_failed"])
    assert "name the readers" in one
    assert "No card is named" in two
