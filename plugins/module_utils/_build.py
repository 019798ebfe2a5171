# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every build step needs: programs, content keys, locks, and identifiers of a board."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import typing as t
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ._program import run_program

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "readonly-rootfs.br2")
# Programs of system administration are not always on a user's PATH.
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_TAIL = 20
# A file's name need not be UTF-8.
_ODD = "surrogateescape"


class BuildError(Exception):
    """A build that cannot go on; the text is meant for the user."""


def identifier(board: str, what: str) -> str:
    """A UUID that differs by board and use, and never by build."""
    return str(uuid.uuid5(_NAMESPACE, f"{board}/{what}"))


def environment(**more: str) -> dict[str, str]:
    """The same surroundings for every program, so that the same inputs give the same bytes."""
    kept = {name: os.environ[name] for name in ("HOME", "TMPDIR") if name in os.environ}
    path = os.environ.get("PATH", "/usr/bin:/bin")
    return {**kept, "PATH": f"{path}:{_SBIN}", "LC_ALL": "C", "TZ": "UTC", **more}


def need_tools(tools: Mapping[str, str]) -> None:
    """Fail unless every program is there; the mapping names the Debian package of each."""
    path = environment()["PATH"]
    missing = sorted(tool for tool in tools if shutil.which(tool, path=path) is None)
    if missing:
        packages = " ".join(sorted({tools[tool] for tool in missing}))
        raise BuildError(
            f"Missing on the build host: {', '.join(missing)}. Install them with the playbook "
            f"br2.readonly_rootfs.provision, or by: apt-get install {packages}"
        )


def _note(log: t.IO[str], line: str) -> None:
    """Write a line at once, since what others write to the same file follows."""
    log.write(f"{line}\n")
    log.flush()


def run(
    command: Sequence[str | os.PathLike[str]],
    log: t.IO[str] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
) -> str:
    """Run a program and return its standard output; its failure ends the build with its last lines.

    With a log, both streams go there as they come, and nothing is returned.
    """
    words = [os.fspath(word) for word in command]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        begin = 0
        if log is not None:
            _note(log, f"$ {' '.join(words)}")
            begin = log.tell()
        ended = run_program(
            words,
            given=stdin,
            stdout=log or subprocess.PIPE,
            stderr=log or complaints,
            env=dict(env) if env is not None else environment(),
            cwd=cwd,
            encoding="utf-8",
            errors="replace",
        )
        if ended.returncode:
            said = log or complaints
            said.seek(begin)
            lines = ((ended.stdout or "") + said.read()).strip().splitlines()[-_TAIL:]
            raise BuildError(f"{words[0]} failed ({ended.returncode}): " + "\n".join(lines))
    return ended.stdout or ""


def content_key(*parts: t.Any) -> str:
    """A name for whatever is made from these parts: JSON data, or files and trees given as paths."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            _digest_tree(digest, part)
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:32]


def _digest_tree(digest: hashlib._Hash, root: Path) -> None:
    for path in [root, *sorted(root.rglob("*"))] if root.is_dir() else [root]:
        status = path.lstat()
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            digest.update(f"{name}\0l{path.readlink()}\0".encode(errors=_ODD))
        elif path.is_file():
            digest.update(f"{name}\0f{status.st_mode:o} {status.st_size}\0".encode(errors=_ODD))
            digest.update(path.read_bytes())
        else:
            digest.update(f"{name}\0{status.st_mode:o}\0".encode(errors=_ODD))


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


@contextlib.contextmanager
def locked(directory: Path, log: t.IO[str] | None = None) -> Iterator[None]:
    """Let one build at a time into a directory, made if there is none. A wait is announced in the log."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if log is not None:
                _note(log, f"{Stages.MARK}waiting for another build that makes {directory.name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def held(directory: Path, to_change: bool = False) -> Iterator[None]:
    """Let nobody change a directory while it is read, nor read it while it is changed."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if to_change else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def made_whole(target: Path) -> Iterator[Path]:
    """A directory to fill; it gets its name when all went well, and is removed when not."""
    temporary = target.with_name(f".{target.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    replace_directory(temporary, target)


def replace_directory(new: Path, target: Path) -> None:
    """Put a directory in another's place."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def clamp_times(root: Path, epoch: int) -> None:
    """No file's time is later than the epoch: what this build wrote gets just that."""
    for path in [root, *root.rglob("*")]:
        moment = min(int(path.lstat().st_mtime), epoch)
        os.utime(path, (moment, moment), follow_symlinks=False)


def newest_time(root: Path) -> int:
    """The latest modification time of any file or link below a directory."""
    return max((int(path.lstat().st_mtime) for path in root.rglob("*") if not path.is_dir()), default=0)


class Stages:
    """The stages of a build: announced in its log, their seconds kept."""

    # An announcement is a line of its own with this before the name.
    MARK = ">>> "

    def __init__(self, log: t.IO[str]) -> None:
        self.seconds: dict[str, float] = {}
        self._log = log
        self._begin = self._since = time.monotonic()
        self._name = ""

    def enter(self, name: str) -> None:
        self.leave()
        self._name = name
        _note(self._log, f"{self.MARK}{name}")

    def leave(self) -> None:
        now = time.monotonic()
        if self._name:
            self.seconds[self._name] = round(now - self._since, 2)
        self._name, self._since = "", now

    @property
    def total(self) -> float:
        return round(time.monotonic() - self._begin, 2)
