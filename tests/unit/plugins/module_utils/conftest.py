# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# Speaks QMP, writes a console log, and behaves as $QEMU_BEHAVIOUR says.
QEMU = """#!{python}
import json, os, socket, sys, time
behaviour = os.environ.get("QEMU_BEHAVIOUR", "run")
if behaviour == "refuse":
    sys.exit("qemu: no such option")
if behaviour == "taken-once" and not os.path.exists("taken"):
    open("taken", "w").close()
    sys.exit("Could not set up host forwarding rule 'tcp:...'")
if behaviour == "deaf":
    time.sleep(60)
server = socket.socket(socket.AF_UNIX)
if os.path.exists("qmp.sock"):
    os.unlink("qmp.sock")
server.bind("qmp.sock")
server.listen()
with open("console.log", "w") as log:
    log.write("hello\\r\\nguest\\r\\n")
if behaviour == "die":
    sys.exit(3)
while True:
    peer, _ = server.accept()
    with peer:
        def reply(what):
            peer.sendall(json.dumps(what).encode() + b"\\r\\n")
        reply({{"QMP": {{"version": {{}}, "capabilities": []}}}})
        text = ""
        while True:
            more = peer.recv(4096).decode()
            if not more:
                break
            text += more
            try:
                command = json.loads(text)
            except ValueError:
                continue
            text = ""
            reply({{"return": {{}}, "id": command.get("id")}})
            if command["execute"] in (["quit", "system_powerdown"] if behaviour == "polite" else ["quit"]):
                os.unlink("qmp.sock")
                with open("console.log", "a") as log:
                    log.write(command["execute"] + "\\n")
                sys.exit(0)
"""


@pytest.fixture
def fake_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "qemu-system-x86_64").write_text(QEMU.format(python=sys.executable))
    (programs / "qemu-img").write_text('#!/bin/sh\nfor last; do :; done; echo "$@" >"$last"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
