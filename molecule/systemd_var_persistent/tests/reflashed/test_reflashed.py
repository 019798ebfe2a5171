# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another base under the layer: other inodes, another file system's UUID, other files."""

from __future__ import annotations

from ansible_collections.br2.readonly_rootfs.molecule.resources import guest, units

testinfra_hosts = ["ansible://systemd_var_persistent"]


def test_systemd_is_content(host: guest.Host) -> None:
    units.assert_content(host)


def test_the_layer_is_in_use_and_known_to_be_stale(host: guest.Host) -> None:
    status = units.status(host, "var")
    assert (status["layer"], status["stale"]) == ("persistent", "yes")
    assert (status["base_id"], status["layer_base_id"]) == ("another", guest.manifest()["base_id"])


def test_the_users_files_are_there_again_and_the_new_bases_as_well(host: guest.Host) -> None:
    assert host.file("/var/kept").content_string == "kept\n"
    assert host.file("/var/foo/bar").content_string == "barfoo\n"
    assert host.file("/var/foo/new").content_string == "new\n"


def test_no_file_handle_is_stale(host: guest.Host) -> None:
    assert host.run("find /var -type f -exec cat {} + >/dev/null").stderr == ""
    assert host.run("mv /var/foo/bar /var/foo/moved && echo x >>/var/foo/new").succeeded
    assert units.trouble(guest.console()) == []
