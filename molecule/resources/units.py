# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of scenarios with systemd ask the guest."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansible_collections.br2.readonly_rootfs.molecule.resources.guest import Host

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_TROUBLE = re.compile(
    "recovering journal|recovery complete|orphan cleanup|EXT4-fs error|Kernel panic|[Ee]mergency"
    "|Failed unmounting etc|ordering cycle|stale file handle",
    re.IGNORECASE,
)


def status(host: Host, name: str) -> dict[str, str]:
    """The account of one directory's overlay, by the name of its unit."""
    lines = host.file(f"/run/readonly-rootfs/{name}/status").content_string.splitlines()
    return dict(line.split("=", 1) for line in lines)


def assert_content(host: Host, failed: Sequence[str] = ()) -> None:
    """As Buildroot's own tests of systemd: no unit failed, bus and journal answer, nothing taints."""
    state = host.run("systemctl is-system-running --wait").stdout.strip()
    listed = host.check_output("systemctl --no-pager --failed --no-legend --plain").splitlines()
    assert [line.split()[0] for line in listed] == list(failed)
    assert state == ("degraded" if failed else "running")
    told = host.check_output("systemctl --no-pager status")
    # Debian keeps /usr/sbin apart, which newer systemds tell.
    assert re.findall(r"^ *Tainted: (.*)$", told, re.MULTILINE) in ([], ["unmerged-bin"])
    assert host.run("busctl --no-pager").succeeded
    assert len(host.check_output("journalctl --no-pager --lines 1 --quiet").splitlines()) == 1


def trouble(console: str) -> list[str]:
    """The lines of a console that tell of a file system that was not closed, or of a boot gone wrong.

    That a directory with an open file cannot be unmounted yet is no trouble: systemd-shutdown does it
    when all processes have ended.
    """
    return [line for line in _COLOUR.sub("", console).splitlines() if _TROUBLE.search(line)]
