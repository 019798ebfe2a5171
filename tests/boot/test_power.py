# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plug is pulled: during writes, a reset, a confirmation, a first boot; and many boots."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.tests.boot.lab import disk
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.disk import Ext
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.rig import PLAIN, Drive, Rig
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.tree import Base
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.writelog import replay, writes

POINTS = 20
USERS = {f"/etc/file{number}": f"content {number}" for number in range(12)} | {"/.dot/.file": "hidden"}
KEPT = {"/root/.ssh/authorized_keys": "key", "/etc/keep me": "kept"}
REQUEST = "".join(f"keep={path}\n" for path in ("/root/.ssh", "/etc/keep me"))


def on_disk(files: dict[str, str]) -> dict[str, str | bytes]:
    return {f"upperdir{path}": text for path, text in files.items()}


def cuts(log: Path) -> list[int]:
    """Twenty numbers of writes after which to cut, spread over the whole log, both ends included."""
    total = sum(1 for _unused in writes(log))
    assert total >= POINTS, f"only {total} writes: nothing to cut"
    return [round(point * total / (POINTS - 1)) for point in range(POINTS)]


class Recorded:
    """A disk before something happened to it, and every write of what happened, in order."""

    def __init__(self, rig: Rig, before: Path, base: Path) -> None:
        self.rig, self.before, self.base = rig, before, base
        self.log = rig.work / "writes"
        self.after = rig.copy(before)

    @property
    def drives(self) -> list[Drive | Path]:
        return [self.base, Drive(self.after, log=self.log)]

    def cut(self, count: int) -> Path:
        return replay(self.before, self.log, count, self.rig.work / f"cut{count}")


# Too many for one transaction of the small journal: what is not atomic shows.
MANY = {f"/many{number % 8}/file{number}": "" for number in range(4000)}
JOURNAL = ("-J", "size=1", "-b", "1024", "-N", "6000")


@pytest.fixture
def reset(rig: Rig) -> Recorded:
    content = {**on_disk(USERS | KEPT | MANY), "work/": "", "state/reset": REQUEST}
    before = rig.writable(content, size=32 * disk.MIB, options=JOURNAL)
    recorded = Recorded(rig, before, rig.base(Base(overlay=rig.rootfs_overlay)))
    guest = rig.boot(recorded.drives)
    guest.sh("/usr/lib/readonly-rootfs/empty-trash; sync")
    guest.off()
    return recorded


def test_cut_during_reset_leaves_one_state(rig: Rig, reset: Recorded) -> None:
    """After every single write of a reset the disk holds the whole old layer or the whole new one."""
    total = sum(1 for _unused in writes(reset.log))
    seen = set()
    for count in range(0, total + 1, max(1, total // 120)):
        fs = Ext(reset.cut(count)).recovered(rig.work / "recovered")
        assert not fs.problems(), f"cut after {count} of {total} writes"
        present = {path for path in USERS if fs.exists(f"/upperdir{path}")}
        many = sum(len(fs.names(f"/upperdir/many{number}")) for number in range(8))
        assert (len(present), many) in ((0, 0), (len(USERS), len(MANY))), (
            f"a mixture after {count} of {total} writes"
        )
        seen.add(bool(present))
        (rig.work / f"cut{count}").unlink()
    assert seen == {True, False}, "the log does not hold the reset"


@pytest.mark.parametrize("quarter", range(4))
def test_cut_during_reset_then_boot(rig: Rig, reset: Recorded, quarter: int) -> None:
    """Boots after power cuts at five points of a reset: it is done, kept files whole, nothing else left."""
    for count in cuts(reset.log)[quarter::4]:
        guest = rig.boot([reset.base, reset.cut(count)])
        assert guest.layer() == "persistent"
        for path in USERS:
            assert not guest.exists(path), f"{path} is back after a cut at write {count}"
        for path, text in KEPT.items():
            assert guest.sh(f"cat '{path}'") == text, f"cut after {count} writes"
        assert not guest.exists("/media/rfs/rw/state/reset")
        guest.machine.kill()


@pytest.fixture
def confirmation(rig: Rig) -> Recorded:
    before = rig.writable({**on_disk(USERS), "work/": ""})
    base = rig.base(Base(overlay=rig.rootfs_overlay))
    rig.boot([base, before]).off()
    recorded = Recorded(rig, before, base)
    guest = rig.boot(recorded.drives)
    guest.sh("overlay-confirm && echo new >/etc/new && sync")
    guest.off()
    return recorded


@pytest.mark.parametrize("quarter", range(4))
def test_cut_during_counting_and_confirmation(rig: Rig, confirmation: Recorded, quarter: int) -> None:
    """Power cuts at five points of a boot that counts, confirms and writes: the user's layer boots, whole."""
    for count in cuts(confirmation.log)[quarter::4]:
        guest = rig.boot([confirmation.base, confirmation.cut(count)])
        assert guest.layer() == "persistent", f"cut after {count} writes"
        for path, text in USERS.items():
            assert guest.sh(f"cat {path}") == text
        guest.machine.kill()


@pytest.mark.parametrize("half", range(2))
def test_cut_during_first_boot(rig: Rig, half: int) -> None:
    """Power cuts during the very first boot on an empty file system: the next boot has a persistent layer."""
    recorded = Recorded(rig, rig.writable(), rig.base())
    guest = rig.boot(recorded.drives)
    guest.sh("echo x >/etc/x && sync")
    guest.off()
    for count in cuts(recorded.log)[half::4]:
        guest = rig.boot([recorded.base, recorded.cut(count)])
        assert guest.layer() == "persistent", f"cut after {count} writes"
        guest.machine.kill()


@pytest.mark.parametrize("after", [0.4, 1.0, 1.9])
def test_plug_pulled_while_writing(rig: Rig, after: float) -> None:
    """QEMU killed while the user writes: the base is unchanged, what was synced is there afterwards."""
    disks = [rig.base(), rig.writable()]
    before = disk.sha256(disks[0])
    guest = rig.boot(disks)
    guest.machine.type(
        "i=0; while :; do i=$((i+1)); echo v$i >/etc/f$i; rm -f /etc/f$((i-9)); "
        'dd if=/dev/zero of=/big bs=64k count=9 2>/dev/null; sync; echo "synced:$i"; done\n'
    )
    guest.machine.expect(r"^synced:2$")
    time.sleep(after)
    guest.machine.kill()
    last = max(map(int, re.findall(r"^synced:(\d+)$", guest.machine.console, re.MULTILINE)))
    guest = rig.boot(disks)
    assert guest.layer() == "persistent"
    assert guest.sh(f"cat /etc/f{last}") == f"v{last}"
    assert disk.sha256(disks[0]) == before


def test_fifty_reboots(rig: Rig) -> None:
    """Fifty reboots in a row: every one with the user's layer, no rubbish left, the base unchanged."""
    base, upper = rig.base(), rig.writable()
    before = disk.sha256(base)
    machine = rig.start([base, upper], f"{PLAIN} rootrwtries=0 quiet", stay=True)
    entries = ""
    for number in range(50):
        guest = rig.guest(machine)
        assert guest.layer() == "persistent"
        guest.sh(f"echo {number} >>/etc/boots; rm -f /etc/base-file; sync")
        entries = entries or guest.sh("ls -1A /media/rfs/rw /media/rfs/rw/state")
        assert guest.sh("ls -1A /media/rfs/rw /media/rfs/rw/state") == entries
        machine.type("reboot -f\n")
    guest = rig.guest(machine)
    assert guest.sh("cat /etc/boots").split() == [str(number) for number in range(50)]
    guest.off()
    assert disk.sha256(base) == before
    assert not Ext(upper).recovered(rig.work / "after").problems()
