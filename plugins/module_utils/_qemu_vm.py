# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a virtual machine: one directory, at most one QEMU process.

    with Vm(directory) as vm:
        vm.start(Guest("router", kernel=..., disks=(Disk(...),), forwards=(Forward(22),)))
        vm.wait_for_console(r"login:", 60)
        vm.power_off()

All state is in the directory, so that another process finds the VM again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import socket
import subprocess
import termios
import time
import typing as t
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _qemu as qemu
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _qemu_accel as accelerator
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _qemu_qmp as qmp
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._program import Program, run_program
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu import Guest, QemuError
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu_process import (
    birth,
    choose_ports,
    uninterrupted,
    until,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu_state import State, describe

STATE = "vm.json"
QEMU_LOG = "qemu.log"
START_SECONDS = 30
TAIL_LINES = 25
_OWN_FILES = (STATE, QEMU_LOG, qemu.CONSOLE_LOG, qemu.CONSOLE_SOCKET, qemu.QMP_SOCKET)


class Vm:
    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory).absolute()
        self._process: Program | None = None
        self.state = State.load(self.path(STATE))

    def __enter__(self) -> Vm:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def path(self, name: str) -> Path:
        return self.directory / name

    # What is known

    @property
    def exists(self) -> bool:
        return self.path(STATE).exists()

    @property
    def running(self) -> bool:
        if self._process is not None:
            self._process.poll()  # or it stays a zombie
        return bool(self.state.pid) and birth(self.state.pid) == self.state.birth

    @property
    def ports(self) -> dict[int, int]:
        """Host ports by guest port."""
        return self.state.ports

    def console(self, since: int = 0) -> str:
        """What the guest wrote to its serial console in this run, from character ``since`` on."""
        try:
            text = self.path(qemu.CONSOLE_LOG).read_bytes().decode(errors="replace")
            return text.replace("\r", "")[since:]
        except FileNotFoundError:
            return ""

    def argv(self, guest: Guest) -> list[str]:
        """The command line of the run recorded last, for ``guest``."""
        return qemu.argv(guest, self.state.accel, self.ports)

    # Beginning

    def start(self, guest: Guest) -> None:
        """Start QEMU, and return when it runs the guest; overlay disks keep what an earlier run left."""
        if self.running:
            raise QemuError(f"VM {guest.name!r} runs already, with process {self.state.pid}. Stop it first.")
        description = describe(guest)
        accel = accelerator.choose(guest.arch, guest.accel)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._make_overlays(guest, description)
        for attempt in range(3):
            ports = choose_ports(guest.forwards, {} if attempt else self.ports, guest.name)
            self.state = State(description, accel, ports)
            self.state.save(self.path(STATE))
            try:
                return self._launch(guest)
            except _PortTaken:
                continue
        raise QemuError(f"VM {guest.name!r} found no free port to forward in {attempt + 1} trials.")

    def _make_overlays(self, guest: Guest, description: dict[str, t.Any]) -> None:
        before = self.state.description
        for index, disk in enumerate(guest.disks):
            if disk.access != "overlay":
                continue
            overlay = self.path(qemu.overlay_name(index))
            if not overlay.exists():
                _run(qemu.overlay_argv(disk, str(overlay)))
            elif (
                before.get("disks", [])[index : index + 1] != description["disks"][index : index + 1]
                or before["inputs"].get(disk.file) != description["inputs"][disk.file]
            ):
                raise QemuError(
                    f"VM {guest.name!r} has data over another {disk.file} than there is now. "
                    "Remove the VM, or recreate it."
                )

    def _launch(self, guest: Guest) -> None:
        self.path(qemu.CONSOLE_LOG).unlink(missing_ok=True)
        command = self.argv(guest)
        try:
            with uninterrupted(), self.path(QEMU_LOG).open("wb") as log:
                self._process = Program(
                    command,
                    cwd=self.directory,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                self.state.pid = self._process.pid
                self.state.birth = birth(self._process.pid) or ""
                self.state.save(self.path(STATE))
            self._await_qmp(guest)
        except FileNotFoundError:
            raise QemuError(f"{command[0]} is not installed. Install QEMU for {guest.arch} guests.") from None
        except BaseException:
            self.kill()
            raise

    def _await_qmp(self, guest: Guest) -> None:
        def settled() -> bool:
            if not self.running:
                return True
            with contextlib.suppress(QemuError):
                self.qmp("query-status", timeout=START_SECONDS)
                return True
            return False

        if not until(settled, START_SECONDS):
            raise QemuError(f"QEMU does not answer for VM {guest.name!r} after {START_SECONDS} s.")
        if not self.running and not self.console():
            complaint = self._read_qemu_log()
            if "host forwarding rule" in complaint and any(not forward.host for forward in guest.forwards):
                raise _PortTaken
            raise QemuError(f"QEMU did not start VM {guest.name!r}: {complaint or 'it said nothing'}")

    # Running

    def wait_for_console(self, pattern: str, timeout: float, since: int = 0) -> t.Match[str]:
        """The first match of the regular expression on the console; an error if the guest ends first."""
        found: list[t.Match[str]] = []

        def look() -> bool:
            alive = self.running  # before reading: what a dying guest wrote last counts
            match = re.search(pattern, self.console(since), re.MULTILINE)
            if match:
                found.append(match)
            return bool(match) or not alive

        until(look, timeout)
        if not found:
            raise self._no_sign(f"{pattern!r} on the console", timeout)
        return found[0]

    def wait_for_port(self, guest_port: int, banner: str, timeout: float) -> str:
        """What the service behind a forwarded port says first, once it matches the regular expression."""
        if guest_port not in self.ports:
            raise QemuError(
                f"Port {guest_port} of the guest is not forwarded. Forwarded: {sorted(self.ports)}."
            )
        heard = ""

        def listen() -> bool:
            nonlocal heard
            if not self.running:
                return True
            # QEMU accepts at once, whether the guest listens or not: only words count.
            with (
                contextlib.suppress(OSError),
                socket.create_connection((qemu.LOOPBACK, self.ports[guest_port]), 2) as connection,
            ):
                heard = connection.recv(256).decode(errors="replace")
            return re.search(banner, heard) is not None

        until(listen, timeout)
        if not re.search(banner, heard):
            raise self._no_sign(f"{banner!r} on port {guest_port}", timeout)
        return heard

    def send(self, text: str, timeout: float = 10) -> None:
        """Type ``text`` on the serial console."""
        deadline = time.monotonic() + timeout
        with qmp.short_path(self.path(qemu.CONSOLE_SOCKET)) as path, socket.socket(socket.AF_UNIX) as console:
            console.settimeout(timeout)
            console.connect(path)
            console.sendall(text.encode())
            console.setblocking(False)
            # Closed too early, QEMU would drop what the guest's UART has not taken yet.
            while any(fcntl.ioctl(console, termios.TIOCOUTQ, bytes(4))):
                if time.monotonic() > deadline or not self.running:
                    raise self._no_sign("a guest that reads its console", timeout)
                with contextlib.suppress(BlockingIOError):
                    console.recv(65536)
                time.sleep(0.01)

    def qmp(self, command: str, timeout: float = 10, **arguments: object) -> object:
        return qmp.execute(self.path(qemu.QMP_SOCKET), command, arguments or None, timeout)

    def wait_until_off(self, timeout: float) -> bool:
        return until(lambda: not self.running, timeout)

    # Ending

    def power_off(self, timeout: float = 20) -> None:
        """Press the power button, wait for the guest to end, and then end QEMU itself."""
        for command, seconds in (("system_powerdown", timeout), ("quit", 5.0)):
            if seconds and self.running:
                with contextlib.suppress(QemuError):
                    self.qmp(command, timeout=5)
                self.wait_until_off(seconds)
        self.kill()

    def kill(self) -> None:
        """End QEMU as a power cut would; what it has written to the disks stays."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.state.pid, signal.SIGKILL)
            if not self.wait_until_off(10):
                raise QemuError(f"QEMU process {self.state.pid} does not end, even when killed.")

    def remove(self) -> None:
        """End QEMU and delete the VM's own files, overlay disks included."""
        self.kill()
        for file in [*map(self.path, _OWN_FILES), *self.directory.glob(qemu.OVERLAY_GLOB)]:
            file.unlink(missing_ok=True)
        # Files of somebody else stay, and with them the directory.
        with contextlib.suppress(OSError):
            self.directory.rmdir()
        self.state = State()

    # Details

    def tail(self) -> str:
        lines = self._read_qemu_log().splitlines() + self.console().splitlines()
        return "\n".join(line[:200] for line in lines[-TAIL_LINES:]) or "(nothing)"

    def _no_sign(self, of: str, timeout: float) -> QemuError:
        what = f"after {timeout:g} s" if self.running else "when the guest had ended"
        return QemuError(f"No sign of {of} {what}. The end of the logs in {self.directory}:\n{self.tail()}")

    def _read_qemu_log(self) -> str:
        try:
            return self.path(QEMU_LOG).read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            return ""


class _PortTaken(Exception):
    """A free port was somebody else's by the time QEMU asked for it."""


def _run(command: list[str]) -> None:
    try:
        run_program(command, text=True).check_returncode()
    except FileNotFoundError:
        raise QemuError(f"{command[0]} is not installed. Install QEMU's tools.") from None
    except subprocess.CalledProcessError as error:
        raise QemuError(f"{command[0]} failed: {error.stderr.strip()}") from None
