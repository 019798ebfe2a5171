# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2015,SC2034,SC2154
#
# From a name on the command line to a block device, without udev.

# find_device NAME SECONDS|forever: sets $device; waits for it.
find_device() {
    find_seen=
    look_up "$1" && return
    use wait
    wait_for_device "$1" "$2"
}

# look_up NAME: sets $device if it is there now.
look_up() {
    case $1 in
        /dev/disk/by-*/*) # udev's names for the same
            look_tag=${1#/dev/disk/by-}
            look_up "${look_tag%%/*}=${look_tag#*/}"
            return
            ;;
        /dev/*)
            device=$1
            [ -b "$device" ]
            return
            ;;
        *=*)
            use tags
            use superblock
            look_up_tag "$1"
            ;;
        *) return 1 ;;
    esac
}

mount_sysfs() {
    [ -d /sys/class ] || mount -t sysfs sysfs /sys || warn "cannot mount sysfs on /sys"
}
