# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A reset by path keeps all the rest, with the fewest lines that say so."""

from __future__ import annotations

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import DeviceError
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._diff import Change
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._layers import Layers
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._reset import plan_reset


def layers_of(*names: bytes, always_kept: tuple[bytes, ...] = ()) -> Layers:
    return Layers(upper_names=set(names), always_kept=list(always_kept))


def changes_of(**kinds: str) -> list[Change]:
    return [
        Change(path.replace("__", "/").encode(), kind, None, None) for path, kind in sorted(kinds.items())
    ]


def discarded(plan_changes: list[Change]) -> list[bytes]:
    return [change.path for change in plan_changes]


def test_a_whole_reset_discards_all_but_the_keep_list() -> None:
    changes = changes_of(etc__a="added", root__key="added", rooted="added")
    plan = plan_reset(layers_of(b"", b"etc", b"etc/a", b"root"), changes, paths=[], keep=["/root/"])
    assert discarded(plan.discarded) == [b"etc/a", b"rooted"]
    assert plan.request == b"keep=/root\n"


def test_a_plain_reset_is_an_empty_request() -> None:
    assert plan_reset(layers_of(b""), [], paths=[], keep=[]).request == b""
    assert plan_reset(layers_of(b""), [], paths=[], keep=[], mkfs=True).request == b"mkfs=yes\n"


def test_a_reset_by_path_keeps_the_siblings_on_the_way() -> None:
    names = [b"", b"etc", b"etc/net", b"etc/net/a", b"etc/net/b", b"etc/x", b"home", b"home/u", b"home/u/f"]
    changes = changes_of(etc__net__a="modified", etc__net__b="added", etc__x="deleted", home__u__f="added")
    plan = plan_reset(layers_of(*names), changes, paths=["/etc/net/a"], keep=[])
    assert discarded(plan.discarded) == [b"etc/net/a"]
    assert plan.request == b"keep=/home\nkeep=/etc/x\nkeep=/etc/net/b\n"


def test_the_devices_own_keep_list_holds_without_being_repeated() -> None:
    changes = changes_of(etc__a="added", root="added")
    plan = plan_reset(layers_of(b"", b"root", always_kept=(b"root",)), changes, paths=[], keep=[])
    assert discarded(plan.discarded) == [b"etc/a"]
    assert plan.request == b""


def test_a_path_in_a_replaced_directory_is_refused() -> None:
    changes = changes_of(etc="replaced", etc__a="added")
    with pytest.raises(DeviceError, match="/etc/a is in /etc, which replaces"):
        plan_reset(layers_of(b"", b"etc", b"etc/a"), changes, paths=["/etc/a"], keep=[])


def test_a_sibling_with_a_line_break_cannot_be_kept() -> None:
    changes = changes_of(etc__a="added")
    with pytest.raises(DeviceError, match="line break"):
        plan_reset(layers_of(b"", b"etc", b"etc/a", b"etc/b\nc"), changes, paths=["/etc/a"], keep=[])


def test_a_relative_keep_path_is_refused() -> None:
    with pytest.raises(DeviceError, match="absolute path"):
        plan_reset(layers_of(b""), [], paths=[], keep=["root"])
