#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: external_tree
short_description: Render this collection's BR2_EXTERNAL tree for a board
version_added: 1.0.0
description:
  - Writes the C(BR2_EXTERNAL) tree of this collection for one board into a directory on the build host.
    Templates are rendered on the controller; the build host needs only Python.
  - Files that an earlier run wrote and that no longer belong are removed. Files that the module did not write
    are never touched; where one stands in the way, the module fails.
author: br2.readonly_rootfs contributors (!UNKNOWN)
options:
  path:
    description:
      - The directory. With a local connection a relative path starts at the current directory.
    type: path
    required: true
  board:
    description:
      - Name of the board, without C(.yml).
    type: str
    required: true
  board_path:
    description:
      - Directories on the controller with board files, searched before the collection's own.
    type: list
    elements: path
    default: []
  image:
    description:
      - What the templates need to know about the image, as role C(br2.readonly_rootfs.image) sets it. All
        keys of the example are needed.
    type: dict
    default: {}
  files:
    description:
      - Not to be given. The action plugin, which runs on the controller, puts here what it rendered.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    description: Says what would change without writing.
  diff_mode:
    support: full
    description: Shows the names of the files and, for text, their content.
  idempotent:
    support: full
    description: Equal files are left alone.
"""

EXAMPLES = r"""
- name: Render the tree for QEMU's PC
  br2.readonly_rootfs.external_tree:
    path: output/qemu_x86_64/external
    board: qemu_x86_64
    image:
      init: busybox
      hostname: gate
      root_login: keys
      root_password_hash: ''
      authorized_keys: []
      packages: []
      rootfs: ext2
      rootfs_overlays: []
      embedded_initramfs: true
"""

RETURN = r"""
path:
  description: The directory, absolute.
  returned: success
  type: str
  sample: /home/build/output/qemu_x86_64/external
board:
  description: The board's data, its name added.
  returned: success
  type: dict
  sample: {name: qemu_x86_64, architecture: x86_64}
created:
  description: Files that were not there.
  returned: success
  type: list
  elements: str
  sample: [external.desc]
updated:
  description: Files that had other content or another mode.
  returned: success
  type: list
  elements: str
  sample: [configs/qemu_x86_64_defconfig]
removed:
  description: Files of an earlier run that no longer belong.
  returned: success
  type: list
  elements: str
  sample: [board/common/old.sh]
"""

import base64
import contextlib
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._build import held
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._tree_sync import (
    Changes,
    Node,
    TreeError,
    read_node,
    synchronise,
)


def _node(data: dict[str, t.Any]) -> Node:
    if "link" in data:
        return Node(link=data["link"])
    return Node(base64.b64decode(data["content"]), data["executable"])


def _text(node: Node | None) -> str:
    if node is None:
        return ""
    return f"-> {node.link}\n" if node.link else node.content.decode("utf-8", "replace")


def _diff(root: Path, wanted: dict[str, Node], changes: Changes) -> list[dict[str, str]]:
    return [
        {
            "before_header": name,
            "after_header": name,
            "before": _text(read_node(root / name)),
            "after": _text(wanted.get(name)),
        }
        for name in changes.created + changes.updated + changes.removed
    ]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "board": {"type": "str", "required": True},
            "board_path": {"type": "list", "elements": "path", "default": []},
            "image": {"type": "dict", "default": {}},
            "files": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    root = Path(module.params["path"]).absolute()
    try:
        wanted = {name: _node(data) for name, data in module.params["files"].items()}
        with contextlib.ExitStack() as stack:
            if not module.check_mode:
                root.mkdir(parents=True, exist_ok=True)
                # A build that goes on there ends with the tree that it began with.
                stack.enter_context(held(root, to_change=True))
            changes = synchronise(root, wanted, dry_run=True)
            diff = _diff(root, wanted, changes) if module._diff else []
            if not module.check_mode:
                synchronise(root, wanted)
    except TreeError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"The external tree cannot be written to {root}: {error}")
    module.exit_json(changed=bool(changes), path=str(root), diff=diff, **vars(changes))


if __name__ == "__main__":
    main()
