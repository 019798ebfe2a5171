# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet's results grouped; how the page shows them is tested in a browser, in tests/device."""

from __future__ import annotations

from typing import Any

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._report import build_report, render_page


def change(path: str, kind: str = "modified", **more: Any) -> dict[str, Any]:
    return {"path": path, "kind": kind, "before": None, "after": {"mode": "0644", "mtime": "any"}, **more}


def drift(*changes: dict[str, Any]) -> dict[str, Any]:
    kinds = [entry["kind"] for entry in changes]
    counts = {kind: kinds.count(kind) for kind in kinds}
    different = any(kind != "copied_up" for kind in kinds)
    return {"changes": list(changes), "different": different, "counts": counts}


def test_devices_are_in_one_of_four_states() -> None:
    report = build_report(
        {
            "a": drift(change("/etc/x")),
            "b": drift(change("/etc/x", "copied_up")),
            "c": {"unreachable": True, "msg": "no route"},
            "d": {"failed": True, "msg": "no overlay"},
        }
    )
    assert report["summary"] == {"devices": 4, "same": 1, "different": 1, "failed": 1, "unreachable": 1}
    messages = {device["name"]: (device["state"], device["message"]) for device in report["devices"]}
    assert messages["c"] == ("unreachable", "no route")
    assert messages["d"] == ("failed", "no overlay")
    assert report["devices"][1]["counts"] == {}


def test_devices_in_the_same_state_are_one_variant() -> None:
    report = build_report(
        {
            "a": drift(change("/etc/x", checksum="1", packages=["busybox"])),
            "b": drift(change("/etc/x", checksum="1", packages=["busybox"])),
            "c": drift(change("/etc/x", checksum="2", packages=["busybox"])),
            "d": drift(change("/etc/x", "deleted", packages=["busybox"]), change("/etc/y", "added")),
        }
    )
    first, second = report["paths"]
    assert first == {
        "path": "/etc/x",
        "packages": ["busybox"],
        "kinds": {"deleted": ["d"], "modified": ["a", "b", "c"]},
        "variants": 3,
    }
    assert second["packages"] == []
    (package,) = report["packages"]
    assert package == {"package": "busybox", "paths": ["/etc/x"], "devices": ["a", "b", "c", "d"]}


def test_no_name_can_end_the_script_element() -> None:
    page = render_page("<script>__REPORT__</script>", build_report({"</script>": drift(change("<!--&amp;"))}))
    assert page.count("<") == 2
    assert "&" not in page
