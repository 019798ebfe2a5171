# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Render the BR2_EXTERNAL tree on the controller, hand it over in one module call."""

from __future__ import annotations

import base64
import typing as t
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._tree_sync import Node, TreeError
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._external_tree import load_board, render


class ActionModule(ActionBase):
    _VALID_ARGS = frozenset({"path", "board", "board_path", "image"})

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            {
                "path": {"type": "str", "required": True},
                "board": {"type": "str", "required": True},
                "board_path": {"type": "list", "elements": "str", "default": []},
                "image": {"type": "dict", "default": {}},
            }
        )
        path = args["path"]
        if self._connection.transport == "local":
            # Relative to where the user stands, wherever modules are run from.
            path = str(Path(path).expanduser().absolute())
        try:
            board = load_board(args["board"], [Path(entry).expanduser() for entry in args["board_path"]])
            files = render(board, args["image"])
        except (TreeError, OSError) as error:
            raise AnsibleActionFail(str(error)) from error
        result: dict[str, t.Any] = self._execute_module(
            "br2.readonly_rootfs.external_tree",
            module_args={
                "path": path,
                "board": args["board"],
                "files": {name: _transfer(node) for name, node in files.items()},
            },
            task_vars=task_vars,
        )
        result.pop("invocation", None)
        return {**result, "board": board}


def _transfer(node: Node) -> dict[str, t.Any]:
    if node.link:
        return {"link": node.link}
    return {"content": base64.b64encode(node.content).decode(), "executable": node.executable}
