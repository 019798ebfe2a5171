# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.br2.readonly_rootfs.molecule.resources import guest, units

testinfra_hosts = ["ansible://systemd_dirs"]
DIRECTORIES = {"var": "/var", "etc": "/etc", "srv": "/srv", "data": "/data", "home-app": "/home/app"}


def test_systemd_is_content(host: guest.Host) -> None:
    units.assert_content(host)


def test_the_root_is_the_read_only_base(host: guest.Host) -> None:
    root = host.mount_point("/")
    assert root.filesystem == guest.manifest()["root"]["type"]
    assert "ro" in root.options


@pytest.mark.parametrize("name", DIRECTORIES)
def test_the_directory_is_an_overlay_that_can_be_written(host: guest.Host, name: str) -> None:
    overlay = host.mount_point(DIRECTORIES[name])
    assert overlay.filesystem == "overlay"
    assert f"upperdir=/run/buildroot/mounts/{name}/upper" in overlay.options
    assert host.run(f"echo x >{DIRECTORIES[name]}/try").succeeded


@pytest.mark.parametrize("name", DIRECTORIES)
def test_the_lower_layer_cannot_be_written(host: guest.Host, name: str) -> None:
    """Not even when the base can: the base is mounted here by nobody who keeps it from that."""
    attempt = f"if echo x >/run/buildroot/mounts/{name}/lower/try; then echo done; else echo refused; fi"
    assert host.run("mount -o remount,rw / && touch /try && rm /try").succeeded
    try:
        assert host.run(attempt).stdout == "refused\n"
    finally:
        assert host.run("mount -o remount,ro /").succeeded


def test_the_directory_is_mounted_before_local_fs_target(host: guest.Host) -> None:
    """And with /etc what reads its settings there before that."""
    times = {
        unit: int(host.check_output("systemctl show -P ActiveEnterTimestampMonotonic %s", unit))
        for unit in ("var.mount", "etc.mount", "local-fs.target", "systemd-networkd.service")
    }
    assert max(times["var.mount"], times["etc.mount"]) <= times["local-fs.target"]
    assert 0 < times["etc.mount"] <= times["systemd-networkd.service"]


def test_the_layers_are_where_they_were_asked_for(host: guest.Host) -> None:
    found = {name: units.status(host, name) for name in DIRECTORIES}
    assert {name: status["layer"] for name, status in found.items()} == {
        "var": "persistent",
        "srv": "fallback",
        "data": "tmpfs",
        "etc": "tmpfs",
        "home-app": "tmpfs",
    }
    assert found["var"]["rw_device"] == "/dev/vdb"
    assert found["srv"]["reason"] == "missing"
    assert found["data"]["rw_device"] == "other-backing-store"


def test_only_the_persistent_layer_outlives_the_reboot(host: guest.Host) -> None:
    kept = {name for name, path in DIRECTORIES.items() if host.file(f"{path}/written").exists}
    assert kept == {"var"}


def test_what_was_changed_is_in_upper_and_lower_is_as_before(host: guest.Host) -> None:
    layers = "/run/buildroot/mounts/var"
    assert host.file("/var/foo/bar").content_string == "changed\n"
    assert host.file(f"{layers}/upper/foo/bar").content_string == "changed\n"
    assert host.file(f"{layers}/lower/foo/bar").content_string == "foobar\n"


@pytest.mark.parametrize("name", ["home-app", "data"])
def test_what_was_not_changed_is_not_in_upper_until_it_is(host: guest.Host, name: str) -> None:
    layers = f"/run/buildroot/mounts/{name}"
    assert host.file(f"{DIRECTORIES[name]}/file").content_string == "base\n"
    assert not host.file(f"{layers}/upper/file").exists
    assert host.run(f"echo new >{DIRECTORIES[name]}/file").succeeded
    assert host.file(f"{layers}/upper/file").content_string == "new\n"
    assert host.file(f"{layers}/lower/file").content_string == "base\n"


def test_what_systemd_mounted_in_etc_is_still_there(host: guest.Host) -> None:
    machine_id = host.file("/etc/machine-id").content_string.strip()
    assert len(machine_id) == 32
    assert machine_id == host.file("/run/machine-id").content_string.strip()


def test_the_end_was_clean_although_a_file_was_open() -> None:
    assert guest.console().count("Linux version ") == 2
    assert units.trouble(guest.console()) == []
