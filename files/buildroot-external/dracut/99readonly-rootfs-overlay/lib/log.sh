# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2015,SC2034,SC2154
#
# What the boot says, and how it ends when it cannot go on.

# use PART: loads what not every boot needs; reading it all would take a fifth of the time.
used=
use() {
    case " $used " in
        *" $1 "*) return ;;
    esac
    used="$used $1"
    # shellcheck source=/dev/null
    . "$lib/$1.sh"
}

say() { # LEVEL TEXT
    # The kernel log reaches both the console and dmesg, whatever stderr is.
    { echo "<$1>readonly-rootfs: $2" >/dev/kmsg; } 2>/dev/null ||
        echo "readonly-rootfs: $2" >&2
}

info() { say 6 "$1"; }
warn() { say 4 "$1"; }
error() { say 3 "$1"; }

# fail CODE TEXT: the reason why a step could not be done, for the caller to act on.
fail() {
    reason=$1 detail=$2
    return 1
}

# The tools' own words about a failure, kept where no fork is needed to read them.
first_error() { # FILE
    cause=
    [ ! -s "$1" ] || read -r cause <"$1" || :
    cause=${cause:-no cause given}
}

emergency_shell() {
    error "emergency shell (rootshell=yes): leave it with 'exit'"
    PS1='(readonly-rootfs) # ' /bin/sh -i </dev/console >/dev/console 2>&1
}

restart() {
    sync
    # If nothing else reboots this machine, the end of process 1 does.
    { echo 10 >/proc/sys/kernel/panic; } 2>/dev/null
    reboot -f
    { echo b >/proc/sysrq-trigger; } 2>/dev/null
    exit 1
}

fatal() { # TEXT
    trap - EXIT
    error "$1"
    [ "$rootshell" != yes ] || emergency_shell
    # As long as the kernel would wait after a panic; 0 would be for ever.
    case $panic in
        '' | 0* | *[!0-9]*) panic=10 ;;
    esac
    error "rebooting in $panic seconds"
    sleep "$panic"
    restart
}
