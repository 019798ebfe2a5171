#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: sdcard_flash
short_description: Write a disk image to many SD cards at once, and prove it
version_added: 1.0.0
description:
  - Writes one image to one or many cards of a flashing station. The cards are written in parallel, each at
    its own pace; a card's failure does not stop the others.
  - Writes what the image's file systems use, makes sure of zeros where they expect zeros, and leaves their
    free blocks alone. What a card holds already is not written again; a run that was killed is resumed by
    running again.
  - Reads every card back past all caches after the last write. The first block is written last, so that a
    bad or half-written card neither boots nor mounts.
  - Refuses whatever may be the wrong disk before the first write. RV(cards[].failure.kind) tells why.
  - An image on the controller is copied to the station once and kept there by its content.
author: br2.readonly_rootfs contributors (!UNKNOWN)
requirements:
  - Python 3.9 or newer on the station, and root there
  - C(zstd) for images compressed with it; C(xz) is faster than Python for such ones
  - C(e2fsprogs) on the station for O(grow) and O(seed)
  - C(gpgv) on the station for O(signature)
options:
  image:
    description:
      - The image, raw or compressed with gzip, xz or zstd, which is told by its content.
      - A path on the controller, from the current directory on; with O(remote_src=true) one on the station;
        or an C(https://) address, which the station loads. An C(http://) address needs O(checksum).
    type: str
    required: true
  remote_src:
    description: Whether O(image) and O(bmap) are paths on the station.
    type: bool
    default: false
  checksum:
    description: Checksum of the file as given, C(sha256:HEX); also C(sha384) and C(sha512).
    type: str
  signature:
    description: A detached OpenPGP signature of the file as given; a path on the station.
    type: path
  keyring:
    description:
      - The keys that may have made O(signature); a file on the station that C(gpgv) reads.
      - Those that are expired or revoked do not count.
    type: path
  bmap:
    description:
      - Block map of the unpacked image, as C(bmaptool) uses it; the image must agree with its checksums.
      - By default the file beside the image that is named after it, C(sdcard.img.bmap) for C(sdcard.img.xz),
        if there is one. Without any, the map is read from the image alone.
    type: path
  targets:
    description: The cards. Each is named by O(targets[].path), O(targets[].serial) or O(targets[].port).
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description:
          - The device, best by a name that is always the same card or reader, C(/dev/disk/by-id/...) or
            C(/dev/disk/by-path/...).
          - A plain node such as C(/dev/sdb) is taken only with an expectation - serial, model, port, or both
            sizes.
        type: path
      serial:
        description: The serial number as M(br2.readonly_rootfs.sdcard_info) shows it.
        type: str
      model:
        description: The model as M(br2.readonly_rootfs.sdcard_info) shows it.
        type: str
      port:
        description: The USB port of the reader, C(1-1.4).
        type: str
      min_size:
        description: The card has at least this size, C(4G).
        type: str
      max_size:
        description: The card has at most this size.
        type: str
      host:
        description: Name of the device that the card is for; it goes into the report.
        type: str
      seed:
        description: Files of this card only, which come before those of O(seed) for the same path.
        type: list
        elements: dict
        default: []
        suboptions: &seed
          path:
            description: Absolute path on the device. Directories above it are made as they are in the base.
            type: str
            required: true
          content:
            description: The text.
            type: str
          content_base64:
            description: The content of a binary file, in base64.
            type: str
          state:
            description: Whether it is a file or a directory.
            type: str
            choices: [file, directory]
            default: file
          mode:
            description: Octal mode in quotes, by default V('0644'), and V('0755') for directories.
            type: raw
          owner:
            description: Numeric user id; the station's names are not the device's.
            type: int
            default: 0
          group:
            description: Numeric group id.
            type: int
            default: 0
  expect:
    description: What every card is expected to be, where its target does not say otherwise.
    type: dict
    default: {}
    suboptions:
      model:
        description: The model.
        type: str
      min_size:
        description: The card has at least this size.
        type: str
      max_size:
        description: The card has at most this size.
        type: str
  seed:
    description:
      - Files for the upper layer of each card's writable partition (directory C(upperdir) on the image's last
        partition, an ext4), so that one image serves a fleet. The base is never changed.
    type: list
    elements: dict
    default: []
    suboptions: *seed
  grow:
    description:
      - Whether to grow the last partition, an ext4, and its file system to the end of the card.
      - Some free blocks of it are marked, and read back, so that the card cannot end before.
    type: bool
    default: false
  wipe:
    description:
      - Whether to zero all else of the card, up to its end, so that nothing of its old contents is left.
      - Takes as long as the card is large, where a discard does not help.
    type: bool
    default: false
  verify:
    description:
      - V(full) reads back everything that matters after all writes.
      - V(written) reads back what was written, and relies on the comparison before for the rest. Use it to
        update cards that were once verified in full.
      - V(none) believes the card.
    type: str
    choices: [full, written, none]
    default: full
  allow:
    description: Refusals to do without. V(non_removable) admits disks that are not removable.
    type: list
    elements: str
    choices: [non_removable]
    default: []
  max_size:
    description: Disks above this size are refused.
    type: str
    default: 512G
  cache_dir:
    description:
      - Directory on the station for images from elsewhere, and for unpacked images while a run lasts.
      - By default E(BR2_CACHE_DIR), or C(~/.cache/br2-readonly-rootfs).
    type: path
  progress_path:
    description: File on the station that is kept up to date with the progress, as JSON, while the run lasts.
    type: path
attributes:
  check_mode:
    support: full
    description: Reads the cards and says how many bytes differ, without writing.
  diff_mode:
    support: full
    description: Shows what is on each card before and after.
  idempotent:
    support: full
    description: Cards that hold the image already are not written.
  platform:
    support: full
    platforms: linux
    description: The station runs Linux; the controller runs anything Ansible does.
seealso:
  - module: br2.readonly_rootfs.sdcard_info
  - module: br2.readonly_rootfs.image_info
"""

EXAMPLES = r"""
- name: Flash the cards of both readers
  br2.readonly_rootfs.sdcard_flash:
    image: output/qemu_x86_64/images/sdcard.img
    targets:
      - path: /dev/disk/by-path/pci-0000:00:14.0-usb-0:3:1.0-scsi-0:0:0:0
      - path: /dev/disk/by-path/pci-0000:00:14.0-usb-0:4:1.0-scsi-0:0:0:0

- name: Flash a card for one device, with its name and keys
  br2.readonly_rootfs.sdcard_flash:
    image: https://images.example.org/gate/sdcard.img.zst
    checksum: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    grow: true
    targets:
      - path: /dev/sdb
        min_size: 4G
        max_size: 64G
        host: gate-017
        seed:
          - path: /etc/hostname
            content: "gate-017\n"
          - path: /etc/dropbear/dropbear_ed25519_host_key
            content_base64: "{{ lookup('ansible.builtin.file', 'keys/gate-017.base64') }}"
            mode: '0600'

- name: Update known good cards quickly
  br2.readonly_rootfs.sdcard_flash:
    image: output/qemu_x86_64/images/sdcard.img
    verify: written
    targets:
      - serial: '0x8a3c11f2'
"""

RETURN = r"""
cards:
  description: One result for each target, in the order given.
  returned: when the image could be used
  type: list
  elements: dict
  contains:
    target:
      description: The card as it was named.
      type: dict
      returned: always
    host:
      description: The device that the card is for.
      type: str
      returned: always
    device:
      description: What the card is. Null when there is none by that name.
      type: dict
      returned: always
      sample: {path: /dev/sdb, size: 31914983424, model: STORAGE DEVICE, serial: '000000001206', port: 1-1.4}
    status:
      description: V(flashed), V(unchanged), V(would flash), V(refused) before it was written, or V(failed).
      type: str
      returned: always
    changed:
      description: Whether anything was, or in check mode would be, written.
      type: bool
      returned: always
    before:
      description: What was on the card.
      type: str
      returned: always
      sample: 'mbr: ext2, ext4 (overlay)'
    time:
      description: When the card was done, by the station's clock, UTC.
      type: str
      returned: always
      sample: '2026-11-21T22:19:32Z'
    image_id:
      description: Identity of what was flashed.
      type: str
      returned: always
    to_write:
      description: Bytes that differ.
      type: int
      returned: in check mode
    bytes:
      description:
        - Bytes that matter in total, and how many were compared, written, of these zeroed, skipped, verified.
      type: dict
      returned: when the card was not refused
    seconds:
      description: Duration in total and of each phase.
      type: dict
      returned: when the card was not refused
    mb_per_s:
      description: Rates of writing, including what was found to be right, and of verification.
      type: dict
      returned: when the card was not refused
    verification:
      description:
        - V(full), V(written) or V(none) as asked for; V(compared) when nothing was written; V(failed).
      type: str
      returned: when the card was not refused
    failure:
      description: What went wrong.
      type: dict
      returned: when the card was refused or failed
      contains:
        kind:
          description: One of a closed list, such as V(mounted), V(too_small), V(verify_mismatch).
          type: str
          returned: always
        message:
          description: The sentence for people; it names the device and its serial number.
          type: str
          returned: always
        advice:
          description: What to do.
          type: str
          returned: always
        offset:
          description: Where on the card.
          type: int
          returned: when known
        errno:
          description: The system's error.
          type: str
          returned: when there was one
        bad_ranges:
          description: Offsets and lengths that do not read back, at most 16.
          type: list
          elements: list
          returned: when the verification failed
image:
  description: The image - name, id, compression, size, and bytes of each kind.
  returned: when it could be used
  type: dict
  sample: {name: sdcard.img, id: 'sha256:9f86...', compression: raw, size: 1074790400, data: 168632320}
"""


from ansible.module_utils.basic import AnsibleModule

from ..module_utils._flash_errors import FlashError
from ..module_utils._flash_run import run

SEED = {
    "path": {"type": "str", "required": True},
    "content": {"type": "str", "no_log": True},
    "content_base64": {"type": "str", "no_log": True},
    "state": {"type": "str", "choices": ["file", "directory"], "default": "file"},
    "mode": {"type": "raw"},
    "owner": {"type": "int", "default": 0},
    "group": {"type": "int", "default": 0},
}
TARGET = {
    "path": {"type": "path"},
    "serial": {"type": "str"},
    "model": {"type": "str"},
    "port": {"type": "str"},
    "min_size": {"type": "str"},
    "max_size": {"type": "str"},
    "host": {"type": "str"},
    "seed": {"type": "list", "elements": "dict", "default": [], "options": SEED},
}
ARGUMENTS = {
    "image": {"type": "str", "required": True},
    "remote_src": {"type": "bool", "default": False},
    "checksum": {"type": "str"},
    "signature": {"type": "path"},
    "keyring": {"type": "path", "no_log": False},
    "bmap": {"type": "path"},
    "targets": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": TARGET,
        "required_one_of": [("path", "serial", "port")],
    },
    "expect": {
        "type": "dict",
        "default": {},
        "options": {"model": {"type": "str"}, "min_size": {"type": "str"}, "max_size": {"type": "str"}},
    },
    "seed": {"type": "list", "elements": "dict", "default": [], "options": SEED},
    "grow": {"type": "bool", "default": False},
    "wipe": {"type": "bool", "default": False},
    "verify": {"type": "str", "choices": ["full", "written", "none"], "default": "full"},
    "allow": {"type": "list", "elements": "str", "choices": ["non_removable"], "default": []},
    "max_size": {"type": "str", "default": "512G"},
    "cache_dir": {"type": "path"},
    "progress_path": {"type": "path"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        required_by={"signature": "keyring"},
    )
    try:
        result = run(module.params, module.check_mode)
    except FlashError as error:
        result = {"failed": True, "msg": f"{error.message}: {error.advice}", "kind": error.kind}
    _hide_contents(module)
    if not module._diff:
        result.pop("diff", None)
    if result.pop("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


def _hide_contents(module: AnsibleModule) -> None:
    """Hide what the seeds hold in the one place where it is told, the arguments.

    Ansible would blank it out wherever it occurs: a host's name, and any number that holds a 1.
    """
    params = module.params
    for entry in [*params["seed"], *(entry for target in params["targets"] for entry in target["seed"])]:
        for name in ("content", "content_base64"):
            if entry[name] is not None:
                entry[name] = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    module.no_log_values.clear()


if __name__ == "__main__":
    main()
