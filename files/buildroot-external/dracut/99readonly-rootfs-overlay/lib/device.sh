# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2015,SC2034,SC2154
#
# From a name on the command line to a block device, without udev.

# uptime_ms: sets $now to milliseconds since the kernel started.
uptime_ms() {
    read -r now uptime_idle </proc/uptime || now=0.00
    uptime_cents=${now#*.}
    now=$((${now%.*} * 1000 + ${uptime_cents#0} * 10))
}

# find_device NAME SECONDS|forever: sets $device; waits for it, looking often at first.
find_device() {
    uptime_ms
    find_until=forever
    [ "$2" = forever ] || find_until=$((now + $2 * 1000))
    find_pause=0.01
    find_seen=
    while ! look_up "$1"; do
        uptime_ms
        [ "$find_until" = forever ] || [ "$now" -lt "$find_until" ] || return 1
        load_drivers
        sleep "$find_pause" 2>/dev/null || sleep 1
        case $find_pause in
            0.01) find_pause=0.02 ;;
            0.02) find_pause=0.05 ;;
            0.05) find_pause=0.1 ;;
            0.1) find_pause=0.2 ;;
        esac
    done
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
