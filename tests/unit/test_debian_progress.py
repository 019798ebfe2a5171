# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.action import debian_image
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._build import Stages


def test_stages_are_announced_and_timed() -> None:
    log = io.StringIO()
    stages = Stages(log)
    stages.enter("one")
    stages.enter("two")
    stages.leave()
    assert log.getvalue() == ">>> one\n>>> two\n"
    assert list(stages.seconds) == ["one", "two"]


def test_stages_are_shown_once_and_long_ones_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian_image, "_LOOK", 0.02)
    monkeypatch.setattr(debian_image, "_HEARTBEAT", 0.1)
    log = tmp_path / "debian.log"
    shown: list[str] = []
    over = threading.Event()
    watcher = threading.Thread(target=debian_image.follow, args=(log, "station", over, shown.append))
    watcher.start()
    with log.open("w") as file:
        stages = Stages(file)
        stages.enter("packages")
        stages.enter("kernel")
        print("  CC a.o", file=file, flush=True)
        over.wait(0.5)
    over.set()
    watcher.join()
    said = [line.removeprefix("[station] ").split(" s  ")[1] for line in shown]
    assert said[:2] == ["packages", "kernel"]
    assert said[-1] == "kernel, 1 lines in debian.log"
    assert set(said[2:]) <= {"kernel, 0 lines in debian.log", "kernel, 1 lines in debian.log"}


def test_the_log_of_an_earlier_build_is_not_shown(tmp_path: Path) -> None:
    log = tmp_path / "debian.log"
    log.write_text(">>> packages\n")
    os.utime(log, (1, 1))
    shown: list[str] = []
    over = threading.Event()
    over.set()
    debian_image.follow(log, "station", over, shown.append)
    assert shown == []
