#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: buildroot_sources
short_description: Download the sources of a configuration, or carry them to a host without a network
version_added: 1.0.0
description:
  - With O(state=downloaded) Buildroot brings and checks every source that the configuration needs
    (C(make source)), and they may be packed into one archive.
  - With O(state=imported) the files of such an archive, each checked, go into the download directory.
    It is an error if the configuration still lacks a source then.
author: br2.readonly_rootfs contributors (!UNKNOWN)
extends_documentation_fragment:
  - br2.readonly_rootfs._buildroot
attributes:
  check_mode:
    description: Says which sources are missing.
  diff_mode:
    description: RV(files) says what was brought.
  idempotent:
    description: Nothing is run when every source is there.
options:
  download_dir:
    description: Buildroot's download directory.
    type: path
    required: true
  state:
    description: Whether sources come from their sites and mirrors, or from O(archive).
    type: str
    choices: [downloaded, imported]
    default: downloaded
  archive:
    description: A tar file on the build host, written with O(state=downloaded), read with O(state=imported).
    type: path
"""

EXAMPLES = r"""
- name: Pack the sources on a host with a network
  br2.readonly_rootfs.buildroot_sources:
    buildroot_dir: /srv/buildroot
    output_dir: /srv/output/qemu_x86_64
    download_dir: /srv/dl
    archive: /srv/sources.tar

- name: Unpack them on one without
  br2.readonly_rootfs.buildroot_sources:
    buildroot_dir: /srv/buildroot
    output_dir: /srv/output/qemu_x86_64
    download_dir: /srv/dl
    archive: /media/stick/sources.tar
    state: imported
"""

RETURN = r"""
download_dir:
  description: Buildroot's download directory, absolute.
  type: str
  returned: success
  sample: /srv/dl
files:
  description: The sources that were brought, or in check mode would be.
  type: list
  elements: str
  returned: success
  sample: [busybox/busybox-1.37.0.tar.bz2]
urls:
  description: Where a missing source was looked for.
  type: list
  elements: str
  returned: failure of a download
"""

from pathlib import Path
from typing import IO, Any, Optional, Union

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _buildroot_sources as sources
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_module import (
    ARGUMENTS,
    done,
    tree_of,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_tree import BuildrootError, Tree

Archive = Union[tuple[()], tuple[Optional[IO[bytes]], IO[bytes]]]


def download(tree: Tree, directory: Path, archive: Archive, check: bool) -> dict[str, Any]:
    """The result of the module where there is a network."""
    tree.check()
    packages = sources.by_package(tree)
    names = sources.files_of(packages)
    absent = sources.missing(names, directory)
    if absent and not check:
        sources.download(tree, packages, directory)
        sources.demand(names, directory)
    packed = bool(archive) and sources.pack(names, directory, *archive)
    return {"changed": bool(absent) or packed, "files": absent}


def unpack(tree: Tree, directory: Path, archive: IO[bytes], check: bool) -> dict[str, Any]:
    """The result of the module where there is none."""
    tree.check()
    brought = sources.unpack(archive, directory, check)
    absent = [name for name in sources.missing(sources.needed(tree), directory) if name not in brought]
    if absent:
        raise BuildrootError(
            f"{archive.name} was packed for another configuration. This one also needs {', '.join(absent)}. "
            "Pack the archive again with the variables of this host, on a host with the same distribution."
        )
    return {"changed": bool(brought), "files": brought}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **ARGUMENTS,
            "download_dir": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["downloaded", "imported"], "default": "downloaded"},
            "archive": {"type": "path"},
        },
        required_if=[("state", "imported", ["archive"])],
        supports_check_mode=True,
    )
    p, check = module.params, module.check_mode
    tree = tree_of(p)
    directory = Path(p["download_dir"]).resolve()
    archive = Path(p["archive"]).resolve() if p["archive"] else None
    try:
        if archive and p["state"] == "imported":
            with archive.open("rb") as file:
                result = done(module, lambda: unpack(tree, directory, file, check))
        elif archive and not check:
            with sources.replaced(archive) as files:
                result = done(module, lambda: download(tree, directory, files, check))
        else:
            result = done(module, lambda: download(tree, directory, (), check))
    except OSError as error:
        module.fail_json(msg=f"The archive cannot be used: {error}")
    module.exit_json(**result, download_dir=str(directory))


if __name__ == "__main__":
    main()
