# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the bytes that a device sends to changes; what real devices send is tested in tests/device."""

from __future__ import annotations

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import DeviceError
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._diff import (
    Change,
    WholeTreeNeededError,
    compare,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._inspect import inspect_layers
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._layers import (
    Layers,
    WireError,
    parse_layers,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._present import (
    covers,
    describe_change,
    owners,
    select,
)

MOUNTS = b"@P\noverlay / overlay rw,lowerdir=/media/rfs/ro 0 0\n\0\n"


def line(mode: str, name: str, size: str = "4", inode: int = 7, links: int = 1) -> bytes:
    return (
        f"{inode:>7} {4:>6} {mode} {links:>4} 0        100      {size:>9} 2026-11-21 21:45:20 +0000 {name}\n"
    ).encode()


def records(tag: str, *entries: tuple[bytes, bytes]) -> bytes:
    """Names in the order of find, lines in the order of ls."""
    names = b"".join(name + b"\0" for name, _line in entries)
    return f"@{tag} {len(entries)}\n".encode() + names + b"".join(text for _name, text in sorted(entries))


def directory(name: bytes, mode: str = "drwxr-xr-x") -> tuple[bytes, bytes]:
    return name, line(mode, name.decode("ascii", "replace"), "60", links=3)


def file(name: bytes, shown: str = "", size: str = "4") -> tuple[bytes, bytes]:
    return name, line("-rw-r--r--", shown or name.decode("ascii", "replace"), size)


def names(*paths: bytes) -> bytes:
    return b"@N\n" + b"".join(path + b"\0" for path in paths) + b"\0\n"


def sums(path: bytes, lower: str, merged: str) -> bytes:
    return (
        b"@H 1\n%b\0" % path
        + b"\0".join(digest.encode() * 64 + b"  " + path + b"\n" for digest in (lower, merged))
        + b"\0\n"
    )


def changes_of(*sections: bytes) -> dict[bytes, Change]:
    comparison = compare(parse_layers(MOUNTS + b"".join(sections)))
    return {change.path: change for change in comparison.changes}


def test_kinds_are_told_apart() -> None:
    whiteout = (b"./gone", line("c---------", "./gone", "0,   0"))
    changes = changes_of(
        names(b".", b"./new", b"./same", b"./other", b"./mode", b"./kind"),
        records("U", directory(b"."), file(b"./new"), whiteout, file(b"./same"), file(b"./other"))
        + records("U", (b"./mode", line("-rwsr-x--T", "./mode")), directory(b"./kind")),
        records("L", directory(b"."), file(b"./gone"), file(b"./same"), file(b"./other"), file(b"./mode"))
        + records("L", file(b"./kind")),
        sums(b"./same", "a", "a") + sums(b"./other", "a", "b") + sums(b"./mode", "c", "c"),
    )
    assert {path: change.kind for path, change in changes.items()} == {
        b"gone": "deleted",
        b"kind": "type_changed",
        b"mode": "metadata",
        b"new": "added",
        b"other": "modified",
        b"same": "copied_up",
    }
    after = changes[b"mode"].after
    assert after is not None
    assert (after.mode, after.gid, after.mtime) == (0o5750, 100, "2026-11-21T21:45:20Z")


def test_a_directory_that_hides_the_base_without_a_whiteout_was_replaced() -> None:
    upper = names(b".", b"./etc", b"./etc/b") + records(
        "U", directory(b"."), directory(b"./etc"), file(b"./etc/b")
    )
    lower = records("L", directory(b"."), directory(b"./etc"), file(b"./etc/a"))
    changes = changes_of(upper, lower)
    assert {path: change.kind for path, change in changes.items()} == {
        b"etc": "replaced",
        b"etc/a": "deleted",
        b"etc/b": "added",
    }


def test_odd_names_are_matched_to_what_ls_shows_for_them() -> None:
    odd = [
        (b"./a\nb", "./a?b"),
        (b"./\xff", "./?"),
        (b"./?", "./?"),
        (b"./@END", "./@END"),
        (b"./x -> y", "./x -> y"),
    ]
    entries = [file(name, shown, str(index)) for index, (name, shown) in enumerate(odd)]
    layers = parse_layers(records("U", *entries))
    assert {path: entry.size for path, entry in layers.upper.items()} == {
        name[2:]: index for index, (name, _shown) in enumerate(odd)
    }


def test_a_file_that_vanished_between_find_and_ls_is_left_out() -> None:
    output = b"@U 3\n./a\0./b\nb\0./c\0" + line("-rw-r--r--", "./b?b", "1") + line("-rw-r--r--", "./c", "2")
    assert {path: entry.size for path, entry in parse_layers(output).upper.items()} == {b"b\nb": 1, b"c": 2}


def test_an_empty_batch_does_not_swallow_the_next_section() -> None:
    layers = parse_layers(b"@U 1\n./gone\0" + records("L", file(b"./a")))
    assert not layers.upper
    assert list(layers.lower) == [b"a"]


def test_what_lies_behind_a_link_of_the_base_is_not_the_bases() -> None:
    changes = changes_of(
        names(b".", b"./a", b"./a/b"),
        records("U", directory(b"."), directory(b"./a"), file(b"./a/b")),
        records("L", directory(b"."), (b"./a", line("lrwxrwxrwx", "./a -> /etc", "4")), file(b"./a/b")),
    )
    assert {path: change.kind for path, change in changes.items()} == {b"a": "type_changed", b"a/b": "added"}


def test_a_name_from_nowhere_means_a_renamed_directory() -> None:
    layers = parse_layers(
        MOUNTS
        + names(b".", b"./new", b"./new/old-content")
        + records("U", directory(b"."), directory(b"./new"))
        + records("L", directory(b"."))
    )
    with pytest.raises(WholeTreeNeededError):
        compare(layers)


@pytest.mark.parametrize(
    ("detail", "kind"),
    [(b"same\0same\0", "copied_up"), (b"\0differs\0", "modified"), (None, "modified")],
    ids=["same", "different", "unreadable"],
)
def test_equal_sizes_without_checksums(detail: bytes | None, kind: str) -> None:
    changes = changes_of(
        names(b".", b"./big"),
        records("U", directory(b"."), file(b"./big")),
        records("L", directory(b"."), file(b"./big")),
        b"@D 1\n./big\0%b\n" % detail if detail else b"",
    )
    assert changes[b"big"].kind == kind


def test_links_have_their_exact_targets() -> None:
    link = (b"./a", line("lrwxrwxrwx", "./a -> x?y", "3"))
    changes = changes_of(
        names(b".", b"./a"),
        records("U", directory(b"."), link),
        records("L", directory(b"."), link),
        b"@D 1\n./a\0x\ny\0x\xffy\0\n",
    )
    after = changes[b"a"].after
    assert after is not None
    assert (changes[b"a"].kind, after.target) == ("modified", b"x\xffy")


def test_attributes_of_an_added_file_are_told() -> None:
    attributes = b"# file: ./a\nsecurity.capability=0x01\ntrusted.overlay.origin=0x00\n\n"
    changes = changes_of(
        names(b".", b"./a"),
        records("U", directory(b"."), file(b"./a")),
        records("L", directory(b".")),
        b"@G gnu\n@X U 1\n./a\0" + attributes + b"\0\n",
    )
    assert changes[b"a"].xattrs == ("security.capability",)


def test_extended_attributes_of_gnu_getfattr() -> None:
    capability = b"# file: ./a\\012b\nsecurity.capability=0x01000002\ntrusted.overlay.origin=0x00\n\n"
    layers = parse_layers(b"@G gnu\n@X U 1\n./a\nb\0" + capability + b"\0\n")
    assert layers.upper_xattrs == {
        b"a\nb": {"security.capability": b"\x01\0\0\x02", "trusted.overlay.origin": b"\0"}
    }


def test_extended_attributes_of_busyboxs_getfattr() -> None:
    text = b'# file: ./d\ntrusted.overlay.opaque="y"\nuser.a="x\ny"\n\n# file: ./e\nuser.b=""\n\n'
    layers = parse_layers(b"@G busybox\n@X U 2\n./d\0./e\0" + text + b"\0\n")
    assert layers.upper_xattrs == {
        b"d": {"trusted.overlay.opaque": b"y", "user.a": b"x\ny"},
        b"e": {"user.b": b""},
    }


def test_the_inits_mount_points_are_not_the_users() -> None:
    changes = changes_of(
        names(b".", b"./media", b"./proc", b"./media/usb"),
        records("U", directory(b"."), directory(b"./media"), directory(b"./media/usb")),
        records("L", directory(b".")),
    )
    assert sorted(changes) == [b"media", b"media/usb"]


def test_output_of_something_else_is_refused() -> None:
    with pytest.raises(WireError):
        parse_layers(b"Welcome to this device!\n")


def test_a_device_without_an_overlay_is_named() -> None:
    with pytest.raises(DeviceError, match=r"no overlay \(ext4\)"):
        inspect_layers(lambda names, variables, data: b"@P\n/dev/sda1 / ext4 rw 0 0\n\0\n")


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/etc", "/etc/a/b", True),
        ("/etc/", "/etc", True),
        ("/etc", "/etcetera", False),
        ("/var/*.log", "/var/a.log", True),
        ("/var/l*", "/var/lib/deep/file", True),
        ("/", "/anything", True),
    ],
)
def test_patterns(pattern: str, path: str, expected: bool) -> None:
    assert covers(pattern, path) is expected


@pytest.mark.parametrize("pattern", ["etc", "/etc/../root", ""])
def test_a_path_outside_is_refused(pattern: str) -> None:
    with pytest.raises(DeviceError, match="absolute path"):
        select([], [pattern], [])


def test_a_path_that_is_no_text_survives_in_base64() -> None:
    change = Change(b"\xff\n", "deleted", None, None)
    assert describe_change(change) | {} == {
        "path": "/\\xff\n",
        "kind": "deleted",
        "path_base64": "/wo=",
        "before": None,
        "after": None,
    }


def test_packages_of_a_deleted_directory() -> None:
    lower: Layers = parse_layers(records("L", directory(b"./etc")))
    packages = {"/etc/a": "one", "/etc/b/c": "two", "/etcetera": "three"}
    assert owners(Change(b"etc", "deleted", lower.lower[b"etc"], None), packages) == ["one", "two"]
