# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sources of a configuration: downloaded, listed, and packed for a host without a network."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import tarfile
import typing as t
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_log import diagnose
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_tree import BuildrootError, Tree

SUMS = "SHA256SUMS"
_DAY = 86400


class Package(t.NamedTuple):
    """Where a package is built, and the sources of it, as paths in the download directory."""

    directory: Path
    files: list[str]


def by_package(tree: Tree, legal: bool = True) -> dict[str, Package]:
    """The packages that have sources.

    With `legal` also the sources of a program that is downloaded ready-made, which legal-info gathers.
    show-info knows neither of these nor that a package is taken from a directory instead.
    """
    variables = {"VARS": "%_OVERRIDE_SRCDIR %_ACTUAL_SOURCE_TARBALL"}
    said = tree.run(["--silent", "show-info", "printvars"], variables).strip()
    try:
        information, end = json.JSONDecoder().raw_decode(said)
    except ValueError as error:
        raise BuildrootError(f"`make show-info` gave no JSON: {error}") from error
    told = dict(line.partition("=")[::2] for line in said[end:].splitlines())
    found = {}
    for name, about in information.items():
        prefix = re.sub(r"[-.]", "_", name.upper())
        if not about.get("dl_dir") or told.get(f"{prefix}_OVERRIDE_SRCDIR"):
            continue
        files = [download["source"] for download in about["downloads"]]
        files.append(told.get(f"{prefix}_ACTUAL_SOURCE_TARBALL", "") if legal else "")
        sources = [f"{about['dl_dir']}/{file}" for file in files if file]
        found[name] = Package(tree.output / about["stamp_dir"], sources)
    return found


def needed(tree: Tree) -> list[str]:
    """Every source of the configuration, as its path in the download directory."""
    return files_of(by_package(tree))


def files_of(packages: Mapping[str, Package]) -> list[str]:
    """Their sources, each once, as paths in the download directory."""
    return sorted({name for package in packages.values() for name in package.files})


def missing(names: list[str], directory: Path) -> list[str]:
    """What is still to be downloaded."""
    return [name for name in names if not (directory / name).is_file()]


def ahead(tree: Tree, config: Mapping[str, str], targets: Collection[str]) -> list[str]:
    """The make targets that bring, before an offline build begins, what it would miss after hours.

    What only the download directory can have is looked for here, if `targets` clean the package or it is new.
    """
    if config.get("BR2_PRIMARY_SITE_ONLY") != "y":
        return []
    directory = Path(config["BR2_DL_DIR"].strip('"'))
    if config["BR2_PRIMARY_SITE"] != f'"file://{directory}"':
        return ["source"]
    wanted = {
        file
        for name, package in by_package(tree, legal=False).items()
        if {"clean", f"{name}-dirclean"}.intersection(targets)
        or not (package.directory / ".stamp_downloaded").exists()
        for file in package.files
    }
    if absent := missing(sorted(wanted), directory):
        raise BuildrootError(
            f"The build is offline, and {directory} lacks {', '.join(absent)}. Pack the sources of this "
            "configuration on a host with a network and import them here, or put the files there."
        )
    return []


def demand(names: list[str], directory: Path) -> None:
    """Do not believe make's exit status."""
    if absent := missing(names, directory):
        raise BuildrootError(f"`make source` ended well, but {directory} lacks {', '.join(absent)}.")


def download(tree: Tree, packages: Mapping[str, Package], directory: Path) -> None:
    """Bring and check every source of the packages, by Buildroot's own means."""
    try:
        with _forgotten(packages, directory):
            tree.run(["source"], {"BR2_DL_DIR": str(directory)}, timeout=_DAY)
    except BuildrootError as error:
        failure = diagnose(str(error.details.get("output", error)).splitlines())
        raise BuildrootError(
            f"{failure}\n" + "\n".join(failure.tail), package=failure.package, urls=list(failure.urls)
        ) from error


@contextlib.contextmanager
def _forgotten(packages: Mapping[str, Package], directory: Path) -> Iterator[None]:
    """Let make bring what it brought before, into another directory perhaps, and not build it again."""
    lacking = [p.directory for p in packages.values() if missing(p.files, directory)]
    stamps = [path for where in lacking for path in where.glob(".stamp_*downloaded")]
    times = {path: path.stat().st_mtime_ns for path in stamps}
    for path in stamps:
        path.unlink()
    try:
        yield
    finally:
        for path, time in times.items():
            path.touch()
            os.utime(path, ns=(time, time))


@contextlib.contextmanager
def replaced(archive: Path) -> Iterator[tuple[t.IO[bytes] | None, t.IO[bytes]]]:
    """The archive as it is, and the one that takes its place if anything is written to it.

    Both are opened by whoever runs the play: the user that builds need not be let in where they lie.
    """
    partial = archive.with_name(f"{archive.name}.new")
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(archive.open("rb")) if archive.is_file() else None
        stack.callback(partial.unlink, missing_ok=True)
        new = stack.enter_context(partial.open("wb"))
        yield old, new
        if os.fstat(new.fileno()).st_size:
            partial.replace(archive)


def pack(names: list[str], directory: Path, old: t.IO[bytes] | None, new: t.IO[bytes]) -> bool:
    """Write the archive, the same bytes for the same files; False when the old one is so already."""
    sums = "".join(f"{_sha256(directory / name)}  {name}\n" for name in names)
    if old and _sums_of(old) == sums:
        return False
    with tarfile.open(fileobj=new, mode="w", format=tarfile.GNU_FORMAT) as tar:
        _add(tar, SUMS, sums.encode())
        for name in names:
            _add(tar, name, (directory / name).read_bytes())
    new.flush()
    return True


def unpack(archive: t.IO[bytes], directory: Path, dry_run: bool) -> list[str]:
    """Bring an archive's files into the download directory, each checked; the names of the new ones."""
    brought = []
    with _opened(archive) as tar:
        for line in _read(tar, SUMS, "is no archive of sources").decode().splitlines():
            expected, _blank, name = line.partition("  ")
            if ".." in Path(name).parts or Path(name).is_absolute():
                raise BuildrootError(f"{archive.name}: {name} would leave the download directory.")
            target = directory / name
            if target.is_file() and _sha256(target) == expected:
                continue
            content = _read(tar, name, "is damaged. Copy the archive again")
            if hashlib.sha256(content).hexdigest() != expected:
                raise BuildrootError(f"{archive.name}: {name} is damaged. Copy the archive again.")
            brought.append(name)
            if not dry_run:
                target.parent.mkdir(parents=True, exist_ok=True)
                partial = target.with_name(f"{target.name}.new")
                partial.write_bytes(content)
                partial.replace(target)
    return brought


@contextlib.contextmanager
def _opened(archive: t.IO[bytes]) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(str(archive.name), fileobj=archive) as tar:
            yield tar
    except (tarfile.TarError, EOFError) as error:
        why = str(error).partition("\n")[0]
        raise BuildrootError(f"{archive.name} is damaged: {why}. Copy the archive again.") from error


def _read(tar: tarfile.TarFile, name: str, otherwise: str) -> bytes:
    try:
        file = tar.extractfile(name)
    except KeyError:
        file = None
    if file is None:
        raise BuildrootError(f"{tar.name!s} has no {name}: it {otherwise}.")
    return file.read()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = 0o644
    tar.addfile(entry, io.BytesIO(content))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sums_of(archive: t.IO[bytes]) -> str:
    try:
        with _opened(archive) as tar:
            return _read(tar, SUMS, "is no archive of sources").decode()
    except BuildrootError:
        return ""
