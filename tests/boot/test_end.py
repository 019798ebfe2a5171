# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clean end: after `poweroff` or `reboot` the writable file system needs no recovery."""

from __future__ import annotations

import pytest
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.disk import Ext
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.rig import Rig
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.tree import Base


@pytest.mark.parametrize("command", ["poweroff", "reboot", "halt"])
@pytest.mark.parametrize("open_files", [False, True], ids=["idle", "open-files"])
def test_clean_end_with_busybox_init(rig: Rig, command: str, open_files: bool) -> None:
    """Ended by BusyBox init, with files open for writing or not: no journal to replay, nothing lost."""
    upper = rig.writable()
    guest = rig.boot([rig.base(Base(init="busybox", overlay=rig.rootfs_overlay)), upper])
    assert guest.layer() == "persistent"
    guest.sh("echo mine >/etc/mine; rm /etc/base-file")
    if open_files:
        # One that ignores the polite signal, and one whose file is deleted while open.
        guest.sh("(trap '' TERM HUP; while :; do echo x; sleep 1; done) >/stubborn & :")
        guest.sh("(sleep 1000 >/deleted; :) & sleep 1; rm /deleted")
    guest.machine.type(f"{command}\n")
    if command == "halt":
        guest.machine.expect("reboot: System halted")
        guest.machine.kill()
    else:
        assert guest.machine.wait_end() == {"poweroff": "guest-shutdown", "reboot": "guest-reset"}[command]
    assert not Ext(upper).problems()
    assert Ext(upper).read("/upperdir/etc/mine") == "mine\n"
