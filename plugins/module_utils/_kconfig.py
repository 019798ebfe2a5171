# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kconfig values, and why a value that was asked for is not the one that came out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_SET = re.compile(r"^([A-Za-z0-9_]+)=(.*)$")
_UNSET = re.compile(r"^# ([A-Za-z0-9_]+) is not set$")
_TOKEN = re.compile(r'\s*(&&|\|\||!=|=|!|\(|\)|"[^"]*"|[A-Za-z0-9_.\-]+)')
_ENTRIES = (
    "config",
    "menuconfig",
    "choice",
    "comment",
    "menu",
    "if",
    "endif",
    "endmenu",
    "endchoice",
    "source",
)

# What Buildroot writes on its own account; never a user's choice.
_INTERNAL = re.compile(r"^BR2_(DEFCONFIG|EXTERNAL_[A-Z0-9_]+_(PATH|DESC|VERSION))$")


def read_values(text: str) -> dict[str, str]:
    """Symbol to value as written in a .config or defconfig; the last mention wins, "not set" is n."""
    values = {}
    for line in text.splitlines():
        if match := _SET.match(line.rstrip()):
            values[match[1]] = match[2]
        elif match := _UNSET.match(line.rstrip()):
            values[match[1]] = "n"
    return {name: value for name, value in values.items() if not _INTERNAL.match(name)}


def lost(wanted: Iterable[Path], final: Path) -> list[str]:
    """What files of a kernel's configuration ask for and its .config does not say; the last mention counts.

    Kconfig drops what it cannot honour without a word.
    """
    said = read_values(final.read_text(encoding="utf-8"))
    asked: dict[str, str] = {}
    for path in wanted:
        asked.update(read_values(path.read_text(encoding="utf-8")))
    return [f"{name}={value}" for name, value in asked.items() if said.get(name, "n") != value]


@dataclass
class Symbol:
    """One symbol, all its definitions merged: it is visible when any of `depends` holds."""

    name: str
    depends: list[list[str]] = field(default_factory=list)
    selected_by: dict[str, list[str]] = field(default_factory=dict)
    choice: int | None = None


@dataclass
class Tree:
    """The symbols below one Config.in."""

    symbols: dict[str, Symbol] = field(default_factory=dict)
    choices: dict[int, list[str]] = field(default_factory=dict)


def read_tree(root: Path, environment: dict[str, str]) -> Tree:
    """Every symbol of the Config.in files that `root` sources, `$NAME` taken from the environment."""
    tree = Tree()
    _Reader(root.parent, environment, tree).read(root, [])
    return tree


class _Reader:
    def __init__(self, base: Path, environment: dict[str, str], tree: Tree) -> None:
        self.base = base
        self.environment = environment
        self.tree = tree
        self.choice_serial = 0

    def read(self, path: Path, conditions: list[str]) -> None:
        scopes: list[list[str]] = [conditions]
        choices: list[int] = []
        symbol: Symbol | None = None
        own: list[str] = []
        in_header = False
        help_indent: int | None = None
        for line in _logical_lines(path):
            words = line.split()
            if not words:
                continue
            indent = len(line.expandtabs()) - len(line.expandtabs().lstrip())
            if help_indent is not None:
                if help_indent < 0 and indent > 0:
                    help_indent = indent
                if indent > 0 and indent >= help_indent:
                    continue
                help_indent = None
            keyword = words[0]
            rest = line.strip()[len(keyword) :].strip()
            if keyword in _ENTRIES:
                symbol, in_header = None, False
            if keyword in ("config", "menuconfig"):
                symbol = self.tree.symbols.setdefault(words[1], Symbol(words[1]))
                own = [condition for scope in scopes for condition in scope]
                symbol.depends.append(own)
                if choices:
                    symbol.choice = choices[-1]
                    self.tree.choices[choices[-1]].append(symbol.name)
            elif keyword == "choice":
                self.choice_serial += 1
                choices.append(self.choice_serial)
                self.tree.choices[self.choice_serial] = []
                scopes.append([])
                in_header = True
            elif keyword == "menu":
                scopes.append([])
                in_header = True
            elif keyword == "if":
                scopes.append([rest])
            elif keyword in ("endif", "endmenu", "endchoice"):
                scopes.pop()
                if keyword == "endchoice":
                    choices.pop()
            elif keyword == "source":
                self._source(rest.strip('"'), [condition for scope in scopes for condition in scope])
            elif keyword in ("help", "---help---"):
                help_indent = -1
            elif words[:2] == ["depends", "on"]:
                expression = rest[2:].strip()
                if symbol is not None:
                    own.append(expression)
                elif in_header:
                    scopes[-1].append(expression)
            elif keyword == "select" and symbol is not None:
                target = self.tree.symbols.setdefault(words[1], Symbol(words[1]))
                target.selected_by[symbol.name] = [" ".join(words[3:])] if words[2:3] == ["if"] else []

    def _source(self, name: str, conditions: list[str]) -> None:
        for key, value in self.environment.items():
            name = name.replace(f"${key}", value).replace(f"$({key})", value)
        path = self.base / name
        if path.is_file():
            self.read(path, conditions)


def _logical_lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ")
    return [line if line.lstrip()[:1] != "#" else "" for line in text.splitlines()]


class _Parser:
    """Recursive descent over one `depends on` expression: || binds weaker than &&."""

    def __init__(self, expression: str, values: dict[str, str]) -> None:
        self.tokens = _TOKEN.findall(expression.split("#")[0])
        self.values = values

    def parse(self) -> bool:
        result = self._and()
        while self._accept("||"):
            result = self._and() or result
        return result

    def _and(self) -> bool:
        result = self._term()
        while self._accept("&&"):
            result = self._term() and result
        return result

    def _term(self) -> bool:
        if self._accept("!"):
            return not self._term()
        if self._accept("("):
            result = self.parse()
            self._accept(")")
            return result
        left = self._operand()
        if self._accept("="):
            return left == self._operand()
        if self._accept("!="):
            return left != self._operand()
        return left not in ("n", "")

    def _operand(self) -> str:
        token = self.tokens.pop(0) if self.tokens else "n"
        if token in ("y", "n", "m") or token.startswith('"'):
            return token.strip('"')
        return self.values.get(token, "n").strip('"')

    def _accept(self, token: str) -> bool:
        if self.tokens and self.tokens[0] == token:
            self.tokens.pop(0)
            return True
        return False


def holds(expression: str, values: dict[str, str]) -> bool:
    """Whether a `depends on` expression is true for these values."""
    return _Parser(expression, values).parse()


@dataclass(frozen=True)
class Mismatch:
    """A symbol that did not come out as it was asked for."""

    name: str
    wanted: str
    got: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: wanted {self.wanted}, got {self.got}; {self.reason}"


def mismatches(wanted: dict[str, str], got: dict[str, str], tree: Tree) -> list[Mismatch]:
    """The wanted values that Kconfig dropped or changed, each with the reason."""
    found = []
    for name, value in sorted(wanted.items()):
        actual = got.get(name, "n")
        # An absent symbol says the same as n and as an empty string.
        if value == actual or (value in ("n", '""') and name not in got and name in tree.symbols):
            continue
        shown = actual if name in got else "absent"
        found.append(Mismatch(name, value, shown, _reason(name, value, got, tree)))
    return found


def _reason(name: str, wanted: str, got: dict[str, str], tree: Tree) -> str:
    symbol = tree.symbols.get(name)
    if symbol is None or not symbol.depends:
        return "no such symbol in this Buildroot or its external trees"
    if wanted == "n":
        selectors = [
            selector
            for selector, conditions in sorted(symbol.selected_by.items())
            if got.get(selector) == "y" and all(holds(condition, got) for condition in conditions)
        ]
        if selectors:
            return f"selected by {', '.join(selectors)}"
    unmet = [[text for text in definition if not holds(text, got)] for definition in symbol.depends]
    if all(unmet):
        return "unmet dependency: " + " or ".join(" and ".join(parts) for parts in unmet)
    if symbol.choice is not None:
        chosen = [other for other in tree.choices[symbol.choice] if got.get(other) == "y" and other != name]
        if chosen:
            return f"its choice has {chosen[0]} set"
    if got.get("BR2_LEGACY") == "y":
        return "the symbol was renamed or removed: see Config.in.legacy"
    return "the value is outside the symbol's range or it cannot be set by the user"
