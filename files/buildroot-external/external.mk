# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT

# Buildroot links dracut-install without its own library path: it would load the
# build host's libkmod, fail, and leave an initramfs without the binaries.
HOST_DRACUT_MAKE_ENV += LDFLAGS="$(HOST_LDFLAGS)"

# With a directory for each package, Buildroot links the initramfs into the kernel with
# the compiler under another path than the kernel was built with, and all of it would be
# compiled once more.
linux-rebuild-with-initramfs: private PKG = LINUX

ifeq ($(BR2_REPRODUCIBLE),y)
# dracut gives its files the time of one of its own, which is that of its installation.
define READONLY_ROOTFS_DRACUT_TIME
	touch -d @$(SOURCE_DATE_EPOCH) $(HOST_DIR)/lib/dracut/dracut-functions.sh
endef
ROOTFS_CPIO_PRE_GEN_HOOKS += READONLY_ROOTFS_DRACUT_TIME

# libtool links its programs with the path of the build directory. Buildroot takes that out of
# them, but a gap as long as the path stays.
define READONLY_ROOTFS_ATTR_WITHOUT_RPATH
	$(SED) 's/^hardcode_libdir_flag_spec=.*/hardcode_libdir_flag_spec=""/' $(@D)/libtool
endef
ATTR_POST_CONFIGURE_HOOKS += READONLY_ROOTFS_ATTR_WITHOUT_RPATH
endif
