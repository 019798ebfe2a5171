# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the running system can learn about its boot, and what the boot costs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.tests.boot.lab import disk
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.cpio import Archive
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.floor import floor
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.rig import PLAIN, ROOT, Rig
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.tree import Base

OLD, NEW = "a" * 64, "b" * 64


def test_status_is_machine_readable(rig: Rig) -> None:
    """Layer, reason, tries, base identity and the time of every stage, one key=value a line, in order."""
    guest = rig.boot([rig.base(Base(base_id=OLD)), rig.writable()])
    lines = guest.sh("cat /media/rfs/status").splitlines()
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*=.*", line) for line in lines), lines
    status = guest.status()
    assert len(status) == len(lines), "a key is there twice"
    assert status["layer"] == "persistent"
    assert status["tries"] == "1"
    assert status["base_id"] == OLD
    assert "reason" in status
    times = [float(value) for key, value in status.items() if key.startswith("time_")]
    assert len(times) >= 4
    assert times == sorted(times)
    assert 0 < times[-1] <= float(guest.sh("cat /proc/uptime").split()[0])


def test_status_is_readable_by_anyone_and_writable_by_root_only(rig: Rig) -> None:
    """An ordinary user may read the status, and not change it."""
    guest = rig.boot([rig.base(), rig.writable()])
    assert guest.sh("stat -c '%a %u' /media/rfs /media/rfs/status") == "755 0\n644 0"


def test_tries_are_counted_in_the_status(rig: Rig) -> None:
    """Each unconfirmed boot is one more in the status."""
    disks = [rig.base(), rig.writable()]
    for number in (1, 2, 3):
        guest = rig.boot(disks)
        assert guest.status()["tries"] == str(number)
        guest.off()


def test_identity_without_a_file(rig: Rig) -> None:
    """A base without an identity file is known by its superblock."""
    uuid = "0a1b2c3d-4e5f-6a7b-8c9d-aabbccddeeff"
    base = rig.base()
    rig.tune(base, "-U", uuid)
    assert uuid in rig.boot([base, rig.writable()]).status()["base_id"]


@pytest.mark.parametrize("policy", ["", "keep", "warn", "tmpfs", "reset", "nonsense"])
def test_stale_layer(rig: Rig, policy: str) -> None:
    """Another base under an old layer triggers `rootrwstale=`: kept, reported, left out, or reset."""
    upper = rig.writable()
    guest = rig.boot([rig.base(Base(base_id=OLD)), upper])
    guest.sh("echo mine >/etc/mine")
    guest.off()
    machine = rig.start(
        [rig.base(Base(base_id=NEW)), upper], f"{PLAIN} rootrwstale={policy}" if policy else PLAIN
    )
    guest = rig.guest(machine)
    said = machine.console.split("Run /init")[1]
    if policy == "tmpfs":
        assert guest.layer() == "fallback"
        assert guest.sh("cat /media/rfs/quarantine/upperdir/etc/mine") == "mine"
        return
    assert guest.layer() == "persistent"
    assert guest.exists("/etc/mine") is (policy != "reset")
    if policy != "reset":
        assert guest.status()["stale"] == "yes"
        assert (OLD in said) is (policy != "keep")
        return
    guest.off()
    again = rig.boot([rig.base(Base(base_id=NEW)), upper])
    assert again.status()["stale"] == "no"


def test_another_base_where_the_kernel_keeps_an_index(rig: Rig) -> None:
    """A kernel with `CONFIG_OVERLAY_FS_INDEX` would refuse the layer of another base."""
    upper, words = rig.writable(), f"{PLAIN} overlay.index=1"
    guest = rig.boot([rig.base(Base(base_id=OLD)), upper], words)
    guest.sh("echo mine >/etc/mine")
    guest.off()
    guest = rig.boot([rig.base(Base(base_id=NEW)), upper], words)
    assert (guest.layer(), guest.status()["stale"]) == ("persistent", "yes")
    assert guest.sh("cat /etc/mine") == "mine"


def test_same_base_is_not_stale(rig: Rig) -> None:
    """The same tree in another file system is the same base."""
    upper = rig.writable()
    for kind in ("ext2", "squashfs", "erofs"):
        guest = rig.boot(
            [rig.base(Base(base_id=OLD), kind), upper], f"{PLAIN} rootrwstale=tmpfs rootrwtries=0"
        )
        assert guest.layer() == "persistent"
        assert guest.status()["stale"] == "no"
        guest.off()


def processes(rig: Rig, disks: list[Path], words: str = PLAIN, *initramfs: Archive) -> int:
    """How many processes and threads there have been when the real init starts."""
    guest = rig.boot(disks, words, initramfs=initramfs or None)
    count = guest.processes()
    guest.off()
    return count


def test_processes(rig: Rig) -> None:
    """The ordinary path takes at most 15 processes more than a C program that does the mounts."""
    if rig.images.modular:
        pytest.skip("the C program loads no modules")
    disks = [rig.base(), rig.writable()]
    processes(rig, disks)
    least = processes(rig, disks, PLAIN, floor(rig.work, "ext2", "ext4"))
    assert processes(rig, disks) - least <= 15


def test_no_process_per_word(rig: Rig) -> None:
    """A hundred words more on the command line cost no process more."""
    disks = [rig.base(), rig.writable()]
    processes(rig, disks)
    few = processes(rig, disks)
    many = processes(rig, disks, " ".join(f"m.w{number}=v" for number in range(100)) + f" {PLAIN}")
    assert abs(many - few) <= 2


def test_no_fixed_sleep(rig: Rig) -> None:
    """With every device present, no stage takes longer than a second."""
    guest = rig.boot([rig.base(), rig.writable()], f"{PLAIN} rootwait rootrwwait=300")
    times = [float(value) for key, value in guest.status().items() if key.startswith("time_")]
    assert max(b - a for a, b in zip(times, times[1:], strict=False)) < 1


def test_status_survives_init(rig: Rig) -> None:
    """The status is still there after BusyBox init mounted its own /run and /proc."""
    guest = rig.boot([rig.base(Base(init="busybox")), rig.writable()])
    guest.sh("mount -t tmpfs run /run")
    assert guest.status()["layer"] == "persistent"


def test_base_and_layer_on_one_disk_by_label(rig: Rig) -> None:
    """Status names the devices that were found, not what was asked for."""
    user = rig.writable(options=("-L", "user-data"))
    guest = rig.boot([rig.base(), user], f"root={ROOT} rootrw=LABEL=user-data")
    assert "/dev/vdb" in guest.sh("cat /media/rfs/status")
    assert disk.Ext(user).names("/") >= {"upperdir", "work", "state"}
