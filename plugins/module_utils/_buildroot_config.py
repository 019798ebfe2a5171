# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A defconfig and fragments become a .config that holds every value asked for, or nothing is written."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_job import read_json, write_json
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_snapshot import files, identity
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_tree import BuildrootError, Tree
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._kconfig import (
    Mismatch,
    mismatches,
    read_tree,
    read_values,
)


class DroppedError(BuildrootError):
    """Kconfig did not take every value that was asked for."""

    def __init__(self, found: Sequence[Mismatch]) -> None:
        super().__init__(
            "Kconfig dropped or changed what was asked for:\n"
            + "\n".join(f"  {mismatch}" for mismatch in found)
            + "\nSet the dependency too, or take the symbol out of the defconfig or fragment.",
            dropped=[asdict(mismatch) for mismatch in found],
        )


@dataclass(frozen=True)
class Outcome:
    """The values before and after."""

    before: dict[str, str]
    after: dict[str, str]

    @property
    def changed(self) -> bool:
        """Whether the two differ."""
        return self.before != self.after

    def lines(self) -> tuple[str, str]:
        """Both sides of the diff: only the symbols that differ."""
        names = sorted(
            name
            for name in self.before.keys() | self.after.keys()
            if self.before.get(name) != self.after.get(name)
        )
        sides = (
            "".join(f"{name}={side[name]}\n" for name in names if name in side)
            for side in (self.before, self.after)
        )
        before, after = sides
        return before, after


def find_defconfig(tree: Tree, name: str) -> Path:
    """A path, or a name in an external tree (the last one wins, as in make) or in Buildroot."""
    path = Path(name)
    if path.is_absolute():
        candidates = [path]
    else:
        candidates = [root / "configs" / name for root in (*reversed(tree.external), tree.source)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise BuildrootError(f"There is no defconfig {name}: looked at {', '.join(map(str, candidates))}.")


def merge(defconfig: Path, fragments: Sequence[Path], symbols: Mapping[str, str]) -> str:
    """One text in the order of precedence, the strongest last."""
    parts = []
    for path in (defconfig, *fragments):
        try:
            parts.append(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BuildrootError(f"{path}: {error.strerror}") from error
    parts.append("".join(f"{name}={value}\n" for name, value in symbols.items()))
    return "\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def apply(tree: Tree, text: str, check_mode: bool) -> Outcome:
    """Try `text` in a directory of its own; only a .config that keeps all of it is put in place."""
    config = tree.output / ".config"
    before = read_values(config.read_text(encoding="utf-8")) if config.is_file() else {}
    stamp = tree.state / "config.json"
    inputs = _inputs(tree, text)
    if before and read_json(stamp) == {"inputs": inputs, "values": before}:
        return Outcome(before, before)
    with tempfile.TemporaryDirectory(prefix="buildroot-config-") as name:
        trial = Path(name)
        after = _generate(tree, text, trial / "output", trial)
        variables = {"BR2_BASE_DIR": str(trial / "output"), "BR2_VERSION_FULL": ""}
        found = mismatches(read_values(text), after, read_tree(tree.source / "Config.in", variables))
    if found:
        raise DroppedError(found)
    outcome = Outcome(before, after)
    if outcome.changed and not check_mode:
        tree.state.mkdir(parents=True, exist_ok=True)
        _generate(tree, text, tree.output, tree.state)
    if tree.state.is_dir() and not check_mode:
        write_json(stamp, {"inputs": inputs, "values": after})
    return outcome


def _inputs(tree: Tree, text: str) -> str:
    """A name for all that decides which values come out."""
    known = [text, identity(tree.source)]
    known += [f"{path} {digest}" for root in tree.external for path, digest in files(root)]
    return hashlib.sha256("\0".join(known).encode(errors="surrogateescape")).hexdigest()


def _generate(tree: Tree, text: str, output: Path, keep: Path) -> dict[str, str]:
    defconfig = keep / "defconfig"
    partial = keep / "defconfig.new"
    partial.write_text(text, encoding="utf-8")
    partial.replace(defconfig)
    tree.run(["defconfig"], {"BR2_DEFCONFIG": str(defconfig)}, output)
    return read_values((output / ".config").read_text(encoding="utf-8"))
