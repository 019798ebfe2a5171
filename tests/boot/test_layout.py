# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running system looks like, on every kind of base and writable layer."""

from __future__ import annotations

import pytest
from ansible_collections.br2.readonly_rootfs.tests.boot.lab import disk
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.disk import MIB
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.hosttools import host_tools
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.rig import PLAIN, ROOT, WRITABLE, Drive, Rig
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.tree import Base


def test_mount_table(rig: Rig) -> None:
    """The mounts are those of the contract: base read-only, upper and work on the layer, overlay on /."""
    guest = rig.boot([rig.base(), rig.writable()])
    mounts = guest.mounts()
    source, kind, options = mounts["/media/rfs/ro"]
    assert (source, {"ro", "noatime", "nodiratime"} - options) == (ROOT, set())
    assert kind in ("ext2", "ext4")
    assert mounts["/media/rfs/rw"][:2] == (WRITABLE, "ext4")
    assert {"rw", "noatime"} <= mounts["/media/rfs/rw"][2]
    source, kind, options = mounts["/"]
    assert (source, kind) == ("overlay", "overlay")
    assert {
        "rw",
        "lowerdir=/media/rfs/ro",
        "upperdir=/media/rfs/rw/upperdir",
        "workdir=/media/rfs/rw/work",
    } <= options
    assert mounts["/media/rfs"][1] == "tmpfs"
    assert guest.sh("cat /etc/base-file") == "from the base"
    assert guest.sh("echo mine >/etc/base-file; cat /etc/base-file; cat /media/rfs/ro/etc/base-file") == (
        "mine\nfrom the base"
    )


def test_changes_survive_a_reboot(rig: Rig) -> None:
    """What the user writes, deletes and renames on / is there again after a reboot."""
    disks = [rig.base(), rig.writable()]
    guest = rig.boot(disks)
    guest.sh("echo mine >/etc/mine; rm /etc/base-file; mv /root /home; mkdir /root; ln -s /etc/mine /link")
    guest.off()
    guest = rig.boot(disks)
    assert guest.sh("cat /link; ls -1d /home /root") == "mine\n/home\n/root"
    assert not guest.exists("/etc/base-file")
    assert guest.layer() == "persistent"


@pytest.mark.parametrize("kind", ["ext2", "ext4", "squashfs", "erofs"])
@pytest.mark.parametrize("merged", [False, True], ids=["split", "merged"])
def test_base_is_never_written(rig: Rig, kind: str, merged: bool) -> None:
    """This kind of base boots; its SHA-256 is the same afterwards; remount,rw of it fails."""
    base, upper = rig.base(Base(merged=merged), kind), rig.writable()
    before = disk.sha256(base)
    for _unused in range(2):
        guest = rig.boot([base, upper])
        assert guest.mounts()["/media/rfs/ro"][1] == ("ext2" if kind == "ext2" else kind) or kind == "ext2"
        assert guest.run("mount -o remount,rw /media/rfs/ro")[0] != 0
        assert guest.run("echo x >/media/rfs/ro/etc/base-file")[0] != 0
        assert guest.sh("cat /sys/block/vda/ro") == "1"
        assert guest.run(f"dd if=/dev/zero of={ROOT} bs=512 count=1 seek=9 conv=notrunc")[0] != 0
        guest.sh("echo mine >/etc/base-file")
        guest.off()
    assert disk.sha256(base) == before


def test_dirty_base_is_not_replayed(rig: Rig) -> None:
    """An ext4 base whose journal is dirty boots without replay: not one byte of it changes."""
    tree = Base().build(rig.work / "tree")
    base = disk.make_fs(rig.work / "dirty.ext4", "ext4", 24 * MIB, tree)
    # Boot once with the base as the writable disk and pull the plug, so that its journal holds work.
    guest = rig.boot([rig.base(), base], f"root={ROOT} rootrw={WRITABLE}")
    guest.sh(
        "mkdir /media/rfs/rw/more && echo y >/media/rfs/rw/more/z && sync && echo w >/media/rfs/rw/w && sync"
    )
    guest.machine.kill()
    assert "needs_recovery" in disk.Ext(base).problems()
    before = disk.sha256(base)
    guest = rig.boot([base, rig.writable()])
    assert guest.layer() == "persistent"
    guest.off()
    assert disk.sha256(base) == before


def test_base_on_write_protected_media(rig: Rig) -> None:
    """A base device that refuses every write boots."""
    guest = rig.boot([Drive(rig.base(), readonly=True), rig.writable()])
    assert guest.layer() == "persistent"


@pytest.mark.parametrize("kind", ["ext4", "f2fs", "btrfs"])
def test_kinds_of_writable_layer(rig: Rig, kind: str) -> None:
    """A persistent upper on this file system, without being told which one it is."""
    size = {"ext4": 24, "f2fs": 64, "btrfs": 128}[kind] * MIB
    disks = [rig.base(), rig.writable(kind=kind, size=size)]
    guest = rig.boot(disks)
    if guest.run(f"grep -qw {kind} /proc/filesystems")[0]:
        pytest.skip(f"this kernel has no {kind}")
    assert (guest.layer(), guest.mounts()["/media/rfs/rw"][1]) == ("persistent", kind)
    guest.sh("echo mine >/etc/mine; rm /etc/base-file")
    guest.off()
    guest = rig.boot(disks)
    assert guest.sh("cat /etc/mine") == "mine"
    assert not guest.exists("/etc/base-file")


def test_root_directory_keeps_its_attributes(rig: Rig) -> None:
    """`/` has the base root's mode and owner, on the first boot, later ones and with a tmpfs."""
    base = rig.base()
    disk.Ext(base).change("sif / mode 040711", "sif / uid 12", "sif / gid 34")
    upper = rig.writable()
    for words in (PLAIN, PLAIN, f"root={ROOT}"):
        guest = rig.boot([base, upper], words)
        assert guest.sh("stat -c '%a %u %g' /") == "711 12 34", words
        guest.off()


def test_root_directory_keeps_its_xattrs(rig: Rig) -> None:
    """`/` has the base root's extended attributes, where the target brings getfattr and setfattr; and what is
    above a kept path has its own, but not the marks of overlayfs, which would hide the base's files."""
    tools = host_tools(rig.initramfs_tree, {"getfattr": "getfattr", "setfattr": "setfattr"})
    marker = rig.addition({"usr/lib/readonly-rootfs/xattr": ""})
    base = rig.base(Base(files={"etc/app/of-base": ""}))
    disk.Ext(base).change("ea_set / user.colour green")
    upper = rig.writable({"upperdir/etc/app/mine": "", "state/reset": "keep=/etc/app/mine\n"})
    app = "/upperdir/etc/app"
    disk.Ext(upper).change(f"ea_set {app} user.colour blue", f"ea_set {app} trusted.overlay.opaque y")
    guest = rig.boot([base, upper], initramfs=[rig.images.initramfs, tools, marker])
    assert guest.sh("ls /etc/app").split() == ["mine", "of-base"]
    guest.off()
    after = disk.Ext(upper).recovered(rig.work / "after")
    assert "green" in after.stat("/upperdir")
    assert "blue" in after.stat(app)


def test_mount_points_are_not_the_users_changes(rig: Rig) -> None:
    """After a boot in which the user did nothing, the upper holds nothing."""
    upper = rig.writable()
    rig.boot([rig.base(), upper]).off()
    assert disk.Ext(upper).recovered(rig.work / "after").names("/upperdir") == set()


@pytest.mark.parametrize(
    "base",
    [
        pytest.param(Base(mountpoints=("tmp",)), id="none-of-them"),
        pytest.param(Base(mountpoints=("proc", "sys", "run", "media")), id="no-dev"),
        pytest.param(Base(mountpoints=("dev", "run", "media")), id="no-proc-no-sys"),
        pytest.param(Base(links={"media": "/run/media"}), id="media-absolute-symlink"),
        pytest.param(Base(links={"media": "run"}), id="media-relative-symlink"),
        pytest.param(Base(links={"media": "/nowhere/at/all"}), id="media-dangling-symlink"),
    ],
)
def test_base_without_mount_points(rig: Rig, base: Base) -> None:
    """A base lacking /dev, /proc, /sys or /media, or with /media a link, boots; the layers can be reached."""
    upper = rig.writable()
    guest = rig.boot([rig.base(base), upper])
    assert guest.layer() == "persistent"
    assert (
        guest.sh("cat /media/rfs/ro/etc/base-file 2>/dev/null || cat /.rfs/ro/etc/base-file")
        == "from the base"
    )
    assert guest.sh("ls -1d /dev/vda /sys/block /proc/self") == "/dev/vda\n/proc/self\n/sys/block"


def test_user_moves_media_away(rig: Rig) -> None:
    """A user layer in which /media became a link elsewhere boots again."""
    disks = [rig.base(), rig.writable({"upperdir/elsewhere/": ""})]
    disk.Ext(disks[1]).change("symlink /upperdir/media /tmp/x")
    for _unused in range(2):
        guest = rig.boot(disks)
        assert guest.layer() == "persistent"
        guest.off()
