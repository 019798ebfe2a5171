# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2015,SC2034,SC2154
#
# Without an initramfs (init=/init): the base is where this script was started from.

# Without an initramfs the base is /, perhaps read-only and without the mount points.
# A tmpfs becomes the root, as an initramfs is: the base's programs are reached by
# links, and from here on both ways are the same. (BusyBox's switch_root insists on
# such a root, too.)
enter_scratch_root() {
    for scratch in "$rfs" /media /mnt /run /tmp /proc /sys /dev /home /opt /srv /root /var; do
        [ -d "$scratch" ] && [ ! -L "$scratch" ] &&
            mount -t tmpfs -o mode=0755 readonly-rootfs "$scratch" && break
        scratch=
    done
    [ -n "$scratch" ] || fatal "no directory of the base can hold a mount"
    cd "$scratch" || fatal "cannot enter $scratch"
    mkdir -p base proc dev sys tmp etc "./$newroot" "./$rfs"
    ln -s base/bin base/sbin base/lib base/lib32 base/lib64 base/usr .
    : >init # switch_root looks for it
    pivot_root . base || fatal "cannot leave the root that the kernel mounted (pivot_root)"
    cd / || :
}

# The kernel mounted the base itself; with the word rw on its command line, writable.
seal_old_root() {
    mount_options /base
    case $options in
        rw | rw,*) mount -o remount,ro /base || error "cannot make the root read-only" ;;
    esac
}

# current_root_device: sets $base_device to what the kernel mounted, if it is a device.
current_root_device() {
    while read -r info_id info_parent info_device info_root info_dir info_rest; do
        [ "$info_dir" != /base ] || current_id=$info_device
    done </proc/self/mountinfo
    mount_sysfs
    [ -e "/sys/dev/block/$current_id/uevent" ] || return 0
    while IFS= read -r uevent_line; do
        case $uevent_line in
            DEVNAME=*) base_device=/dev/${uevent_line#*=} ;;
        esac
    done <"/sys/dev/block/$current_id/uevent"
}
