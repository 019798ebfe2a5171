# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep a directory equal to a set of files, and take away only what was put there."""

from __future__ import annotations

import json
import os
import stat
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

# What the last run put there; only that may be replaced or removed.
LIST = ".external-tree.json"


class TreeError(Exception):
    """A tree that cannot be synchronised; the text is meant for the user."""


@dataclass(frozen=True)
class Node:
    """A file with its content, or a symbolic link with its target."""

    content: bytes = b""
    executable: bool = False
    link: str = ""

    @property
    def mode(self) -> int:
        return 0o755 if self.executable else 0o644


@dataclass
class Changes:
    """What differed, by path relative to the tree."""

    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.created or self.updated or self.removed)


def read_node(path: Path) -> Node | None:
    """The file or link at a path, None when there is nothing."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(status.st_mode):
        return Node(link=str(path.readlink()))
    if not stat.S_ISREG(status.st_mode):
        raise TreeError(f"{path} is neither a file nor a link. Move it away, or choose another directory.")
    return Node(path.read_bytes(), bool(status.st_mode & stat.S_IXUSR))


def synchronise(root: Path, wanted: t.Mapping[str, Node], dry_run: bool = False) -> Changes:
    """Make the files under a root the wanted ones; with dry_run only say what would change."""
    ours = _listed(root)
    changes = Changes()
    for name, node in sorted(wanted.items()):
        _check_name(name)
        found = read_node(root / name)
        if found == node:
            continue
        if found is not None and name not in ours:
            raise TreeError(
                f"{root / name} is not from this collection and would be overwritten. "
                "Move it away, or choose another directory."
            )
        (changes.created if found is None else changes.updated).append(name)
    gone = sorted(ours - set(wanted))
    changes.removed = [name for name in gone if os.path.lexists(root / name)]
    if dry_run:
        return changes

    # First the list with both old and new names: an interrupted run then knows its files.
    if changes or ours != set(wanted):
        _write_list(root, ours | set(wanted))
    for name in changes.created + changes.updated:
        _write(root / name, wanted[name])
    for name in gone:
        _remove(root, name)
    if ours != set(wanted) or not (root / LIST).exists():
        _write_list(root, set(wanted))
    return changes


def _check_name(name: str) -> None:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise TreeError(f"{name!r} does not name a file inside the tree.")


def _listed(root: Path) -> set[str]:
    path = root / LIST
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return set()
    except ValueError:
        raise TreeError(f"{path} is damaged. Remove {root}; it is made anew.") from None
    return set(names)


def _write_list(root: Path, names: set[str]) -> None:
    _write(root / LIST, Node(json.dumps(sorted(names), indent=1).encode() + b"\n"))


def _write(path: Path, node: Node) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    if node.link:
        temporary.symlink_to(node.link)
    else:
        temporary.write_bytes(node.content)
        temporary.chmod(node.mode)
    temporary.replace(path)


def _remove(root: Path, name: str) -> None:
    path = root / name
    path.unlink(missing_ok=True)
    for parent in path.relative_to(root).parents:
        if parent == Path():
            break
        try:
            (root / parent).rmdir()
        except OSError:
            break
