#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: image_manifest
short_description: Check, map and describe a directory of built images
version_added: 1.0.0
description:
  - The last step of a build by any builder. Checks that kernel, C(rootfs.cpio), root file system,
    C(overlay.ext4), C(sdcard.img) and C(start-qemu.sh) are there, writes C(sdcard.img.bmap), and at last
    C(manifest.json).
  - A directory without C(manifest.json) is not a finished build.
author: br2.readonly_rootfs contributors (!UNKNOWN)
options:
  images:
    description: The directory of the images.
    type: path
    required: true
  source:
    description:
      - Copy the files from this directory first, as sparse files. They take their place in O(images) when all
        of them are there and described.
    type: path
  board:
    description: The board's data, as module M(br2.readonly_rootfs.external_tree) returns it.
    type: dict
    required: true
  builder:
    description: Name of the builder.
    type: str
    required: true
  inputs:
    description: A name for everything that decides what the images are, such as a hash. When the images were
      described with the same one and have not been touched since, nothing is done.
    type: str
    required: true
  base_id:
    description: Identity of the read-only base, the content of C(/usr/lib/readonly-rootfs/base-id) in it.
    type: str
    required: true
  rootfs:
    description: File system of the read-only base.
    type: str
    choices: [ext2, ext4, squashfs, erofs]
    default: ext2
  embedded_initramfs:
    description: Whether the kernel carries C(rootfs.cpio) inside.
    type: bool
    default: true
  versions:
    description: Versions for the manifest, by component.
    type: dict
    default: {}
  seconds:
    description: How long the build took.
    type: float
    default: 0
extends_documentation_fragment:
  - br2.readonly_rootfs._boot_check
attributes:
  check_mode:
    support: full
    description: Says whether the manifest would be written anew.
  diff_mode:
    support: full
    description: Shows the manifest before and after; in check mode only the one before is known.
  idempotent:
    support: full
    description: Nothing is done when O(inputs) and the files are those of the last run.
"""

EXAMPLES = r"""
- name: Describe what Buildroot built
  br2.readonly_rootfs.image_manifest:
    images: output/qemu_x86_64/images
    board: "{{ external_tree_result.board }}"
    builder: buildroot
    inputs: "{{ my_inputs_hash }}"
    base_id: "{{ my_base_id }}"
    versions: {buildroot: 2026.02.3}
"""

RETURN = r"""
images:
  description: The directory of the images, absolute.
  returned: success
  type: str
  sample: /home/build/output/qemu_x86_64/images
manifest:
  description: What C(manifest.json) says; null in check mode when there is none yet.
  returned: success
  type: dict
  sample: {builder: buildroot, board: qemu_x86_64}
boot:
  description: How the boot of the new images went.
  returned: success
  type: dict
  sample: {booted: true, seconds: 6.9, accelerator: tcg, skipped: ""}
"""

import json
import typing as t
from dataclasses import asdict
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _manifest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._build import BuildError
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._image_check import Judge


def _text(manifest: dict[str, t.Any] | None) -> str:
    return json.dumps(manifest, indent=1) + "\n" if manifest else ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "images": {"type": "path", "required": True},
            "source": {"type": "path"},
            "board": {"type": "dict", "required": True},
            "builder": {"type": "str", "required": True},
            "inputs": {"type": "str", "required": True},
            "base_id": {"type": "str", "required": True},
            "rootfs": {"type": "str", "choices": ["ext2", "ext4", "squashfs", "erofs"], "default": "ext2"},
            "embedded_initramfs": {"type": "bool", "default": True},
            "versions": {"type": "dict", "default": {}},
            "seconds": {"type": "float", "default": 0},
            "boot_check": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    given = dict(module.params)
    images = Path(given.pop("images")).absolute()
    source = given.pop("source")
    boot_check = given.pop("boot_check")
    build = _manifest.Build(**given)
    judge = Judge(build.partitions, images.parent / "boot-check.log", boot_check)
    before = _manifest.read(images)
    manifest = before
    changed = not _manifest.is_current(images, build.inputs)
    try:
        if changed and not module.check_mode:
            manifest = (
                _manifest.take_over(Path(source), images, build, judge)
                if source
                else _manifest.finish(images, build, judge)
            )
            _manifest.remember(images, build.inputs)
    except BuildError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"The images in {images} cannot be described: {error}")
    diff = {
        "before_header": _manifest.MANIFEST,
        "after_header": _manifest.MANIFEST,
        "before": _text(before),
        "after": _text(manifest),
    }
    boot = asdict(judge.verdict)
    if boot["skipped"]:
        module.warn(f"The images were not booted: {boot['skipped']}.")
    module.exit_json(changed=changed, images=str(images), manifest=manifest, boot=boot, diff=diff)


if __name__ == "__main__":
    main()
