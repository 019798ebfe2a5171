# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Board files, and the BR2_EXTERNAL tree rendered for one board (on the controller)."""

from __future__ import annotations

import os
import typing as t
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import jinja2
import yaml
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._tree_sync import Node, TreeError

FILES = Path(__file__).parents[2] / "files"
BOARDS = FILES / "boards"
SOURCE = FILES / "buildroot-external"

# In a template's name, the word that stands for the board.
_BOARD_WORD = "board_"
_REQUIRED = {
    "": ("description", "architecture", "kernel", "console", "disk"),
    "kernel": ("image", "cmdline"),
    "disk": ("table", "root", "overlay"),
}
# What templates ask of the image; role image sets it.
_IMAGE = (
    "authorized_keys",
    "embedded_initramfs",
    "hostname",
    "init",
    "packages",
    "root_login",
    "root_password_hash",
    "rootfs",
    "rootfs_overlays",
)
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "readonly-rootfs.br2")


def load_board(name: str, directories: Iterable[Path]) -> dict[str, t.Any]:
    """The data of a board; the first directory that has it wins, the collection's own come last."""
    searched = [*directories, BOARDS]
    for directory in searched:
        path = directory / f"{name}.yml"
        if path.is_file():
            data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
            return _checked(path, {"name": name, "directory": name, **data})
    known = sorted({path.stem for directory in searched for path in directory.glob("*.yml")})
    raise TreeError(
        f"There is no board {name!r}. Known: {', '.join(known)}. "
        f"A board is a file {name}.yml in one of: {', '.join(map(str, searched))}."
    )


def _checked(path: Path, board: dict[str, t.Any]) -> dict[str, t.Any]:
    for section, keys in _REQUIRED.items():
        data = board.get(section, {}) if section else board
        missing = [key for key in keys if not isinstance(data, dict) or key not in data]
        if missing:
            where = f" in its section {section!r}" if section else ""
            raise TreeError(f"{path} lacks {', '.join(missing)}{where}. docs/boards.md explains each.")
    if "boot" in board["disk"] and not {"size", "files"} <= set(board["disk"]["boot"]):
        raise TreeError(f"{path}: disk.boot wants size and files. docs/boards.md explains both.")
    if board["disk"]["table"] not in ("gpt", "mbr"):
        raise TreeError(f"{path}: disk.table is {board['disk']['table']!r}; it must be gpt or mbr.")
    return board


def render(board: Mapping[str, t.Any], image: Mapping[str, t.Any], source: Path = SOURCE) -> dict[str, Node]:
    """The files of the tree by their path in it."""
    name = str(board["name"])
    if missing := [key for key in _IMAGE if key not in image]:
        raise TreeError(f"`image` lacks {', '.join(missing)}. Role image sets all of it from its variables.")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=jinja2.select_autoescape([], default_for_string=False),
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(board=board, image=image, uuid=lambda what: _uuid(name, what))
    tree: dict[str, Node] = {}
    for path in _files(source, str(board["directory"])):
        relative = path.relative_to(source).as_posix()
        if path.is_symlink():
            tree[relative] = Node(link=str(path.readlink()))
            continue
        content = path.read_bytes()
        if path.suffix == ".link":
            tree[relative[: -len(".link")]] = Node(link=_target(content))
            continue
        if path.suffix == ".j2":
            relative, content = _rendered(environment, relative, content, name)
            if not content:
                continue
        # A template that begins with a condition has no #! of its own, only what comes of it has.
        tree[relative] = Node(content, content.startswith(b"#!"))
    return tree


def _target(content: bytes) -> str:
    """A link out of the collection would not survive its packing: it is a file that says where to."""
    (target,) = (line for line in content.decode().splitlines() if not line.startswith("#"))
    return target


def _files(source: Path, own: str) -> Iterator[Path]:
    """Every file but the directories of other boards."""
    for directory, subdirectories, names in os.walk(source):
        here = Path(directory)
        if here == source / "board":
            subdirectories[:] = [known for known in subdirectories if known in ("common", own)]
        links = [known for known in subdirectories if (here / known).is_symlink()]
        for name in sorted(names + links):
            yield here / name


def _rendered(
    environment: jinja2.Environment, relative: str, content: bytes, board: str
) -> tuple[str, bytes]:
    try:
        text = environment.from_string(content.decode()).render()
    except jinja2.TemplateError as error:
        raise TreeError(f"{relative} cannot be rendered for board {board!r}: {error}") from error
    head, _unused, last = relative[: -len(".j2")].rpartition("/")
    if last.startswith(_BOARD_WORD):
        last = f"{board}_{last[len(_BOARD_WORD) :]}"
    # A template that comes out empty makes no file.
    return f"{head}/{last}" if head else last, text.encode() if text.strip() else b""


def _uuid(board: str, what: str) -> str:
    """Identifiers that differ by board and use, and never by build."""
    return str(uuid.uuid5(_NAMESPACE, f"{board}/{what}"))
