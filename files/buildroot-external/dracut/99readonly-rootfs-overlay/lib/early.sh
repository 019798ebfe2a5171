# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2015,SC2034,SC2154
#
# The ground to stand on: a root that may be written to, /proc, /dev, a console.

start_here() {
    default_parameters # fatal() asks for rootshell
    stamps='' layer='' reason='' detail=''
    if [ -e "$lib/initramfs" ]; then
        mode=initramfs
    else
        mode=root
        enter_scratch_root
    fi
    # The small tmpfs holds all our mount points, so that they are neither in the base
    # nor in the user's layer.
    mount_together \
        "proc /proc proc nosuid,nodev,noexec" \
        "dev /dev devtmpfs mode=0755" \
        "rfs $rfs tmpfs mode=0755,size=1m,nosuid,nodev,noexec"
    open_console
    [ -e /proc/self ] || fatal "cannot mount /proc"
    [ -c /dev/null ] || fatal "cannot mount devtmpfs on /dev: CONFIG_DEVTMPFS is needed"
    mkdir "$rfs/ro" "$rfs/rw" || fatal "cannot use a tmpfs on $rfs"
    stamp init
    [ "$mode" = initramfs ] || seal_old_root
}

# mount_together "SOURCE TARGET TYPE OPTIONS"...: by way of an fstab, in one process.
mount_together() {
    : >/etc/fstab
    for together; do
        echo "$together 0 0" >>/etc/fstab
    done
    mount -a
}

# An initramfs embedded in the kernel has no /dev/console: this process was started
# without stdin, stdout and stderr, and so would be the real init.
open_console() {
    [ ! -e /proc/self/fd/0 ] || [ ! -e /proc/self/fd/1 ] || [ ! -e /proc/self/fd/2 ] || return 0
    # 'command' keeps the shell alive when the machine has no console at all.
    for open_console_try in /dev/console /dev/null; do
        command exec 0<>"$open_console_try" 1>&0 2>&0 && return
    done
}

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

# stamp NAME: notes the time since the kernel started.
stamp() {
    read -r stamp_now stamp_idle </proc/uptime || return 0
    stamps="$stamps
time_$1=$stamp_now"
}

# delay_root SECONDS: without an initramfs the kernel has done it.
delay_root() {
    [ "$1" = 0 ] || [ "$mode" = root ] || sleep "$1"
}
