# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the buildroot_* modules share: their first options, the tree that these name, and how they end."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, Protocol

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_tree import BuildrootError, Tree
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._run_as import run_as

ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "buildroot_dir": {"type": "path", "required": True},
    "output_dir": {"type": "path", "required": True},
    "external": {"type": "list", "elements": "path", "default": []},
    "user": {"type": "str", "default": ""},
}


class Module(Protocol):
    """As much of an AnsibleModule as is used here."""

    params: dict[str, Any]

    def fail_json(self, msg: str, **kwargs: Any) -> NoReturn: ...
    def exit_json(self, **kwargs: Any) -> NoReturn: ...


def tree_of(params: Mapping[str, Any]) -> Tree:
    """The tree of the options in ARGUMENTS.

    In their shortest form: Buildroot calls itself again, and its output is held back, for any other path.
    """
    return Tree(
        Path(params["buildroot_dir"]).resolve(),
        Path(params["output_dir"]).resolve(),
        tuple(Path(path).resolve() for path in params["external"]),
    )


def done(module: Module, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What comes of it when the user of the options does the work; its failure is the module's."""
    os.umask(0o022)
    try:
        return run_as(module.params["user"], work)
    except BuildrootError as error:
        module.fail_json(msg=str(error), **error.details)


def finish(module: Module, work: Callable[[], dict[str, Any]]) -> NoReturn:
    """Let the user of the options do the work, and end the module with its result or its failure."""
    module.exit_json(**done(module, work))
