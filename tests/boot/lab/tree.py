# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root file systems as small as they can be and still be judged from the console."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

BUSYBOX = Path(shutil.which("busybox") or "/bin/busybox")

# The real init of most bases: says how it was started, then runs what the console sends, line by line.
# The marks are assembled at run time so that the terminal's echo of a command never looks like its answer.
AGENT = """\
#!/bin/sh
stty -echo
dmesg -n 1
[ -e /sys/kernel ] || mount -t sysfs sysfs /sys
printf '@@BOOT %s|' "$0" "$@"
echo
m=@@
while IFS= read -r line; do
  eval "$line"
  printf '\\n%sRC %s\\n' "$m" "$?"
done
echo "${m}EOF"
exec sleep 9999
"""

INITTAB = """\
::sysinit:/bin/mount -t proc proc /proc
::sysinit:/bin/mount -o remount,rw /
::sysinit:/etc/init.d/rcS
console::respawn:/sbin/agent
::ctrlaltdel:/sbin/reboot
::shutdown:/etc/init.d/rcK
::shutdown:/sbin/swapoff -a
::shutdown:/bin/umount -a -r
"""

RC_S = """\
#!/bin/sh
for i in /etc/init.d/S??*; do [ -x "$i" ] && "$i" start; done
"""

RC_K = """\
#!/bin/sh
for i in $(ls -r /etc/init.d/S??*); do [ -x "$i" ] && "$i" stop; done
"""

# Linked against the C library, as the real init of most devices is.
DYNAMIC_INIT = """\
#include <unistd.h>
int main(int argc, char **argv)
{
\targv[0] = "/sbin/agent";
\texecv(argv[0], argv);
\treturn 1;
}
"""


@functools.cache
def applets() -> tuple[str, ...]:
    listed = subprocess.run([BUSYBOX, "--list-full"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return tuple(listed.split())


@dataclass(frozen=True)
class Base:
    """What a base root consists of."""

    merged: bool = False
    """`/bin`, `/sbin` and `/lib` are links into `/usr`."""
    init: str = "agent"
    """`agent` (a script), `busybox` (with an inittab), `dynamic` (with libc), or a program's path."""
    base_id: str = ""
    """Content of `/usr/lib/readonly-rootfs/base-id`; none when empty."""
    mountpoints: tuple[str, ...] = ("dev", "proc", "sys", "run", "tmp", "media/rfs", "mnt")
    files: dict[str, str] = field(default_factory=dict)
    """Further files: path to content; executable when it starts with `#!`."""
    links: dict[str, str] = field(default_factory=dict)
    overlay: Path | None = None
    """A directory laid over the tree, such as the image's root file system overlay."""

    def build(self, root: Path) -> Path:
        """Write the tree below `root`."""
        for name in ("etc/init.d", "root", "usr/bin", "usr/sbin", "usr/lib", "var", *self.mountpoints):
            (root / name).mkdir(parents=True, exist_ok=True)
        for name in ("bin", "sbin", "lib"):
            if self.merged:
                (root / name).symlink_to(f"usr/{name}")
            else:
                (root / name).mkdir()
        (root / "lib64").symlink_to("lib")
        shutil.copy2(BUSYBOX, root / "bin/busybox")
        for applet in applets():
            link = root / applet
            if link.parent.is_dir() and not os.path.lexists(link):
                link.symlink_to("/bin/busybox")
        self._write(root, "sbin/agent", AGENT)
        self._write(root, "etc/base-file", "from the base\n")
        if self.base_id:
            self._write(root, "usr/lib/readonly-rootfs/base-id", self.base_id + "\n")
        if self.overlay:
            shutil.copytree(self.overlay, root, dirs_exist_ok=True, symlinks=True)
        self._install_init(root)
        for name, content in self.files.items():
            self._write(root, name, content)
        for name, target in self.links.items():
            if (root / name).is_dir():
                shutil.rmtree(root / name)
            (root / name).unlink(missing_ok=True)
            (root / name).symlink_to(target)
        return root

    def _install_init(self, root: Path) -> None:
        init = root / "sbin/init"
        init.unlink(missing_ok=True)
        if self.init == "busybox":
            init.symlink_to("/bin/busybox")
            for name, content in (("inittab", INITTAB), ("init.d/rcS", RC_S), ("init.d/rcK", RC_K)):
                self._write(root, f"etc/{name}", content)
        elif self.init == "dynamic":
            source = root / "init.c"
            source.write_text(DYNAMIC_INIT)
            subprocess.run(["gcc", "-O1", "-o", init, source], check=True)
            source.unlink()
            for library in ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"):
                shutil.copy2(library, root / "lib", follow_symlinks=True)
        elif self.init == "agent":
            shutil.copy2(root / "sbin/agent", init)
        else:
            shutil.copy2(self.init, init)

    @staticmethod
    def _write(root: Path, name: str, content: str) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(content)
        path.chmod(0o755 if content.startswith("#!") else 0o644)
