# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._files import write_atomically
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import SCRIPTS, Spec
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._report import build_report, render_page


class ActionModule(ActionBase):
    """Runs on the controller alone, so it needs no connection."""

    TRANSFERS_FILES = False
    _requires_connection = False
    ARGUMENTS: ClassVar[Spec] = {
        "devices": {"type": "dict", "required": True},
        "dest": {"type": "path", "required": True},
    }

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(self.ARGUMENTS)
        report = build_report(arguments["devices"])
        dest = Path(arguments["dest"]).absolute()
        template = (SCRIPTS / "report.html").read_text(encoding="utf-8")
        files = {
            dest / "report.json": json.dumps(report, indent=2, sort_keys=True) + "\n",
            dest / "report.html": render_page(template, report),
        }
        changed = False
        try:
            for path, content in files.items():
                if path.is_file() and path.read_text(encoding="utf-8") == content:
                    continue
                changed = True
                if not self._task.check_mode:
                    write_atomically(path, content)
        except OSError as error:
            raise AnsibleActionFail(f"cannot write the report to {dest}: {error}") from error
        page, data = str(dest / "report.html"), str(dest / "report.json")
        return {**result, "changed": changed, "summary": report["summary"], "page": page, "data": data}
