# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2015,SC2034,SC2154
#
# The ground to stand on: a root that may be written to, /proc, /dev, a console.

start_here() {
    default_parameters # fatal() asks for rootshell
    # The kernel puts what it does not know of its command line into the environment.
    stamps='' layer='' reason='' detail=''
    rw_device='' rw_type='' quarantine='' tries=0 layer_base_id='' layer_fresh=no stale=no reset=no
    if [ -e "$lib/initramfs" ]; then
        mode=initramfs
    else
        mode=root
        use scratch
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
