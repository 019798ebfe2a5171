# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same script as `init=/init`, started from the base that the kernel mounted itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.tests.boot.lab import disk
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.rig import PANIC, ROOT, WRITABLE, Guest, Rig
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.tree import Base

# rdinit: a kernel with an initramfs in it would start that.
WORDS = f"root={ROOT} rdinit=/none init=/init rootrw={WRITABLE}"


@pytest.fixture(autouse=True)
def _kernel_can(rig: Rig) -> None:
    if rig.images.modular:
        pytest.skip("this kernel needs an initramfs for its disk and file system drivers")


def base_with_script(rig: Rig, kind: str = "ext2", **more: object) -> Path:
    return rig.base(Base(overlay=rig.script_tree(), **more), kind)  # type: ignore[arg-type]


def boot(rig: Rig, base: Path, words: str, *others: Path) -> Guest:
    return rig.boot([base, *others], words, initramfs=[])


@pytest.mark.parametrize("kind", ["ext2", "ext4", "squashfs", "erofs"])
@pytest.mark.parametrize("merged", [False, True], ids=["split", "merged"])
def test_boots_and_base_is_never_written(rig: Rig, kind: str, merged: bool) -> None:
    """`init=/init` on this kind of base: the overlay is /, the layer persists, the base keeps its SHA-256."""
    disks = [base_with_script(rig, kind, merged=merged), rig.writable()]
    before = disk.sha256(disks[0])
    for boot_number in range(2):
        guest = boot(rig, disks[0], f"{WORDS} ro rootfstype={kind}", disks[1])
        assert guest.layer() == "persistent"
        assert guest.mounts()["/"][:2] == ("overlay", "overlay")
        assert "ro" in guest.mounts()["/media/rfs/ro"][2]
        assert guest.exists("/etc/mine") is bool(boot_number)
        guest.sh("echo mine >/etc/mine")
        guest.off()
    assert disk.sha256(disks[0]) == before
    assert disk.Ext(disks[1]).recovered(rig.work / "after").names("/upperdir") == {"etc"}


@pytest.mark.parametrize(
    "base",
    [
        pytest.param({"mountpoints": ("tmp",)}, id="only-tmp"),
        pytest.param({"mountpoints": ("dev",)}, id="only-dev"),
        pytest.param({"mountpoints": ("dev", "proc", "sys", "run", "mnt")}, id="no-media"),
        pytest.param({"links": {"media": "/run/media"}}, id="media-is-a-link"),
    ],
)
def test_base_without_mount_points(rig: Rig, base: dict[str, object]) -> None:
    """A read-only base without /media, /proc, /sys or /dev boots without an initramfs, too."""
    image = base_with_script(rig, "squashfs", **base)
    assert boot(rig, image, f"{WORDS} ro rootfstype=squashfs", rig.writable()).layer() == "persistent"


def test_no_writable_device(rig: Rig) -> None:
    """Without `rootrw=`: a tmpfs."""
    assert boot(rig, base_with_script(rig), f"root={ROOT} ro rdinit=/none init=/init").layer() == "tmpfs"


def test_rootinit(rig: Rig) -> None:
    """`rootinit=` names the real init; its words follow."""
    machine = rig.start(
        [base_with_script(rig), rig.writable()], f"{WORDS} ro rootinit=/sbin/agent single -- -s", initramfs=[]
    )
    assert Guest(machine).ready() == ["/sbin/agent", "single", "-s"]


def test_kernel_mounted_it_writable(rig: Rig) -> None:
    """With `rw` on the command line the base is sealed before anything is built on it."""
    guest = boot(rig, base_with_script(rig), f"{WORDS} rw", rig.writable())
    assert guest.layer() == "persistent"
    assert "ro" in guest.mounts()["/media/rfs/ro"][2]
    assert guest.run("mount -o remount,rw /media/rfs/ro")[0] != 0
    assert guest.sh("cat /sys/block/vda/ro") == "1"


def test_broken_layer(rig: Rig) -> None:
    """A user layer without init is seen here, too: the base in the same boot."""
    upper = rig.writable({"upperdir/sbin/": ""})
    disk.Ext(upper).whiteout("/upperdir/sbin/init")
    assert boot(rig, base_with_script(rig), f"{WORDS} ro", upper).layer() == "fallback"


def test_unusable_writable_layer(rig: Rig) -> None:
    """A blank writable device: base and tmpfs."""
    blank = disk.blank(rig.work / "blank", 8 << 20)
    assert boot(rig, base_with_script(rig), f"{WORDS} ro", blank).layer() == "fallback"


def test_reset(rig: Rig) -> None:
    """A reset request is served."""
    upper = rig.writable({"upperdir/etc/mine": "x", "state/reset": ""})
    guest = boot(rig, base_with_script(rig), f"{WORDS} ro", upper)
    assert guest.layer() == "persistent"
    assert not guest.exists("/etc/mine")


def test_missing_real_init(rig: Rig) -> None:
    """No real init anywhere: a message that names it and a reboot, no panic and no shell."""
    machine = rig.start([base_with_script(rig)], f"root={ROOT} ro init=/init rootinit=/no/init", initramfs=[])
    machine.expect("/no/init.*\n(.*\n)*.*reboot: Restarting", never=PANIC)
    assert machine.wait_end() == "guest-reset"
