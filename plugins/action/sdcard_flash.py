# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the image to the station, and show how far each card is while the module runs there."""

from __future__ import annotations

import json
import shlex
import time
import typing as t
import uuid
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._flash_progress import (
    Lines,
    all_over,
    pause,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._flash_transfer import (
    check_command,
    companions,
    install_command,
    is_address,
    sha256,
)

MODULE = "br2.readonly_rootfs.sdcard_flash"
_POLL = 1.0
# Wiping a large card through a slow reader takes hours, and nobody waits for a lost one for ever.
_LIMIT = 24 * 3600

display = Display()


class ActionModule(ActionBase):
    TRANSFERS_FILES = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        args = dict(self._task.args)
        if args.get("image") and not is_address(args["image"]) and not _true(args.get("remote_src")):
            args.update(self._bring(Path(args["image"]).expanduser().absolute(), args, task_vars))
        if self._task.check_mode or self._task.async_val:
            return self._module(args, task_vars, wrap_async=bool(self._task.async_val))
        return self._watched(args, task_vars)

    def _bring(self, image: Path, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Put the image and its block map on the station, unless they are there and whole."""
        if not image.is_file():
            raise AnsibleActionFail(f"{image}: there is no such image on the controller")
        files = companions(image, args.get("bmap"))
        if self._connection.transport == "local":
            return {name: str(path) for name, path in files.items()} | {"remote_src": True}
        cache = self._cache(args)
        placed = {}
        for name, path in files.items():
            digest = sha256(path)
            target = f"{cache}/{digest}/{path.name}"
            kept = self._low_level_execute_command(check_command(target, digest))
            if kept["rc"]:
                self._upload(path, digest, target, task_vars)
            placed[name] = target
        return {**placed, "remote_src": True}

    def _cache(self, args: dict[str, t.Any]) -> str:
        base = args.get("cache_dir") or "~/.cache/br2-readonly-rootfs"
        return str(self._remote_expand_user(f"{base}/images"))

    def _upload(self, path: Path, digest: str, target: str, task_vars: dict[str, t.Any]) -> None:
        """With the connection's own means and the shell, in check mode too: modules take longer.

        The cache holds what can be made again, and comparing a card needs the image there.
        """
        display.display(f"[{task_vars.get('inventory_hostname', '')}] copying {path.name} to the station")
        directory = self._make_tmp_path()
        try:
            arrived = self._connection._shell.join_path(directory, path.name)
            self._transfer_file(str(path), arrived)
            self._fixup_perms2((directory, arrived))
            placed = self._low_level_execute_command(install_command(arrived, digest, target))
        finally:
            self._remove_tmp_path(directory)
        if placed["rc"]:
            said = (placed["stderr"] or placed["stdout"]).strip()
            raise AnsibleActionFail(f"{path}: cannot be copied to the station ({said})")

    def _watched(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Run the module in the background and say where it is."""
        progress = args.setdefault("progress_path", f"{self._cache(args)}/progress-{uuid.uuid4().hex}.json")
        lines = Lines(str(task_vars.get("inventory_hostname", "")))
        self._task.async_val = _LIMIT
        try:
            job = self._module(args, task_vars, wrap_async=True)
        finally:
            self._task.async_val = 0
        if "ansible_job_id" not in job:
            return job
        asked = begin = time.monotonic()
        while True:
            time.sleep(_POLL)
            cards = self._show(progress, lines)
            now = time.monotonic()
            if not all_over(cards) and now - asked < pause(now - begin):
                continue
            status = self._status(job, task_vars)
            asked = time.monotonic()
            if not status.get("finished", True):
                continue
            self._show(progress, lines)
            left = " ".join(shlex.quote(path) for path in (progress, job["results_file"]))
            self._low_level_execute_command(f"rm -f {left}")
            for internal in ("ansible_job_id", "finished", "started", "results_file"):
                status.pop(internal, None)
            return status

    def _show(self, progress: str, lines: Lines) -> list[dict[str, t.Any]]:
        read = self._low_level_execute_command(f"cat {shlex.quote(progress)} 2>/dev/null")
        cards = _cards(read["stdout"])
        for line in lines.new(cards):
            display.display(line)
        return cards

    def _status(self, job: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        args = {"jid": job["ansible_job_id"], "_async_dir": str(Path(job["results_file"]).parent)}
        result: dict[str, t.Any] = self._execute_module(
            "ansible.legacy.async_status", module_args=args, task_vars=task_vars
        )
        return result

    def _module(
        self, args: dict[str, t.Any], task_vars: dict[str, t.Any], wrap_async: bool
    ) -> dict[str, t.Any]:
        result: dict[str, t.Any] = self._execute_module(
            MODULE, module_args=args, task_vars=task_vars, wrap_async=wrap_async
        )
        return result


def _true(value: object) -> bool:
    return str(value).lower() in ("true", "yes", "on", "1")


def _cards(text: str) -> list[dict[str, t.Any]]:
    try:
        found = json.loads(text)
    except ValueError:
        return []
    return found if isinstance(found, list) else []
