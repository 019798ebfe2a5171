# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2015,SC2034,SC2154
#
# A device that is not there yet: its driver may be a module, or it is slow.

# uptime_ms: sets $now to milliseconds since the kernel started.
uptime_ms() {
    read -r now uptime_idle </proc/uptime || now=0.00
    uptime_cents=${now#*.}
    now=$((${now%.*} * 1000 + ${uptime_cents#0} * 10))
}

# wait_for_device NAME SECONDS|forever: sets $device; looks often at first.
wait_for_device() {
    uptime_ms
    find_until=forever
    [ "$2" = forever ] || find_until=$((now + $2 * 1000))
    find_pause=0.01
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

drivers_seen=

# load_drivers: what udev does at start: loads modules by the devices' own names. A bus
# found in one round shows its devices in the next.
load_drivers() {
    command -v modprobe >/dev/null || return 0
    mount_sysfs
    drivers_new=
    set +f
    for drivers_file in /sys/bus/*/devices/*/modalias; do
        [ -e "$drivers_file" ] && read -r drivers_name <"$drivers_file" || continue
        case " $drivers_seen $drivers_new " in
            *" $drivers_name "*) ;;
            *) drivers_new="$drivers_new $drivers_name" ;;
        esac
    done
    set -f
    drivers_seen="$drivers_seen$drivers_new"
    # shellcheck disable=SC2086
    [ -z "$drivers_new" ] || modprobe -q -a $drivers_new 2>/dev/null || :
}
