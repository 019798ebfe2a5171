# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What overlay_info returns, from what files/device/info.sh prints."""

from __future__ import annotations

from typing import Any

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._status import (
    Mount,
    parse_df,
    parse_mounts,
    parse_sections,
    parse_status,
)


def describe_device(output: bytes) -> dict[str, Any]:
    sections = {name: text.strip("\n") for name, text in parse_sections(output).items()}
    mounts = parse_mounts(sections["mounts"])
    status = parse_status(sections["status"])
    rfs = sections["rfs"]
    overlay = is_overlay(mounts)
    info: dict[str, Any] = {
        "overlay": overlay,
        "boot_id": sections["boot_id"],
        "uptime": float(sections["uptime"].split()[0]),
        "kernel": sections["release"],
        "layer": _layer(status, mounts.get(f"{rfs}/rw")) if overlay else None,
        "reason": status.get("reason") or None,
        "detail": status.get("detail") or None,
        "tries": _number(status.get("tries")),
        "tries_max": _number(status.get("tries_max")),
        "confirmed": bool(status.get("confirmed")),
        "base_id": status.get("base_id") or None,
        "layer_base_id": status.get("layer_base_id") or None,
        "stale": status.get("stale") == "yes",
        "was_reset": status.get("reset") == "yes",
        "reset_pending": sections["request"] == "pending",
        "quarantine": status.get("quarantine") or None,
        "base": _mount(mounts.get(f"{rfs}/ro")),
        "writable": _mount(mounts.get(f"{rfs}/rw")),
        "root": _mount(mounts.get("/")),
        "space_kib": parse_df(sections["space"], ("total", "available")),
        "inodes": parse_df(sections["inodes"], ("total", "available")),
        # The upper directory itself is counted with the rest.
        "entries": max(int(sections["changes"]) - 1, 0) if sections["changes"] else None,
        "stages": {
            name.removeprefix("time_"): float(value)
            for name, value in status.items()
            if name.startswith("time_") and value
        },
        "status": status,
        "directories": _directories(sections.get("directories", "")),
    }
    return info


def _directories(text: str) -> list[dict[str, Any]]:
    """What each overlay on a single directory says of itself."""
    found: list[dict[str, str]] = []
    for line in text.splitlines():
        key, _equals, value = line.partition("=")
        if key == "directory":
            found.append({})
        if found:
            found[-1][key] = value
    return [_directory(status) for status in sorted(found, key=lambda status: status["directory"])]


def _directory(status: dict[str, str]) -> dict[str, Any]:
    return {
        "directory": status["directory"],
        **{
            key: status.get(key) or None
            for key in ("layer", "layers", "reason", "detail", "base_id", "layer_base_id", "quarantine")
        },
        "device": status.get("rw_device") or None,
        "fstype": status.get("rw_type") or None,
        "stale": status.get("stale") == "yes",
        "was_reset": status.get("reset") == "yes",
        "reset_pending": status.get("request") == "pending",
        "space_kib": parse_df(status.get("space", ""), ("total", "available")),
        "entries": max(int(status.get("changes") or 0) - 1, 0),
    }


def is_overlay(mounts: dict[str, Mount]) -> bool:
    return "/" in mounts and mounts["/"].fstype == "overlay"


def _layer(status: dict[str, str], writable: Mount | None) -> str:
    """As the init says; an image without a status file is judged by its mounts."""
    if "layer" in status:
        return status["layer"]
    return "tmpfs" if writable is not None and writable.fstype == "tmpfs" else "persistent"


def _mount(mount: Mount | None) -> dict[str, Any] | None:
    return None if mount is None else mount.describe()


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
