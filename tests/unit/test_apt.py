# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real apt-get on a package archive in a directory."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._apt import Apt, OfflineError
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._build import BuildError
from ansible_collections.br2.readonly_rootfs.tests.support.packages import make_deb, write_index


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    directory = tmp_path / "archive"
    directory.mkdir()
    make_deb(directory, "tool", "1:2.0+b1", depends="library")
    make_deb(directory, "library")
    make_deb(directory, "kernel-newest", depends="kernel-6.1-amd64, library")
    make_deb(directory, "kernel-6.1-amd64")
    write_index(directory)
    return directory


def apt_of(archive: Path, offline: bool = False) -> Apt:
    sources = [f"deb [trusted=yes] copy:{archive} ./"]
    return Apt(archive.parent / "cache", "amd64", sources, tempfile.TemporaryFile("w+"), offline)


def test_packages_come_with_what_they_need_and_whole(archive: Path) -> None:
    apt = apt_of(archive)
    found = apt.fetch(["tool"])
    assert [(package.name, package.version) for package in found] == [
        ("library", "1.0"),
        ("tool", "1:2.0+b1"),
    ]
    for package in found:
        assert apt.path(package).stat().st_size == package.size


def test_the_newest_of_a_kind_comes_alone(archive: Path) -> None:
    assert apt_of(archive).fetch_newest("kernel-newest", "kernel-6").name == "kernel-6.1-amd64"


def test_versions_stay_until_an_update_is_asked_for(archive: Path) -> None:
    first = apt_of(archive).fetch(["library"])
    make_deb(archive, "library", "2.0")
    write_index(archive)
    assert apt_of(archive).fetch(["library"]) == first
    assert apt_of(archive).fetch(["library"], update=True)[0].version == "2.0"
    assert apt_of(archive).fetch(["library"])[0].version == "2.0"


def test_a_version_that_is_gone_everywhere_is_resolved_anew(archive: Path) -> None:
    apt = apt_of(archive)
    (first,) = apt.fetch(["library"])
    apt.path(first).unlink()
    (archive / first.file).unlink()
    make_deb(archive, "library", "2.0")
    write_index(archive)
    assert apt_of(archive).fetch(["library"])[0].version == "2.0"


def test_a_cut_off_download_is_fetched_again(archive: Path) -> None:
    apt = apt_of(archive)
    (package,) = apt.fetch(["library"])
    whole = apt.path(package).read_bytes()
    apt.path(package).write_bytes(whole[:100])
    assert apt_of(archive).fetch(["library"]) == [package]
    assert apt.path(package).read_bytes() == whole


def test_offline_takes_only_what_is_there(archive: Path) -> None:
    with pytest.raises(OfflineError):
        apt_of(archive, offline=True).fetch(["library"])
    found = apt_of(archive).fetch(["library"])
    assert apt_of(archive, offline=True).fetch(["library"]) == found


def test_an_unknown_package_is_named(archive: Path) -> None:
    with pytest.raises(BuildError, match="no-such-thing"):
        apt_of(archive).fetch(["no-such-thing"])


def test_an_unreachable_archive_is_named(tmp_path: Path) -> None:
    with tempfile.TemporaryFile("w+") as log:
        apt = Apt(tmp_path, "amd64", ["deb [trusted=yes] copy:/no/such/place ./"], log)
        with pytest.raises(BuildError, match="/no/such/place"):
            apt.fetch(["library"])
