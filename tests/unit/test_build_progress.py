# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._build_progress import Watch


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def watch(clock: Clock, **job: Any) -> tuple[Watch, list[str]]:
    said: list[str] = []
    about = {"output": "/out", "started": 1000.0, "total": 112, "estimate": None, "reasons": [], **job}
    return Watch("build1", about, said.append, clock), said


def test_a_step_is_said_once_with_what_is_done() -> None:
    clock = Clock()
    seen, said = watch(clock)
    clock.now = 1760.0
    text = (
        "1001.5:start:build               : zlib\n"
        "1750.0:start:build               : busybox\n@done 37\n@running\n"
    )
    assert not seen.read(text)
    assert not seen.read(text)
    assert said == ["[build1] 37/112 busybox building, 12:40"]


def test_steps_of_an_earlier_build_are_not_repeated() -> None:
    seen, said = watch(Clock())
    seen.read("999.0:start:build               : zlib\n@done 3\n@running\n")
    assert said == []


def test_what_still_runs_is_shown_when_what_began_later_has_ended() -> None:
    seen, said = watch(Clock())
    seen.read("1001.0:start:build               : linux\n1002.0:start:build               : zlib\n")
    seen.read("1003.0:end  :build               : zlib\n@done 1\n")
    assert said == ["[build1] 0/112 zlib building, 0:00", "[build1] 1/112 linux building, 0:00"]


def test_when_all_packages_are_done_the_images_are_made() -> None:
    seen, said = watch(Clock(), total=2)
    seen.read("@done 2\n@running\n")
    assert said == ["[build1] 2/2 images, 0:00"]


def test_the_estimate_counts_down() -> None:
    clock = Clock()
    seen, said = watch(clock, estimate=1800.0)
    clock.now = 1600.0
    seen.read("1600.0:start:configure           : linux\n@done 9\n@running\n")
    assert said == ["[build1] 9/112 linux configuring, 10:00, about 20 min left"]


def test_a_quiet_build_shows_that_it_lives() -> None:
    clock = Clock()
    seen, said = watch(clock)
    seen.read("1000.5:start:build               : gcc-final\n@done 1\n@running\n")
    clock.now = 1061.0
    seen.read("@done 1\n@running\n")
    assert said[1] == "[build1] 1/112 gcc-final building, 1:01"


def test_reasons_and_the_end() -> None:
    seen, said = watch(Clock(), reasons=["busybox is built again: X changed"], attached=True)
    assert said == [
        "[build1] a build is running here already: watching it",
        "[build1] busybox is built again: X changed",
    ]
    assert seen.read("@done 112\n@ended\n")


def test_a_long_build_is_looked_at_less_often() -> None:
    clock = Clock()
    seen, _said = watch(clock)
    assert seen.pause(3) == 3
    clock.now += 600
    assert seen.pause(3) == 6
    clock.now += 36000
    assert seen.pause(3) == 15
    assert seen.pause(30) == 30
