# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2015,SC2034,SC2154
#
# The fallback: the boot goes on without the user's layer, or as rootrwfallback says.

# set_layer_aside: the user's file system, if it could be mounted, goes read-only to
# $rfs/quarantine; nothing on it is changed.
set_layer_aside() {
    error "booting without the writable layer: $detail"
    mount_options "$newroot"
    [ -z "$options" ] || umount "$newroot" || fatal "cannot take the overlay apart"
    mount_options "$rw_dir"
    if [ -n "$options" ]; then
        mkdir -p "$rfs/quarantine"
        mount -o remount,ro "$rw_dir"
        mount -o move "$rw_dir" "$rfs/quarantine" && quarantine=$rfs/quarantine
    fi
    case $rootrwfallback in
        reboot) fatal "rootrwfallback=reboot" ;;
        halt)
            sync
            poweroff -f
            fatal "cannot halt"
            ;;
        shell)
            if [ "$rootshell" = yes ]; then
                emergency_shell
            else
                warn "rootrwfallback=shell needs rootshell=yes"
            fi
            ;;
    esac
}
