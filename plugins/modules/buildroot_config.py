#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: buildroot_config
short_description: Configure a Buildroot output directory, and fail when a symbol is lost
version_added: 1.0.0
description:
  - Merges a defconfig, fragments and single symbols, lets Kconfig complete them, and puts the resulting
    C(.config) into the output directory.
  - Kconfig drops a symbol whose dependencies are not met without a word. This module compares what was asked
    for with what came out, and fails with the symbol, both values and the unmet dependency. Nothing is
    written then.
  - What was changed by hand in the output directory (C(make menuconfig)) and is not in the inputs is reset.
author: br2.readonly_rootfs contributors (!UNKNOWN)
extends_documentation_fragment:
  - br2.readonly_rootfs._buildroot
attributes:
  check_mode:
    description: The configuration is generated and checked in a temporary directory.
  diff_mode:
    support: full
    description: Shows the symbols that change.
  idempotent:
    description: An output directory that has these values already is left alone.
requirements:
  - What Buildroot needs to build its Kconfig (make, a host compiler)
options:
  defconfig:
    description: Path of a defconfig, or the name of one in C(configs/) of an external tree or of Buildroot.
    type: str
    required: true
  fragments:
    description: Files merged over the defconfig, in this order.
    type: list
    elements: path
    default: []
  symbols:
    description:
      - Symbols over all files. Values are written as in a C(.config), so a string has its own double quotes.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Configure for a board
  br2.readonly_rootfs.buildroot_config:
    buildroot_dir: /srv/buildroot
    output_dir: /srv/output/qemu_x86_64
    external: [/srv/external]
    user: builder
    defconfig: qemu_x86_64_defconfig
    symbols:
      BR2_TARGET_GENERIC_HOSTNAME: '"till-7"'
"""

RETURN = r"""
config:
  description: Path of the configuration.
  type: str
  returned: success
  sample: /srv/output/qemu_x86_64/.config
dropped:
  description: The symbols that did not come out as they were asked for.
  type: list
  elements: dict
  returned: failure, when Kconfig dropped or changed symbols
  contains:
    name:
      description: The symbol.
      type: str
      sample: BR2_INIT_SYSTEMD_VAR_OVERLAYFS
    wanted:
      description: The value asked for.
      type: str
      sample: "y"
    got:
      description: The value that came out, C(absent) when there is none.
      type: str
      sample: absent
    reason:
      description: Why.
      type: str
      sample: "unmet dependency: !BR2_TARGET_GENERIC_REMOUNT_ROOTFS_RW"
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_config import (
    apply,
    find_defconfig,
    merge,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_module import (
    ARGUMENTS,
    finish,
    tree_of,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **ARGUMENTS,
            "defconfig": {"type": "str", "required": True},
            "fragments": {"type": "list", "elements": "path", "default": []},
            "symbols": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    p = module.params
    tree = tree_of(p)

    def work() -> dict[str, Any]:
        tree.check()
        text = merge(
            find_defconfig(tree, p["defconfig"]), [Path(path) for path in p["fragments"]], p["symbols"]
        )
        outcome = apply(tree, text, module.check_mode)
        before, after = outcome.lines()
        return {
            "changed": outcome.changed,
            "config": str(tree.output / ".config"),
            "diff": {"before": before, "after": after},
        }

    finish(module, work)


if __name__ == "__main__":
    main()
