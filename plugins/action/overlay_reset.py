# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._arguments import WAITING
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import (
    DeviceAction,
    DeviceError,
    Spec,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._info import describe_device
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._inspect import inspect_layers
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._present import describe_change
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._reset import Plan, plan_reset
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._wait import reboot


class ActionModule(DeviceAction):
    ARGUMENTS: ClassVar[Spec] = {
        **WAITING,
        "state": {"type": "str", "choices": ["requested", "cancelled"], "default": "requested"},
        "paths": {"type": "list", "elements": "str", "default": []},
        "keep": {"type": "list", "elements": "str", "default": []},
        "mkfs": {"type": "bool", "default": False},
        "reboot": {"type": "bool", "default": False},
        "delay": {"type": "float", "default": 1.0},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        if arguments["state"] == "cancelled":
            return self._cancel()
        inspection = inspect_layers(self.run_script, "user")
        status = inspection.layers.status
        if status.get("layer") == "tmpfs":
            raise DeviceError("the user layer of this device is temporary (tmpfs): each reboot discards it")
        unseen = status.get("layer") == "fallback" and status.get("seen") != "quarantine"
        plan = plan_reset(
            inspection.layers,
            [] if unseen else inspection.comparison.changes,
            paths=arguments["paths"],
            keep=arguments["keep"],
            mkfs=arguments["mkfs"],
        )
        result = self._describe(plan, unseen)
        if not plan.discarded and status.get("layer") != "fallback":
            return {**result, "changed": False}
        if self._task.check_mode:
            return {**result, "changed": True}
        answer = self.run_script(("reset",), {"action": "request"}, plan.request)
        result["changed"] = b"@changed" in answer
        if arguments["reboot"]:
            result.update(self._reboot(arguments), changed=True)
        return result

    def _cancel(self) -> dict[str, Any]:
        if self._task.check_mode:
            pending = describe_device(self.run_script(("info",)))["reset_pending"]
            return {"changed": pending}
        return {"changed": b"@changed" in self.run_script(("reset",), {"action": "cancel"})}

    def _describe(self, plan: Plan, unseen: bool) -> dict[str, Any]:
        result: dict[str, Any] = {
            "discarded": None if unseen else [describe_change(change) for change in plan.discarded],
            "request": plan.request.decode("utf-8", "backslashreplace"),
            "rebooted": False,
        }
        if self._task.diff:
            names = "".join(f"{change['kind']} {change['path']}\n" for change in result["discarded"] or [])
            result["diff"] = {"before_header": "user layer", "before": names, "after": ""}
        return result

    def _reboot(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The new boot must say that it did what was asked for."""
        boot = reboot(
            self,
            delay=arguments["delay"],
            timeout=arguments["timeout"],
            sleep=arguments["sleep"],
            connect_timeout=arguments["connect_timeout"],
        )
        info = describe_device(self.run_script(("info",)))
        if not info["was_reset"] or info["layer"] != "persistent":
            raise DeviceError(
                f"the device came back on layer {info['layer']} without having been reset: "
                f"{info['detail'] or 'its status does not say why'}"
            )
        return {"rebooted": True, **boot.describe()}
