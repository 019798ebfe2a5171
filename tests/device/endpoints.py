# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices to log in to: dropbear on a loopback port, serving sessions inside a fake device."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.tests.device.fake_device import FakeDevice, copy_libraries

# In a PID namespace: `reboot` in the device asks process 1, which must not be the host's.
SERVE = (
    "unshare --pid --fork --kill-child /usr/sbin/chroot {root} /sbin/dropbear -F -E -s -R -p 127.0.0.1:{port}"
)


def make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Endpoint:
    """One dropbear in a chroot: the session's root is the device's. It comes back after a reboot."""

    def __init__(self, device: FakeDevice, key: Path) -> None:
        self.device = device
        self.key = key
        self.port = free_port()
        # Whether it comes back after a reboot.
        self.boots = True
        self._keeper = threading.Thread(target=self._serve, daemon=True)
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._keeper.start()
        for _unused in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise TimeoutError(f"dropbear does not listen on port {self.port}")

    def _serve(self) -> None:
        while self.boots:
            self.device.new_boot_id()
            self._server = subprocess.Popen(
                SERVE.format(root=self.device.root, port=self.port).split(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            self._server.wait()

    def hang_up(self) -> None:
        """End the sessions, and with them their connections, from outside; what they started goes on."""
        self._signal_sessions(signal.SIGKILL)

    def fall_silent(self) -> None:
        """The connections stay, and nobody answers on them; new ones are accepted."""
        self._signal_sessions(signal.SIGSTOP)

    def _signal_sessions(self, number: signal.Signals) -> None:
        assert self._server is not None
        (dropbear,) = children(self._server.pid)
        for session in children(dropbear):
            os.kill(session, number)

    def stop(self) -> None:
        self.boots = False
        if self._server is not None:
            self._server.kill()
        self._keeper.join()

    def variables(self) -> dict[str, object]:
        """As an inventory's host has them."""
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
            "ansible_ssh_use_tty": False,
        }


def install_ssh(base: Path, key: Path) -> None:
    """Put dropbear, its libraries, its host key and the user's public key into a base."""
    program = Path(shutil.which("dropbear") or "/usr/sbin/dropbear")
    (base / "sbin").mkdir(exist_ok=True)
    shutil.copy2(program, base / "sbin/dropbear")
    copy_libraries(program, base)
    (base / "etc/dropbear").mkdir(parents=True)
    hostkey = base / "etc/dropbear/dropbear_ed25519_host_key"
    subprocess.run(["dropbearkey", "-t", "ed25519", "-f", hostkey], check=True, capture_output=True)
    ssh = base / "root/.ssh"
    ssh.mkdir(mode=0o700, parents=True)
    (base / "root").chmod(0o700)
    shutil.copy2(key.with_suffix(".pub"), ssh / "authorized_keys")
    (ssh / "authorized_keys").chmod(0o600)
    (base / "etc/shells").write_text("/bin/sh\n")
