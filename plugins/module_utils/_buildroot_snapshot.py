# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a build depends on, by content: what two snapshots tell apart decides what is built."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_tree import (
    STATE,
    BuildrootError,
    Tree,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._kconfig import read_values
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._program import run_program

# Where compiled objects are kept does not change them.
_HARMLESS = re.compile(r"^CCACHE_")
_SKIPPED = {".git", STATE, "__pycache__", "dl", "output"}


def take(tree: Tree, environment: Mapping[str, str]) -> dict[str, Any]:
    """The snapshot: Buildroot's own state, the configuration, and every file that either refers to."""
    try:
        values = read_values((tree.output / ".config").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BuildrootError(
            f"{tree.output} has no .config: configure it first (buildroot_config)."
        ) from error
    roots = list(tree.external)
    references = referenced(values, tree)
    for path in references.values():
        roots += [entry for entry in path if not _below(entry, roots)]
    return {
        "buildroot": identity(tree.source),
        "config": values,
        "environment": {name: value for name, value in environment.items() if not _HARMLESS.match(name)},
        "external": [str(path) for path in tree.external],
        "files": {str(path): digest for root in roots for path, digest in files(root)},
        "references": {name: [str(path) for path in paths] for name, paths in references.items()},
    }


def referenced(values: Mapping[str, str], tree: Tree) -> dict[str, list[Path]]:
    """The symbols that name files or directories outside Buildroot, and what they name."""
    variables = {"TOPDIR": str(tree.source), "BR2_CONFIG": str(tree.output / ".config")}
    for path in tree.external:
        name = _external_name(path)
        variables[f"BR2_EXTERNAL_{name}_PATH"] = str(path)
    found: dict[str, list[Path]] = {}
    for symbol, value in values.items():
        text = value.strip('"')
        if "/" not in text or symbol in ("BR2_DL_DIR", "BR2_CCACHE_DIR", "BR2_HOST_DIR"):
            continue
        for word in text.split():
            path = Path(re.sub(r"\$[({](\w+)[)}]", lambda match: variables.get(match[1], match[0]), word))
            if not path.exists() and set(tree.external) & set(path.parents):
                raise BuildrootError(f"{symbol} names {path}, which does not exist.")
            if path.is_absolute() and path.exists() and tree.source not in path.parents:
                found.setdefault(symbol, []).append(path)
    return found


def _external_name(path: Path) -> str:
    description = (path / "external.desc").read_text(encoding="utf-8")
    match = re.search(r"^name:\s*(\w+)\s*$", description, re.MULTILINE)
    if not match:
        raise BuildrootError(f"{path / 'external.desc'} has no line `name: NAME`.")
    return match[1]


def _below(path: Path, roots: Sequence[Path]) -> bool:
    return any(root == path or root in path.parents for root in roots)


def identity(source: Path) -> str:
    """The commit and what was changed on top of it; without git the content of the whole tree."""
    git = ["git", "-c", f"safe.directory={source}", "-C", str(source)]
    if (source / ".git").exists():
        try:
            commit = _output([*git, "rev-parse", "HEAD"]).decode().strip()
            dirty = _output([*git, "diff", "HEAD", "--no-ext-diff", "--binary"])
            extra = _output([*git, "ls-files", "--others", "--exclude-standard", "-z"])
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip()
            raise BuildrootError(f"git cannot tell the commit of {source}: {said or error}") from error
        except OSError as error:
            raise BuildrootError(f"git cannot be run: {error.strerror}") from error
        digest = hashlib.sha256(dirty)
        for name in sorted(filter(None, extra.decode(errors="surrogateescape").split("\0"))):
            digest.update(f"{name}\0{_digest(source / name)}\n".encode(errors="surrogateescape"))
        return f"{commit}+{digest.hexdigest()}" if dirty or extra else commit
    digest = hashlib.sha256()
    for path, content in files(source):
        digest.update(f"{path}\0{content}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _output(command: Sequence[str]) -> bytes:
    done = run_program(command)
    done.check_returncode()
    said: bytes = done.stdout
    return said


def files(root: Path) -> list[tuple[Path, str]]:
    """Every file and link below, sorted, with its digest."""
    if not root.is_dir():
        return [(root, _digest(root))]
    found = []
    for directory, names, files in os.walk(root):
        names[:] = sorted(set(names) - _SKIPPED)
        here = Path(directory)
        links = [name for name in names if (here / name).is_symlink()]
        found += [(here / name, _digest(here / name)) for name in sorted([*files, *links])]
    return found


def _digest(path: Path) -> str:
    """Type, executable bit and content."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return f"link {path.readlink()}"
    if not stat.S_ISREG(status.st_mode):
        return f"mode {stat.S_IFMT(status.st_mode):o}"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{digest} {stat.S_IMODE(status.st_mode):o}"
