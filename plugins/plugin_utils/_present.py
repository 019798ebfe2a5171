# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes as Ansible's results show them: chosen by path, attributed to packages, as plain data."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import DeviceError
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._diff import Change
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._layers import Entry


def shown(path: bytes) -> str:
    """A path as text; bytes that are no UTF-8 become \\xNN."""
    return "/" + path.decode("utf-8", "backslashreplace")


def check_patterns(patterns: Iterable[str]) -> None:
    for pattern in patterns:
        if not pattern.startswith("/") or ".." in pattern.split("/"):
            raise DeviceError(f"{pattern!r} is no absolute path without '..': paths begin at the device's /")


def covers(pattern: str, path: str) -> bool:
    """Whether the pattern names the path or a directory above it."""
    pattern = pattern.rstrip("/")
    if path == pattern or path.startswith(pattern + "/"):
        return True
    return any(fnmatchcase(above, pattern) for above in [path, *map(str, Path(path).parents)])


def select(changes: Iterable[Change], paths: list[str], exclude: list[str]) -> list[Change]:
    check_patterns([*paths, *exclude])
    return [
        change
        for change in changes
        if (not paths or any(covers(pattern, shown(change.path)) for pattern in paths))
        and not any(covers(pattern, shown(change.path)) for pattern in exclude)
    ]


def describe_change(change: Change, packages: Mapping[str, str] | None = None) -> dict[str, Any]:
    result: dict[str, Any] = {"path": shown(change.path), "kind": change.kind}
    for key, path in (("path_base64", change.path), ("origin", change.origin)):
        if key == "origin" and path is not None:
            result[key] = path.decode("utf-8", "backslashreplace")
        elif key == "path_base64" and not _is_text(change.path):
            result[key] = base64.b64encode(change.path).decode()
    result.update({"before": _describe(change.before), "after": _describe(change.after)})
    if change.links:
        result["links"] = [shown(path) for path in change.links]
    if change.xattrs:
        result["xattrs"] = list(change.xattrs)
    if change.checksum and change.kind != "copied_up":
        result["checksum"] = change.checksum.decode()
    if packages is not None:
        result["packages"] = owners(change, packages)
    return result


def _describe(entry: Entry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    facts: dict[str, Any] = {
        "type": entry.type,
        "mode": f"{entry.mode:04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "mtime": entry.mtime,
    }
    if entry.type == "file":
        facts["size"] = entry.size
        if entry.sparse:
            facts["sparse"] = True
    if entry.target is not None:
        facts["target"] = entry.target.decode("utf-8", "backslashreplace")
    if entry.rdev is not None:
        facts["device"] = f"{entry.rdev[0]}:{entry.rdev[1]}"
    return facts


def _is_text(path: bytes) -> bool:
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def count_kinds(changes: Iterable[Change]) -> dict[str, int]:
    return dict(sorted(Counter(change.kind for change in changes).items()))


def load_packages(path: Path) -> dict[str, str]:
    """Buildroot's build/packages-file-list.txt: `package,./path` for each file of the target."""
    packages = {}
    for line in path.read_text(encoding="utf-8", errors="backslashreplace").splitlines():
        package, comma, name = line.partition(",")
        if comma:
            packages["/" + name.removeprefix("./")] = package
    return packages


def owners(change: Change, packages: Mapping[str, str]) -> list[str]:
    """The package of a file; of a directory that the base has, those of all files below it."""
    path = shown(change.path)
    if path in packages:
        return [packages[path]]
    if change.before is None or change.before.type != "directory" or change.after is not None:
        return []
    return sorted({package for name, package in packages.items() if name.startswith(path + "/")})
