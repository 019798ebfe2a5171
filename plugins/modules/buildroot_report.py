#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: buildroot_report
short_description: Write the SBOM and the report of a build
version_added: 1.0.0
description:
  - Writes C(sbom.cdx.json), the CycloneDX document of Buildroot's own generator, and C(index.html), a page
    with the images, the packages, and pictures of build time and size by package.
  - Licences are SPDX identifiers when the download directory has SPDX's list
    (C(cyclonedx/spdx-1.6.schema.json)), else names. No network is used.
author: br2.readonly_rootfs contributors (!UNKNOWN)
extends_documentation_fragment:
  - br2.readonly_rootfs._buildroot
attributes:
  check_mode:
    description: Says which files would be written.
  diff_mode:
    description: RV(files) names what changed.
  idempotent:
    description: A report of the same O(manifest) inputs is left alone.
options:
  download_dir:
    description: Buildroot's download directory.
    type: path
    required: true
  path:
    description: The directory of the report.
    type: path
    required: true
  manifest:
    description: What module M(br2.readonly_rootfs.image_manifest) returned.
    type: dict
    required: true
  legal_info:
    description: Also let Buildroot gather licences and sources in C(legal-info/) of the output directory.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Report
  br2.readonly_rootfs.buildroot_report:
    buildroot_dir: /srv/buildroot
    output_dir: /srv/output/qemu_x86_64/buildroot
    external: [/srv/output/qemu_x86_64/external]
    download_dir: /srv/dl
    path: /srv/output/qemu_x86_64/report
    manifest: "{{ image_result.manifest }}"
"""

RETURN = r"""
files:
  description: The files that were written.
  type: list
  elements: str
  returned: success
  sample: [sbom.cdx.json, index.html]
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _buildroot_report as report
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_module import (
    ARGUMENTS,
    finish,
    tree_of,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **ARGUMENTS,
            "download_dir": {"type": "path", "required": True},
            "path": {"type": "path", "required": True},
            "manifest": {"type": "dict", "required": True},
            "legal_info": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    p = module.params
    tree = tree_of(p)

    def work() -> dict[str, Any]:
        tree.check()
        downloads, directory = Path(p["download_dir"]).resolve(), Path(p["path"]).resolve()
        files = report.write(tree, downloads, directory, p["manifest"], module.check_mode)
        if p["legal_info"] and report.legal_info(tree, downloads, module.check_mode):
            files.append("legal-info")
        return {"changed": bool(files), "files": files}

    finish(module, work)


if __name__ == "__main__":
    main()
