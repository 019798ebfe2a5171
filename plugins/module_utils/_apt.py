# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages of the distribution, by an apt of our own: no root, any architecture.

apt-get is given its own lists, archives and an empty dpkg status. What a set of
packages was resolved to is kept, so that the next build takes the very same
versions until an update is asked for.
"""

from __future__ import annotations

import json
import re
import typing as t
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote

from ._build import BuildError, content_key, environment, file_sha256, locked, run
from ._files import write_atomically

TOOLS = {"apt-get": "apt", "dpkg-deb": "dpkg"}

# What only maintainer scripts use, which are not run; resolved as if it were installed.
_UNNEEDED = ("adduser", "debconf", "init-system-helpers")
_STATUS = """\
Package: {}
Status: install ok installed
Version: 99:0
Architecture: all
Maintainer: none
Description: only for maintainer scripts

"""

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_URI = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})$")
# Settings of the host's apt that say how to reach an archive.
_REACH = re.compile(r"^Acquire::(https?|ftp|Check-Valid-Until|Check-Date|Retries|ForceIPv[46])\b.*\"..*\";$")


@dataclass(frozen=True)
class Package:
    """One package file, exactly."""

    file: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return self.file.split("_")[0]

    @property
    def version(self) -> str:
        return unquote(self.file.split("_")[1])


def host_sources() -> list[str]:
    """Debian's own archives among the build host's, as lines of a sources.list."""
    listing = run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)",
            "Created-By: Packages",
        ]
    )
    entries = [line.split("|") for line in listing.splitlines()]
    # Without package lists apt does not know the origin of an archive.
    known = [entry for entry in entries if entry[0] == "Debian"] or entries
    option = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
    lines = dict.fromkeys(
        f"deb {option}{uri} {release} {component}" for _origin, uri, release, component in known
    )
    if not lines:
        raise BuildError("This host's apt knows no package archive. Set image_debian_sources.")
    return list(lines)


class OfflineError(Exception):
    """Something would have to be downloaded."""


class Apt:
    """The packages of one architecture from given sources; offline, only what is there already."""

    def __init__(
        self,
        cache: Path,
        architecture: str,
        sources: Sequence[str],
        log: t.IO[str],
        offline: bool = False,
    ) -> None:
        key = content_key(sorted(sources), _UNNEEDED)
        self.root = cache / "apt" / f"{architecture}-{key[:12]}"
        self.log = log
        self.offline = offline
        self.archives = self.root / "archives"
        self._updated = False
        self._env = environment(APT_CONFIG=str(self.root / "apt.conf"))
        self._set_up(architecture, sources)

    def _set_up(self, architecture: str, sources: Sequence[str]) -> None:
        for name in ("etc", "lists/partial", "archives", "cache/archives/partial", "resolved"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        reach = [line for line in run(["apt-config", "dump"]).splitlines() if _REACH.match(line)]
        config = [
            f'Dir::Etc "{self.root}/etc";',
            'Dir::Etc::parts "/dev/null";',
            'Dir::Etc::preferencesparts "/dev/null";',
            'Dir::Etc::trustedparts "/etc/apt/trusted.gpg.d";',
            f'Dir::State "{self.root}";',
            f'Dir::State::lists "{self.root}/lists";',
            f'Dir::State::status "{self.root}/status";',
            f'Dir::Cache "{self.root}/cache";',
            f'APT::Architecture "{architecture}";',
            f'APT::Architectures {{ "{architecture}"; }};',
            'APT::Install-Recommends "false";',
            'APT::Sandbox::User "root";',
            'Acquire::Languages "none";',
            'Acquire::ForceHash "SHA256";',
            *reach,
        ]
        write_atomically(self.root / "apt.conf", "\n".join(config) + "\n")
        write_atomically(self.root / "status", "".join(map(_STATUS.format, _UNNEEDED)))
        write_atomically(self.root / "etc/sources.list", "\n".join(sources) + "\n")

    def fetch(self, wanted: Sequence[str], update: bool = False) -> list[Package]:
        """The packages and what they depend on, downloaded."""
        return self._fetch([*sorted(wanted)], update, lambda: self._resolve(["-y", "install", *wanted]))

    def fetch_newest(self, pointer: str, prefix: str, update: bool = False) -> Package:
        """The one package, alone, that a package depends on only to point to the newest of its kind."""
        (package,) = self._fetch([pointer, prefix], update, lambda: self._resolve_newest(pointer, prefix))
        return package

    def path(self, package: Package) -> Path:
        return self.archives / package.file

    def _fetch(self, key: list[str], update: bool, resolve: t.Callable[[], list[Package]]) -> list[Package]:
        with locked(self.root, self.log):
            return self._fetch_locked(key, update, resolve)

    def _fetch_locked(
        self, key: list[str], update: bool, resolve: t.Callable[[], list[Package]]
    ) -> list[Package]:
        kept = self.root / "resolved" / f"{content_key(key)}.json"
        if kept.exists() and not update:
            packages = [Package(**entry) for entry in json.loads(kept.read_text())]
            if self._download(packages, tolerant=True):
                return packages
            # The archive no longer has one of them.
        if self.offline:
            raise OfflineError
        self._update()
        packages = resolve()
        self._download(packages)
        write_atomically(kept, json.dumps([asdict(package) for package in packages], indent=1) + "\n")
        return packages

    def _update(self) -> None:
        if not self._updated:
            run(["apt-get", "-q", "-y", "--error-on=any", "update"], self.log, self._env)
            self._updated = True

    def _resolve_newest(self, pointer: str, prefix: str) -> list[Package]:
        listing = run(["apt-cache", "depends", "--important", pointer], env=self._env)
        found = re.findall(rf"^\s*Depends: ({re.escape(prefix)}\S+)$", listing, re.MULTILINE)
        return self._resolve(["download", found[0] if found else pointer])

    def _resolve(self, words: Sequence[str]) -> list[Package]:
        try:
            listing = run(["apt-get", "-qq", "--print-uris", *words], env=self._env, cwd=self.root)
        except BuildError as error:
            raise BuildError(f"The distribution does not offer what is wanted. {error}") from error
        matches = [match for line in listing.splitlines() if (match := _URI.match(line))]
        if not matches:
            raise BuildError(f"apt-get {' '.join(words)} names no files: {listing[-500:]}")
        found = [Package(match["file"], int(match["size"]), match["sha256"]) for match in matches]
        return sorted(found, key=lambda package: package.file)

    def _download(self, packages: Sequence[Package], tolerant: bool = False) -> bool:
        missing = [package for package in packages if not self._complete(package)]
        if not missing:
            return True
        if self.offline:
            raise OfflineError
        if not any((self.root / "lists").glob("*_Packages*")):
            self._update()
        for package in missing:
            self.path(package).unlink(missing_ok=True)
        exact = [f"{package.name}={package.version}" for package in missing]
        try:
            run(["apt-get", "-q", "download", *exact], self.log, self._env, cwd=self.archives)
        except BuildError:
            if tolerant:
                return False
            raise
        for package in missing:
            if not self.path(package).exists() or file_sha256(self.path(package)) != package.sha256:
                raise BuildError(f"{self.path(package)} is not the file that the archive's index promises.")
        return True

    def _complete(self, package: Package) -> bool:
        """apt checks the hash when it downloads, under a temporary name; afterwards the size tells."""
        try:
            return self.path(package).stat().st_size == package.size
        except FileNotFoundError:
            return False
