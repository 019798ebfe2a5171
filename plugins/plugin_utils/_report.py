# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet's drift: which devices differ from their base, in what, grouped by path and by package."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

STATES = ("same", "different", "failed", "unreachable")
PLACEHOLDER = "__REPORT__"


def build_report(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """From what overlay_diff (and overlay_info, as `info`) returned for each device."""
    devices = [_device(name, result) for name, result in sorted(results.items())]
    paths: dict[str, dict[str, Any]] = {}
    for name, result in sorted(results.items()):
        for change in result.get("changes") or []:
            if change["kind"] != "copied_up":
                _add_path(paths, name, change)
    return {
        "summary": {"devices": len(devices), **_count(devices)},
        "devices": devices,
        "paths": [_finish_path(paths[path]) for path in sorted(paths)],
        "packages": _packages(paths.values()),
    }


def _count(devices: list[dict[str, Any]]) -> dict[str, int]:
    counted = Counter(device["state"] for device in devices)
    return {state: counted[state] for state in STATES}


def _device(name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    if result.get("unreachable"):
        state = "unreachable"
    elif result.get("failed") or "changes" not in result:
        state = "failed"
    else:
        state = "different" if result["different"] else "same"
    info = result.get("info") or {}
    return {
        "name": name,
        "state": state,
        "message": str(result.get("msg") or "") if state in ("unreachable", "failed") else "",
        "layer": info.get("layer") or "",
        "reason": info.get("reason") or "",
        "stale": bool(info.get("stale")),
        "base_id": info.get("base_id") or "",
        "counts": {
            kind: count for kind, count in (result.get("counts") or {}).items() if kind != "copied_up"
        },
    }


def _add_path(paths: dict[str, dict[str, Any]], device: str, change: Mapping[str, Any]) -> None:
    entry = paths.setdefault(
        change["path"],
        {"path": change["path"], "packages": set(), "kinds": defaultdict(list), "variants": set()},
    )
    entry["kinds"][change["kind"]].append(device)
    entry["packages"].update(change.get("packages") or [])
    after = {key: value for key, value in (change.get("after") or {}).items() if key != "mtime"}
    entry["variants"].add(json.dumps([change["kind"], change.get("checksum"), after], sort_keys=True))


def _finish_path(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "path": entry["path"],
        "packages": sorted(entry["packages"]),
        "kinds": dict(sorted(entry["kinds"].items())),
        # How many different states the devices are in; contents of added files are not compared.
        "variants": len(entry["variants"]),
    }


def _packages(paths: Any) -> list[dict[str, Any]]:
    grouped: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in paths:
        for package in entry["packages"]:
            grouped[package].append(entry)
    return [
        {
            "package": package,
            "paths": sorted(entry["path"] for entry in entries),
            "devices": sorted(
                {name for entry in entries for names in entry["kinds"].values() for name in names}
            ),
        }
        for package, entries in sorted(grouped.items())
    ]


def render_page(template: str, report: Mapping[str, Any]) -> str:
    """The page with the report in it; no name on a device can end the element that it is in."""
    data = json.dumps(report, separators=(",", ":"))
    return template.replace(PLACEHOLDER, data.replace("<", "\\u003c").replace("&", "\\u0026"), 1)
