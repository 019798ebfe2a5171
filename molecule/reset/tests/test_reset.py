# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.br2.readonly_rootfs.molecule.resources import guest

testinfra_hosts = ["ansible://reset"]


def test_what_was_written_is_gone(host: guest.Host) -> None:
    assert not host.file("/root/written").exists
    assert host.file("/etc/profile").exists


def test_what_was_to_be_kept_is_there(host: guest.Host) -> None:
    assert host.file("/etc/hostname").content_string == "changed\n"


def test_request_is_done_with(host: guest.Host) -> None:
    assert not host.file("/media/rfs/rw/state/reset").exists
    status = guest.status(host)
    assert (status["layer"], status["reset"]) == ("persistent", "yes")


def test_old_data_is_deleted_in_the_background(host: guest.Host) -> None:
    gone = "for i in 1 2 3 4 5 6 7 8 9 10; do ls -d /media/rfs/rw/trash.* || exit 0; sleep 1; done; exit 1"
    assert host.run(gone).succeeded
