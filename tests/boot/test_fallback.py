# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writable layers that cannot be used, bad bases: never a free shell, a hang or a panic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.tests.boot.lab import disk
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.disk import MIB
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.rig import (
    PANIC,
    PLAIN,
    PROMPT,
    ROOT,
    WRITABLE,
    Drive,
    Rig,
)

Prepare = Callable[[Rig], "Path | Drive"]


def _garbage(rig: Rig) -> Path:
    image = disk.blank(rig.work / "garbage", 8 * MIB)
    disk.write_at(image, 0, bytes(range(256)) * 4096)
    return image


def _corrupt(rig: Rig) -> Path:
    image = rig.writable({"upperdir/etc/mine": "x"})
    # Everything behind the superblock: it is recognised, and cannot be mounted.
    disk.write_at(image, 4096, b"\xff" * (2 * MIB))
    return image


def _bad_journal(rig: Rig) -> Path:
    image = rig.writable()
    disk.Ext(image).change("feature needs_recovery", "clri <8>")
    return image


def _truncated(rig: Rig) -> Path:
    image = rig.writable()
    with image.open("r+b") as file:
        file.truncate(8 * MIB)
    return image


FILL = {
    "inodes": "i=0; while true >/tmp/x/f$i; do i=$((i+1)); done 2>/dev/null",
    "blocks": "cat /dev/zero >/tmp/x/big; i=0; while mkdir /tmp/x/d$i; do i=$((i+1)); done 2>/dev/null",
}


def _filled(rig: Rig, image: Path, what: str) -> Path:
    """Fill a file system before any of our directories exist on it."""
    guest = rig.boot([rig.base(), image], f"root={ROOT}")
    guest.sh(f"mkdir /tmp/x && mount {WRITABLE} /tmp/x")
    guest.run(FILL[what])
    guest.sh("umount /tmp/x")
    guest.off()
    return image


def _edited(*commands: str, content: dict[str, str] | None = None) -> Prepare:
    def prepare(rig: Rig) -> Path:
        image = rig.writable(content or {"keep/": ""})
        disk.Ext(image).change(*commands)
        return image

    return prepare


def _swap(rig: Rig) -> Path:
    image = disk.blank(rig.work / "swap", 8 * MIB)
    disk.run("mkswap", image)
    return image


UNUSABLE: dict[str, Prepare] = {
    "blank": lambda rig: disk.blank(rig.work / "blank", 8 * MIB),
    "garbage": _garbage,
    "corrupt": _corrupt,
    "bad-journal": _bad_journal,
    "truncated": _truncated,
    "tiny": lambda rig: disk.blank(rig.work / "tiny", 512),
    "no-inodes": lambda rig: _filled(rig, rig.writable(options=("-N", "16")), "inodes"),
    "full": lambda rig: _filled(rig, rig.writable(size=8 * MIB), "blocks"),
    "read-only-device": lambda rig: Drive(rig.writable(), readonly=True),
    "vfat": lambda rig: rig.writable(kind="vfat"),
    "squashfs": lambda rig: rig.base(kind="squashfs"),
    "swap": _swap,
    "upper-is-a-file": _edited(content={"upperdir": "a file\n"}),
    "upper-is-a-link-inside": _edited("symlink upperdir other", content={"other/": ""}),
    "upper-is-a-link-outside": _edited("symlink upperdir /tmp"),
    "work-is-a-link": _edited("symlink work upperdir", content={"upperdir/": ""}),
    "work-is-a-link-outside": _edited("symlink work /media/rfs/ro"),
    "work-is-a-file": _edited(content={"work": "a file\n", "upperdir/": ""}),
    "unknown-feature": _edited("feature casefold", "ssv feature_incompat 0xffff"),
}


# Nothing could be mounted: not one byte may have changed.
UNMOUNTABLE = {"blank", "garbage", "tiny", "read-only-device", "squashfs", "swap"}


@pytest.mark.parametrize("case", UNUSABLE)
def test_unusable_writable_layer(rig: Rig, case: str) -> None:
    """This writable layer: base and tmpfs in the same boot, the reason in the status, nothing destroyed."""
    user = UNUSABLE[case](rig)
    image = user.image if isinstance(user, Drive) else user
    before = disk.sha256(image)
    machine = rig.start([rig.base(), user], PLAIN)
    guest = rig.guest(machine)
    assert guest.layer() == "fallback"
    assert guest.status()["reason"] not in ("", "none", "ok")
    assert guest.sh("cat /etc/base-file") == "from the base"
    guest.sh("echo mine >/etc/mine")
    guest.off()
    assert disk.sha256(image) == before or case not in UNMOUNTABLE


def test_full_upper_with_directories(rig: Rig) -> None:
    """An upper that became full in use still boots, the user's files readable, so that it can be cleared."""
    disks = [rig.base(), rig.writable(size=8 * MIB)]
    guest = rig.boot(disks)
    guest.run("dd if=/dev/zero of=/big bs=64k; sync")
    guest.off()
    guest = rig.boot(disks)
    if guest.layer() == "persistent":
        guest.sh("rm /big && echo mine >/etc/mine && sync")
    else:
        assert guest.status()["reason"]
    guest.off()


def test_writable_is_the_root_device(rig: Rig) -> None:
    """The root device named as the writable one, too: base and tmpfs, and the base is not written."""
    base = rig.base()
    before = disk.sha256(base)
    guest = rig.boot([base], f"root={ROOT} rootrw={ROOT}")
    assert guest.layer() == "fallback"
    guest.off()
    assert disk.sha256(base) == before


def test_corrupt_after_use(rig: Rig) -> None:
    """A user layer that broke between two boots: base and tmpfs, and the damage is left for repair."""
    base, upper = rig.base(), rig.writable()
    guest = rig.boot([base, upper])
    guest.sh("echo mine >/etc/mine")
    guest.off()
    disk.write_at(upper, 1024, bytes(1024))
    broken = disk.sha256(upper)
    guest = rig.boot([base, upper])
    assert guest.layer() == "fallback"
    guest.off()
    assert disk.sha256(upper) == broken


@pytest.mark.parametrize("policy", ["reboot", "halt", "shell", "tmpfs", "nonsense"])
def test_rootrwfallback(rig: Rig, policy: str) -> None:
    """`rootrwfallback=` says what an unusable layer leads to; a shell only with `rootshell=yes`."""
    words = f"{PLAIN} rootrwfallback={policy}"
    machine = rig.start([rig.base(), _garbage(rig)], words)
    if policy in ("tmpfs", "nonsense", "shell"):
        assert rig.guest(machine).layer() == "fallback"
        rig.no_shell(machine.console.split("Run /init")[1])
        return
    if policy == "halt":
        machine.expect(r"reboot: (System halted|Power down)", never=PANIC)
        assert "@@BOOT" not in machine.console
        return
    assert machine.wait_end() == "guest-reset"
    assert "@@BOOT" not in machine.console
    assert "Kernel panic" not in machine.console
    assert WRITABLE in machine.console.split("Run /init")[1]


def test_rootrwfallback_shell(rig: Rig) -> None:
    """`rootrwfallback=shell` with `rootshell=yes` gives a shell; leaving it boots base and tmpfs."""
    machine = rig.start([rig.base(), _garbage(rig)], f"{PLAIN} rootrwfallback=shell rootshell=yes")
    machine.expect(PROMPT, never=PANIC)
    machine.type("echo $((6 * 7))\n")
    machine.expect("^42$")
    machine.type("exit\n")
    assert rig.guest(machine).layer() == "fallback"


def _base_garbage(rig: Rig) -> Path:
    return _garbage(rig)


def _base_corrupt(rig: Rig) -> Path:
    image = rig.base()
    disk.write_at(image, 4096, b"\xff" * (2 * MIB))
    return image


def _base_without_init(rig: Rig) -> Path:
    image = rig.base()
    disk.Ext(image).change("rm /sbin/init", "rm /sbin/agent")
    return image


def _base_with_dangling_init(rig: Rig) -> Path:
    image = rig.base()
    disk.Ext(image).change("rm /sbin/init", "symlink /sbin/init /no/such/file")
    return image


BAD_BASES: dict[str, Callable[[Rig], Path]] = {
    "garbage": _base_garbage,
    "corrupt": _base_corrupt,
    "empty-fs": lambda rig: rig.writable(),
    "no-init": _base_without_init,
    "dangling-init": _base_with_dangling_init,
}


@pytest.mark.parametrize("case", BAD_BASES)
@pytest.mark.parametrize("rootrw", [WRITABLE, ""], ids=["user-layer", "tmpfs"])
def test_bad_base(rig: Rig, case: str, rootrw: str) -> None:
    """A bad base ends in a message naming device and cause and a reboot: no shell, no panic, no hang."""
    machine = rig.start([BAD_BASES[case](rig), rig.writable()], f"root={ROOT} rootrw={rootrw}")
    assert machine.wait_end() == "guest-reset"
    said = machine.console.split("Run /init")[1]
    assert "Kernel panic" not in said
    assert "@@BOOT" not in said
    needle = ROOT if "init" not in case and case != "empty-fs" else "/sbin/init"
    assert needle in said
    rig.no_shell(said)


def test_missing_base(rig: Rig) -> None:
    """A root device that never comes: a bounded wait, the device named, a reboot."""
    machine = rig.start([rig.base()], "root=PARTUUID=12345678-01 rootrwwait=2")
    assert machine.wait_end() == "guest-reset"
    said = machine.console.split("Run /init")[1]
    assert "12345678-01" in said
    assert "Kernel panic" not in said
    rig.no_shell(said)


def test_shell_needs_permission(rig: Rig) -> None:
    """With `rootshell=yes` a bad base gives a shell for repair on the console; without, never."""
    machine = rig.start([_garbage(rig), rig.writable()], f"{PLAIN} rootshell=yes")
    machine.expect(PROMPT, never=PANIC)
    machine.type("echo $((6 * 7))\n")
    machine.expect("^42$")


def test_keys_during_boot_do_nothing(rig: Rig) -> None:
    """Typing while a failing boot goes on opens nothing."""
    machine = rig.start([_garbage(rig), rig.writable()], PLAIN)
    machine.expect("Run /init")
    machine.type("\n\x03\x04\nsh\n\x03\n" * 5)
    assert machine.wait_end() == "guest-reset"
    rig.no_shell(machine.console.split("Run /init")[1])


def test_repeated_failures_stay_bounded(rig: Rig) -> None:
    """A foreign writable disk boots as base and tmpfs every time, not only the first."""
    disks = [rig.base(), rig.writable(kind="vfat")]
    for _unused in range(4):
        guest = rig.boot(disks)
        assert guest.layer() == "fallback"
        guest.off()


def test_fresh_disk_of_another_product(rig: Rig) -> None:
    """Files of others on the writable file system are left alone."""
    upper = rig.writable({"home/someone/letter": "dear", "lost+found/x": "y"})
    guest = rig.boot([rig.base(), upper])
    assert guest.layer() == "persistent"
    guest.off()
    after = disk.Ext(upper).recovered(rig.work / "after")
    assert after.read("/home/someone/letter") == "dear"
