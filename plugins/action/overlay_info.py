# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import DeviceAction
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._info import describe_device


class ActionModule(DeviceAction):
    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        info = describe_device(self.run_script(("info",)))
        return {"changed": False, "info": info, "ansible_facts": {"readonly_rootfs": info}}
