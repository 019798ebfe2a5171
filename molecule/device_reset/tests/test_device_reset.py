# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.br2.readonly_rootfs.molecule.resources import guest

testinfra_hosts = ["ansible://device_reset"]


def test_the_paths_have_the_bases_state(host: guest.Host) -> None:
    assert host.file("/etc/hostname").content_string != "changed\n"
    assert host.file("/etc/profile").exists
    result = host.ansible("br2.readonly_rootfs.overlay_diff", "paths=/etc/hostname,/etc/profile", check=False)
    assert result["different"] is False


def test_everything_else_is_kept(host: guest.Host) -> None:
    assert host.file("/root/written").content_string == "kept\n"


def test_the_restored_file_has_its_capability(host: guest.Host) -> None:
    assert host.file("/root/ping").content_string == "ping\n"
    shown = host.check_output("getfattr -n security.capability -e hex /root/ping")
    assert "security.capability=0x0100000200200000000000000000000000000000" in shown


def test_the_boot_is_confirmed(host: guest.Host) -> None:
    assert guest.status(host)["confirmed"]


def test_the_request_is_done_with(host: guest.Host) -> None:
    info = host.ansible("br2.readonly_rootfs.overlay_info", check=False)["info"]
    assert (info["was_reset"], info["reset_pending"]) == (True, False)


def test_a_whole_reset_would_discard_the_rest(host: guest.Host) -> None:
    # Check mode: this is only asked.
    result = host.ansible("br2.readonly_rootfs.overlay_reset", "keep=/etc", check=True)
    assert "/root/written" in [change["path"] for change in result["discarded"]]
    assert host.file("/root/written").exists
