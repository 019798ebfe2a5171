#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

# The code is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: overlay_commit
short_description: Bring a device's changes into the next image
version_added: 1.0.0
description:
  - Writes what the user's layer changes into a rootfs overlay directory on the controller. With the directory
    in C(image_rootfs_overlays) both builders make images that contain the changes, so that a device of that
    base no longer differs in them.
  - Deletions, and modes other than those that builders give files, are lines of a list in the directory that
    the build does and removes.
  - Commits add up. A later commit wins where two speak of the same path.
author: br2.readonly_rootfs contributors (!UNKNOWN)
extends_documentation_fragment:
  - br2.readonly_rootfs._device
  - br2.readonly_rootfs._device.selection
options:
  dest:
    description:
      - The rootfs overlay directory, made if it is not there.
    type: path
    required: true
  name:
    description:
      - Name of the list of deletions and modes, where several devices are committed into one directory.
    type: str
    default: device
attributes:
  check_mode:
    support: full
    details: Reads the device and says what would be written.
  diff_mode:
    support: none
    details: See M(br2.readonly_rootfs.overlay_diff).
  idempotent:
    support: full
    details: Equal files are left alone.
"""

EXAMPLES = r"""
- name: Commit the network configuration
  br2.readonly_rootfs.overlay_commit:
    paths: [/etc/network, /etc/hosts]
    dest: overlays/site
"""

RETURN = r"""
dest:
  description: The directory, absolute.
  returned: success
  type: str
  sample: /home/me/overlays/site
written:
  description: What changed in the directory.
  returned: success
  type: list
  elements: str
  sample: [/etc/hosts]
left_out:
  description:
    - What an overlay cannot hold, by path, with the reason; device nodes, owners other than root, odd names.
  returned: success
  type: dict
  sample: {/var/spool/fifo: 'a fifo, which an overlay cannot hold'}
"""
