# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for a device, or for its next boot, by the kernel's boot ID."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ansible.errors import AnsibleError
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import DeviceAction, DeviceError
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._status import parse_sections


@dataclass(frozen=True)
class Boot:
    boot_id: str
    uptime: float
    elapsed: float
    # All that the script printed.
    answer: bytes = b""

    def describe(self) -> dict[str, str | float]:
        return {"boot_id": self.boot_id, "uptime": self.uptime, "elapsed": round(self.elapsed, 1)}


def wait_for_boot(
    action: DeviceAction,
    *,
    timeout: float,
    sleep: float,
    connect_timeout: int,
    not_boot_id: str | None = None,
    script: str = "boot_id",
) -> Boot:
    """Ask until the device answers, with another boot ID if one is given; `script` prints at least that."""
    started = time.monotonic()
    _expect_silence(action, connect_timeout)
    _forget_connection(action)
    reason = "it was not asked in time"
    while True:
        try:
            answer = action.run_script((script,))
            sections = parse_sections(answer)
            boot_id = sections["boot_id"].strip()
            elapsed = time.monotonic() - started
            if boot_id and boot_id != not_boot_id:
                # Later tasks may be more patient.
                _forget_connection(action)
                return Boot(boot_id, float(sections["uptime"].split()[0]), elapsed, answer)
            reason = "it answers, but has not been rebooted"
        except (AnsibleError, DeviceError) as error:
            reason = str(error).strip().splitlines()[-1]
            _forget_connection(action)
            if "Host key verification failed" in reason:
                raise DeviceError(
                    "the device is up, but with another host key, which ssh refuses. A reset forgets "
                    "host keys that it is not told to keep; `ssh-keygen -R` makes ssh forget the old one."
                ) from error
        if time.monotonic() - started + sleep > timeout:
            raise DeviceError(f"the device did not come back within {timeout:g} s: {reason}")
        time.sleep(sleep)


def wait_for_reboot(action: DeviceAction, answer: bytes, arguments: Mapping[str, Any], script: str) -> Boot:
    """After the answer of a script that reboots; `arguments` are WAITING and the delay."""
    old = parse_sections(answer)["boot_id"].strip()
    # Who asks too early is answered by the system that goes down, or only by half.
    time.sleep(arguments["delay"] + arguments["sleep"])
    return wait_for_boot(
        action,
        timeout=arguments["timeout"],
        sleep=arguments["sleep"],
        connect_timeout=arguments["connect_timeout"],
        not_boot_id=old,
        script=script,
    )


def _expect_silence(action: DeviceAction, seconds: int) -> None:
    """A device goes down in the middle of an answer, its network first: ssh would wait for ever."""
    connection = action._connection
    with suppress(AnsibleError, KeyError):  # Not every connection plugin has them.
        connection.set_option("timeout", seconds)
        own = connection.get_option("ssh_extra_args") or ""
        connection.set_option("ssh_extra_args", f"{own} -o ServerAliveInterval={seconds}")


def _forget_connection(action: DeviceAction) -> None:
    """A shared connection to the system that went down would be waited for."""
    with suppress(AnsibleError, AttributeError):
        action._connection.reset()
