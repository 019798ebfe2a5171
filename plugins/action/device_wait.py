# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from typing import Any, ClassVar

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._arguments import WAITING
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import DeviceAction, Spec
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._wait import wait_for_boot


class ActionModule(DeviceAction):
    ARGUMENTS: ClassVar[Spec] = {
        **WAITING,
        "delay": {"type": "float", "default": 0.0},
        "not_boot_id": {"type": "str"},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        time.sleep(arguments["delay"])
        boot = wait_for_boot(
            self,
            timeout=arguments["timeout"],
            sleep=arguments["sleep"],
            connect_timeout=arguments["connect_timeout"],
            not_boot_id=arguments["not_boot_id"],
        )
        return {"changed": False, **boot.describe()}
