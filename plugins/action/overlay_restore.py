# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._archive import Backup, read_backup
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._backup import give_backup
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import (
    DeviceAction,
    DeviceError,
    Spec,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._info import describe_device


class ActionModule(DeviceAction):
    ARGUMENTS: ClassVar[Spec] = {
        "src": {"type": "path", "required": True},
        "any_base": {"type": "bool", "default": False},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        source = Path(arguments["src"])
        try:
            backup = read_backup(source.read_bytes())
        except OSError as error:
            raise DeviceError(f"cannot read the backup: {error}") from error
        except DeviceError as error:
            raise DeviceError(f"cannot use {source}: {error}") from error
        info = describe_device(self.run_script(("info",)))
        if not info["overlay"]:
            raise DeviceError("the root of this device is no overlay: it has no user layer to restore")
        if info["layer"] == "fallback":
            raise DeviceError(
                "this boot is a fallback, with which what is restored would be gone; "
                f"repair or reset the layer and reboot first: {info['detail']}"
            )
        if not arguments["any_base"]:
            self._check_base(backup, info["base_id"] or "")
        result = {"changed": True, **{key: backup.manifest[key] for key in ("changes", "deleted")}}
        if self._task.check_mode:
            return result
        return {**result, **give_backup(self.run_script, backup)}

    def _check_base(self, backup: Backup, base_id: str) -> None:
        wanted = backup.manifest["base_id"]
        if wanted != base_id:
            raise DeviceError(
                f"the backup belongs to base {wanted or 'unknown'}, "
                f"the device runs base {base_id or 'unknown'}; any_base=true restores it nevertheless"
            )
