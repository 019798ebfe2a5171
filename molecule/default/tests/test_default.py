# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.br2.readonly_rootfs.molecule.resources import guest

testinfra_hosts = ["ansible://default"]


def test_upper_layer_is_the_second_partition(host: guest.Host) -> None:
    writable = host.mount_point("/media/rfs/rw")
    assert (writable.device, writable.filesystem) == ("/dev/vda2", "ext4")
    assert {"rw", "noatime"} <= set(writable.options)
    layers = guest.overlay_options(host)
    assert layers["upperdir"] == "/media/rfs/rw/upperdir"
    assert layers["workdir"] == "/media/rfs/rw/work"


def test_what_was_written_is_still_there(host: guest.Host) -> None:
    assert host.file("/root/written").content_string == "kept\n"
    assert host.file("/etc/hostname").content_string == "changed\n"
    assert not host.file("/etc/profile").exists


def test_the_base_below_has_none_of_it(host: guest.Host) -> None:
    assert not host.file("/media/rfs/ro/root/written").exists
    assert host.file("/media/rfs/ro/etc/hostname").content_string != "changed\n"
    assert host.file("/media/rfs/ro/etc/profile").exists


def test_status_says_persistent(host: guest.Host) -> None:
    status = guest.status(host)
    assert (status["layer"], status["reason"], status["mode"]) == ("persistent", "", "initramfs")
