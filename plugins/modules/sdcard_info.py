#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: sdcard_info
short_description: List the disks of a flashing station, and which of them may be flashed
version_added: 1.0.0
description:
  - Lists the whole disks of a station with their identity, what is on them, and every reason for which
    M(br2.readonly_rootfs.sdcard_flash) would refuse them.
  - Can wait for a card to be inserted.
author: br2.readonly_rootfs contributors (!UNKNOWN)
requirements:
  - Python 3.9 or newer on the station; root, to see what is on the disks
options:
  paths:
    description:
      - Only these devices, by node or by a link to it, and those at O(ports). By default all disks.
      - A path without a device or a card is left out.
    type: list
    elements: path
    default: []
  ports:
    description: Only disks at these USB ports, such as C(1-1.4), and those at O(paths).
    type: list
    elements: str
    default: []
  image_size:
    description: Size that an image needs, to judge whether it fits.
    type: str
  min_size:
    description: Smaller disks are refused.
    type: str
  max_size:
    description: Larger disks are refused.
    type: str
    default: 512G
  allow:
    description: Refusals to do without, as in M(br2.readonly_rootfs.sdcard_flash).
    type: list
    elements: str
    choices: [non_removable]
    default: []
  wait:
    description: Whether to wait until there is a disk that is not refused.
    type: bool
    default: false
  known:
    description:
      - Cards that are done, by the RV(cards[].insertion) of an earlier look. They are refused as long as they
        stay inserted.
      - The kernel tells one insertion from the next since Linux 5.15.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The device node.
        type: str
        required: true
      sequence:
        description: The number of the insertion.
        type: str
        required: true
  timeout:
    description: How many seconds to wait. The module fails when they have passed.
    type: int
    default: 600
extends_documentation_fragment:
  - br2.readonly_rootfs._info
attributes:
  platform:
    support: full
    platforms: linux
    description: The station runs Linux.
"""

EXAMPLES = r"""
- name: Look at the cards
  br2.readonly_rootfs.sdcard_info:
  register: station

- name: Show which could be flashed
  ansible.builtin.debug:
    msg: "{{ station.cards | selectattr('usable') | map(attribute='path') }}"

- name: Wait for a card in one reader
  br2.readonly_rootfs.sdcard_info:
    ports: [1-1.4]
    wait: true
    timeout: 3600
"""

RETURN = r"""
cards:
  description: The disks, by name.
  returned: always
  type: list
  elements: dict
  contains:
    path:
      description: The device node.
      type: str
      returned: always
    links:
      description: Its names that stay the same, if udev runs.
      type: list
      elements: str
      returned: always
    size:
      description: Bytes.
      type: int
      returned: always
    removable:
      description: Whether the disk is removable.
      type: bool
      returned: always
    read_only:
      description: Whether it is write-protected.
      type: bool
      returned: always
    transport:
      description: V(usb), V(mmc), V(scsi), V(nvme), V(virtio), V(loop) or V(other).
      type: str
      returned: always
    vendor:
      description: Its maker.
      type: str
      returned: always
    model:
      description: Its model.
      type: str
      returned: always
    serial:
      description: The card's serial number (CID) where the reader tells it, else the reader's.
      type: str
      returned: always
    port:
      description: The USB port, empty for others.
      type: str
      returned: always
    sequence:
      description: The kernel's number for this insertion of this medium.
      type: str
      returned: always
    contents:
      description: Partition table and file systems.
      type: str
      returned: always
      sample: 'mbr: ext2, ext4 (overlay)'
    usable:
      description: Whether it would be flashed.
      type: bool
      returned: always
    refusals:
      description: Why it would not be - kind, message, and advice.
      type: list
      elements: dict
      returned: always
    insertion:
      description: An element for O(known).
      type: dict
      returned: always
    target:
      description:
        - An element for O(br2.readonly_rootfs.sdcard_flash#module:targets) that means this very card.
      type: dict
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._flash_errors import FlashError
from ..module_utils._flash_station import Query, look, size_of


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "default": []},
            "ports": {"type": "list", "elements": "str", "default": []},
            "image_size": {"type": "str"},
            "min_size": {"type": "str"},
            "max_size": {"type": "str", "default": "512G"},
            "allow": {"type": "list", "elements": "str", "choices": ["non_removable"], "default": []},
            "wait": {"type": "bool", "default": False},
            "known": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "str", "required": True},
                    "sequence": {"type": "str", "required": True},
                },
            },
            "timeout": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        query = Query(
            paths=tuple(params["paths"]),
            ports=tuple(params["ports"]),
            image_size=size_of(params["image_size"], "image_size"),
            min_size=size_of(params["min_size"], "min_size"),
            max_size=size_of(params["max_size"], "max_size"),
            allow=tuple(params["allow"]),
            known=tuple((card["path"], card["sequence"]) for card in params["known"]),
        )
        module.exit_json(changed=False, cards=look(query, params["wait"], params["timeout"]))
    except FlashError as error:
        module.fail_json(msg=f"{error.message}: {error.advice}", kind=error.kind)


if __name__ == "__main__":
    main()
