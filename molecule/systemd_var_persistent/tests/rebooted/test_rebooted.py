# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""/var on a disk that a line of fstab names, after a reboot."""

from __future__ import annotations

from ansible_collections.br2.readonly_rootfs.molecule.resources import guest, units

testinfra_hosts = ["ansible://systemd_var_persistent"]
LAYERS = "/run/buildroot/mounts/var"


def test_systemd_is_content(host: guest.Host) -> None:
    units.assert_content(host)


def test_the_layer_is_on_the_disk(host: guest.Host) -> None:
    disk = host.mount_point(LAYERS)
    assert (disk.device, disk.filesystem) == ("/dev/vdb", "ext4")
    status = units.status(host, "var")
    assert (status["layer"], status["stale"]) == ("persistent", "no")
    assert status["layer_base_id"] == guest.manifest()["base_id"]


def test_what_was_written_is_kept(host: guest.Host) -> None:
    assert host.file("/var/kept").content_string == "kept\n"
    assert host.file("/var/foo/bar").content_string == "barfoo\n"
    assert host.file(f"{LAYERS}/lower/foo/bar").content_string == "foobar\n"


def test_the_journal_is_kept_on_it(host: guest.Host) -> None:
    assert host.check_output("ls -d /var/log/journal/*/system.journal") != ""


def test_what_was_reset_is_gone(host: guest.Host) -> None:
    assert units.status(host, "var")["reset"] == "yes"
    assert not host.file("/var/undone").exists


def test_the_end_was_clean_although_a_file_was_open() -> None:
    assert guest.console().count("Linux version ") == 2
    assert units.trouble(guest.console()) == []
