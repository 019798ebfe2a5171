# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identity and use of disks, read from a sysfs and procfs of our own."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _flash_contents, _flash_station
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._blockdev import (
    System,
    describe,
    disks,
    is_stacked,
    uses,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_errors import (
    ADVICE,
    FlashError,
    io_error,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_medium import open_card
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_safety import (
    Rules,
    Target,
    refusals,
    resolve,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_station import Query, look, size_of

BY_ID = "/dev/disk/by-id/card"


class Station:
    """A kernel's view of disks, in a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.system = System(root / "sys", root / "proc", root / "dev")
        (root / "sys/block").mkdir(parents=True)
        (root / "sys/dev/block").mkdir(parents=True)
        self.write("proc/self/mountinfo", "")
        self.write("proc/swaps", "Filename Type Size Used Priority\n")

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def disk(self, name: str, number: str, parent: str = "pci", **attributes: str) -> str:
        place = f"sys/devices/{parent}/block/{name}"
        values = {"size": "2097152", "ro": "0", "removable": "1", "dev": number, **attributes}
        for attribute, value in values.items():
            self.write(f"{place}/{attribute.replace('__', '/')}", value + "\n")
        (self.root / "sys/block" / name).symlink_to(self.root / place)
        (self.root / "sys/dev/block" / number).symlink_to(self.root / place)
        return number

    def partition(self, disk: str, name: str, number: str) -> str:
        place = (self.root / "sys/block" / disk).resolve() / name
        for attribute, value in {"partition": "1", "size": "2048", "ro": "0", "dev": number}.items():
            self.write(str((place / attribute).relative_to(self.root)), value + "\n")
        (self.root / "sys/dev/block" / number).symlink_to(place)
        return number

    def mount(self, number: str, target: str) -> None:
        self.write("proc/self/mountinfo", f"30 1 {number} / {target} rw - ext4 /dev/none rw\n")

    def kinds(self, number: str, target: Target | None = None, rules: Rules | None = None) -> list[str]:
        device = describe(number, self.system)
        found = refusals(device, target or Target(BY_ID), rules or Rules(), self.system, 1 << 20)
        return [error.kind for error in found]


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


def test_a_card_in_a_usb_reader(station: Station) -> None:
    usb = "pci/usb1/1-1/1-1.4"
    for name, value in {"idVendor": "0bda", "serial": "READER7", "product": "Reader"}.items():
        station.write(f"sys/devices/{usb}/{name}", value)
    number = station.disk(
        "sdb", "8:16", f"{usb}/host3/target", device__vendor="Generic ", device__model="SD/MMC"
    )
    found = describe(number, station.system)
    assert (found.transport, found.port, found.serial) == ("usb", "1-1.4", "READER7")
    assert (found.vendor, found.model, found.size) == ("Generic", "SD/MMC", 1 << 30)
    assert found.name.endswith("sdb (READER7)")
    assert station.kinds(number) == []


def test_a_card_in_a_slot_of_the_board(station: Station) -> None:
    number = station.disk(
        "mmcblk1", "179:8", removable="0", device__type="SD", device__cid="0353445355", device__name="SU08G"
    )
    found = describe(number, station.system)
    assert (found.transport, found.serial, found.model) == ("mmc", "0353445355", "SU08G")
    assert station.kinds(number) == []


def test_soldered_flash_is_not_removable(station: Station) -> None:
    number = station.disk("mmcblk0", "179:0", removable="0", device__type="MMC")
    assert station.kinds(number) == ["not_removable"]
    assert station.kinds(number, rules=Rules(("non_removable",))) == []


def test_partitions_are_refused(station: Station) -> None:
    station.disk("sdb", "8:16")
    assert "partition" in station.kinds(station.partition("sdb", "sdb1", "8:17"))


@pytest.mark.parametrize(
    ("mountpoint", "kind"), [("/", "system_disk"), ("/boot", "system_disk"), ("/media/card", "mounted")]
)
def test_mounts_of_partitions_count(station: Station, mountpoint: str, kind: str) -> None:
    station.disk("sdb", "8:16")
    station.mount(station.partition("sdb", "sdb1", "8:17"), mountpoint)
    assert station.kinds("8:16") == [kind]


def test_a_volume_over_a_disk_keeps_it(station: Station) -> None:
    """The root on LVM or an encrypted volume: its disk is three steps away."""
    station.disk("sda", "8:0")
    part = station.partition("sda", "sda2", "8:2")
    station.disk("dm-0", "253:0", slaves__sda2__dev=part)
    station.disk("dm-1", "253:1", slaves__dm_0__dev="253:0")
    station.mount("253:1", "/")
    assert station.kinds("8:0")[0] == "system_disk"
    assert is_stacked(describe("253:1", station.system), station.system)
    assert "stacked" in station.kinds("253:1")


def test_members_of_a_raid_are_in_use(station: Station) -> None:
    station.disk("sdb", "8:16", holders__md0__dev="9:0")
    station.disk("sdc", "8:32")
    station.partition("sdc", "sdc1", "8:33")
    station.write("sys/devices/pci/block/sdc/sdc1/holders/md0/dev", "9:0")
    assert station.kinds("8:16") == ["in_use"]
    assert station.kinds("8:32") == ["in_use"]


def test_swap_is_in_use(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    station.disk("sdb", "8:16")
    part = station.partition("sdb", "sdb2", "8:18")
    station.write("proc/swaps", "Filename Type Size Used Priority\n/dev/sdb2 partition 1 0 -2\n")
    monkeypatch.setattr(
        "ansible_collections.br2.readonly_rootfs.plugins.module_utils._blockdev._number_of",
        lambda path: part if path == "/dev/sdb2" else "",
    )
    assert [(use.kind, use.what) for use in uses(describe("8:16", station.system), station.system)] == [
        ("swap", "/dev/sdb2")
    ]
    assert station.kinds("8:16") == ["swap"]


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [({"ro": "1"}, "read_only"), ({"size": "0"}, "no_media"), ({"size": "1024"}, "too_small")],
)
def test_cards_that_cannot_be_written(station: Station, attributes: dict[str, str], kind: str) -> None:
    assert station.kinds(station.disk("sdb", "8:16", **attributes)) == [kind]


@pytest.mark.parametrize(
    ("target", "rules", "kinds"),
    [
        (Target("/dev/sdb"), Rules(), ["unnamed"]),
        (Target("/dev/sdb", serial="S1"), Rules(), []),
        (Target("/dev/sdb", serial="S2"), Rules(), ["unexpected"]),
        (Target("/dev/sdb", min_size=1, max_size=1 << 31), Rules(), []),
        (Target("/dev/sdb", min_size=1), Rules(), ["unnamed"]),
        (Target(BY_ID, min_size=1 << 31), Rules(), ["unexpected"]),
        (Target(BY_ID, max_size=1 << 20), Rules(), ["unexpected"]),
        (Target(BY_ID, model="SU08G"), Rules(), ["unexpected"]),
        (Target(BY_ID), Rules(max_size=1 << 20), ["too_big"]),
    ],
    ids=str,
)
def test_expectations(station: Station, target: Target, rules: Rules, kinds: list[str]) -> None:
    station.disk("sdb", "8:16", device__serial="S1")
    assert station.kinds("8:16", target, rules) == kinds


def test_a_disk_that_goes_while_it_is_looked_at(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """Watching is not to end because of the moment in which somebody took out a card."""
    number = station.disk("sdb", "8:16", holders__dm_0__dev="253:0", device__vpd_pg80="1234S1")
    found = describe(number, station.system)
    assert [use.kind for use in uses(found, station.system)] == ["in_use"]

    def gone(path: Path) -> None:
        raise FileNotFoundError(path)

    for name in ("iterdir", "read_bytes"):
        monkeypatch.setattr(Path, name, gone)
    describe(number, station.system)
    assert uses(found, station.system) == []
    assert not is_stacked(found, station.system)
    assert disks(station.system) == []


def test_only_root_opens_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A good card must not pass for a locked one because become was forgotten."""

    def opened(path: str, flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr("os.open", opened)
    with pytest.raises(FlashError) as caught:
        open_card("/dev/sdb", "/dev/sdb")
    assert caught.value.kind == "permission"


def test_a_serial_number_names_one_disk(station: Station) -> None:
    station.disk("sdb", "8:16", device__serial="S1")
    station.disk("sdc", "8:32", device__serial="S2")
    assert resolve(Target(serial="S2"), station.system).path.endswith("sdc")
    station.disk("sdd", "8:48", device__serial="S2")
    for serial in ("S2", "S3"):
        with pytest.raises(FlashError, match="one device should have"):
            resolve(Target(serial=serial), station.system)


def test_only_disks_with_a_medium_are_listed(station: Station) -> None:
    for number, name in enumerate(("ram0", "zram0", "sr0", "dm-0", "md0", "mmcblk0boot0")):
        station.disk(name, f"1:{number}")
    station.disk("sdb", "8:16", size="0")
    station.disk("sdc", "8:32")
    assert [disk.path.rpartition("/")[2] for disk in disks(station.system)] == ["sdc"]


def test_waiting_for_a_card(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    station.disk("sdb", "8:16", size="0", diskseq="7", device__serial="S1")
    place = "sys/devices/pci/block/sdb/size"
    slept = []

    def inserted(seconds: float) -> None:
        slept.append(seconds)
        station.write(place, "2097152")

    monkeypatch.setattr("time.sleep", inserted)
    query = Query(max_size=1 << 40)
    (card,) = look(query, True, 10, station.system)
    assert card["usable"]
    assert len(slept) == 1
    assert resolve(Target(path="", serial="S1"), station.system).path == card["target"]["path"]
    done = Query(max_size=1 << 40, known=((card["path"], "7"),))
    with pytest.raises(FlashError, match=r"no card to flash.*is done"):
        look(done, True, 0, station.system)
    station.write("sys/devices/pci/block/sdb/diskseq", "8")
    assert look(done, True, 0, station.system)[0]["usable"], "it was taken out, and another one inserted"
    station.write(place, "0")
    with pytest.raises(FlashError, match="there is no card to flash"):
        look(query, True, 0, station.system)
    assert look(query, False, 0, station.system) == []


def test_readers_by_port_and_by_path(station: Station) -> None:
    usb = "pci/usb1/1-1/1-1.4"
    station.write(f"sys/devices/{usb}/idVendor", "0bda")
    station.disk("sdb", "8:16", f"{usb}/host3/target")
    station.disk("sdc", "8:32")
    station.disk("sdd", "8:48")

    def found(paths: tuple[str, ...] = (), ports: tuple[str, ...] = ()) -> list[str]:
        cards = look(Query(paths, ports, max_size=1 << 40), False, 0, station.system)
        return [card["path"].rpartition("/")[2] for card in cards]

    assert found() == ["sdb", "sdc", "sdd"]
    assert found(ports=("1-1.4",)) == ["sdb"]
    sdc = describe("8:32", station.system)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_flash_station, "find", lambda _path, _system: sdc)
        assert found(paths=("/dev/sdc",)) == ["sdc"]
        assert found(paths=("/dev/sdc",), ports=("1-1.4",)) == ["sdc", "sdb"]


def test_sizes() -> None:
    assert size_of("4G", "min_size") == 4 << 30
    assert size_of(None, "min_size") == 0
    with pytest.raises(FlashError, match="min_size: 'big' is not a size") as caught:
        size_of("big", "min_size")
    assert caught.value.advice == "correct the option"


def test_every_failure_has_advice() -> None:
    for number, kind in (
        (5, "write_error"),
        (19, "vanished"),
        (6, "vanished"),
        (30, "read_only"),
        (28, "too_small"),
    ):
        error = io_error("write", "/dev/sdb (S1)", 4096, OSError(number, "reason"))
        assert error.kind == kind
        assert error.advice == ADVICE[kind]
        assert "/dev/sdb (S1)" in error.message
        assert error.as_dict()["offset"] == 4096


def test_contents_of_a_device_that_cannot_be_read(station: Station) -> None:
    number = station.disk("sdb", "8:16")
    assert _flash_contents.contents(describe(number, station.system)) == ""
