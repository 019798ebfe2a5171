# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._files import write_atomically
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._archive import (
    fetch_tree,
    make_backup,
    names_to_archive,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._arguments import SELECTION
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import (
    DeviceAction,
    DeviceError,
    Spec,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._inspect import inspect_layers
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._overlays import directory_overlays
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._present import count_kinds, select, shown


class ActionModule(DeviceAction):
    ARGUMENTS: ClassVar[Spec] = {**SELECTION, "dest": {"type": "path", "required": True}}

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        layer = arguments["layer"]
        inspection = inspect_layers(self.run_script, layer)
        changes = [
            change
            for change in select(inspection.comparison.changes, arguments["paths"], arguments["exclude"])
            if change.kind != "copied_up"
        ]
        dest = Path(arguments["dest"]).absolute()
        result: dict[str, Any] = {
            "dest": str(dest),
            "counts": count_kinds(changes),
            # A socket is made by who listens on it; attributes have no place in BusyBox's tar.
            "left_out": [
                shown(change.path)
                for change in changes
                if (change.after and change.after.type == "socket") or change.xattrs
            ],
        }
        directories = [one.directory for one in directory_overlays(inspection.layers.mounts)]
        if directories:
            result["not_covered"] = directories
            result["warnings"] = [f"not in the backup: the overlays of {', '.join(directories)}"]
        names = names_to_archive(changes)
        content = make_backup(
            inspection.layers, changes, fetch_tree(self.run_script, layer, names) if names else b""
        )
        try:
            changed = not dest.is_file() or dest.read_bytes() != content
            if changed and not self._task.check_mode:
                write_atomically(dest, content, mode=0o600)
        except OSError as error:
            raise DeviceError(f"cannot write the backup: {error}") from error
        return {**result, "changed": changed, "size": len(content)}
