#!/usr/bin/python
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: qemu_vm
short_description: Run a virtual machine in QEMU
version_added: 1.0.0
description:
  - Starts, stops and removes a virtual machine from a kernel and disk images.
  - The machine is a directory. It holds a description of what runs, the console's log, the
    sockets of the console and of QMP, and the overlay disks.
  - The network is QEMU's user network. Nothing of the guest can be reached but the ports that
    O(forwards) names, and these from the host's loopback only.
  - C(/dev/kvm) is used only where a small guest really runs on it, which is tried within two
    seconds, once per boot of the host. Otherwise QEMU emulates.
  - When the module fails, or is interrupted, it leaves no QEMU process behind that it started.
author: br2.readonly_rootfs contributors (!UNKNOWN)
options:
  name:
    description:
      - Name of the virtual machine.
      - Names its directory below O(work_dir).
    type: str
    required: true
  state:
    description:
      - V(started) runs the machine and waits until it is ready. A machine that runs with the same
        description is left alone; one that runs with another is an error, unless O(recreate=true).
      - V(stopped) ends it and keeps its overlay disks. O(state=started) goes on with them.
      - V(absent) ends it and deletes all files of it.
    type: str
    choices: [started, stopped, absent]
    default: started
  recreate:
    description:
      - Remove a machine that does not fit its description, with its overlay disks, and start it anew.
      - A rebuilt image under the same name counts as another description.
    type: bool
    default: false
  work_dir:
    description:
      - Directory that holds the machines' directories.
      - By default C(vm) in the collection's cache, C(~/.cache/br2-readonly-rootfs), which the
        environment variable E(BR2_CACHE_DIR) moves.
    type: path
  arch:
    description: The guest's architecture.
    type: str
    choices: [x86_64, aarch64]
    default: x86_64
  machine:
    description: QEMU's machine type. By default V(q35) for x86_64 and V(virt) for aarch64.
    type: str
    default: ''
  cpu:
    description: QEMU's CPU model. By default the host's with an accelerator, and a quick one without.
    type: str
    default: ''
  accel:
    description:
      - How the guest's code runs.
      - V(auto) takes what the environment variable E(BR2_QEMU_ACCEL) says, else the host's own
        accelerator if a trial shows that it works, else V(tcg).
    type: str
    choices: [auto, kvm, hvf, tcg]
    default: auto
  memory:
    description: The guest's memory, in MiB.
    type: int
    default: 256
  smp:
    description: Number of CPUs.
    type: int
    default: 1
  kernel:
    description: Kernel image to start. Without it, the firmware starts from the first disk.
    type: path
  initrd:
    description: Initramfs for O(kernel).
    type: path
  append:
    description: Command line for O(kernel).
    type: str
    default: ''
  disks:
    description: The disks, in the order in which the guest sees them.
    type: list
    elements: dict
    default: []
    suboptions:
      file:
        description: Disk image.
        type: path
        required: true
      format:
        description: Format of O(disks[].file).
        type: str
        choices: [raw, qcow2]
        default: raw
      interface:
        description: How the disk is attached. V(virtio) gives C(/dev/vda), V(usb) gives C(/dev/sda).
        type: str
        choices: [virtio, usb]
        default: virtio
      access:
        description:
          - V(overlay) leaves the file as it is. Writes go to a qcow2 file of the machine, which lives
            until O(state=absent).
          - V(snapshot) leaves the file as it is and forgets all writes when QEMU ends.
          - V(rw) writes to the file itself.
          - V(ro) refuses writes.
        type: str
        choices: [overlay, snapshot, rw, ro]
        default: overlay
  network:
    description: Whether the guest has a network card.
    type: bool
    default: true
  forwards:
    description: TCP ports of the guest that are reached at ports of the host's loopback.
    type: list
    elements: dict
    default: []
    suboptions:
      guest:
        description: Port of the guest.
        type: int
        required: true
      host:
        description: Port of 127.0.0.1. V(0) chooses a free one, and keeps it while it stays free.
        type: int
        default: 0
  reboot:
    description: Whether the guest may reboot. With V(false), QEMU ends instead.
    type: bool
    default: true
  extra_args:
    description: Further arguments for QEMU, after all others.
    type: list
    elements: str
    default: []
  wait_console:
    description: Regular expression to wait for on the console.
    type: str
  wait_port:
    description: Port of the guest to wait for, one of O(forwards). Waited for after O(wait_console).
    type: int
  wait_banner:
    description:
      - Regular expression that the service behind O(wait_port) must greet with.
      - QEMU itself accepts connections to a forwarded port at once. Only a greeting shows a service.
    type: str
    default: ^SSH-
  wait_timeout:
    description: How long to wait for each of O(wait_console) and O(wait_port), in seconds.
    type: float
    default: 120
  shutdown_timeout:
    description:
      - How long the guest may take to shut down when its power button is pressed, in seconds.
        Then QEMU is told to quit. V(0) does so at once.
      - O(state=absent) does not wait where all that the guest wrote is deleted anyhow.
    type: float
    default: 20
requirements:
  - QEMU's system emulator for O(arch), and C(qemu-img) for O(disks[].access=overlay)
  - qemu.qmp (Python library)
attributes:
  check_mode:
    description: Tells what would change, without starting or ending anything.
    support: full
  diff_mode:
    description: Shows the machine's state and description before and after.
    support: full
  idempotent:
    description: A machine that already is in the state asked for is left alone.
    support: full
"""

EXAMPLES = r"""
- name: Boot an image; leave the image as it is
  br2.readonly_rootfs.qemu_vm:
    name: demo
    kernel: output/qemu_x86_64/images/bzImage
    initrd: output/qemu_x86_64/images/rootfs.cpio
    append: console=ttyS0 root=/dev/vda1 rootrw=/dev/vda2
    disks:
      - file: output/qemu_x86_64/images/sdcard.img
    forwards:
      - guest: 22
    wait_port: 22
  register: vm

- name: Say how to log in
  ansible.builtin.debug:
    msg: ssh -p {{ vm.ports['22'] }} root@127.0.0.1

- name: Shut it down; what it wrote is kept
  br2.readonly_rootfs.qemu_vm:
    name: demo
    state: stopped

- name: Remove it
  br2.readonly_rootfs.qemu_vm:
    name: demo
    state: absent
"""

RETURN = r"""
directory:
  description: The machine's directory.
  returned: always
  type: str
  sample: /home/me/.cache/br2-readonly-rootfs/vm/demo
running:
  description: Whether the machine runs now.
  returned: always
  type: bool
  sample: true
ports:
  description: Ports of the host's loopback, by port of the guest.
  returned: when O(state=started)
  type: dict
  sample: {"22": 40022}
accel:
  description: The accelerator in use.
  returned: when O(state=started)
  type: str
  sample: tcg
pid:
  description: Process ID of QEMU.
  returned: when the machine runs
  type: int
  sample: 4711
cmd:
  description: QEMU's command line.
  returned: when O(state=started)
  type: list
  elements: str
  sample: ["qemu-system-x86_64", "-name", "guest=demo"]
console:
  description: The log of the guest's serial console, carriage returns included.
  returned: always
  type: str
  sample: /home/me/.cache/br2-readonly-rootfs/vm/demo/console.log
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _qemu_qmp
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu import QemuError
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._qemu_change import ARGUMENTS, apply


def main() -> t.NoReturn:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if _qemu_qmp.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("qemu.qmp"), exception=_qemu_qmp.IMPORT_ERROR)
    try:
        result = apply(module.params, module.check_mode)
    except QemuError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"VM {module.params['name']!r} cannot be kept in its work_dir: {error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
