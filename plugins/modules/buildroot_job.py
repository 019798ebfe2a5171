#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: buildroot_job
short_description: Start, judge or end a build in the background
version_added: 1.0.0
description:
  - The build host's part of M(br2.readonly_rootfs.buildroot_make), which is what playbooks use. On its own
    it serves whoever wants to start a build and come back for it.
author: br2.readonly_rootfs contributors (!UNKNOWN)
extends_documentation_fragment:
  - br2.readonly_rootfs._buildroot
  - br2.readonly_rootfs._buildroot.build
attributes:
  check_mode:
    description: Says whether something would be built, and why.
  diff_mode:
    description: RV(reasons) says what differs.
  idempotent:
    description: No build is started when neither inputs nor artefacts changed, or while one is running.
options:
  state:
    description:
      - V(started) starts a build if there is anything to build, or finds the one that is running.
      - V(finished) judges the build that has ended.
      - V(cancelled) ends the running build and all that it started.
    type: str
    choices: [started, finished, cancelled]
    default: started
"""

EXAMPLES = r"""
- name: Start a build and leave it alone
  br2.readonly_rootfs.buildroot_job:
    buildroot_dir: /srv/buildroot
    output_dir: /srv/output/qemu_x86_64
    artefacts: [bzImage]
"""

RETURN = r"""
job:
  description: The running build.
  type: dict
  returned: O(state=started) and a build runs
  contains:
    id:
      description: Its identity.
      type: str
      sample: 5cf0c2f3c2d94a0c8f5d5d7ba9d1f6a4
    started:
      description: Start time, in seconds since 1970.
      type: float
      sample: 1795298400.5
    log:
      description: The log.
      type: str
      sample: /srv/output/qemu_x86_64/.readonly-rootfs/build.log
    output:
      description: The output directory.
      type: str
      sample: /srv/output/qemu_x86_64
    total:
      description: Number of packages.
      type: int
      sample: 112
    estimate:
      description: Seconds that it may take, from earlier builds.
      type: float
      sample: 1280.0
    attached:
      description: Whether it was running already.
      type: bool
      sample: false
    reasons:
      description: What is built, and why.
      type: list
      elements: str
reasons:
  description: What is or was built again, and why.
  type: list
  elements: str
  returned: when something was to be built
seconds:
  description: Wall time of the last build that ended well.
  type: float
  returned: O(state=finished), or when there was nothing to build
  sample: 1312.4
log:
  description: The whole log, on the build host.
  type: str
  returned: O(state=finished), or when there was nothing to build
  sample: /srv/output/qemu_x86_64/.readonly-rootfs/build.log
inputs:
  description: A SHA-256 over all that decided what was built.
  type: str
  returned: O(state=finished), or when there was nothing to build
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
versions:
  description: The packages of the target and their versions.
  type: dict
  returned: O(state=finished), or when there was nothing to build
  sample: {busybox: 1.37.0}
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_build import Build
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_job import JobError
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_module import (
    ARGUMENTS,
    finish,
    tree_of,
)


def run(build: Build, state: str, force: bool, check_mode: bool) -> dict[str, Any]:
    """The result of the module."""
    if state == "cancelled":
        running = build.job.running()
        return {"changed": running if check_mode else build.job.cancel()}
    if state == "finished":
        if build.job.running():
            raise JobError("The build is still running.")
        return {"changed": True, **build.finish()}
    if build.job.running():
        return {"changed": True, "job": {**build.outlook(), "attached": True}}
    todo = build.prepare(force)
    if todo is None:
        return {"changed": False, **build.facts()}
    if check_mode:
        return {"changed": True, "reasons": todo["reasons"]}
    return {"changed": True, "reasons": todo["reasons"], "job": {**build.start(todo), "attached": False}}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **ARGUMENTS,
            "jobs": {"type": "int", "default": 0},
            "environment": {"type": "dict", "default": {}},
            "artefacts": {"type": "list", "elements": "str", "default": []},
            "initramfs": {"type": "str", "default": ""},
            "force": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["started", "finished", "cancelled"], "default": "started"},
        },
        supports_check_mode=True,
    )
    p = module.params
    tree = tree_of(p)
    build = Build(
        tree,
        p["jobs"] or len(os.sched_getaffinity(0)),
        {name: str(value) for name, value in p["environment"].items()},
        p["artefacts"],
        p["initramfs"],
    )

    def work() -> dict[str, Any]:
        tree.check()
        return run(build, p["state"], p["force"], module.check_mode)

    finish(module, work)


if __name__ == "__main__":
    main()
