# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring differences back into a rootfs overlay, from which the next image is built.

Both builders copy the directory over the base with normalised modes, and then run post-build.sh,
which does what the lines in usr/lib/readonly-rootfs/commit/ say: `delete PATH`, `mode MODE PATH`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._files import write_atomically
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._diff import Change, parent
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._layers import Entry
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._present import shown

LISTS = Path("usr/lib/readonly-rootfs/commit")
# Buildroot's rsync leaves these out of an overlay.
_SKIPPED_NAMES = {b".empty", b".git", b".svn", b".hg", b".bzr", b"CVS"}


@dataclass
class Plan:
    files: list[Change] = field(default_factory=list)
    links: list[Change] = field(default_factory=list)
    directories: list[Change] = field(default_factory=list)
    deleted: list[bytes] = field(default_factory=list)
    modes: dict[bytes, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def plan_commit(changes: Iterable[Change], merged: Mapping[bytes, Entry]) -> Plan:
    """From the changes chosen, and all of the merged tree that was looked at."""
    plan = Plan()
    for change in changes:
        if change.kind == "copied_up":
            continue
        reason = _why_not(change)
        if reason:
            plan.left_out[shown(change.path)] = reason
        else:
            _add(plan, change)
    for path in _directories_of(plan):
        entry = merged.get(path)
        if entry is not None and entry.type == "directory" and entry.mode != _normal_mode(entry):
            plan.modes[path or b"."] = entry.mode
    return plan


def _directories_of(plan: Plan) -> set[bytes]:
    """All that the overlay has directories for, to which builders give a mode of their own."""
    written = [change.path for change in [*plan.files, *plan.links, *plan.directories]]
    if plan.deleted or plan.modes:
        written.append(bytes(LISTS / "name"))
    found: set[bytes] = set()
    for path in written:
        while path:
            path = parent(path)
            found.add(path)
    return found


def _why_not(change: Change) -> str | None:
    if b"\n" in change.path:
        return "a name with a line break"
    if _SKIPPED_NAMES.intersection(change.path.split(b"/")) or change.path.endswith(b"~"):
        return "a name that builders leave out"
    before, after = change.before, change.after
    if after is None:
        return None
    if after.type not in ("file", "directory", "link"):
        return f"a {after.type}, which an overlay cannot hold"
    if change.xattrs:
        return "extended attributes differ"
    if before is not None and before.type != after.type and before.type != "file":
        return f"a {before.type} that became a {after.type}: an overlay cannot replace it"
    owner = (before.uid, before.gid) if before is not None else (0, 0)
    if (after.uid, after.gid) != owner:
        return "an owner other than root's or the base's"
    return None


def _add(plan: Plan, change: Change) -> None:
    after = change.after
    if after is None:
        plan.deleted.append(change.path)
    elif after.type == "link":
        plan.links.append(change)
    elif after.type == "directory":
        if change.before is None or change.before.type != "directory":
            plan.directories.append(change)
    elif change.kind != "metadata":
        plan.files.append(change)
    if after is not None and after.type != "link" and change.path and _needs_mode(change, after):
        plan.modes[change.path] = after.mode


def _needs_mode(change: Change, after: Entry) -> bool:
    if after.type == "directory" and change.before is not None and change.before.type == "directory":
        return change.before.mode != after.mode
    return change.kind == "metadata" or after.mode != _normal_mode(after)


def _normal_mode(entry: Entry) -> int:
    """What rsync --chmod=u=rwX,go=rX makes of it."""
    return 0o755 if entry.type == "directory" or entry.mode & 0o111 else 0o644


def write_commit(
    dest: Path, name: str, plan: Plan, contents: Mapping[bytes, bytes], *, check: bool
) -> list[str]:
    """Make the overlay say what the plan says; returns the paths that changed."""
    changed = []
    for path in plan.deleted:
        target = dest / _relative(path)
        if target.is_symlink() or target.exists():
            changed.append(shown(path))
            if not check:
                _remove(target)
    for change in plan.directories:
        if not (dest / _relative(change.path)).is_dir():
            changed.append(shown(change.path))
            if not check:
                (dest / _relative(change.path)).mkdir(parents=True)
    for change in plan.files:
        content, mode = contents[change.path], _normal_mode(change.after) if change.after else 0o644
        if _write_file(dest / _relative(change.path), content, mode, check):
            changed.append(shown(change.path))
    for change in plan.links:
        if _write_link(dest / _relative(change.path), change, check):
            changed.append(shown(change.path))
    if _write_list(dest / LISTS / name, plan, check):
        changed.append(f"/{LISTS}/{name}")
    return changed


def _relative(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def _remove(target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    elif target.is_symlink() or target.exists():
        target.unlink()


def _write_file(target: Path, content: bytes, mode: int, check: bool) -> bool:
    if target.is_file() and not target.is_symlink():
        if target.read_bytes() == content and target.stat().st_mode & 0o7777 == mode:
            return False
    elif not check:
        _remove(target)
    if not check:
        write_atomically(target, content, mode)
    return True


def _write_link(target: Path, change: Change, check: bool) -> bool:
    points_to = _relative(change.after.target or b"") if change.after else ""
    if target.is_symlink() and str(target.readlink()) == points_to:
        return False
    if not check:
        _remove(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(points_to)
    return True


def _write_list(target: Path, plan: Plan, check: bool) -> bool:
    """Earlier lines stay, but for paths of which this commit says something else."""
    before = target.read_bytes() if target.is_file() else b""
    written = {change.path for change in [*plan.files, *plan.links, *plan.directories]}
    settled = written | set(plan.deleted) | set(plan.modes)
    lines = {line for line in before.split(b"\n") if line and _path_of(line) not in settled}
    lines |= {b"delete " + path for path in plan.deleted}
    # Of five digits, because GNU chmod keeps set-id bits of directories when there are fewer.
    lines |= {b"mode %05o %b" % (mode, path) for path, mode in plan.modes.items()}
    after = b"".join(line + b"\n" for line in sorted(lines))
    if after != before and not check:
        write_atomically(target, after)
    return after != before


def _path_of(line: bytes) -> bytes:
    verb, _space, rest = line.partition(b" ")
    return rest if verb == b"delete" else rest.partition(b" ")[2]
