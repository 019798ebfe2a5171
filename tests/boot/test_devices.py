# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How devices are named, and devices that come late."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.disk import Partition, partitioned
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.rig import Drive, Rig

ROOT_UUID = "0a1b2c3d-4e5f-6a7b-8c9d-aabbccddeeff"
USER_UUID = "1a1b2c3d-4e5f-6a7b-8c9d-aabbccddee00"
ROOT_PART = "2a1b2c3d-4e5f-6a7b-8c9d-aabbccddee11"
USER_PART = "3a1b2c3d-4e5f-6a7b-8c9d-aabbccddee22"
DISK_ID = "0xabcd1234"


def card(rig: Rig, label: str) -> Path:
    """A disk with a root and a writable partition, all names and identities set."""
    root, user = rig.base(), rig.writable(options=("-U", USER_UUID, "-L", "user-data"))
    rig.tune(root, "-U", ROOT_UUID, "-L", "ro_root")
    names = ("system", "user") if label == "gpt" else ("", "")
    uuids = (ROOT_PART, USER_PART) if label == "gpt" else ("", "")
    parts = [Partition(root, names[0], uuids[0]), Partition(user, names[1], uuids[1])]
    disk_id = DISK_ID if label == "dos" else "4a1b2c3d-4e5f-6a7b-8c9d-aabbccddee33"
    return partitioned(rig.work / "card.img", label, parts, disk_id)


@pytest.mark.parametrize(
    ("label", "root", "user"),
    [
        pytest.param("dos", "/dev/vda1", "/dev/vda2", id="mbr-path"),
        pytest.param("gpt", "/dev/vda1", "/dev/vda2", id="gpt-path"),
        pytest.param("dos", f"UUID={ROOT_UUID}", f"UUID={USER_UUID}", id="uuid"),
        pytest.param("dos", f"UUID={ROOT_UUID.upper()}", f"UUID={USER_UUID.upper()}", id="uuid-upper"),
        pytest.param("gpt", "LABEL=ro_root", "LABEL=user-data", id="label"),
        pytest.param("dos", "PARTUUID=abcd1234-01", "PARTUUID=abcd1234-02", id="mbr-partuuid"),
        pytest.param("dos", "PARTUUID=ABCD1234-01", "PARTUUID=ABCD1234-02", id="mbr-partuuid-upper"),
        pytest.param("gpt", f"PARTUUID={ROOT_PART}", f"PARTUUID={USER_PART}", id="gpt-partuuid"),
        pytest.param(
            "gpt", f"PARTUUID={ROOT_PART.upper()}", f"PARTUUID={USER_PART.upper()}", id="gpt-partuuid-upper"
        ),
        pytest.param("gpt", "PARTLABEL=system", "PARTLABEL=user", id="partlabel"),
        pytest.param("gpt", "PARTLABEL=system", f"UUID={USER_UUID}", id="mixed"),
        pytest.param("dos", '"LABEL=ro_root"', '"LABEL=user-data"', id="quoted"),
        pytest.param("gpt", f"partuuid={ROOT_PART}", "Label=user-data", id="lower-case-tags"),
    ],
)
def test_notations(rig: Rig, label: str, root: str, user: str) -> None:
    """Devices are found by this notation without udev, in upper and lower case."""
    guest = rig.boot([card(rig, label)], f"root={root} rootrw={user}")
    mounts = guest.mounts()
    assert (mounts["/media/rfs/ro"][0], mounts["/media/rfs/rw"][0]) == ("/dev/vda1", "/dev/vda2")
    assert guest.layer() == "persistent"


def test_notations_of_other_kinds(rig: Rig) -> None:
    """Labels of a squashfs' partition and of an f2fs or btrfs upper are found."""
    root = rig.base(kind="squashfs")
    user = rig.writable(kind="f2fs", size=64 << 20, options=("-q", "-l", "flash"))
    image = partitioned(
        rig.work / "card.img",
        "gpt",
        [Partition(root, "system"), Partition(user, "user")],
        "4a1b2c3d-4e5f-6a7b-8c9d-aabbccddee33",
    )
    guest = rig.boot([image], "root=PARTLABEL=system rootrw=PARTLABEL=user")
    if guest.run("grep -qw f2fs /proc/filesystems")[0]:
        pytest.skip("this kernel has no f2fs")
    assert guest.layer() == "persistent"


@pytest.mark.parametrize(
    "notation", ["/dev/vdb", f"UUID={USER_UUID}", "LABEL=user-data"], ids=["path", "uuid", "label"]
)
def test_late_writable_device(rig: Rig, notation: str) -> None:
    """A writable device plugged in 3 s after the init started waiting is used."""
    late = Drive(rig.writable(options=("-U", USER_UUID, "-L", "user-data")), late=True)
    machine = rig.start([rig.base(), late], f"root=/dev/vda rootrw={notation} rootrwwait=60")
    machine.expect("Run /init")
    time.sleep(3)
    machine.plug("disk1")
    guest = rig.guest(machine)
    assert guest.layer() == "persistent"


@pytest.mark.parametrize("words", ["rootwait", "rootrwwait=60"])
def test_late_root_device(rig: Rig, words: str) -> None:
    """A root device that comes late is waited for: `rootrwwait=` seconds, or for ever under `rootwait`."""
    machine = rig.start([Drive(rig.base(), late=True)], f"root=/dev/vda {words}")
    machine.expect("Run /init")
    # Longer than the default wait, so that only the parameter can explain it.
    time.sleep(13)
    machine.plug("disk0")
    assert rig.guest(machine).layer() == "tmpfs"


def test_device_that_never_comes(rig: Rig) -> None:
    """A missing writable device costs the wait that was asked for, then base and tmpfs, the device named."""
    machine = rig.start([rig.base()], "root=/dev/vda rootrw=UUID=dead-beef rootrwwait=2")
    machine.expect("Run /init")
    begin = time.monotonic()
    guest = rig.guest(machine)
    assert 1.5 < time.monotonic() - begin < 20
    assert guest.layer() == "fallback"
    assert "dead-beef" in guest.status()["detail"]
    assert "dead-beef" in machine.console.split("Run /init")[1]
