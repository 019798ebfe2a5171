# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch contents of changed files, and show them as Ansible's diff mode does."""

from __future__ import annotations

import difflib
import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._diff import Change
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._inspect import Runner, after_preamble
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._layers import Entry
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._overlays import ROOT, Overlay
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._present import describe_change, shown

# All of them together: a result must stay something that a person reads.
TEXT_TOTAL = 4 << 20


@dataclass(frozen=True)
class Contents:
    merged: dict[bytes, bytes]
    base: dict[bytes, bytes]


def fetch_contents(run: Runner, layer: str, paths: Iterable[bytes]) -> Contents:
    """Of regular files, both versions as far as they exist."""
    names = b"".join(b"./" + path + b"\0" for path in paths)
    output = run(("view", "contents"), {"layer": layer}, names)
    header, _newline, archive = after_preamble(output).partition(b"\n")
    view, lower = (place.lstrip(b"/") + b"/./" for place in header.split(b" "))
    contents = Contents({}, {})
    for name, content in _members(archive):
        for place, into in ((view, contents.merged), (lower, contents.base)):
            if name.startswith(place):
                into[name[len(place) :]] = content
    return contents


def _members(archive: bytes) -> Iterable[tuple[bytes, bytes]]:
    if not archive:
        return
    with tarfile.open(fileobj=io.BytesIO(archive), ignore_zeros=True, encoding="utf-8") as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is not None:
                yield member.name.encode("utf-8", "surrogateescape"), file.read()


def text_diffs(
    run: Runner, layer: str, changes: Iterable[Change], limit: int, overlay: Overlay = ROOT
) -> list[dict[str, Any]]:
    """What a person wants to see of each change: the text if it is one and small, else the facts."""
    changes = [change for change in changes if change.kind != "copied_up"]
    chosen, total = [], 0
    for change in changes:
        files = [entry for entry in (change.before, change.after) if entry and entry.type == "file"]
        sizes = [entry.size for entry in files]
        if not sizes or change.kind == "metadata" or max(sizes) > limit or total + sum(sizes) > TEXT_TOTAL:
            continue
        if not all(entry.mode & 0o004 for entry in files):
            continue  # A log is no place for keys and password hashes.
        chosen.append(overlay.inner(change.path))
        total += sum(sizes)
    contents = fetch_contents(overlay.bind(run), layer, chosen) if chosen else Contents({}, {})
    return [_text_diff(change, overlay.inner(change.path), contents) for change in changes]


def _text_diff(change: Change, path: bytes, contents: Contents) -> dict[str, Any]:
    facts = describe_change(change)
    before = _side(change.before, contents.base.get(path), facts["before"])
    after = _side(change.after, contents.merged.get(path), facts["after"])
    if before == after and change.kind == "modified":
        after += "(other content)\n"  # Of which nothing is shown; equal sides would not be either.
    return {
        "before_header": f"{shown(change.path)} (base)",
        "after_header": f"{shown(change.path)} ({change.kind})",
        "before": before,
        "after": after,
    }


def unified(diffs: Iterable[dict[str, Any]]) -> list[str]:
    """The same as lines, for Ansible shows the diff of a task only where the task changed something."""
    return [
        line
        for one in diffs
        for line in difflib.unified_diff(
            one["before"].splitlines(),
            one["after"].splitlines(),
            one["before_header"],
            one["after_header"],
            lineterm="",
        )
    ]


def _side(entry: Entry | None, content: bytes | None, facts: dict[str, Any] | None) -> str:
    if entry is None or facts is None:
        return ""
    head = " ".join(f"{key}={value}" for key, value in facts.items() if key != "mtime") + "\n"
    if content is None:
        return head
    if b"\0" in content:
        return head + "(binary)\n"
    return head + content.decode("utf-8", "backslashreplace")
