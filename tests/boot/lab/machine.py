# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One QEMU machine: its serial console, its monitor, its end."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _qemu as qemu
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu_qmp import short_path

# A machine under full load boots several times slower than an idle one.
PATIENCE = float(os.environ.get("BR2_BOOT_TIMEOUT", "90"))


class Disappointment(AssertionError):
    """The machine did not do what the test waited for; carries the console."""


class Machine:
    """A running QEMU in a directory of its own, where it keeps its console's log and its sockets."""

    def __init__(self, command: Sequence[str], directory: Path) -> None:
        self.log = directory / qemu.CONSOLE_LOG
        self._text = ""
        self._cursor = 0
        self._news = threading.Condition()
        self._events: list[dict[str, Any]] = []
        self._pending = b""
        with (directory / "qemu.log").open("wb") as complaints:
            self._process = subprocess.Popen(
                command, cwd=directory, stdin=subprocess.DEVNULL, stdout=complaints, stderr=subprocess.STDOUT
            )
        # First, so that no event is missed.
        self._monitor = self._connect(directory / qemu.QMP_SOCKET)
        self._message()
        self.qmp("qmp_capabilities")
        self._terminal = self._connect(directory / qemu.CONSOLE_SOCKET)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    # -- console ---------------------------------------------------------

    def _read(self) -> None:
        # Not from the log: QEMU writes characters twice to it when the socket is full.
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        with contextlib.suppress(OSError):
            while chunk := self._terminal.recv(65536):
                with self._news:
                    self._text += decoder.decode(chunk).replace("\r", "")
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()

    @property
    def console(self) -> str:
        """Everything the machine has said so far."""
        with self._news:
            return self._text

    def expect(self, pattern: str, timeout: float = PATIENCE, never: str | None = None) -> re.Match[str]:
        """Wait for `pattern` after what was matched last; fail at once when `never` appears before it."""
        wanted = re.compile(pattern, re.MULTILINE)
        unwanted = re.compile(never, re.MULTILINE) if never else None
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                alive = self._reader.is_alive()
                found = wanted.search(self._text, self._cursor)
                bad = unwanted.search(self._text, self._cursor) if unwanted else None
                if bad and (not found or bad.start() < found.start()):
                    raise self._disappointment(f"saw {bad.group()!r} before {pattern!r}")
                if found:
                    self._cursor = found.end()
                    return found
                if not alive:
                    raise self._disappointment(f"the machine ended before {pattern!r}")
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._disappointment(f"no {pattern!r} within {timeout:g} s")
                self._news.wait(min(left, 0.5))

    def _disappointment(self, what: str) -> Disappointment:
        tail = "\n".join(self._text.splitlines()[-40:])
        return Disappointment(f"{what}\n--- console, last lines ({self.log}) ---\n{tail}")

    def type(self, text: str) -> None:
        """Send `text` to the serial console as a person would."""
        self._terminal.sendall(text.encode())

    # -- monitor ---------------------------------------------------------

    def qmp(self, execute: str, **arguments: object) -> Any:
        """Run one monitor command and return its answer."""
        return self._command(execute, arguments)

    def plug(self, drive: str) -> None:
        """Plug a late drive into the port that waits for it."""
        self.qmp("device_add", driver="virtio-blk-pci", drive=drive, bus=f"{drive}-port")

    def _connect(self, path: Path) -> socket.socket:
        deadline = time.monotonic() + PATIENCE
        end = socket.socket(socket.AF_UNIX)
        while True:
            try:
                with short_path(path) as name:
                    end.connect(name)
                end.settimeout(None)
                return end
            except (FileNotFoundError, ConnectionRefusedError):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    complaint = (path.parent / "qemu.log").read_text(errors="replace")
                    raise Disappointment(f"QEMU does not start: {complaint}") from None
                time.sleep(0.005)

    def _command(self, execute: str, arguments: dict[str, object]) -> Any:
        request = {"execute": execute, "arguments": arguments}
        self._monitor.sendall(json.dumps(request).encode() + b"\n")
        while message := self._message():
            if "error" in message:
                raise Disappointment(f"QMP {execute}: {message['error']['desc']}")
            if "return" in message:
                return message["return"]
        raise Disappointment(f"QMP {execute}: the machine is gone")

    def _message(self) -> dict[str, Any] | None:
        while b"\n" not in self._pending:
            try:
                chunk = self._monitor.recv(65536)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                return None
            self._pending += chunk
        line, self._pending = self._pending.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        if "event" in message:
            self._events.append(message)
        return message

    # -- the end ---------------------------------------------------------

    def wait_end(self, timeout: float = PATIENCE) -> str:
        """Wait until QEMU exits by itself; return why: `guest-shutdown`, `guest-reset` or `guest-panic`."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            with self._news:
                raise self._disappointment(f"still running after {timeout:g} s") from None
        self._reader.join()
        while self._message():
            pass
        reasons = [event["data"]["reason"] for event in self._events if event["event"] == "SHUTDOWN"]
        return reasons[-1] if reasons else f"exit {self._process.returncode}"

    def kill(self) -> None:
        """Pull the plug: what the guest had not written is gone."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._terminal.close()
        self._monitor.close()
