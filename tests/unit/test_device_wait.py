# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t
from unittest.mock import Mock

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import DeviceError
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._wait import wait_for_boot

ANSWER = b"@boot_id\nnew\n@uptime\n3.5 1.0\n"


def action(*answers: bytes | DeviceError) -> t.Any:
    device = Mock()
    device.run_script.side_effect = answers
    device._connection.get_option.return_value = ""
    return device


def wait(device: t.Any) -> str:
    return wait_for_boot(device, timeout=60, sleep=0, connect_timeout=1, not_boot_id="old").boot_id


def test_a_device_that_is_away_is_waited_for() -> None:
    assert wait(action(DeviceError("Connection refused"), ANSWER)) == "new"


def test_another_host_key_is_not_waited_for() -> None:
    device = action(DeviceError("@@@ WARNING @@@\nHost key verification failed."))
    with pytest.raises(DeviceError, match="another host key"):
        wait(device)
    assert device.run_script.call_count == 1
