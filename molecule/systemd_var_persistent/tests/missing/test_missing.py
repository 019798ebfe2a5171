# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disk that fstab names is not there."""

from __future__ import annotations

from ansible_collections.br2.readonly_rootfs.molecule.resources import guest, units

testinfra_hosts = ["ansible://systemd_var_persistent"]


def test_systemd_is_content(host: guest.Host) -> None:
    units.assert_content(host)


def test_the_layer_is_a_tmpfs_and_the_reason_is_told(host: guest.Host) -> None:
    status = units.status(host, "var")
    assert (status["layer"], status["reason"]) == ("fallback", "missing")
    assert host.mount_point("/run/buildroot/mounts/var").filesystem == "tmpfs"
    assert not host.file("/var/kept").exists
    assert host.file("/var/foo/bar").content_string == "foobar\n"
    assert host.run("echo x >/var/scratch").succeeded


def test_nothing_ended_in_emergency_mode() -> None:
    assert units.trouble(guest.console()) == []
