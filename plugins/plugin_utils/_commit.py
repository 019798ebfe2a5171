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
        if _in_the_way(dest, target) is None and (target.is_symlink() or target.exists()):
            changed.append(shown(path))
            if not check:
                _remove(target)
    for change in [*plan.directories, *plan.files, *plan.links]:
        target = dest / _relative(change.path)
        cleared = _clear_way(dest, target, check)
        if _write(target, change, contents, check) or cleared:
            changed.append(shown(change.path))
    return changed + _write_lists(dest, name, plan, check)


def _in_the_way(dest: Path, target: Path) -> Path | None:
    """What an earlier commit left where the target needs a directory: a file, or a link to anywhere."""
    above = reversed([path for path in target.parents if path.is_relative_to(dest) and path != dest])
    return next((path for path in above if path.is_symlink() or path.is_file()), None)


def _clear_way(dest: Path, target: Path, check: bool) -> bool:
    obstacle = _in_the_way(dest, target)
    if obstacle is not None and not check:
        obstacle.unlink()
    return obstacle is not None


def _write(target: Path, change: Change, contents: Mapping[bytes, bytes], check: bool) -> bool:
    after = change.after
    if after is None or after.type == "directory":
        return _write_directory(target, check)
    if after.type == "link":
        return _write_link(target, change, check)
    return _write_file(target, contents[change.path], _normal_mode(after), check)


def _relative(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def _remove(target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    elif target.is_symlink() or target.exists():
        target.unlink()


def _write_directory(target: Path, check: bool) -> bool:
    if target.is_dir() and not target.is_symlink():
        return False
    if not check:
        _remove(target)
        target.mkdir(parents=True)
    return True


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


def _write_lists(dest: Path, name: str, plan: Plan, check: bool) -> list[str]:
    """Earlier lines stay, of any device, but for paths of which this commit says something else."""
    own = {b"delete " + path for path in plan.deleted}
    # Of five digits, because GNU chmod keeps set-id bits of directories when there are fewer.
    own |= {b"mode %05o %b" % (mode, path) for path, mode in plan.modes.items()}
    written = {change.path for change in [*plan.files, *plan.links, *plan.directories]}
    settled = written | set(plan.deleted) | set(plan.modes)
    # The build deletes last: with a directory would go what this commit has in it.
    undeleted = settled.union(*map(_above, written))
    changed = []
    for target in sorted({*(dest / LISTS).glob("*"), dest / LISTS / name}):
        before = target.read_bytes() if target.is_file() else b""
        lines = {
            line
            for line in before.split(b"\n")
            if line in own or _path_of(line) not in (undeleted if line.startswith(b"delete ") else settled)
        }
        lines = (lines | own if target.name == name else lines) - {b""}
        after = b"".join(line + b"\n" for line in sorted(lines))
        if after != before:
            changed.append(f"/{LISTS}/{target.name}")
            if not check:
                _clear_way(dest, target, check)
                write_atomically(target, after)
    return changed


def _above(path: bytes) -> set[bytes]:
    return {path[:end] for end, byte in enumerate(path) if byte == ord("/")}


def _path_of(line: bytes) -> bytes:
    verb, _space, rest = line.partition(b" ")
    return rest if verb == b"delete" else rest.partition(b" ")[2]
