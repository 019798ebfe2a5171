# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reset of a directory's overlay set aside is deleted, also without an overlay root."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .conftest import EXTERNAL

LIBRARY = EXTERNAL / "rootfs-overlay/usr/lib/readonly-rootfs"


def test_old_data_is_deleted_and_nothing_else(shell: list[str], tmp_path: Path) -> None:
    program = (LIBRARY / "empty-trash").read_text().replace("/usr/lib/readonly-rootfs", str(LIBRARY))
    (tmp_path / "empty-trash").write_text(program)
    script = f"""
        set -eu
        mount -t tmpfs tmpfs /run
        mkdir -p /run/buildroot/mounts/var/trash.0/sub /run/buildroot/mounts/var/upper
        {" ".join(shell)} {tmp_path}/empty-trash
        ls /run/buildroot/mounts/var
    """
    ended = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "upper\n"
