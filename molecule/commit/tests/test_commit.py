# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.br2.readonly_rootfs.molecule.resources import guest

testinfra_hosts = ["ansible://commit"]


def test_the_base_has_what_was_committed(host: guest.Host) -> None:
    assert host.file("/media/rfs/ro/etc/issue").content_string == "mine\n"
    assert host.run("ls -l /media/rfs/ro/etc/issue").stdout.startswith("-rw-------")
    assert host.run("readlink /media/rfs/ro/opt/mine/link").stdout == "/etc/issue\n"
    assert not host.file("/media/rfs/ro/etc/profile").exists


def test_the_base_has_no_more(host: guest.Host) -> None:
    assert not host.file("/media/rfs/ro/root/other").exists
    assert not host.file("/media/rfs/ro/usr/lib/readonly-rootfs/commit").exists


def test_the_device_does_not_differ_in_it(host: guest.Host) -> None:
    paths = "paths=/etc/issue,/etc/profile,/opt"
    result = host.ansible("br2.readonly_rootfs.overlay_diff", paths, check=False)
    assert result["changes"] == []
