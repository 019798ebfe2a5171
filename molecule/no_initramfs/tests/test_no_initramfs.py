# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re

from ansible_collections.br2.readonly_rootfs.molecule.resources import guest

testinfra_hosts = ["ansible://no_initramfs"]


def test_the_kernel_itself_mounted_the_root() -> None:
    log = guest.console()
    assert len(re.findall(r"VFS: Mounted root .* readonly on device", log)) == 2
    assert len(re.findall(r"Run /init as init process", log)) == 2


def test_status_says_so(host: guest.Host) -> None:
    status = guest.status(host)
    assert (status["layer"], status["mode"]) == ("persistent", "root")


def test_upper_layer_is_the_second_partition(host: guest.Host) -> None:
    writable = host.mount_point("/media/rfs/rw")
    assert (writable.device, writable.filesystem) == ("/dev/vda2", "ext4")


def test_what_was_written_is_still_there(host: guest.Host) -> None:
    assert host.file("/root/written").content_string == "kept\n"
    assert host.file("/etc/hostname").content_string == "changed\n"
    assert not host.file("/etc/profile").exists
