# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2015,SC2034,SC2154
#
# The last steps: what the running system is told, and the switch to its init.

# write_status: one key=value per line; docs/boot.md, "Status".
write_status() {
    stamp switch
    cat_status >"$rfs/status"
}

cat_status() {
    echo "layer=$layer
reason=$reason
detail=$detail
root_device=$base_device
root_type=$base_type
rw_name=$rootrw
rw_device=${rw_device:-}
rw_type=${rw_type:-}
quarantine=${quarantine:+$rfs_after/quarantine}
tries=${tries:-0}
tries_max=$rootrwtries
base_id=${base_id:-}
layer_base_id=${layer_base_id:-}
stale=${stale:-no}
reset=${reset:-no}
init=$init
mode=$mode$stamps"
}

# ready_mount_point PATH: in the new root; made there only if nothing else could.
ready_mount_point() {
    [ -d "$newroot$1" ] && [ ! -L "$newroot$1" ] || mkdir -p "$newroot$1" ||
        warn "$1 of the new root is no directory"
}

hand_over() { # ARGUMENT...
    ready_mount_point "$rfs_after"
    ready_mount_point /dev
    ready_mount_point /proc
    mount_together \
        "$rfs $newroot$rfs_after none move" \
        "/dev $newroot/dev none move" \
        "/proc $newroot/proc none move" 2>/dev/null
    # BusyBox does all in one process; util-linux moves nothing by fstab.
    [ ! -e "$rfs/rw" ] || mount -o move "$rfs" "$newroot$rfs_after" 2>/dev/null
    [ ! -c /dev/null ] || mount -o move /dev "$newroot/dev" 2>/dev/null
    [ ! -e /proc/self ] || mount -o move /proc "$newroot/proc" 2>/dev/null
    if [ -n "$base_device" ] || [ "$mode" = root ]; then
        exec switch_root "$newroot" "$init" "$@"
    fi
    # switch_root empties the initramfs, which here is the base.
    cd "$newroot" && mount -o move . / && exec chroot . "$init" "$@"
}

# An init that dies must lead to the next try, not to a machine that hangs.
panic_reboots() {
    [ -z "$panic" ] || return 0
    read -r kernel_panic </proc/sys/kernel/panic || return 0
    [ "$kernel_panic" != 0 ] || echo 10 >/proc/sys/kernel/panic
}
