# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reset: complete, atomic, in constant time, once, and sparing what is to be kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.tests.boot.lab import disk
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.cpio import Archive
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.disk import MIB
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.hosttools import host_tools
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.rig import PLAIN, ROOT, WRITABLE, Guest, Rig
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.tree import Base

REQUEST = "/media/rfs/rw/state/reset"
USERS = {
    "upperdir/etc/mine": "x",
    "upperdir/.dot/.file": "x",
    "upperdir/.profile": "x",
    "upperdir/home/a/b/c": "x",
    "upperdir/ leading space": "x",
    "upperdir/-n": "x",
    "upperdir/*": "x",
    "upperdir/root/.ssh/authorized_keys": "key",
    "upperdir/etc/deep/keep/me": "kept",
    "upperdir/with space/keep me": "kept",
}


def user_layer(rig: Rig, request: str | None = "", **more: str) -> Path:
    content: dict[str, str | bytes] = {**USERS, "work/work/": "", **more}
    if request is not None:
        content["state/reset"] = request
    image = rig.writable(content)
    disk.Ext(image).whiteout("/upperdir/etc/base-file")
    return image


def assert_pristine(guest: Guest, kept: tuple[str, ...] = ()) -> None:
    assert guest.layer() == "persistent"
    assert guest.sh("cat /etc/base-file") == "from the base"
    for name in USERS:
        path = name.removeprefix("upperdir")
        assert guest.exists(f"'{path}'") is (path in kept), path
    assert not guest.exists(REQUEST)


def delete_old_data(guest: Guest, timeout: float = 90) -> None:
    """What the running system does in the background; afterwards nothing old is left."""
    guest.sh("/usr/lib/readonly-rootfs/empty-trash", timeout)
    assert not [name for name in guest.sh("ls -1A /media/rfs/rw").split() if name.startswith("trash")]


@pytest.fixture
def base(rig: Rig) -> Path:
    return rig.base(Base(overlay=rig.rootfs_overlay))


def test_request_resets_once(rig: Rig, base: Path) -> None:
    """A request file resets everything, dot files and deletions included, and only once."""
    disks = [base, user_layer(rig)]
    guest = rig.boot(disks)
    assert_pristine(guest)
    delete_old_data(guest)
    guest.sh("echo mine >/etc/mine")
    guest.off()
    assert rig.boot(disks).sh("cat /etc/mine") == "mine"


def test_request_written_by_the_running_system(rig: Rig, base: Path) -> None:
    """A request that the running system writes by temporary file and rename does the same."""
    disks = [base, rig.writable()]
    guest = rig.boot(disks)
    guest.sh(
        "echo x >/etc/mine; mkdir /.dot; echo x >/.dot/.file; rm /etc/base-file; rm -r /root; mkdir /root"
    )
    guest.sh(f": >{REQUEST}.new && mv {REQUEST}.new {REQUEST} && sync")
    guest.off()
    assert_pristine(rig.boot(disks))


def test_half_written_request_does_nothing(rig: Rig, base: Path) -> None:
    """A temporary name beside the request is no request."""
    upper = user_layer(rig, None, **{"state/reset.new": "", "state/reset.tmp": ""})
    guest = rig.boot([base, upper])
    assert guest.sh("cat /etc/mine") == "x"


def test_keep_list(rig: Rig, base: Path) -> None:
    """What the request keeps survives with its content, directories included; all else is gone."""
    request = "keep=/etc/deep/keep/me\nkeep=/with space/keep me\nkeep=/root/.ssh\nkeep=/no/such/path\n"
    guest = rig.boot([base, user_layer(rig, request)])
    kept = ("/etc/deep/keep/me", "/with space/keep me", "/root/.ssh/authorized_keys")
    assert_pristine(guest, kept)
    assert guest.sh("cat /etc/deep/keep/me '/with space/keep me' /root/.ssh/authorized_keys") == "keptkeptkey"


def test_keep_list_keeps_attributes(rig: Rig, base: Path) -> None:
    """Kept files keep mode and owner, and so do the directories above them."""
    upper = user_layer(rig, "keep=/root/.ssh\n")
    disk.Ext(upper).change(
        "sif /upperdir/root/.ssh mode 040700",
        "sif /upperdir/root/.ssh uid 77",
        "sif /upperdir/root mode 040711",
        "sif /upperdir/root/.ssh/authorized_keys mode 0100600",
        "sif /upperdir/root/.ssh/authorized_keys gid 78",
    )
    guest = rig.boot([base, upper])
    wanted = "711 0 0\n700 77 0\n600 0 78"
    assert guest.sh("stat -c '%a %u %g' /root /root/.ssh /root/.ssh/authorized_keys") == wanted


def test_persistent_keep_list(rig: Rig, base: Path) -> None:
    """Paths in `state/keep` survive every reset, and so does the list."""
    upper = user_layer(rig, "", **{"state/keep": "keep=/etc/deep/keep/me\n"})
    disks = [base, upper]
    for _unused in range(2):
        guest = rig.boot(disks)
        assert_pristine(guest, ("/etc/deep/keep/me",))
        guest.sh(f": >{REQUEST}.new && mv {REQUEST}.new {REQUEST}")
        guest.off()
    assert disk.Ext(upper).recovered(rig.work / "after").exists("/state/keep")


@pytest.mark.parametrize(
    "keep",
    [
        "/../state",
        "/etc/../../state",
        "../state",
        "state",
        "/",
        "/.",
        "//",
        "",
        "/etc/evil/passwd",
        "/evil",
        "/dir/x",
    ],
)
def test_hostile_keep_list(rig: Rig, base: Path, keep: str) -> None:
    """Odd paths and symlinks out of the layer keep nothing of ours, of the base or of the initramfs."""
    upper = user_layer(rig, f"keep={keep}\nkeep=/etc/deep/keep/me\n", **{"state/precious": "not yours"})
    disk.Ext(upper).change(
        "symlink /upperdir/etc/evil /media/rfs/rw/state",
        "symlink /upperdir/evil ../state",
        "symlink /upperdir/dir ../state",
    )
    guest = rig.boot([base, upper])
    assert guest.layer() == "persistent"
    assert guest.sh("cat /etc/deep/keep/me") == "kept"
    assert not guest.exists("/etc/mine")
    assert not guest.exists(REQUEST)
    assert guest.sh("cat /media/rfs/rw/state/precious") == "not yours"
    assert guest.sh("find / -xdev -name precious") == ""


def test_immutable_files(rig: Rig, base: Path) -> None:
    """Immutable files and directories in the user's layer do not stop a reset."""
    upper = user_layer(rig)
    disk.Ext(upper).change(
        "sif /upperdir/etc/mine flags 0x80010",
        "sif /upperdir/home/a flags 0x80010",
        "sif /upperdir/.dot flags 0x80030",
    )
    guest = rig.boot([base, upper])
    assert_pristine(guest)


def test_immutable_upper_still_boots(rig: Rig, base: Path) -> None:
    """An upper that is itself immutable never stops the boot."""
    upper = user_layer(rig)
    disk.Ext(upper).change("sif /upperdir flags 0x80010")
    guest = rig.boot([base, upper])
    guest.layer()


@pytest.mark.parametrize("what", ["blocks", "inodes"])
def test_full_file_system(rig: Rig, base: Path, what: str) -> None:
    """A file system without a free block or inode can be reset."""
    size, options = (8 * MIB, ("-m", "0")) if what == "blocks" else (24 * MIB, ("-N", "256"))
    disks = [base, rig.writable({"state/reset": "", "state/x": ""}, size=size, options=options)]
    guest = rig.boot(disks)
    guest.sh(f": >{REQUEST}")
    if what == "blocks":
        guest.run("dd if=/dev/zero of=/big bs=64k; dd if=/dev/zero of=/more bs=1; mkdir /d; sync")
    else:
        guest.run("i=0; while true >/f$i; do i=$((i+1)); done 2>/dev/null; sync")
    guest.off()
    guest = rig.boot(disks)
    assert guest.layer() == "persistent"
    assert not guest.exists("/big")
    assert not guest.exists("/f0")
    delete_old_data(guest)
    guest.sh("dd if=/dev/zero of=/new bs=64k count=32 && sync")


def test_reset_of_100000_files(rig: Rig, base: Path) -> None:
    """A reset takes no longer with 100,000 files: the old ones are deleted in the background."""
    tree = rig.work / "many"
    for directory in range(100):
        (tree / f"upperdir/d{directory}").mkdir(parents=True)
        for number in range(1000):
            (tree / f"upperdir/d{directory}/file{number}").touch()
    (tree / "state").mkdir()
    upper = disk.make_fs(rig.work / "many.ext4", "ext4", 96 * MIB, tree, ("-N", "120000"))
    guest = rig.boot([base, rig.writable(size=96 * MIB)])
    ordinary = guest.uptime_at_init()
    guest.off()
    with_files = rig.boot([base, upper])
    assert with_files.exists("/d99/file999")
    with_files.sh(f": >{REQUEST}")
    with_files.off()
    guest = rig.boot([base, upper])
    assert not guest.exists("/d99")
    assert guest.uptime_at_init() < ordinary + 3
    delete_old_data(guest, 240)


def test_reset_from_quarantine(rig: Rig, base: Path) -> None:
    """`overlay-reset` in a fallback, the layer in quarantine, resets it at the next boot."""
    disks = [base, user_layer(rig, None, **{"upperdir/sbin/init": "#!/no/such/shell\n"})]
    guest = rig.boot(disks)
    assert (guest.layer(), guest.status()["reason"]) == ("fallback", "init")
    guest.sh("overlay-reset --keep /etc/deep/keep/me")
    guest.off()
    guest = rig.boot(disks)
    assert_pristine(guest, ("/etc/deep/keep/me",))
    assert guest.sh("cat /etc/deep/keep/me") == "kept"


@pytest.fixture
def with_mke2fs(rig: Rig) -> list[Path | Archive]:
    return [rig.images.initramfs, host_tools(rig.initramfs_tree, {"mke2fs": "mke2fs"})]


@pytest.mark.parametrize("name", ["device", "LABEL", "UUID"])
def test_mkfs_on_the_command_line(rig: Rig, with_mke2fs: list[Path | Archive], name: str) -> None:
    """`rootrwreset=mkfs` leaves a file system that can be mounted, and makes one that cannot be anew."""
    uuid = "0a1b2c3d-0123-4567-89ab-cdef01234567"
    rootrw = {"device": WRITABLE, "LABEL": "LABEL=mine", "UUID": f"UUID={uuid}"}[name]
    upper = rig.writable(USERS, options=("-L", "mine", "-U", uuid))
    disks, words = [rig.base(), upper], f"root={ROOT} rootrw={rootrw} rootrwwait=2"
    guest = rig.boot(disks, f"{words} rootrwreset=mkfs", initramfs=with_mke2fs)
    assert (guest.layer(), guest.status()["reset"], guest.sh("cat /etc/mine")) == ("persistent", "no", "x")
    guest.off()
    # The superblock is still known by its names, and no longer fit to be mounted.
    disk.write_at(upper, 1024 + 0x60, b"\xff\xff\xff\xff")
    guest = rig.boot(disks, words, initramfs=with_mke2fs)
    assert (guest.layer(), guest.status()["reason"]) == ("fallback", "unmountable")
    guest.off()
    guest = rig.boot(disks, f"{words} rootrwreset=mkfs", initramfs=with_mke2fs)
    assert (guest.layer(), guest.status()["reset"]) == ("persistent", "mkfs")
    assert guest.mounts()["/media/rfs/rw"][1] == "ext4"
    guest.sh("echo new >/etc/new")
    guest.off()
    guest = rig.boot(disks, words)
    assert (guest.layer(), guest.sh("cat /etc/new")) == ("persistent", "new")
    guest.off()
    assert "has_journal" in disk.run("dumpe2fs", "-h", upper)


@pytest.mark.parametrize("asked", [False, True], ids=["plain", "mkfs"])
def test_request_of_a_new_file_system(rig: Rig, with_mke2fs: list[Path | Archive], asked: bool) -> None:
    """A request with `mkfs=yes` remakes a file system that can only be read; without, it is left alone."""
    content = {**USERS, "state/reset": "mkfs=yes\n" if asked else ""}
    upper = rig.writable(content, options=("-O", "^metadata_csum"))
    # A feature that no kernel knows, of those that forbid writing only.
    features = int.from_bytes(upper.read_bytes()[1024 + 0x64 : 1024 + 0x68], "little") | 1 << 29
    disk.write_at(upper, 1024 + 0x64, features.to_bytes(4, "little"))
    guest = rig.boot([rig.base(), upper], initramfs=with_mke2fs)
    if asked:
        assert (guest.layer(), guest.status()["reset"]) == ("persistent", "mkfs")
        assert not guest.exists("/etc/mine")
    else:
        assert (guest.layer(), guest.status()["reason"]) == ("fallback", "unmountable")
        assert guest.sh("cat /media/rfs/quarantine/upperdir/etc/mine") == "x"


def test_unmountable_is_not_remade_unasked(rig: Rig, base: Path) -> None:
    """`rootrwreset=yes` on a file system that cannot be mounted writes nothing to it."""
    upper = user_layer(rig)
    disk.write_at(upper, 1024, bytes(1024))
    broken = disk.sha256(upper)
    guest = rig.boot([base, upper], f"{PLAIN} rootrwreset=yes")
    assert guest.layer() == "fallback"
    guest.off()
    assert disk.sha256(upper) == broken


def test_reset_under_foreign_lower(rig: Rig, base: Path) -> None:
    """A reset with base and user on the same disk touches the writable partition only."""
    upper, bystander = user_layer(rig), rig.writable({"precious": "data"})
    before = disk.sha256(bystander)
    guest = rig.boot([base, upper, bystander], f"root={ROOT} rootrw={WRITABLE} rootrwreset=yes")
    assert_pristine(guest)
    guest.off()
    assert disk.sha256(bystander) == before
