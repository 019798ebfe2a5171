# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Buildroot asserts of its overlay on /var in a tmpfs; and an overlay that cannot be made."""

from __future__ import annotations

import pytest
from ansible_collections.br2.readonly_rootfs.molecule.resources import guest, units

testinfra_hosts = ["ansible://systemd_var"]
LAYERS = "/run/buildroot/mounts/var"


def test_systemd_is_content_but_for_the_broken_overlay(host: guest.Host) -> None:
    units.assert_content(host, failed=["overlay-dir@opt-broken.service"])


def test_what_requires_a_directory_starts_although_its_overlay_cannot_be_made(host: guest.Host) -> None:
    assert host.check_output("systemctl show -P Result needs-broken.service") == "success"
    assert (
        host.check_output("systemctl is-active needs-broken.service basic.target").split() == ["active"] * 2
    )
    assert host.check_output("systemctl is-active opt-broken.mount || :") == "inactive"
    assert host.file("/opt/broken/file").content_string == "base\n"


def test_the_layer_of_var_is_a_tmpfs(host: guest.Host) -> None:
    assert units.status(host, "var")["layer"] == "tmpfs"
    assert host.mount_point(LAYERS).filesystem == "tmpfs"
    assert host.mount_point("/var").filesystem == "overlay"


@pytest.fixture(scope="module")
def _written(host: guest.Host) -> None:
    """Buildroot's order: read, look into upper, write."""
    assert host.file("/var/foo/bar").content_string == "foobar\n"
    assert not host.file(f"{LAYERS}/upper/foo/bar").exists
    assert host.run("echo barfoo >/var/foo/bar").succeeded


@pytest.mark.usefixtures("_written")
def test_a_written_file_has_its_new_content(host: guest.Host) -> None:
    assert host.file("/var/foo/bar").content_string == "barfoo\n"


@pytest.mark.usefixtures("_written")
def test_upper_has_the_new_content_and_lower_the_old(host: guest.Host) -> None:
    assert host.file(f"{LAYERS}/upper/foo/bar").content_string == "barfoo\n"
    assert host.file(f"{LAYERS}/lower/foo/bar").content_string == "foobar\n"


def test_the_boot_was_orderly() -> None:
    assert units.trouble(guest.console()) == []
