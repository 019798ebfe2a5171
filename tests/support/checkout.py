# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the tested collection lies."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_LINK = ROOT / ".collections"
# A checkout holds a link to itself; what ansible-test works on is in a collections path already.
COLLECTIONS = _LINK if _LINK.exists() else ROOT.parents[2]
