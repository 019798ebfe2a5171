# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import (
    DeviceAction,
    DeviceError,
    Spec,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._status import parse_sections, parse_status

_OPTIONS = {"check": "--check", "confirm": "", "accept_base": "--accept-base", "retry": "--retry"}


class ActionModule(DeviceAction):
    ARGUMENTS: ClassVar[Spec] = {
        "action": {"type": "str", "choices": list(_OPTIONS), "default": "check"},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        action = arguments["action"]
        status = self._confirm("look")["before"]
        layer, confirmed = status.get("layer"), bool(status.get("confirmed"))
        if action == "retry":
            needed = layer == "fallback"
        elif action == "accept_base" and layer == "fallback":
            needed = status.get("stale") == "yes"
        elif layer != "persistent":
            raise DeviceError(
                f"the layer of this boot is {layer}: only a boot with the persistent layer can be confirmed"
            )
        else:
            needed = not confirmed or (action == "accept_base" and status.get("stale") == "yes")
        if needed and not self._task.check_mode:
            status = self._confirm(_OPTIONS[action])["after"]
        return {"changed": needed, "confirmed": bool(status.get("confirmed"))}

    def _confirm(self, option: str) -> dict[str, dict[str, str]]:
        sections = parse_sections(self.run_script(("confirm",), {"option": option}))
        return {name: parse_status(text) for name, text in sections.items()}
