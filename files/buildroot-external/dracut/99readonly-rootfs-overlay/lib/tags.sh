# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2015,SC2034,SC2154
#
# UUID=, LABEL=, PARTUUID=, PARTLABEL=: only loaded when a device is named so.

# look_up_tag TAG=VALUE: sets $device if it is there now.
look_up_tag() {
    # Reading superblocks costs: only when the kernel has found something new.
    read_partitions
    [ "$partitions" != "$find_seen" ] || return 1
    find_seen=$partitions
    lower "${1%%=*}"
    unquote "${1#*=}"
    look_tag=$lowered look_value=$unquoted
    case $look_tag in
        uuid | partuuid)
            lower "$look_value"
            look_value=$lowered
            ;;
        label) label_hex "$look_value" ;;
        partlabel) ;;
        *) return 1 ;;
    esac
    mount_sysfs
    for look_name in $partitions; do
        device=/dev/$look_name
        [ -b "$device" ] || continue
        case $look_tag in
            uuid)
                read_superblock "$device" && [ "$sb_uuid" = "$look_value" ] && return
                ;;
            label)
                read_superblock "$device" &&
                    { [ "$sb_label" = "$label" ] || [ "$sb_label" = "$label_wide" ]; } && return
                ;;
            partuuid) has_partuuid "$look_name" "$look_value" && return ;;
            partlabel)
                read_uevent "$look_name"
                [ "$partname" = "$look_value" ] && return
                ;;
        esac
    done
    return 1
}

# read_partitions: sets $partitions to the names of the block devices.
read_partitions() {
    partitions=
    while read -r part_major part_minor part_blocks part_name; do
        case $part_name in
            '' | name | ram[0-9]* | zram[0-9]* | fd[0-9]* | sr[0-9]*) ;;
            *) partitions="$partitions $part_name" ;;
        esac
    done </proc/partitions
}

# read_uevent NAME: sets $partn, $partname, $partuuid of a partition, empty for a disk.
read_uevent() {
    partn='' partname='' partuuid=''
    [ -e "/sys/class/block/$1/uevent" ] || return 0
    while IFS= read -r uevent_line; do
        case $uevent_line in
            PARTN=*) partn=${uevent_line#*=} ;;
            PARTNAME=*) partname=${uevent_line#*=} ;;
            PARTUUID=*) partuuid=${uevent_line#*=} ;;
        esac
    done <"/sys/class/block/$1/uevent"
}

# has_partuuid NAME WANTED: reads the partition table where the kernel does not tell.
has_partuuid() {
    read_uevent "$1"
    [ -n "$partn" ] || return 1
    if [ -n "$partuuid" ]; then
        [ "$partuuid" = "$2" ]
        return
    fi
    has_disk=${1%"$partn"}
    # mmcblk0p1, nvme0n1p1, loop0p1
    case $has_disk in
        *[0-9]p) has_disk=${has_disk%p} ;;
    esac
    case $2 in
        ????????-??) mbr_partuuid "/dev/$has_disk" "$partn" ;;
        *) gpt_partuuid "/dev/$has_disk" "$partn" ;;
    esac
    [ "$partuuid" = "$2" ]
}

# mbr_partuuid DISK NUMBER: sets $partuuid: the disk's signature and the number in hex.
mbr_partuuid() {
    mbr_number=$2
    bytes "$1" 440 4
    # shellcheck disable=SC2086
    set -- $hex
    [ $# = 4 ] || return 1
    partuuid=$4$3$2$1-
    for mbr_digit in $((mbr_number / 16)) $((mbr_number % 16)); do
        case $mbr_digit in
            10) mbr_digit=a ;;
            11) mbr_digit=b ;;
            12) mbr_digit=c ;;
            13) mbr_digit=d ;;
            14) mbr_digit=e ;;
            15) mbr_digit=f ;;
        esac
        partuuid=$partuuid$mbr_digit
    done
}

gpt_block_size() { # DISK
    gpt_block=512
    [ ! -e "/sys/class/block/${1#/dev/}/queue/logical_block_size" ] ||
        read -r gpt_block <"/sys/class/block/${1#/dev/}/queue/logical_block_size"
}

# gpt_partuuid DISK NUMBER: sets $partuuid.
gpt_partuuid() {
    gpt_block_size "$1"
    gpt_disk=$1 gpt_number=$2
    bytes "$gpt_disk" "$gpt_block" 88
    case $hex in
        ' 45 46 49 20 50 41 52 54 '*) ;; # EFI PART
        *) return 1 ;;
    esac
    # shellcheck disable=SC2086
    set -- $hex
    shift 72
    gpt_entries=$((0x$4$3$2$1))
    shift 12
    gpt_size=$((0x$4$3$2$1))
    bytes "$gpt_disk" $((gpt_entries * gpt_block + (gpt_number - 1) * gpt_size + 16)) 16
    # shellcheck disable=SC2086
    set -- $hex
    [ $# = 16 ] || return 1
    partuuid=$4$3$2$1-$6$5-$8$7
    shift 8
    partuuid=$partuuid-$1$2-$3$4$5$6$7$8
}
