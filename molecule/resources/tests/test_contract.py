# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds in every scenario, after a reboot with changes made."""

from __future__ import annotations

import re

import pytest
from ansible_collections.br2.readonly_rootfs.molecule.resources import guest

testinfra_hosts = [f"ansible://{guest.SCENARIO}"]


def test_root_is_an_overlay_over_the_read_only_base(host: guest.Host) -> None:
    root = host.mount_point("/")
    assert (root.device, root.filesystem) == ("overlay", "overlay")
    assert "rw" in root.options
    assert guest.overlay_options(host)["lowerdir"].split(":")[0] == "/media/rfs/ro"


def test_base_is_mounted_read_only(host: guest.Host) -> None:
    base = host.mount_point("/media/rfs/ro")
    assert (base.device, base.filesystem) == ("/dev/vda1", guest.manifest()["root"]["type"])
    assert {"ro", "noatime", "nodiratime"} <= set(base.options)


@pytest.mark.parametrize(
    "attempt",
    ["mount -o remount,rw /media/rfs/ro", "echo x >/media/rfs/ro/etc/hostname", "echo x >/dev/vda1"],
)
def test_base_cannot_be_written(host: guest.Host, attempt: str) -> None:
    assert host.run(f"if {attempt}; then echo done; else echo refused; fi").stdout == "refused\n"


def test_base_is_untouched_bit_for_bit(host: guest.Host) -> None:
    assert host.file("/dev/vda1").sha256sum == guest.root_partition_sha256()


def test_status_knows_the_base(host: guest.Host) -> None:
    assert guest.status(host)["base_id"] == guest.manifest()["base_id"]


def test_console_tells_of_two_orderly_boots() -> None:
    log = guest.console()
    assert len(re.findall(r"Linux version ", log)) == 2
    # No journal was replayed and nothing went wrong before anybody could log in.
    for trouble in ("recovering journal", "recovery complete", "Kernel panic", "emergency", "EXT4-fs error"):
        assert trouble not in log


def test_nobody_logs_in_with_a_guess(host: guest.Host) -> None:
    # The demonstration's root has no password at all; nobody else gets in.
    shadow = host.file("/etc/shadow").content_string.splitlines()
    assert [line.split(":")[0] for line in shadow if line.split(":")[1] == ""] == ["root"]
