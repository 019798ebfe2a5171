# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action plugins for devices without Python share: one shell script, one round trip."""

from __future__ import annotations

import shlex
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

SCRIPTS = Path(__file__).resolve().parents[2] / "files" / "device"

Spec = dict[str, dict[str, Any]]

display = Display()


class DeviceError(Exception):
    """Something is wrong with the device, said in one sentence for the user."""


def load_script(names: tuple[str, ...], variables: Mapping[str, str | bytes] | None = None) -> bytes:
    """The scripts of those names as one, after assignments of their variables.

    After the name `each`, the others are run for each overlay: see each.sh.
    """
    # Without a word about it, the overlay of the root is meant.
    values = {"directory": "/", "place": "", **(variables or {})}
    assignments = b"".join(
        b"%s=%s\n" % (key.encode(), shell_quote(value)) for key, value in sorted(values.items())
    )
    each = names[:1] == ("each",)
    text = b"".join([*map(_read, ("common", *names[each:])), b"printf '@END\\n'\n"])
    return assignments + (b"look() (\n%b)\n%b" % (text, _read("each")) if each else text)


def _read(name: str) -> bytes:
    return (SCRIPTS / f"{name}.sh").read_bytes()


def shell_quote(value: str | bytes) -> bytes:
    raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
    return b"'" + raw.replace(b"'", b"'\\''") + b"'"


class DeviceAction(ActionBase):
    """An action plugin that needs a POSIX shell on the device and nothing else.

    The script travels on standard input: no command line grows past what an ssh server accepts
    (dropbear: 9000 bytes), no file is left on the device, no terminal rewrites the output.
    """

    TRANSFERS_FILES = False
    ARGUMENTS: ClassVar[Spec] = {}

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(self.ARGUMENTS)
        try:
            result.update(self.act(arguments, task_vars or {}))
        except DeviceError as error:
            raise AnsibleActionFail(str(error)) from error
        return result

    @abstractmethod
    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Do the work; the returned values become the task's result."""

    def run_script(
        self, names: tuple[str, ...], variables: Mapping[str, str | bytes] | None = None, data: bytes = b""
    ) -> bytes:
        """Run scripts of files/device/ with `data` as their standard input; return their output."""
        return self._run(load_script(names, variables), names[-1], data)

    def run_together(self, jobs: Iterable[tuple[tuple[str, ...], Mapping[str, str | bytes]]]) -> bytes:
        """Run several of them, one after the other until one fails, in one round trip."""
        scripts = [b"(\n%b) || exit\n" % load_script(*job) for job in jobs]
        return self._run(b"".join(scripts), "together", b"")

    def _run(self, script: bytes, name: str, data: bytes) -> bytes:
        # bs=1: whatever follows the script in the pipe must be left for the script to read.
        loader = f'eval "$(dd bs=1 count={len(script)} 2>/dev/null)"'
        display.vvv(f"device script {name}, {len(script)} bytes, and {len(data)} bytes of data")
        answer = self._low_level_execute_command(
            f"/bin/sh -c {shlex.quote(loader)}",
            in_data=script + data,
            encoding_errors="surrogateescape",
        )
        output = str(answer["stdout"]).encode("utf-8", "surrogateescape")
        if answer["rc"] != 0:
            reason = str(answer["stderr"]).strip().splitlines() or [f"exit status {answer['rc']}"]
            raise DeviceError(f"{reason[-1]} (script {name})")
        if not output.endswith(b"@END\n"):
            raise DeviceError(f"the output of script {name} is cut short: the connection was lost; try again")
        return output[: -len(b"@END\n")]
