# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a script's answer, and of one that does not arrive."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import (
    DeviceAction,
    DeviceError,
    load_script,
)


class Action(DeviceAction):
    """Talks to a scripted device instead of a connection."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.sent = b""

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        return {}

    def _low_level_execute_command(self, cmd: str, *_: Any, **options: Any) -> Any:
        self.command, self.sent = cmd, options["in_data"]
        return {"rc": 0, "stdout": "", "stderr": "", **self.answer}


def test_bytes_survive_the_way_through_text() -> None:
    odd = b"\xff\0\n\xc3\xa4"
    action = Action({"stdout": (odd + b"@END\n").decode("utf-8", "surrogateescape")})
    assert action.run_script(("boot_id",)) == odd


def test_a_lost_connection_is_told() -> None:
    with pytest.raises(DeviceError, match="cut short: the connection was lost"):
        Action({"stdout": "@boot_id\nabc"}).run_script(("boot_id",))


def test_the_last_line_of_an_error_is_the_reason() -> None:
    with pytest.raises(DeviceError, match=r"^no space left \(script info\)$"):
        Action({"rc": 1, "stderr": "Warning: added key\nno space left\n"}).run_script(("info",))


def test_the_command_line_stays_short_and_the_data_follows_the_script() -> None:
    action = Action({"stdout": "@END\n"})
    action.run_script(("view", "contents"), {"layer": "current"}, b"./name\0")
    assert len(action.command) < 200
    count = re.search(r"count=(\d+)", action.command)
    assert count is not None
    assert action.sent[int(count[1]) :] == b"./name\0"


@pytest.mark.parametrize("value", ["plain", "with 'quotes' and $(commands)", "two\nlines", "back\\slash"])
def test_variables_reach_the_script_as_they_are(value: str) -> None:
    script = load_script((), {"layer": value})
    shell = [b"sh", b"-c", script + b'printf %s "$layer"']
    assert subprocess.run(shell, capture_output=True, check=True).stdout.decode() == "@END\n" + value
