# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.br2.readonly_rootfs.molecule.resources import guest

testinfra_hosts = ["ansible://diff"]

DONE = {
    "/etc/hostname": "modified",
    "/etc/profile": "deleted",
    "/root/link": "added",
    "/root/new\nline": "added",
    "/root/written": "added",
    "/usr/lib/systemd": "replaced",
    "/usr/sbin": "metadata",
}


def test_what_was_done_is_what_differs(host: guest.Host) -> None:
    result = host.ansible("br2.readonly_rootfs.overlay_diff", check=False)
    kinds = {change["path"]: change["kind"] for change in result["changes"]}
    assert {path: kinds.get(path) for path in DONE} == DONE
    # Below /etc and /var the boot itself writes: host keys, leases, logs.
    others = {path for path in kinds if path not in DONE and not path.startswith(("/etc/", "/var/"))}
    # What the base has in the directory that was replaced is gone.
    replaced = host.check_output("ls /media/rfs/ro/usr/lib/systemd").split()
    assert replaced
    assert {path: kinds[path] for path in others} == {
        f"/usr/lib/systemd/{name}": "deleted" for name in replaced
    }


def test_our_own_mount_points_never_appear(host: guest.Host) -> None:
    result = host.ansible("br2.readonly_rootfs.overlay_diff", check=False)
    paths = [change["path"] for change in result["changes"]]
    assert not [path for path in paths if path.startswith(("/media", "/proc", "/dev"))]


def test_info_tells_what_the_init_did(host: guest.Host) -> None:
    info = host.ansible("br2.readonly_rootfs.overlay_info", check=False)["info"]
    assert (info["layer"], info["base_id"]) == ("persistent", guest.manifest()["base_id"])
    times = [info["stages"][stage] for stage in ("init", "base", "layer", "overlay", "checked", "switch")]
    assert times == sorted(times)
    assert 0 < info["space_kib"]["available"] <= info["space_kib"]["total"]
