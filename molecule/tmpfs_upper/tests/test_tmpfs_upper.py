# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.br2.readonly_rootfs.molecule.resources import guest

testinfra_hosts = ["ansible://tmpfs_upper"]


def test_upper_layer_is_memory(host: guest.Host) -> None:
    writable = host.mount_point("/media/rfs/rw")
    assert writable.filesystem == "tmpfs"
    assert {"rw", "noatime", "mode=755"} <= set(writable.options)
    assert guest.overlay_options(host)["upperdir"] == "/media/rfs/rw/upperdir"


def test_what_was_written_is_gone(host: guest.Host) -> None:
    assert not host.file("/root/written").exists
    assert host.file("/etc/hostname").content_string != "changed\n"
    assert host.file("/etc/profile").exists


def test_writing_works_until_the_next_boot(host: guest.Host) -> None:
    assert host.run("echo x >/root/scratch && cat /root/scratch").stdout == "x\n"


def test_second_partition_is_not_mounted(host: guest.Host) -> None:
    assert "/dev/vda2" not in host.file("/proc/mounts").content_string


def test_status_says_tmpfs_as_asked(host: guest.Host) -> None:
    status = guest.status(host)
    assert (status["layer"], status["rw_device"]) == ("tmpfs", "")
