# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark boots on the rig of the boot tests."""

from ansible_collections.br2.readonly_rootfs.tests.boot.conftest import images, rig

__all__ = ["images", "rig"]
