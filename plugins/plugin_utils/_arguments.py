# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that several device modules have."""

from __future__ import annotations

from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._device import Spec

WAITING: Spec = {
    "timeout": {"type": "float", "default": 300.0},
    "sleep": {"type": "float", "default": 1.0},
    "connect_timeout": {"type": "int", "default": 5},
}

SELECTION: Spec = {
    "layer": {"type": "str", "choices": ["current", "quarantine"], "default": "current"},
    "paths": {"type": "list", "elements": "str", "default": []},
    "exclude": {"type": "list", "elements": "str", "default": []},
}
