# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._arguments import WAITING
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import DeviceAction, Spec
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._wait import wait_for_reboot


class ActionModule(DeviceAction):
    ARGUMENTS: ClassVar[Spec] = {**WAITING, "delay": {"type": "float", "default": 1.0}}

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        if self._task.check_mode:
            return {"changed": True, "rebooted": False}
        answer = self.run_script(("reboot",), {"delay": f"{arguments['delay']:g}"})
        boot = wait_for_reboot(self, answer, arguments, "boot_id")
        return {"changed": True, "rebooted": True, **boot.describe()}
