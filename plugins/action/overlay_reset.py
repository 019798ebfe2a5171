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
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._overlays import (
    ROOT,
    Inspected,
    Overlay,
    inspect_overlays,
)
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
        found = inspect_overlays(self.run_script, "user")
        lasting = [one for one in found if one.status.get("layer") != "tmpfs"]
        if not lasting:
            raise DeviceError("the user layer of this device is temporary (tmpfs): each reboot discards it")
        lost = [one.overlay.directory for one in lasting if one.overlay != ROOT and _is_unseen(one)]
        plans = [(one, self._plan(one, arguments)) for one in lasting if one.overlay.directory not in lost]
        result = self._describe(plans)
        if lost:
            result["not_reset"] = lost
            result["warnings"] = [f"not reset, for it is not mounted: the layer of {', '.join(lost)}"]
        wanted = [(one.overlay, plan) for one, plan in plans if _is_wanted(one, plan, arguments)]
        result["requests"] = {
            overlay.directory: plan.request.decode("utf-8", "backslashreplace") for overlay, plan in wanted
        }
        if self._task.check_mode or not wanted:
            return {**result, "changed": bool(wanted)}
        answers = [
            overlay.bind(self.run_script)(("reset",), {"action": "request"}, plan.request)
            for overlay, plan in wanted
        ]
        result["changed"] = any(b"@changed" in answer for answer in answers)
        if arguments["reboot"]:
            result.update(self._reboot(arguments, set(result["requests"])), changed=True)
        return result

    def _plan(self, one: Inspected, arguments: dict[str, Any]) -> Plan:
        return plan_reset(
            one.inspection.layers,
            [] if _is_unseen(one) else one.changes,
            paths=arguments["paths"],
            keep=arguments["keep"],
            mkfs=arguments["mkfs"] and one.overlay == ROOT,
            overlay=one.overlay,
        )

    def _cancel(self) -> dict[str, Any]:
        info = describe_device(self.run_script(("info",)))
        pending = [ROOT] if info["reset_pending"] else []
        pending += [
            Overlay(one["directory"], one["layers"]) for one in info["directories"] if one["reset_pending"]
        ]
        if not self._task.check_mode:
            for overlay in pending:
                overlay.bind(self.run_script)(("reset",), {"action": "cancel"}, b"")
        return {"changed": bool(pending)}

    def _describe(self, plans: list[tuple[Inspected, Plan]]) -> dict[str, Any]:
        discarded = [describe_change(change) for _one, plan in plans for change in plan.discarded]
        unseen = all(_is_unseen(one) for one, _plan in plans)
        result: dict[str, Any] = {"discarded": None if unseen else discarded, "rebooted": False}
        if self._task.diff:
            names = "".join(f"{change['kind']} {change['path']}\n" for change in discarded)
            result["diff"] = {"before_header": "user layer", "before": names, "after": ""}
        return result

    def _reboot(self, arguments: dict[str, Any], directories: set[str]) -> dict[str, Any]:
        """The new boot must say that it did what was asked for."""
        boot = reboot(
            self,
            delay=arguments["delay"],
            timeout=arguments["timeout"],
            sleep=arguments["sleep"],
            connect_timeout=arguments["connect_timeout"],
        )
        info = describe_device(self.run_script(("info",)))
        for one in [{"directory": "/", **info}, *info["directories"]]:
            if one["directory"] not in directories or (one["was_reset"] and one["layer"] == "persistent"):
                continue
            where = "" if one["directory"] == "/" else f", on {one['directory']}"
            raise DeviceError(
                f"the device came back on layer {one['layer']}{where} without having been reset: "
                f"{one['detail'] or 'its status does not say why'}"
            )
        return {"rebooted": True, **boot.describe()}


def _is_unseen(one: Inspected) -> bool:
    """Whether what was looked at is not the user's layer: that is not mounted."""
    return one.status.get("layer") == "fallback" and one.status.get("seen") != "quarantine"


def _is_wanted(one: Inspected, plan: Plan, arguments: dict[str, Any]) -> bool:
    """A layer that could not be used may be reset without anything to discard being seen in it."""
    if plan.discarded or one.status.get("layer") != "fallback":
        return bool(plan.discarded)
    return one.overlay == ROOT or not (arguments["paths"] or one.overlay.is_within(arguments["keep"]))
