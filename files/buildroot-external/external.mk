# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT

# Buildroot links dracut-install without its own library path: it would load the
# build host's libkmod, fail, and leave an initramfs without the binaries.
HOST_DRACUT_MAKE_ENV += LDFLAGS="$(HOST_LDFLAGS)"

# With a directory for each package, Buildroot links the initramfs into the kernel with
# the compiler under another path than the kernel was built with, and all of it would be
# compiled once more.
linux-rebuild-with-initramfs: private PKG = LINUX
