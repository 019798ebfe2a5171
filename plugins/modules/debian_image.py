#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: debian_image
short_description: Build overlay images from the distribution's packages
version_added: 1.0.0
description:
  - Makes kernel, initramfs, read-only root file system, C(sdcard.img) and C(manifest.json) from Debian
    packages, without root and without running anything of the target's architecture.
  - What decides the result (board, external tree, options, package versions, tools) is compared by content;
    when the images were made from just that, nothing is done. The same inputs give the same bytes.
  - The packages that were used last are used again until O(update) asks for newer ones.
author: br2.readonly_rootfs contributors (!UNKNOWN)
options:
  board:
    description: The board's data, as module M(br2.readonly_rootfs.external_tree) returns it.
    type: dict
    required: true
  external:
    description: The rendered external tree.
    type: path
    required: true
  output:
    description: The board's directory; the images go into C(images) in it.
    type: path
    required: true
  cache:
    description: Directory for what can be made again. Empty means C(BR2_CACHE_DIR) of the environment, or
      C(~/.cache/br2-readonly-rootfs).
    type: path
    default: ''
  init:
    description: The init of the running system, BusyBox's or the distribution's systemd.
    type: str
    choices: [busybox, systemd]
    default: busybox
  kernel:
    description: The distribution's binary kernel, or one built from its C(linux-source).
    type: str
    choices: [package, source]
    default: package
  rootfs:
    description: File system of the read-only base.
    type: str
    choices: [ext2, ext4, squashfs, erofs]
    default: ext2
  packages:
    description: Packages beside BusyBox, dropbear and attr.
    type: list
    elements: str
    default: []
  rootfs_overlays:
    description: Directories that are copied over the base, in this order.
    type: list
    elements: path
    default: []
  sources:
    description: Lines of an apt C(sources.list). Empty means Debian's own among the host's.
    type: list
    elements: str
    default: []
  update:
    description: Look for newer packages.
    type: bool
    default: false
extends_documentation_fragment:
  - br2.readonly_rootfs._boot_check
attributes:
  check_mode:
    support: full
    description: Says whether a build is needed. Nothing is downloaded or compiled for that.
  diff_mode:
    support: full
    description: Shows the versions before and after.
  idempotent:
    support: full
    description: Nothing is done when the images were made from the same inputs.
requirements:
  - On the build host what role C(br2.readonly_rootfs.build_host) installs.
"""

EXAMPLES = r"""
- name: Render the external tree
  br2.readonly_rootfs.external_tree:
    path: output/qemu_x86_64/external
    board: qemu_x86_64
    image: "{{ my_image }}"
  register: tree

- name: Build the images
  br2.readonly_rootfs.debian_image:
    board: "{{ tree.board }}"
    external: "{{ tree.path }}"
    output: output/qemu_x86_64
"""

RETURN = r"""
images:
  description: The directory of the images.
  returned: success
  type: str
  sample: /home/build/output/qemu_x86_64/images
manifest:
  description: What C(manifest.json) says; in check mode what it said before, null when there was none.
  returned: success
  type: dict
  sample: {builder: debian, board: qemu_x86_64}
stages:
  description: Seconds of each stage.
  returned: success
  type: dict
  sample: {initramfs: 1.4}
boot:
  description: How the boot of the new images went; null when nothing was built.
  returned: success
  type: dict
  sample: {booted: true, seconds: 6.9, accelerator: tcg, skipped: ""}
log:
  description: The output of every program that was run.
  returned: success
  type: str
  sample: /home/build/output/qemu_x86_64/debian.log
"""

import json
import typing as t
from dataclasses import asdict
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._build import BuildError
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._debian_image import Options, build
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._files import cache_directory


def _versions(manifest: dict[str, t.Any] | None) -> str:
    return json.dumps(manifest["versions"], indent=1, sort_keys=True) + "\n" if manifest else ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "board": {"type": "dict", "required": True},
            "external": {"type": "path", "required": True},
            "output": {"type": "path", "required": True},
            "cache": {"type": "path", "default": ""},
            "init": {"type": "str", "choices": ["busybox", "systemd"], "default": "busybox"},
            "kernel": {"type": "str", "choices": ["package", "source"], "default": "package"},
            "rootfs": {"type": "str", "choices": ["ext2", "ext4", "squashfs", "erofs"], "default": "ext2"},
            "packages": {"type": "list", "elements": "str", "default": []},
            "rootfs_overlays": {"type": "list", "elements": "path", "default": []},
            "sources": {"type": "list", "elements": "str", "default": []},
            "update": {"type": "bool", "default": False},
            "boot_check": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    given = dict(module.params)
    cache_dir = given.pop("cache")
    cache = Path(cache_dir) if cache_dir else cache_directory()
    options = Options(
        **{
            **given,
            "external": Path(given["external"]).absolute(),
            "output": Path(given["output"]).absolute(),
            "cache": cache.absolute(),
        }
    )
    try:
        outcome = build(options, check=module.check_mode)
    except BuildError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"The images cannot be written: {error}. What was there before is unchanged.")
    if outcome.boot and outcome.boot.skipped:
        module.warn(f"The images were not booted: {outcome.boot.skipped}.")
    module.exit_json(
        changed=outcome.changed,
        boot=outcome.boot and asdict(outcome.boot),
        images=str(options.images),
        manifest=outcome.manifest,
        stages=outcome.stages,
        log=str(options.log),
        diff={
            "before_header": "versions",
            "after_header": "versions",
            "before": _versions(outcome.before),
            "after": _versions(outcome.manifest),
        },
    )


if __name__ == "__main__":
    main()
