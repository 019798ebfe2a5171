#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: buildroot_make
short_description: Build a configured Buildroot output directory, watched from the terminal
version_added: 1.0.0
description:
  - Builds what changed since the last build and reports progress while it runs, for example
    C([build1] 37/112 busybox building, 12:40, about 21 min left).
  - Whether there is anything to do is decided by content, not by make, which rewrites all images even when
    nothing changed. Compared are Buildroot's commit and local changes, the configuration, the external trees,
    every file the configuration refers to, and the environment.
  - Buildroot does not notice a changed option of a package that is built. This module does, and builds that
    package and what depends on it again; options that are in every binary lead to a clean build. What was
    chosen, and why, is in RV(reasons).
  - The build runs on its own on the build host. It survives a dropped connection and the end of the
    controller; the same task watches it again. Interrupting the play (Ctrl-C) ends it and everything that it
    started.
  - An exit status of 0 is not believed. Missing or old artefacts, files that dracut could not install and an
    initramfs that cannot start are failures.
author: br2.readonly_rootfs contributors (!UNKNOWN)
extends_documentation_fragment:
  - br2.readonly_rootfs._buildroot
  - br2.readonly_rootfs._buildroot.build
attributes:
  check_mode:
    description: Returns what would be built and why.
  diff_mode:
    description: RV(reasons) says what differs.
  idempotent:
    description: Nothing is run when neither inputs nor artefacts changed.
options:
  progress:
    description: Print progress while the build runs.
    type: bool
    default: true
  poll_interval:
    description:
      - Seconds between two looks at the build. After five minutes they become rarer, down to every 15
        seconds, so that watching costs less than a hundredth of the build.
    type: float
    default: 3
  reconnect_timeout:
    description: How many seconds a build host may be out of reach before the task fails. The build goes on.
    type: int
    default: 1800
"""

EXAMPLES = r"""
- name: Build
  br2.readonly_rootfs.buildroot_make:
    buildroot_dir: /srv/buildroot
    output_dir: /srv/output/qemu_x86_64
    external: [/srv/external]
    user: builder
    artefacts: [bzImage, rootfs.cpio, rootfs.ext2]
    initramfs: rootfs.cpio
"""

RETURN = r"""
reasons:
  description: What is or was built again, and why.
  type: list
  elements: str
  returned: when something was to be built
  sample: ["busybox is built again: BR2_PACKAGE_BUSYBOX_SHOW_OTHERS changed"]
seconds:
  description: Wall time of the last build that ended well.
  type: float
  returned: when the build ended well, now or earlier
  sample: 1312.4
log:
  description: The whole log, on the build host.
  type: str
  returned: when the build ended well, now or earlier
  sample: /srv/output/qemu_x86_64/.readonly-rootfs/build.log
inputs:
  description: A SHA-256 over all that decided what was built.
  type: str
  returned: when the build ended well, now or earlier
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
versions:
  description: The packages of the target and their versions.
  type: dict
  returned: when the build ended well, now or earlier
  sample: {busybox: 1.37.0}
package:
  description: The package that failed.
  type: str
  returned: failure of a package
  sample: busybox-1.37.0
step:
  description: What it failed to be.
  type: str
  returned: failure of a package
  sample: configured
tail:
  description: The last 40 lines of its output.
  type: list
  elements: str
  returned: failure of a package
urls:
  description: Where a source was looked for.
  type: list
  elements: str
  returned: failure of a download
"""
