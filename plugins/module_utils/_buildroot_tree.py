# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Buildroot tree, an output directory and external trees: how make is called on them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._program import run_program

# All that a build sees of the environment it is started from. Everything else (LD_LIBRARY_PATH, CFLAGS,
# MAKEFLAGS, DESTDIR, PERL_MM_OPT, shims of version managers ...) is known to break or to colour builds.
_KEPT = re.compile(
    r"^(HOME|USER|LOGNAME|SHELL|TMPDIR|SSH_AUTH_SOCK|(https?|ftp|no|all)_proxy)$", re.IGNORECASE
)
# Nobody's own directories: what is found first would depend on who builds.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

STATE = ".readonly-rootfs"


class BuildrootError(Exception):
    """What cannot be used or went wrong, and what to do; details for programs."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


def environment(inherited: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a build: reproducible, and accepted by Buildroot's own checks."""
    kept = {name: value for name, value in inherited.items() if _KEPT.match(name)}
    kept["PATH"] = _PATH
    kept["LC_ALL"] = "C"
    kept.update(extra)
    return kept


@dataclass(frozen=True)
class Tree:
    """One Buildroot source tree, building into one output directory."""

    source: Path
    output: Path
    external: tuple[Path, ...] = ()

    def check(self) -> None:
        """Refuse what Buildroot would refuse late, or silently mistake."""
        if not (self.source / "Config.in").is_file() or not (self.source / "Makefile").is_file():
            raise BuildrootError(f"{self.source} is no Buildroot tree: it has no Config.in and Makefile.")
        for path in (self.source, self.output, *self.external):
            if re.search(r"[\s@:,]", str(path)):
                raise BuildrootError(
                    f"{path}: Buildroot cannot work in a path with white space, '@', ':' or ','."
                )
        for path in self.external:
            if not (path / "external.desc").is_file():
                raise BuildrootError(f"{path} is no external tree: it has no external.desc.")

    @property
    def state(self) -> Path:
        """Where this collection keeps what it knows about the output directory."""
        return self.output / STATE

    def trusted(self) -> dict[str, str]:
        """Lets git read another user's tree: Buildroot takes version and time of the images from it."""
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": str(self.source),
        }

    def command(
        self, targets: Sequence[str], variables: Mapping[str, str], output: Path | None = None
    ) -> list[str]:
        """The make command line."""
        return [
            "make",
            f"--directory={self.source}",
            f"O={output or self.output}",
            f"BR2_EXTERNAL={':'.join(map(str, self.external))}",
            *(f"{name}={value}" for name, value in variables.items()),
            *targets,
        ]

    def run(
        self,
        targets: Sequence[str],
        variables: Mapping[str, str],
        output: Path | None = None,
        timeout: int = 600,
    ) -> str:
        """Run a quick make target to its end and return what it printed on stdout."""
        command = self.command(["--no-print-directory", *targets], variables, output)
        try:
            done = run_program(
                command,
                env=environment(os.environ, self.trusted()),
                encoding="utf-8",
                errors="replace",
                timeout=timeout,
            )
        except OSError as error:
            raise BuildrootError(
                f"make cannot be run: {error.strerror}; provision the build host first."
            ) from error
        except subprocess.TimeoutExpired as error:
            raise BuildrootError(f"`make {' '.join(targets)}` has not ended after {timeout} s.") from error
        if done.returncode:
            last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
            raise BuildrootError(
                f"`make {' '.join(targets)}` failed with status {done.returncode}:\n{last}",
                output=done.stdout + done.stderr,
            )
        said: str = done.stdout
        return said
