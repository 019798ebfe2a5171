# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the kernel that Buildroot made the one that was asked for? Asked of its build directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_tree import BuildrootError
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._kconfig import lost, read_values

# What the kernel's own build makes of the initramfs and links in.
_LINKED = "usr/initramfs_inc_data"


def check(directory: Path, fragments: Sequence[Path], initramfs: Path | None) -> None:
    """Every line of the fragments must have come true, and the initramfs must be in the kernel."""
    config = directory / ".config"
    if not config.is_file():
        raise BuildrootError(f"make succeeded, but {directory} holds no configured kernel.")
    if dropped := lost(fragments, config):
        raise BuildrootError(
            f"The kernel's Kconfig dropped {', '.join(dropped)}: set what they depend on in the board's "
            f"linux.config. The configuration that came out: {config}"
        )
    if initramfs is None:
        return
    if read_values(config.read_text(encoding="utf-8")).get("CONFIG_INITRAMFS_SOURCE", '""') == '""':
        raise BuildrootError(f"The kernel has no initramfs: CONFIG_INITRAMFS_SOURCE is empty in {config}.")
    linked = directory / _LINKED
    if not linked.is_file() or linked.stat().st_mtime < initramfs.stat().st_mtime:
        raise BuildrootError(f"The kernel was not linked with the new {initramfs.name}: {linked} is older.")
