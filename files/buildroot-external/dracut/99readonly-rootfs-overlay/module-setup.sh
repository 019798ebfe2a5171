#!/usr/bin/env bash
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
#
# dracut module (dracut 059 to dracut-ng 110): an initramfs whose /init is this
# module's, with the target's own tools and nothing else.

# What init and lib/*.sh call. hdparm stands in for blockdev where BusyBox has no blockdev.
required_tools=(sh mount umount mkdir mv rm ln ls od sleep sync readlink chmod chown chroot
    switch_root reboot poweroff)
optional_tools=(blockdev hdparm chattr getfattr setfattr mke2fs)

# Only on request.
check() {
    return 255
}

# Buildroot's own helpers, where its dracut brings them.
depends() {
    local module
    for module in "${dracutbasedir:?}"/modules.d/[0-9][0-9]*; do
        module=${module##*/}
        module=${module#[0-9][0-9]}
        case $module in
            *merged-usr) [[ ! -L ${dracutsysrootdir-}/lib ]] || echo "$module" ;;
            *libc-links) echo "$module" ;;
        esac
    done
    return 0
}

target_has() {
    local dir
    for dir in usr/sbin usr/bin sbin bin; do
        # A link may be absolute: its target is in the sysroot, not on this machine.
        if [[ -e ${dracutsysrootdir-}/$dir/$1 || -L ${dracutsysrootdir-}/$dir/$1 ]]; then
            return 0
        fi
    done
    return 1
}

# systemd's reboot and poweroff would bring much of systemd along; BusyBox has its own.
is_systemctl() {
    [[ $(readlink "${dracutsysrootdir-}/usr/sbin/$1") == */systemctl ]] && target_has busybox
}

inst_applet() {
    inst_multiple busybox
    mkdir -p "${initdir:?}/usr/sbin"
    ln -s ../bin/busybox "$initdir/usr/sbin/$1"
}

missing_tool() {
    dfatal "readonly-rootfs-overlay: the target has no $1; enable it in BusyBox" \
        "(board/common/busybox.fragment does) or install the package that brings it"
    exit 1
}

# Drivers and file systems, where the kernel has them as modules.
installkernel() {
    hostonly='' instmods overlay loop squashfs erofs ext4 f2fs btrfs xfs crc32c \
        virtio_pci virtio_mmio virtio_blk virtio_scsi sd_mod ata_piix ahci nvme \
        mmc_block sdhci-pci sdhci-acpi usb-storage uas xhci-pci ehci-pci
    target_has modprobe || missing_tool modprobe
    inst_multiple modprobe
}

install() {
    local tool
    for tool in "${required_tools[@]}"; do
        target_has "$tool" || missing_tool "$tool"
    done
    target_has blockdev || target_has hdparm || missing_tool blockdev
    for tool in reboot poweroff; do
        ! is_systemctl "$tool" || inst_applet "$tool"
    done
    inst_multiple "${required_tools[@]}"
    for tool in "${optional_tools[@]}"; do
        ! target_has "$tool" || inst_multiple "$tool"
    done

    # Where the loader is looked for may be a link that dracut did not follow.
    local dir
    for dir in lib32 lib64 usr/lib32 usr/lib64; do
        if [[ -L ${dracutsysrootdir-}/$dir && ! -e ${initdir:?}/$dir ]]; then
            ln -sf "$(readlink "${dracutsysrootdir-}/$dir")" "$initdir/$dir"
        fi
    done

    # Buildroot's link for musl is right only where libc.so is in /lib.
    local loader
    for loader in "${dracutsysrootdir-}"/lib/ld-musl-*.so.1; do
        [[ ! -L $loader ]] || ln -sf "$(readlink "$loader")" "$initdir/lib/${loader##*/}"
    done

    # By cp: dracut's inst looks for sources in the sysroot.
    local lib=${initdir:?}/usr/lib/readonly-rootfs
    mkdir -p "$lib" "$initdir"/{dev,proc,sys,etc,newroot,media/rfs}
    cp "${moddir:?}"/lib/*.sh "$lib/"
    : >"$lib/initramfs"
    rm -f "$initdir/init"
    cp "$moddir/init" "$initdir/init"
    chmod 0755 "$initdir/init"
}
