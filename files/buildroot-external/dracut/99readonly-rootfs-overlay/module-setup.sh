#!/usr/bin/env bash
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
#
# dracut module (dracut 059 to dracut-ng 110): an initramfs whose /init is this
# module's, with the target's own tools and nothing else. Where the builder has a BusyBox
# for it alone (READONLY_ROOTFS_BUSYBOX), a static one that starts sooner, the tools that
# are BusyBox's are that one's.

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

# is_busybox NAME: whether the target's tool is a link to BusyBox; sets $tool_dir.
is_busybox() {
    for tool_dir in usr/sbin usr/bin sbin bin; do
        if [[ -L ${dracutsysrootdir-}/$tool_dir/$1 ]]; then
            [[ $(readlink "${dracutsysrootdir-}/$tool_dir/$1") == *busybox ]]
            return
        fi
    done
    return 1
}

inst_tool() {
    if [[ -n ${READONLY_ROOTFS_BUSYBOX-} ]] && is_busybox "$1"; then
        mkdir -p "${initdir:?}/$tool_dir"
        ln -sf /usr/bin/busybox "$initdir/$tool_dir/$1"
    else
        inst_multiple "$1"
    fi
}

inst_applet() {
    mkdir -p "${initdir:?}/usr/sbin"
    ln -sf ../bin/busybox "$initdir/usr/sbin/$1"
}

inst_busybox() {
    if [[ -n ${READONLY_ROOTFS_BUSYBOX-} ]]; then
        mkdir -p "${initdir:?}/usr/bin"
        cp "$READONLY_ROOTFS_BUSYBOX" "$initdir/usr/bin/busybox"
        chmod 0755 "$initdir/usr/bin/busybox"
    elif target_has busybox; then
        inst_multiple busybox
    fi
}

# joined_init: the script as one file, with the parts that every boot reads in their place.
# Every line costs time on every boot: comments stay in the sources.
joined_init() {
    local line
    while IFS= read -r line; do
        case $line in
            ". \"\$lib/"*) sed '/^# SPDX-/d' "$moddir/lib/$(basename "$line" \")" ;;
            *) printf '%s\n' "$line" ;;
        esac
    done <"${moddir:?}/init" | stripped
}

stripped() {
    sed -e '1b' -e '/^# SPDX-/b' -e '/^[[:space:]]*#/d' -e 's/^[[:space:]]*//' -e '/^$/d'
}

is_sourced() { # PART
    grep -Fqx ". \"\$lib/$1\"" "$moddir/init"
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
    inst_tool modprobe
}

install() {
    local tool
    for tool in "${required_tools[@]}"; do
        target_has "$tool" || missing_tool "$tool"
    done
    target_has blockdev || target_has hdparm || missing_tool blockdev
    inst_busybox
    for tool in "${required_tools[@]}"; do
        if is_systemctl "$tool"; then inst_applet "$tool"; else inst_tool "$tool"; fi
    done
    for tool in "${optional_tools[@]}"; do
        # BusyBox's mke2fs makes no journal.
        [[ $tool != mke2fs ]] || ! is_busybox mke2fs || continue
        ! target_has "$tool" || inst_tool "$tool"
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
    local part
    for part in "${moddir:?}"/lib/*.sh; do
        is_sourced "${part##*/}" || stripped <"$part" >"$lib/${part##*/}"
    done
    : >"$lib/initramfs"
    chmod 0644 "$lib"/*
    rm -f "$initdir/init"
    joined_init >"$initdir/init"
    chmod 0755 "$initdir/init"
}
