# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._arguments import SELECTION
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._contents import text_diffs, unified
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import (
    DeviceAction,
    DeviceError,
    Spec,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._overlays import inspect_overlays
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._present import (
    count_kinds,
    describe_change,
    load_packages,
    select,
)

_XATTRS = {"gnu": "full", "busybox": "to_first_nul", None: "none"}


class ActionModule(DeviceAction):
    ARGUMENTS: ClassVar[Spec] = {
        **SELECTION,
        "copied_up": {"type": "bool", "default": True},
        "text_limit": {"type": "int", "default": 65536},
        "packages_file_list": {"type": "path"},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        packages = None
        if arguments["packages_file_list"]:
            try:
                packages = load_packages(Path(arguments["packages_file_list"]))
            except OSError as error:
                raise DeviceError(f"cannot read packages_file_list: {error}") from error
        layer = arguments["layer"]
        found = inspect_overlays(self.run_script, layer)
        chosen = [select(one.changes, arguments["paths"], arguments["exclude"]) for one in found]
        if not arguments["copied_up"]:
            chosen = [[change for change in some if change.kind != "copied_up"] for some in chosen]
        changes = sorted((change for some in chosen for change in some), key=lambda change: change.path)
        result: dict[str, Any] = {
            "changed": False,
            "different": any(change.kind != "copied_up" for change in changes),
            "counts": count_kinds(changes),
            "changes": [describe_change(change, packages) for change in changes],
            "layer": layer,
            "overlays": [one.overlay.directory for one in found],
            "xattrs": _XATTRS[found[0].inspection.layers.getfattr],
        }
        if self._task.diff:
            result["diff"] = [
                text
                for one, some in zip(found, chosen)
                for text in text_diffs(self.run_script, layer, some, arguments["text_limit"], one.overlay)
            ]
            result["text"] = unified(result["diff"])
        return result
