#!/bin/sh
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What br2-readonly-rootfs-overlay's boot amounts to, step for step in the number and kind
# of processes and mounts: one expr in a subshell per word of the command line, a look
# for each device every 0.1 s, mkdir -p before every mount, five mounts moved. Written
# for this benchmark; nothing else is done, and nothing checked.
# shellcheck disable=SC2003,SC2013
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
mkdir -p /proc /sys /dev /mnt /run
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs none /dev
exec <>/dev/console >&0 2>&0

init=/sbin/init
root_options=noatime,nodiratime
rw_options=rw,noatime
for word in $(cat /proc/cmdline); do
    value=$(expr "x$word" : 'x[^=]*=\(.*\)')
    case $word in
        root=*) root=$value ;;
        rootoptions=*) root_options=$value ;;
        rootrw=*) rw=$value ;;
        rootrwoptions=*) rw_options=$value ;;
        init=*) init=$value ;;
    esac
done

mount_device() { # DEVICE DIRECTORY OPTIONS
    tries=50
    while [ ! -b "$1" ] && [ "$tries" -gt 0 ]; do
        sleep 0.1
        tries=$(expr "$tries" - 1)
    done
    mkdir -p "$2"
    mount -o "$3" "$1" "$2"
}

mount_device "$root" /mnt/ro "$root_options"
mount -o remount,ro /mnt/ro
mount_device "$rw" /mnt/rw "$rw_options"
mkdir -p /mnt/rw/upperdir /mnt/rw/work /mnt/root
mount -t overlay -o lowerdir=/mnt/ro,upperdir=/mnt/rw/upperdir,workdir=/mnt/rw/work overlay /mnt/root
for point in media/rfs/ro media/rfs/rw proc sys dev; do
    mkdir -p "/mnt/root/$point"
done
mount -n --move /mnt/ro /mnt/root/media/rfs/ro
mount -n --move /mnt/rw /mnt/root/media/rfs/rw
mount -n --move /proc /mnt/root/proc
mount -n --move /sys /mnt/root/sys
mount -n --move /dev /mnt/root/dev
[ -x "/mnt/root$init" ] || [ -L "/mnt/root$init" ] || exit 1
exec switch_root /mnt/root "$init"
