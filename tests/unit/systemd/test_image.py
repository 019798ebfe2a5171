# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the image's programs use is in the image."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from .conftest import EXTERNAL


def test_the_sealed_image_has_all_that_overlay_dir_reads(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(EXTERNAL / "rootfs-overlay", tree, symlinks=True)
    subprocess.run(
        [EXTERNAL / "board/common/post-build.sh", tree], check=True, capture_output=True, timeout=60
    )
    program = tree / "usr/lib/readonly-rootfs/overlay-dir"
    # An action that does not exist: by then everything has been read. It complains to the kernel's log.
    ended = subprocess.run(
        ["sh", program, "none", "var", "/var"], check=False, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode != 0
    assert ".sh" not in ended.stderr
