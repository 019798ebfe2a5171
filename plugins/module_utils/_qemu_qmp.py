# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One QMP command at a time, over the qemu.qmp library."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import traceback
import typing as t
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu import QemuError

try:
    from qemu.qmp import ExecuteError, QMPClient, QMPError
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None
    # What goes wrong is told by exceptions.
    logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())


def execute(
    socket: Path, command: str, arguments: dict[str, object] | None = None, timeout: float = 10
) -> object:
    """What the QEMU that listens at ``socket`` returns to ``command``."""

    async def conversation(address: str) -> object:
        client = QMPClient("qemu_vm")
        await client.connect(address)
        try:
            return await client.execute(command, arguments)
        finally:
            await client.disconnect()

    try:
        with short_path(socket) as address:
            return asyncio.run(asyncio.wait_for(conversation(address), timeout))
    except ExecuteError as error:
        raise QemuError(f"QEMU refused {command}: {error}.") from error
    except (QMPError, OSError, EOFError, asyncio.TimeoutError) as error:
        cause = str(error) or type(error).__name__
        raise QemuError(f"QEMU did not answer {command} at {socket}: {cause}.") from error


@contextlib.contextmanager
def short_path(socket: Path) -> t.Iterator[str]:
    """A name for the socket that keeps to the 107 bytes which a socket's name may have."""
    directory = os.open(socket.parent, os.O_RDONLY)
    try:
        short = Path(f"/proc/self/fd/{directory}") / socket.name
        yield str(short if short.exists() else socket)
    finally:
        os.close(directory)
