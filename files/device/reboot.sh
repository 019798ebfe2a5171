# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154 # The caller assigns: delay
#
# Prints the boot ID, then reboots, a little later so that this answer still arrives.
printf '@boot_id\n'
cat /proc/sys/kernel/random/boot_id
command -v reboot >/dev/null || fail "there is no program reboot on the device"
[ "$(id -u)" = 0 ] || fail "rebooting needs root on the device"
setsid sh -c "sleep $delay; reboot" </dev/null >/dev/null 2>&1 &
