# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A persistent overlay root with systemd, and in it an overlay on /var with a disk of its own."""

from __future__ import annotations

from ansible_collections.br2.readonly_rootfs.molecule.resources import guest, units

testinfra_hosts = ["ansible://systemd_root"]


def test_systemd_is_content(host: guest.Host) -> None:
    units.assert_content(host)


def test_the_line_for_root_in_fstab_does_not_make_it_read_only(host: guest.Host) -> None:
    assert " / auto ro " in " ".join(host.file("/etc/fstab").content_string.split())
    assert "rw" in host.mount_point("/").options
    assert host.run("touch /root/writable").succeeded


def test_both_layers_are_kept(host: guest.Host) -> None:
    assert host.file("/root/written").content_string == "kept\n"
    assert host.file("/var/written").content_string == "kept\n"
    assert guest.status(host)["layer"] == "persistent"
    assert (units.status(host, "var")["layer"], units.status(host, "var")["rw_device"]) == (
        "persistent",
        "/dev/vdb",
    )


def test_the_boot_was_confirmed_by_its_unit(host: guest.Host) -> None:
    assert host.check_output("systemctl is-active overlay-confirm.service") == "active"
    status = guest.status(host)
    # The first boot's was as well, or else this would be the second try.
    assert (status["tries"], bool(status["confirmed"])) == ("1", True)
    assert not host.file("/media/rfs/rw/state/tries").exists


def test_the_end_was_clean_although_a_file_was_open(host: guest.Host) -> None:
    assert units.trouble(guest.console()) == []
