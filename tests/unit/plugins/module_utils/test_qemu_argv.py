# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu import (
    Disk,
    Forward,
    Guest,
    QemuError,
    argv,
)


def options(words: list[str]) -> dict[str, list[str]]:
    """The values of each ``-option``, in order."""
    found: dict[str, list[str]] = {}
    for option, value in zip(words, [*words[1:], ""]):
        if option.startswith("-"):
            found.setdefault(option, []).append("" if value.startswith("-") else value)
    return found


def test_a_plain_guest_is_closed_to_the_world() -> None:
    words = argv(Guest("plain"), "tcg", {})
    given = options(words)
    assert words[0] == "qemu-system-x86_64"
    assert given["-accel"] == ["tcg,tb-size=128"]
    assert given["-cpu"] == ["qemu64,+rdrand"]
    assert given["-netdev"] == ["user,id=net0"]
    assert given["-display"] == ["none"]
    assert "-no-reboot" not in given


def test_kernel_command_line_is_one_word() -> None:
    append = 'console=ttyS0 root=/dev/vda1 x="a, b"'
    given = options(argv(Guest("k", kernel="/k", initrd="/i", append=append), "tcg", {}))
    assert given["-kernel"] == ["/k"]
    assert given["-initrd"] == ["/i"]
    assert given["-append"] == [append]


def test_forwards_are_bound_to_the_loopback() -> None:
    guest = Guest("net", forwards=(Forward(22), Forward(80)))
    given = options(argv(guest, "tcg", {22: 40022, 80: 40080}))
    assert given["-netdev"] == [
        "user,id=net0,hostfwd=tcp:127.0.0.1:40022-:22,hostfwd=tcp:127.0.0.1:40080-:80"
    ]


def test_no_network_no_card() -> None:
    assert "-netdev" not in options(argv(Guest("off", network=False), "tcg", {}))


@pytest.mark.parametrize(
    ("disk", "drive", "device"),
    [
        (Disk("/a.img"), "if=none,id=disk0,file=/a.img,format=raw", "virtio-blk-pci,drive=disk0"),
        (
            Disk("/a.img", access="ro"),
            "if=none,id=disk0,file=/a.img,format=raw,readonly=on",
            "virtio-blk-pci,drive=disk0",
        ),
        (
            Disk("/a.img", access="snapshot"),
            "if=none,id=disk0,file=/a.img,format=raw,snapshot=on",
            "virtio-blk-pci,drive=disk0",
        ),
        (
            Disk("/a.img", access="overlay"),
            "if=none,id=disk0,file=disk0.qcow2,format=qcow2",
            "virtio-blk-pci,drive=disk0",
        ),
        (
            Disk("/a,b=c.qcow2", format="qcow2", interface="usb"),
            "if=none,id=disk0,file=/a,,b=c.qcow2,format=qcow2",
            "usb-storage,drive=disk0",
        ),
    ],
)
def test_disks(disk: Disk, drive: str, device: str) -> None:
    given = options(argv(Guest("d", disks=(disk,)), "tcg", {}))
    assert given["-drive"] == [drive]
    assert device in given["-device"]
    assert ("qemu-xhci" in given["-device"]) == (disk.interface == "usb")


def test_disks_keep_their_order() -> None:
    guest = Guest("d", disks=(Disk("/a"), Disk("/b", access="overlay")))
    drives = options(argv(guest, "tcg", {}))["-drive"]
    assert [drive.split(",")[1:3] for drive in drives] == [
        ["id=disk0", "file=/a"],
        ["id=disk1", "file=disk1.qcow2"],
    ]


def test_the_host_cpu_belongs_to_an_accelerator() -> None:
    assert options(argv(Guest("a"), "kvm", {}))["-cpu"] == ["host"]
    arm = options(argv(Guest("a", arch="aarch64"), "tcg", {}))
    assert arm["-cpu"] == ["cortex-a53"]
    assert arm["-machine"] == ["virt"]
    assert options(argv(Guest("a", cpu="Nehalem", machine="pc"), "kvm", {}))["-cpu"] == ["Nehalem"]


def test_extra_arguments_come_last_and_win() -> None:
    assert argv(Guest("e", extra_args=("-m", "64")), "tcg", {})[-2:] == ["-m", "64"]
    assert "-no-reboot" in argv(Guest("e", reboot=False), "tcg", {})


def test_inputs_are_what_the_guest_never_writes() -> None:
    guest = Guest("i", kernel="/k", initrd="/r", disks=(Disk("/rw"), Disk("/ro", access="overlay")))
    assert guest.inputs == ["/k", "/r", "/ro"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"arch": "vax"}, "Unknown architecture 'vax'. Known: x86_64, aarch64."),
        ({"forwards": (Forward(22), Forward(22))}, "forwards a guest port twice"),
        ({"forwards": (Forward(22),), "network": False}, "without a network"),
        ({"forwards": (Forward(22, 99999),)}, r"forwards \[99999\], which is not a port"),
        ({"forwards": (Forward(70000),)}, r"forwards \[70000\], which is not a port"),
        ({"forwards": (Forward(0),)}, "forwards 0, which is not a port"),
        ({"append": "quiet"}, "no kernel to take them"),
    ],
)
def test_contradictions_are_refused(values: dict[str, t.Any], message: str) -> None:
    with pytest.raises(QemuError, match=message):
        Guest("bad", **values)


def test_unknown_disk_properties_are_refused() -> None:
    with pytest.raises(QemuError, match=r"Unknown disk access 'maybe'"):
        Disk("/a", access="maybe")
    with pytest.raises(QemuError, match=r"Unknown disk interface 'mfm'"):
        Disk("/a", interface="mfm")
