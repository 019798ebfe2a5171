# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._arguments import SELECTION
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._backup import take_backup
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import DeviceAction, Spec
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._inspect import inspect_layers
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._present import select


class ActionModule(DeviceAction):
    ARGUMENTS: ClassVar[Spec] = {**SELECTION, "dest": {"type": "path", "required": True}}

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        layer, paths, exclude = arguments["layer"], arguments["paths"], arguments["exclude"]
        # Of a part, only the part is worth the transfer.
        inspection = inspect_layers(self.run_script, layer, archive=not (paths or exclude))
        taken = take_backup(
            self.run_script, layer, inspection, lambda changes: select(changes, paths, exclude)
        )
        return taken.write(Path(arguments["dest"]).absolute(), check=self._task.check_mode)
