# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel command line: every parameter, and how words are read."""

from __future__ import annotations

import pytest
from ansible_collections.br2.readonly_rootfs.tests.boot.lab import disk
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.hosttools import host_tools
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.rig import (
    PANIC,
    PLAIN,
    PROMPT,
    ROOT,
    WRITABLE,
    Guest,
    Rig,
)
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.tree import AGENT


@pytest.mark.parametrize("words", ["", "rootrw=", "rootrw= rootrwoptions=rw,noatime,mode=755"])
def test_no_writable_device(rig: Rig, words: str) -> None:
    """`rootrw=` absent or empty: a tmpfs with mode 755, gone after a reboot."""
    base = rig.base()
    for _unused in range(2):
        guest = rig.boot([base], f"root={ROOT} {words}")
        assert guest.layer() == "tmpfs"
        assert "mode=755" in guest.mounts()["/media/rfs/rw"][2]
        assert guest.sh("stat -c %a /") == "755"
        assert guest.sh("cat /etc/base-file") == "from the base"
        guest.sh("echo mine >/etc/base-file && sync")
        guest.off()


def test_no_root_device(rig: Rig) -> None:
    """`root=` absent: the current root, here the initramfs itself, is the lower layer."""
    # The agent's tools, which an initramfs of ours need not have.
    tools = host_tools(rig.initramfs_tree, dict.fromkeys(("cat", "dmesg", "stty"), "busybox"))
    agent = rig.addition({"sbin/agent": AGENT})
    guest = rig.boot([], "init=/sbin/agent", initramfs=[rig.images.initramfs, tools, agent])
    assert guest.layer() == "tmpfs"
    assert guest.mounts()["/"][1] == "overlay"
    guest.sh("echo mine >/written")


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        pytest.param("rootrwreset=yes", False, id="yes"),
        pytest.param("rootrwreset=1", False, id="1"),
        pytest.param("rootrwreset=TRUE", False, id="TRUE"),
        pytest.param("rootrwreset=On", False, id="On"),
        pytest.param("rootrwreset=no rootrwreset=yes", False, id="last-one-yes"),
        pytest.param('rootrwreset="yes"', False, id="quoted"),
        pytest.param("rootrwreset=no", True, id="no"),
        pytest.param("rootrwreset=0", True, id="0"),
        pytest.param("rootrwreset=FALSE", True, id="FALSE"),
        pytest.param("rootrwreset=off", True, id="off"),
        pytest.param("rootrwreset=", True, id="empty"),
        pytest.param("rootrwreset=yes rootrwreset=no", True, id="last-one-no"),
    ],
)
def test_rootrwreset_values(rig: Rig, words: str, kept: bool) -> None:
    """`yes/1/true/on` in any case reset everything on the layer; `no/0/false/off`/empty do not."""
    upper = rig.writable(
        {"upperdir/etc/mine": "x", "upperdir/.hidden/file": "x", "foreign": "x", ".dot": "x"}
    )
    guest = rig.boot([rig.base(), upper], f"{PLAIN} {words}")
    assert guest.layer() == "persistent"
    assert guest.exists("/etc/mine") is guest.exists("/.hidden") is kept
    assert guest.exists("/media/rfs/rw/foreign") is guest.exists("/media/rfs/rw/.dot") is kept


def test_rootrwreset_unknown_value(rig: Rig) -> None:
    """An unknown value of `rootrwreset=` deletes nothing and is named on the console."""
    upper = rig.writable({"upperdir/etc/mine": "x"})
    guest = rig.boot([rig.base(), upper], f"{PLAIN} rootrwreset=maybe")
    assert guest.sh("cat /etc/mine") == "x"
    said = guest.machine.console.split("Kernel command line")[1].split("\n", 1)[1]
    assert "rootrwreset" in said
    assert "maybe" in said


@pytest.mark.parametrize(
    "words",
    [
        pytest.param("rootrwoptions=rw,noatime,mode=755", id="documented"),
        pytest.param('rootrwoptions="rw,noatime"', id="quoted"),
        pytest.param("rootrwoptions=mode=755", id="only-mode"),
        pytest.param("rootrwoptions=mode=0755,noatime", id="mode-first"),
        pytest.param("rootrwfstype=ext4", id="type"),
        pytest.param("rootrwfstype=ext4 rootrwoptions=rw,noatime,mode=755", id="type-and-mode"),
        pytest.param("rootrwoptions=", id="empty"),
        pytest.param("rootoptions=noatime", id="base-options"),
        pytest.param("rootoptions=rw", id="base-rw"),
        pytest.param("rootoptions=", id="base-empty"),
        pytest.param("rootfstype=ext2", id="base-type"),
        pytest.param("rootfstype=ext4", id="base-type-ext4"),
    ],
)
def test_options_boot(rig: Rig, words: str) -> None:
    """These mount options and types boot with the user's layer, and the base stays read-only."""
    base = rig.base()
    before = disk.sha256(base)
    guest = rig.boot([base, rig.writable()], f"{PLAIN} {words}")
    assert guest.layer() == "persistent"
    assert "ro" in guest.mounts()["/media/rfs/ro"][2]
    guest.off()
    assert disk.sha256(base) == before


def test_options_are_used(rig: Rig) -> None:
    """`rootoptions=` and `rootrwoptions=` replace the defaults; `ro` is added."""
    guest = rig.boot(
        [rig.base(), rig.writable()],
        f"{PLAIN} rootoptions=relatime,nodev rootrwoptions=rw,nodiratime,commit=77",
    )
    mounts = guest.mounts()
    assert {"ro", "relatime", "nodev"} <= mounts["/media/rfs/ro"][2]
    assert {"rw", "nodiratime", "commit=77"} <= mounts["/media/rfs/rw"][2]


def test_tmpfs_options_are_used(rig: Rig) -> None:
    """`rootrwoptions=` applies to the tmpfs, too."""
    guest = rig.boot([rig.base()], f"root={ROOT} rootrwoptions=rw,noatime,mode=750,size=8m")
    assert {"size=8192k", "mode=750", "noatime"} <= guest.mounts()["/media/rfs/rw"][2]


@pytest.mark.parametrize(
    "words", ["ro", "rw", "rootwait", "rootdelay=1", "rootflags=noatime", "rootflags=nodev"]
)
def test_kernel_words(rig: Rig, words: str) -> None:
    """The kernel's `rootwait`, `rootdelay=`, `ro`, `rw`, `rootflags=` boot; the base is read-only."""
    guest = rig.boot([rig.base(), rig.writable()], f"{words} {PLAIN}")
    assert guest.layer() == "persistent"
    options = guest.mounts()["/media/rfs/ro"][2]
    assert "ro" in options
    if words.startswith("rootflags="):
        assert words.split("=")[1] in options


def test_rootdelay_waits(rig: Rig) -> None:
    """`rootdelay=N` waits N seconds before the root device is looked for."""
    guest = rig.boot([rig.base(), rig.writable()], f"{PLAIN} rootdelay=4")
    uptime = float(guest.sh("cat /proc/uptime").split()[0])
    assert uptime >= 4, uptime


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        pytest.param("", [], id="none"),
        pytest.param("single", ["single"], id="bare-word"),
        pytest.param("-- -s", ["-s"], id="after-dashes"),
        pytest.param("single -- --all a=b", ["single", "--all", "a=b"], id="both"),
        pytest.param('-- "two words" *', ["two words", "*"], id="quoted-and-glob"),
        pytest.param(
            "-- rootrw=/dev/none init=/bin/false", ["rootrw=/dev/none", "init=/bin/false"], id="not-ours"
        ),
    ],
)
def test_words_for_init(rig: Rig, words: str, arguments: list[str]) -> None:
    """Bare words and what follows `--` reach the real init unchanged; ours after `--` are not read."""
    guest = Guest(rig.start([rig.base(), rig.writable()], f"{PLAIN} {words}"))
    assert guest.ready() == ["/sbin/init", *arguments]
    assert guest.layer() == "persistent"


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(f"root=/dev/none rootrw=/dev/none {PLAIN}", id="last-wins"),
        pytest.param(f'"root={ROOT}" rootrw="{WRITABLE}"', id="quotes-both-ways"),
        pytest.param(f'dyndbg="file x rootrw=/dev/none root=/dev/none +p" {PLAIN}', id="words-in-quotes"),
        pytest.param(f"{PLAIN} foo=* bar=? $HOME baz=$(reboot) `reboot`", id="shell-characters"),
        pytest.param(f"{PLAIN} x=;reboot; y=&&reboot z=|reboot <a >b", id="shell-operators"),
        pytest.param(
            f"{PLAIN} rootfs=/dev/none myroot=/dev/none root.rw=x rootrwx=y ROOT=/dev/none", id="near-names"
        ),
        pytest.param(
            f"{PLAIN} PATH=/nowhere IFS=o ENV=/etc/base-file LD_PRELOAD=/x set=-e", id="environment"
        ),
        pytest.param(f"{PLAIN} \\ a\\b=c\\n -n -e ' \" ''", id="backslash-and-quotes"),
        pytest.param(f"{PLAIN} " + " ".join(f"m.w{n}=v" for n in range(200)), id="200-words"),
        pytest.param(f"{PLAIN} x=" + "y" * 1200, id="long-word"),
        pytest.param(f"root={ROOT}\nrootrw={WRITABLE}", id="line-break"),
        pytest.param(f"{PLAIN} umlaut=\u00e4\u00f6 tab=\ta", id="utf8-and-tab"),
    ],
)
def test_hostile_command_lines(rig: Rig, words: str) -> None:
    """Odd words change nothing: nothing is expanded or run, and the user's layer is booted."""
    guest = rig.boot([rig.base(), rig.writable()], words)
    assert guest.layer() == "persistent"


def test_globs_are_literal(rig: Rig) -> None:
    """`init=/sbin/ini*` is not expanded: there is no such file, which is said, and no shell appears."""
    machine = rig.start([rig.base(), rig.writable()], f"{PLAIN} init=/sbin/ini*")
    assert machine.wait_end() == "guest-reset"
    assert "/sbin/ini*" in machine.console.split("Kernel command line")[1].split("\n", 1)[1]
    assert "rebooting in 1 seconds" in machine.console, "as panic=1 says"
    assert "@@BOOT" not in machine.console


@pytest.mark.parametrize("words", ["panic=0", "panic=x", "panic=-1"])
def test_pause_before_the_reboot(rig: Rig, words: str) -> None:
    """A base that cannot be booted leads to a reboot after ten seconds, whatever odd `panic=` is given."""
    machine = rig.start([rig.base()], f"root={ROOT} init=/none {words}")
    machine.expect("rebooting in 10 seconds", never=PANIC)


@pytest.mark.parametrize(
    "words", ["init=/sbin/agent", "init=/bin/false init=/sbin/agent", 'init="/sbin/agent"']
)
def test_init_parameter(rig: Rig, words: str) -> None:
    """`init=` names the real init."""
    guest = Guest(rig.start([rig.base(), rig.writable()], f"{PLAIN} {words}"))
    assert guest.ready() == ["/sbin/agent"]


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/ash"])
def test_init_shell_is_usable(rig: Rig, shell: str) -> None:
    """`init=/bin/sh` gives a shell that reads and answers on the console, with the overlay as /."""
    machine = rig.start([rig.base(), rig.writable()], f"{PLAIN} init={shell}")
    machine.expect(PROMPT)
    machine.type("cat /etc/base-file; echo $((6 * 7))-$$\n")
    machine.expect("^from the base\n42-1$")
    machine.type("grep overlay /proc/mounts\n")
    machine.expect("^overlay / overlay rw")


def test_the_environment_decides_nothing(rig: Rig) -> None:
    """Words that the kernel puts into the environment are none of the boot script's own variables."""
    names = "quarantine tries stale reset layer_base_id rw_device layer_mounted layer_fresh used trash_number"
    words = " ".join(f"{name}=odd" for name in names.split())
    disks = [rig.base(), rig.writable({"state/reset": "", "upperdir/etc/mine": "x"})]
    guest = rig.boot(disks, f"root={ROOT} {words}")
    assert guest.layer() == "tmpfs"
    assert "odd" not in guest.status().values()
    guest.off()
    guest = rig.boot(disks, f"{PLAIN} {words}")
    assert (guest.layer(), guest.status()["reset"]) == ("persistent", "yes")
