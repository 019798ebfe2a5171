#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: image_info
short_description: Tell what is in a disk image
version_added: 1.0.0
description:
  - Reads any disk image, raw or compressed, of this collection or not - partitions, file systems, checksum,
    and how many bytes must be written, must be zero, or do not matter.
  - Reads the block map and the manifest beside it, and checks the image against the block map.
author: br2.readonly_rootfs contributors (!UNKNOWN)
requirements:
  - C(zstd) for images compressed with it; C(xz) is faster than Python for such ones
options:
  path:
    description: The image, on the host of the task.
    type: path
    required: true
  checksum:
    description: Whether to compute the SHA-256 of the file.
    type: bool
    default: true
  cache_dir:
    description:
      - Directory for the unpacked image while the module runs.
      - By default E(BR2_CACHE_DIR), or C(~/.cache/br2-readonly-rootfs).
    type: path
extends_documentation_fragment:
  - br2.readonly_rootfs._info
"""

EXAMPLES = r"""
- name: Look into an image
  br2.readonly_rootfs.image_info:
    path: output/qemu_x86_64/images/sdcard.img
  register: image

- name: Show how much of it must be written
  ansible.builtin.debug:
    msg: "{{ (image.map.data + image.map.zero) | human_readable }} of {{ image.size | human_readable }}"
"""

RETURN = r"""
file:
  description: The file, absolute.
  returned: success
  type: str
size:
  description: Bytes of the unpacked image.
  returned: success
  type: int
  sample: 1074790400
compression:
  description: V(raw), V(gz), V(xz) or V(zst), told by the content.
  returned: success
  type: str
sha256:
  description: Checksum of the file as it is.
  returned: when asked for
  type: str
table:
  description: The partition table, its kind V(mbr), V(gpt) or V(none), and its identity.
  returned: success
  type: dict
  sample: {kind: mbr, id: 3a94b01c}
partitions:
  description: The partitions; for an image without a table one entry with the number 0.
  returned: success
  type: list
  elements: dict
  sample:
    - number: 1
      start: 1048576
      size: 536870912
      type: '0x83'
      uuid: 3a94b01c-01
      name: ''
      bootable: true
      filesystem: {type: ext2, label: rootfs, uuid: 0f2c3d34-0000-4000-8000-000000000001, size: 536870912}
map:
  description: Bytes of data, bytes that must read as zeros, and bytes that nobody reads.
  returned: success
  type: dict
  sample: {data: 168632320, zero: 33157120, free: 873000960}
bmap:
  description: Path of the block map that was found, and checked. Null when there is none.
  returned: success
  type: str
manifest:
  description: What is in the C(manifest.json) beside the image. Null when there is none.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._flash_errors import FlashError
from ..module_utils._image_facts import image_facts


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "checksum": {"type": "bool", "default": True},
            "cache_dir": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        facts = image_facts(params["path"], params["checksum"], params["cache_dir"])
    except FlashError as error:
        module.fail_json(msg=f"{error.message}: {error.advice}")
    module.exit_json(changed=False, **facts)


if __name__ == "__main__":
    main()
