# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options that the buildroot_* modules share."""

    DOCUMENTATION = r"""
options:
  buildroot_dir:
    description: Buildroot's source tree.
    type: path
    required: true
  output_dir:
    description: The output directory (C(O=)). Created when it is missing.
    type: path
    required: true
  external:
    description: External trees (C(BR2_EXTERNAL)), in the order in which Buildroot gets them.
    type: list
    elements: path
    default: []
  user:
    description:
      - The unprivileged user that does the work when the module is run by root, whom Buildroot must not be.
        The output directory must be that user's. Without effect when anyone else runs the module.
    type: str
    default: ''
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
"""

    BUILD = r"""
options:
  jobs:
    description:
      - How many jobs run at once, 0 for one per processor. With C(BR2_PER_PACKAGE_DIRECTORIES) packages are
        built side by side too.
    type: int
    default: 0
  environment:
    description:
      - Variables of the build, over a clean environment of C(PATH), C(HOME), C(LC_ALL=C) and proxies.
    type: dict
    default: {}
  artefacts:
    description:
      - Files below C(images/) that the build must make. They are checked to be there, not empty and new.
    type: list
    elements: str
    default: []
  initramfs:
    description:
      - The uncompressed cpio archive below C(images/) that must hold an C(/init) which can start; not checked
        when empty.
    type: str
    default: ''
  force:
    description: Call make even when nothing changed.
    type: bool
    default: false
"""
