# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._arguments import SELECTION
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._commit import plan_commit, write_commit
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._contents import fetch_contents
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import (
    DeviceAction,
    DeviceError,
    Spec,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._inspect import inspect_layers
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._present import select


class ActionModule(DeviceAction):
    ARGUMENTS: ClassVar[Spec] = {
        **SELECTION,
        "dest": {"type": "path", "required": True},
        "name": {"type": "str", "default": "device"},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        layer, name = arguments["layer"], arguments["name"]
        if not name or "/" in name or name.startswith("."):
            raise DeviceError(f"name {name!r} cannot be the name of a file")
        inspection = inspect_layers(self.run_script, layer)
        comparison = inspection.comparison
        chosen = select(comparison.changes, arguments["paths"], arguments["exclude"])
        plan = plan_commit(chosen, comparison.merged)
        contents: dict[bytes, bytes] = {}
        if plan.files:
            wanted = [change.path for change in plan.files]
            contents = fetch_contents(self.run_script, layer, wanted).merged
            # What vanished since belongs to no commit.
            plan.files = [change for change in plan.files if change.path in contents]
        dest = Path(arguments["dest"]).absolute()
        try:
            written = write_commit(dest, name, plan, contents, check=self._task.check_mode)
        except OSError as error:
            raise DeviceError(f"cannot write the rootfs overlay: {error}") from error
        return {
            "changed": bool(written),
            "dest": str(dest),
            "written": written,
            "left_out": plan.left_out,
        }
