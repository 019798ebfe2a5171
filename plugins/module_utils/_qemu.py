# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a virtual machine is, and the QEMU command line that says so.

Only data in and lists of words out: nothing here starts a process.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

CONSOLE_LOG = "console.log"
CONSOLE_SOCKET = "console.sock"
QMP_SOCKET = "qmp.sock"
LOOPBACK = "127.0.0.1"
TCG_CACHE_MIB = 128
"""QEMU's own gigabyte keeps what a guest before its reboot was translated to: writing over
that, its next kernel unpacks for 9 s of CPU instead of 1 s (QEMU 7.2, measured)."""

INTERFACES = ("virtio", "usb")
ACCESS = ("overlay", "snapshot", "rw", "ro")


class QemuError(Exception):
    """Something about a virtual machine; the text is meant for the user."""


@dataclass(frozen=True)
class Arch:
    """What differs from one emulated architecture to the next."""

    program: str
    machine: str
    console: str
    # The quickest one; with a source of random numbers, or sshd waits seconds for them.
    tcg_cpu: str


ARCHITECTURES: t.Mapping[str, Arch] = {
    "x86_64": Arch("qemu-system-x86_64", "q35", "ttyS0", "qemu64,+rdrand"),
    "aarch64": Arch("qemu-system-aarch64", "virt", "ttyAMA0", "cortex-a53"),
}


@dataclass(frozen=True)
class Disk:
    """A disk image as the guest sees it.

    ``access``: ``rw`` writes to the file; ``ro`` refuses writes; ``snapshot``
    forgets them when QEMU ends; ``overlay`` keeps them in a qcow2 file of the
    VM, with ``file`` as its backing file that is never written.
    """

    file: str
    format: str = "raw"
    interface: str = "virtio"
    access: str = "rw"

    def __post_init__(self) -> None:
        _one_of("disk interface", self.interface, INTERFACES)
        _one_of("disk access", self.access, ACCESS)


@dataclass(frozen=True)
class Forward:
    """A TCP port of the guest, reached at a port of the host's loopback; 0 chooses a free one."""

    guest: int
    host: int = 0


@dataclass(frozen=True)
class Guest:
    """A virtual machine; every path absolute."""

    name: str
    arch: str = "x86_64"
    machine: str = ""
    cpu: str = ""
    memory: int = 256
    smp: int = 1
    kernel: str = ""
    initrd: str = ""
    append: str = ""
    disks: tuple[Disk, ...] = ()
    network: bool = True
    forwards: tuple[Forward, ...] = ()
    # False: QEMU ends where the guest would have rebooted.
    reboot: bool = True
    accel: str = "auto"
    extra_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _one_of("architecture", self.arch, ARCHITECTURES)
        ports = [forward.guest for forward in self.forwards]
        if len(set(ports)) < len(ports):
            raise QemuError(f"VM {self.name!r} forwards a guest port twice: {ports}. Name each port once.")
        wrong = [port for forward in self.forwards for port in (forward.guest, forward.host) if port >> 16]
        if wrong or 0 in ports:
            raise QemuError(
                f"VM {self.name!r} forwards {wrong or 0}, which is not a port. A port is 1 to 65535."
            )
        if ports and not self.network:
            raise QemuError(
                f"VM {self.name!r} forwards ports {ports} without a network. Set network to true."
            )
        if not self.kernel and (self.initrd or self.append):
            raise QemuError(f"VM {self.name!r} has an initrd or a command line, but no kernel to take them.")

    @property
    def program(self) -> str:
        return ARCHITECTURES[self.arch].program

    @property
    def inputs(self) -> list[str]:
        """The files that the guest starts from and never writes."""
        backing = [disk.file for disk in self.disks if disk.access != "rw"]
        return [file for file in (self.kernel, self.initrd) if file] + backing


OVERLAY_GLOB = "disk*.qcow2"


def overlay_name(index: int) -> str:
    """The qcow2 file, in the VM's directory, that takes the writes of overlay disk ``index``."""
    return f"disk{index}.qcow2"


def overlay_argv(disk: Disk, overlay: str) -> list[str]:
    return ["qemu-img", "create", "-q", "-f", "qcow2", "-F", disk.format, "-b", disk.file, overlay]


def argv(guest: Guest, accel: str, ports: t.Mapping[int, int]) -> list[str]:
    """The command line for ``guest``, run in the VM's own directory.

    Logs and sockets are relative to it: a socket's path may have 107 bytes only.
    """
    arch = ARCHITECTURES[guest.arch]
    words = [arch.program, "-name", _option(guest=guest.name), "-nodefaults", "-no-user-config"]
    words += ["-display", "none", "-machine", guest.machine or arch.machine]
    words += ["-accel", f"tcg,tb-size={TCG_CACHE_MIB}" if accel == "tcg" else accel]
    cpu = guest.cpu or ("host" if accel != "tcg" else arch.tcg_cpu)
    if cpu:
        words += ["-cpu", cpu]
    words += ["-m", str(guest.memory), "-smp", str(guest.smp)]
    if guest.kernel:
        words += ["-kernel", guest.kernel]
    if guest.initrd:
        words += ["-initrd", guest.initrd]
    if guest.append:
        words += ["-append", guest.append]
    words += ["-chardev", _option("socket", id="qmp", path=QMP_SOCKET, server="on", wait="off")]
    words += ["-mon", "chardev=qmp,mode=control"]
    words += ["-chardev", _option("socket", id="console", path=CONSOLE_SOCKET, server="on", wait="off",
                                  logfile=CONSOLE_LOG, logappend="off")]  # fmt: skip
    words += ["-serial", "chardev:console", "-device", "virtio-rng-pci"]
    words += _disk_words(guest.disks)
    if guest.network:
        words += _network_words(ports)
    if not guest.reboot:
        words.append("-no-reboot")
    return [*words, *guest.extra_args]


def _disk_words(disks: t.Sequence[Disk]) -> list[str]:
    words: list[str] = []
    if any(disk.interface == "usb" for disk in disks):
        words += ["-device", "qemu-xhci"]
    for index, disk in enumerate(disks):
        name = f"disk{index}"
        overlay = disk.access == "overlay"
        drive = {
            "if": "none",
            "id": name,
            "file": overlay_name(index) if overlay else disk.file,
            "format": "qcow2" if overlay else disk.format,
        }
        if disk.access == "ro":
            drive["readonly"] = "on"
        if disk.access == "snapshot":
            drive["snapshot"] = "on"
        model = "usb-storage" if disk.interface == "usb" else "virtio-blk-pci"
        words += ["-drive", _option(**drive), "-device", _option(model, drive=name)]
    return words


def _network_words(ports: t.Mapping[int, int]) -> list[str]:
    forwards = "".join(f",hostfwd=tcp:{LOOPBACK}:{host}-:{guest}" for guest, host in ports.items())
    # No option ROM: nothing boots from the network, and it is a package of its own.
    return ["-netdev", f"user,id=net0{forwards}", "-device", "virtio-net-pci,netdev=net0,romfile="]


def _option(*words: str, **values: str) -> str:
    """``word,key=value`` as QEMU reads it, where a comma inside a value is doubled."""
    return ",".join([*words, *(f"{key}={value.replace(',', ',,')}" for key, value in values.items())])


def _one_of(what: str, value: str, known: t.Iterable[str]) -> None:
    if value not in known:
        raise QemuError(f"Unknown {what} {value!r}. Known: {', '.join(known)}.")
