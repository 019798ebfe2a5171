# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A user's layer that cannot start the real init: seen before the switch, or counted."""

from __future__ import annotations

import pytest
from ansible_collections.br2.readonly_rootfs.tests.boot.lab import disk
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.rig import PLAIN, Guest, Rig
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.tree import Base

LOADER = "/lib64/ld-linux-x86-64.so.2"
ELF_HEADER = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00"


# name: (kind of base's init, files of the user's layer, debugfs commands or, single words, deletions)
BEFORE_THE_SWITCH: dict[str, tuple[str, dict[str, str | bytes], tuple[str, ...]]] = {
    "init-deleted": ("agent", {"sbin/": ""}, ("sbin/init",)),
    "init-dangling": ("agent", {"sbin/": ""}, ("symlink /upperdir/sbin/init /no/such/init",)),
    "init-loop": ("agent", {"sbin/": ""}, ("symlink /upperdir/sbin/init init",)),
    "init-link-out": ("agent", {"sbin/": ""}, ("symlink /upperdir/sbin/init ../../../../nowhere/init",)),
    "init-is-directory": ("agent", {"sbin/init/": ""}, ()),
    "init-not-executable": ("agent", {"sbin/init": "exit 0\n"}, ()),
    "init-empty": ("agent", {"sbin/init": "#!"}, ()),
    "init-is-fifo": ("agent", {"sbin/": ""}, ("cd /upperdir/sbin\nmknod init p",)),
    "libc-deleted": ("dynamic", {"lib/": ""}, ("lib/libc.so.6",)),
    "libc-garbage": ("dynamic", {"lib/libc.so.6": "not a library"}, ()),
    "interpreter-missing": ("agent", {"sbin/init": "#!/no/such/shell\n"}, ()),
    "interpreter-with-argument": ("agent", {"sbin/init": "#! /no/such/shell -e\n"}, ()),
    "interpreter-is-directory": ("agent", {"sbin/init": "#!/etc\n"}, ()),
    "interpreter-dangling": (
        "agent",
        {"sbin/init": "#!/bin/new\n", "bin/": ""},
        ("symlink /upperdir/bin/new gone",),
    ),
    "shell-deleted": ("agent", {"bin/": ""}, ("bin/sh",)),
    "shell-not-executable": ("agent", {"bin/sh": "x"}, ()),
    "busybox-deleted": ("agent", {"bin/": ""}, ("bin/busybox",)),
    "bin-deleted": ("agent", {"etc/": ""}, ("bin",)),
    "sbin-deleted": ("agent", {"etc/": ""}, ("sbin",)),
    "busybox-init-deleted": ("busybox", {"bin/": ""}, ("bin/busybox",)),
    "loader-deleted": ("dynamic", {"lib/": ""}, ("lib/ld-linux-x86-64.so.2",)),
    "loader-not-executable": ("dynamic", {"lib/ld-linux-x86-64.so.2": "x"}, ()),
    "lib-deleted": ("dynamic", {"etc/": ""}, ("lib",)),
    "lib-hidden": ("dynamic", {"lib/": ""}, ("ea_set /upperdir/lib trusted.overlay.opaque y",)),
    "lib64-dangling": ("dynamic", {"etc/": ""}, ("symlink /upperdir/lib64 gone",)),
    "elf-truncated": ("agent", {"sbin/init": b"\x7fELF"}, ()),
    "garbage": ("agent", {"sbin/init": bytes(range(1, 256))}, ("sif /upperdir/sbin/init mode 0100755",)),
}


@pytest.mark.parametrize("case", BEFORE_THE_SWITCH)
def test_seen_before_the_switch(rig: Rig, case: str) -> None:
    """This user layer cannot start init: the base is booted in the same boot, the layer in quarantine."""
    kind, files, commands = BEFORE_THE_SWITCH[case]
    # A layer in use: on a fresh one the check looks deeper.
    layer: dict[str, str | bytes] = {"state/base-id": "b1\n", "work/": ""}
    layer |= {f"upperdir/{name}": data for name, data in {"etc/mine": "x", **files}.items()}
    upper = rig.writable(layer)
    for command in commands:
        if " " in command:
            disk.Ext(upper).change(command)
        else:
            disk.Ext(upper).whiteout(f"/upperdir/{command}")
    guest = rig.boot([rig.base(Base(init=kind, base_id="b1")), upper])
    assert guest.layer() == "fallback"
    assert guest.status()["reason"] == "init"
    assert "init" in guest.status()["detail"]
    assert guest.sh("cat /media/rfs/quarantine/upperdir/etc/mine") == "x"
    assert guest.run("echo y >/media/rfs/quarantine/upperdir/etc/mine")[0] != 0
    guest.sh("echo still usable >/etc/new")


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        pytest.param("agent", {}, id="script"),
        pytest.param("busybox", {}, id="busybox"),
        pytest.param("dynamic", {}, id="dynamic"),
        pytest.param(
            "agent", {"sbin/init": "#!/bin/busybox sh\nexec /sbin/agent\n"}, id="interpreter-argument"
        ),
        pytest.param("agent", {"sbin/init": "#! /bin/sh\nexec /sbin/agent\n"}, id="space-before-interpreter"),
        pytest.param(
            "agent", {"sbin/init": "#!/sbin/step\n", "sbin/step": "#!/bin/sh\nexec /sbin/agent\n"}, id="two"
        ),
        pytest.param("dynamic", {"lib/spare": ""}, id="files-beside"),
    ],
)
@pytest.mark.parametrize("merged", [False, True], ids=["split", "merged"])
def test_good_layers_pass(rig: Rig, kind: str, files: dict[str, str], merged: bool) -> None:
    """A user layer that can start init is never refused: no false alarm of the check."""
    prefix = "upperdir/usr/" if merged else "upperdir/"
    upper = rig.writable({f"{prefix}{name}": data for name, data in files.items()} or None)
    assert rig.boot([rig.base(Base(init=kind, merged=merged)), upper]).layer() == "persistent"


def test_init_links_through_the_new_root(rig: Rig) -> None:
    """Absolute links are followed inside the new root, over several steps."""
    base = Base(links={"sbin/init": "/usr/step", "usr/step": "../etc/step", "etc/step": "/sbin/agent"})
    assert rig.boot([rig.base(base), rig.writable()]).layer() == "persistent"


def test_dies_later_is_counted(rig: Rig) -> None:
    """An init that dies after the switch: after three boots the base comes up, the layer in quarantine."""
    upper = rig.writable({"upperdir/etc/mine": "x", "upperdir/sbin/init": "#!/bin/sh\nexit 1\n"})
    machine = rig.start([rig.base(), upper], PLAIN, stay=True)
    for _unused in range(3):
        machine.expect("Kernel panic - not syncing: Attempted to kill init", never="@@BOOT")
    guest = rig.guest(machine)
    assert guest.layer() == "fallback"
    assert guest.sh("cat /media/rfs/quarantine/upperdir/etc/mine") == "x"


def count_until_fallback(rig: Rig, words: str, limit: int) -> int:
    """Boots of a layer that nobody confirms, until the base comes up without it."""
    disks = [rig.base(), rig.writable({"upperdir/etc/mine": "x"})]
    for number in range(limit):
        guest = rig.boot(disks, f"{PLAIN} {words}")
        if guest.layer() == "fallback":
            assert guest.exists("/media/rfs/quarantine/upperdir/etc/mine")
            return number
        guest.off()
    return limit


@pytest.mark.parametrize(
    ("words", "boots"), [("", 3), ("rootrwtries=1", 1), ("rootrwtries=5", 5), ("rootrwtries=x", 3)]
)
def test_unconfirmed_boots(rig: Rig, words: str, boots: int) -> None:
    """The user's layer gets this many unconfirmed boots, then the base comes up without it."""
    assert count_until_fallback(rig, words, boots + 2) == boots


def test_counting_can_be_switched_off(rig: Rig) -> None:
    """`rootrwtries=0` never takes the user's layer away."""
    assert count_until_fallback(rig, "rootrwtries=0", 6) == 6


def test_retry_from_a_fallback(rig: Rig) -> None:
    """`overlay-confirm --retry` in a fallback gives the layer as many tries again; nothing of it is lost."""
    words = f"{PLAIN} rootrwtries=1"
    disks = [rig.base(Base(overlay=rig.rootfs_overlay)), rig.writable({"upperdir/etc/mine": "x"})]
    for wanted in ("persistent", "fallback", "fallback"):
        guest = rig.boot(disks, words)
        assert guest.layer() == wanted
        if wanted == "persistent":
            assert guest.run("overlay-confirm --retry")[0] != 0
            guest.sh("sync")
        guest.off()
    guest = rig.boot(disks, words)
    assert (guest.layer(), guest.status()["reason"]) == ("fallback", "tries")
    guest.sh("overlay-confirm --retry")
    assert guest.run("touch /media/rfs/quarantine/x")[0] != 0, "the quarantine stays read-only"
    guest.off()
    guest = rig.boot(disks, words)
    assert (guest.layer(), guest.sh("cat /etc/mine")) == ("persistent", "x")


def confirm(guest: Guest) -> None:
    guest.sh("/usr/sbin/overlay-confirm")


def test_confirmed_boots_are_not_counted(rig: Rig) -> None:
    """A boot that is confirmed starts the count anew, for ever."""
    disks = [rig.base(Base(overlay=rig.rootfs_overlay)), rig.writable()]
    for _unused in range(5):
        guest = rig.boot(disks)
        assert guest.layer() == "persistent"
        confirm(guest)
        guest.off()


def test_counter_garbage(rig: Rig) -> None:
    """A counter file with anything in it never stops a boot."""
    for text in ("", "x", "-5", "99999999999999999999", "1 2\n3", "08", "$(reboot)", "\0\0\0\0"):
        guest = rig.boot([rig.base(), rig.writable({"upperdir/etc/mine": "x", "state/tries": text})])
        assert guest.layer() in ("persistent", "fallback")
        guest.off()
