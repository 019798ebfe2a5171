# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._arguments import WAITING
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._backup import take_backup
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
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._wait import wait_for_reboot

Plans = list[tuple[Inspected, Plan]]


class ActionModule(DeviceAction):
    ARGUMENTS: ClassVar[Spec] = {
        **WAITING,
        "state": {"type": "str", "choices": ["requested", "cancelled"], "default": "requested"},
        "paths": {"type": "list", "elements": "str", "default": []},
        "keep": {"type": "list", "elements": "str", "default": []},
        "mkfs": {"type": "bool", "default": False},
        "backup_dir": {"type": "path"},
        "reboot": {"type": "bool", "default": False},
        "delay": {"type": "float", "default": 1.0},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        if arguments["state"] == "cancelled":
            return self._cancel()
        found = inspect_overlays(self.run_script, "user", archive=bool(arguments["backup_dir"]))
        lasting = [one for one in found if one.status.get("layer") != "tmpfs"]
        if not lasting:
            raise DeviceError("the user layer of this device is temporary (tmpfs): each reboot discards it")
        lost = [one.overlay.directory for one in lasting if one.overlay != ROOT and _is_unseen(one)]
        plans = [(one, self._plan(one, arguments)) for one in lasting if one.overlay.directory not in lost]
        result = self._describe(plans)
        if lost:
            result["not_reset"] = lost
            result["warnings"] = [f"not reset, for it is not mounted: the layer of {', '.join(lost)}"]
        if linked := [path for _one, plan in plans for path in plan.linked]:
            result["not_kept"] = linked
            warning = f"not kept, for it is below a link: {', '.join(linked)}"
            result["warnings"] = [*result.get("warnings", []), warning]
        wanted = [(one, plan) for one, plan in plans if _is_wanted(one, plan, arguments)]
        result["requests"] = {
            one.overlay.directory: plan.request.decode("utf-8", "backslashreplace") for one, plan in wanted
        }
        if wanted and arguments["backup_dir"]:
            backup = self._backup(Path(arguments["backup_dir"]), wanted, task_vars["inventory_hostname"])
            result["warnings"] = [*result.get("warnings", []), *backup.pop("warnings", [])]
            result["backup"] = backup
        if self._task.check_mode or not wanted:
            return {**result, "changed": bool(wanted)}
        requested = self._request(wanted, arguments)
        saved = "backup" in result and result["backup"]["changed"]
        return {**result, **requested, "changed": requested["changed"] or saved}

    def _plan(self, one: Inspected, arguments: dict[str, Any]) -> Plan:
        return plan_reset(
            one.inspection.layers,
            [] if _is_unseen(one) else one.changes,
            paths=arguments["paths"],
            keep=arguments["keep"],
            mkfs=arguments["mkfs"] and one.overlay == ROOT,
            overlay=one.overlay,
        )

    def _backup(self, directory: Path, wanted: Plans, host: str) -> dict[str, Any]:
        """Under a name made from the content: no later backup ever takes an earlier one's place."""
        one, *others = (one for one, _plan in wanted)
        if others or one.overlay != ROOT:
            where = ", ".join(each.overlay.directory for each, _plan in wanted if each.overlay != ROOT)
            raise DeviceError(f"there are backups of the root's layer only: reset {where} without backup_dir")
        if _is_unseen(one):
            raise DeviceError(
                "the user's layer cannot be read, so there can be no backup of it: "
                "without backup_dir, it is reset nevertheless"
            )
        taken = take_backup(self.run_script, "user", one.inspection, lambda changes: changes)
        name = f"{host}-{hashlib.sha256(taken.content).hexdigest()[:16]}.tar.gz"
        return taken.write(directory.absolute() / name, check=self._task.check_mode)

    def _request(self, wanted: Plans, arguments: dict[str, Any]) -> dict[str, Any]:
        jobs = [
            (("reset",), one.overlay.variables({"action": "request", "request": plan.request}))
            for one, plan in wanted
        ]
        if not arguments["reboot"]:
            return {"changed": b"@changed" in self.run_together(jobs)}
        answer = self.run_together([*jobs, (("reboot",), {"delay": f"{arguments['delay']:g}"})])
        # The new boot must say that it did what was asked for.
        boot = wait_for_reboot(self, answer, arguments, "info")
        info = describe_device(boot.answer)
        now = {one["directory"]: one for one in [{"directory": "/", **info}, *info["directories"]]}
        for one, _plan in wanted:
            _check_reset(one, now.get(one.overlay.directory), remade=arguments["mkfs"])
        return {"changed": True, "rebooted": True, **boot.describe()}

    def _cancel(self) -> dict[str, Any]:
        info = describe_device(self.run_script(("info",)))
        pending = [ROOT] if info["reset_pending"] else []
        pending += [
            Overlay(one["directory"], one["layers"]) for one in info["directories"] if one["reset_pending"]
        ]
        if pending and not self._task.check_mode:
            self.run_together(
                (("reset",), overlay.variables({"action": "cancel", "request": ""})) for overlay in pending
            )
        return {"changed": bool(pending)}

    def _describe(self, plans: Plans) -> dict[str, Any]:
        discarded = [describe_change(change) for _one, plan in plans for change in plan.discarded]
        unseen = all(_is_unseen(one) for one, _plan in plans)
        result: dict[str, Any] = {"discarded": None if unseen else discarded, "rebooted": False}
        if self._task.diff:
            names = "".join(f"{change['kind']} {change['path']}\n" for change in discarded)
            result["diff"] = {"before_header": "user layer", "before": names, "after": ""}
        return result


def _is_unseen(one: Inspected) -> bool:
    """Whether what was looked at is not the user's layer: that is not mounted."""
    return one.status.get("layer") == "fallback" and one.status.get("seen") != "quarantine"


def _is_wanted(one: Inspected, plan: Plan, arguments: dict[str, Any]) -> bool:
    """A layer that could not be used, or is another base's, is reset though nothing in it is discarded."""
    if plan.discarded:
        return True
    meant = not (arguments["paths"] or one.overlay.is_within(arguments["keep"]))
    if one.status.get("layer") == "fallback":
        return meant or one.overlay == ROOT
    return meant and one.status.get("stale") == "yes"


def _check_reset(before: Inspected, now: dict[str, Any] | None, *, remade: bool) -> None:
    """A file system that could not be mounted is made anew at once, so that the boot has nothing to reset."""
    where = "" if before.overlay == ROOT else f", on {before.overlay.directory}"
    if now is None:
        raise DeviceError(f"the device came back without an overlay{where}")
    done = now["was_reset"] or (remade and before.status.get("reason") == "unmountable")
    if not done or now["layer"] != "persistent":
        raise DeviceError(
            f"the device came back on layer {now['layer']}{where} without having been reset: "
            f"{now['detail'] or 'its status does not say why'}"
        )
