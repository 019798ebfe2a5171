# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh
printf '@boot_id\n'
cat /proc/sys/kernel/random/boot_id
printf '@uptime\n'
cat /proc/uptime
