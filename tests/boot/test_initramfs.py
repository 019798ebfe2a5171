# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The initramfs itself: other shells, other tools, no console, and the images as they were built."""

from __future__ import annotations

import pytest
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.hosttools import host_tools
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.rig import PLAIN, PROMPT, Rig
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.tree import Base

UTIL_LINUX = ("mount", "umount", "switch_root", "blockdev", "findfs", "blkid")
COREUTILS = (
    "mkdir",
    "mv",
    "rm",
    "ls",
    "ln",
    "cp",
    "chmod",
    "chown",
    "sleep",
    "sync",
    "od",
    "cat",
    "readlink",
    "stat",
)


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_other_shells(rig: Rig, shell: str) -> None:
    """The script boots under this shell as /bin/sh of the initramfs: persistent, reset, and fallback."""
    initramfs = [rig.images.initramfs, host_tools(rig.initramfs_tree, {"sh": shell})]
    disks = [rig.base(), rig.writable({"upperdir/etc/mine": "x", "state/reset": "keep=/etc/mine\n"})]
    guest = rig.boot(disks, initramfs=initramfs)
    assert guest.layer() == "persistent"
    assert guest.sh("cat /etc/mine") == "x"
    guest.sh("rm /sbin/init")
    guest.off()
    assert rig.boot(disks, initramfs=initramfs).layer() == "fallback"


@pytest.mark.parametrize("merged", [False, True], ids=["split", "merged"])
def test_util_linux_and_coreutils(rig: Rig, merged: bool) -> None:
    """The script boots with util-linux and coreutils in place of BusyBox, on both layouts of /usr."""
    tools = {name: name for name in UTIL_LINUX + COREUTILS}
    initramfs = [rig.images.initramfs, host_tools(rig.initramfs_tree, {"sh": "dash", **tools})]
    disks = [rig.base(Base(merged=merged)), rig.writable({"upperdir/etc/mine": "x", "state/reset": ""})]
    guest = rig.boot(disks, initramfs=initramfs)
    assert guest.layer() == "persistent"
    assert not guest.exists("/etc/mine")
    assert guest.run("mount -o remount,rw /media/rfs/ro")[0] != 0
    guest.off()


@pytest.mark.parametrize("words", [PLAIN, f"{PLAIN} init=/bin/sh"], ids=["init", "shell"])
def test_no_console_in_the_initramfs(rig: Rig, words: str) -> None:
    """Started without stdin and stdout, as when embedded in the kernel: the real init has a console."""
    # The kernel's built-in archive has a console; a dangling link takes it away before /init is started.
    blind = rig.addition({}, {"dev/console": "/nowhere"})
    machine = rig.start([rig.base(), rig.writable()], words, initramfs=[rig.images.initramfs, blind])
    machine.expect("unable to open an initial console")
    if words == PLAIN:
        assert rig.guest(machine).layer() == "persistent"
        return
    machine.expect(PROMPT)
    machine.type("cat /etc/base-file; echo $((6 * 7))\n")
    machine.expect("^from the base\n42$")


def test_nothing_of_the_initramfs_stays(rig: Rig) -> None:
    """The initramfs' files are freed and none of its processes or mounts is left."""
    guest = rig.boot([rig.base(), rig.writable()])
    assert "/newroot" not in guest.sh("cat /proc/mounts")
    # Process 1, the shell that runs this, and kernel threads.
    assert guest.sh("for p in /proc/[0-9]*; do readlink $p/exe; done | sort -u") == "/bin/busybox"
    assert guest.sh("ls /proc | grep -c '^[0-9]'")


def test_current_directory_and_file_descriptors(rig: Rig) -> None:
    """The real init starts in / with stdin, stdout and stderr on the console and nothing else open."""
    base = Base(
        files={"sbin/init": "#!/bin/sh\nls -l /proc/$$/fd | grep -c ' [3-9] ->'\npwd\nexec /sbin/agent\n"}
    )
    machine = rig.start([rig.base(base), rig.writable()])
    # The shell itself holds its script open, as descriptor 10 or, with some shells, another one.
    machine.expect("^0\n/$")
    rig.guest(machine)
