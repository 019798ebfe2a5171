# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2015,SC2034,SC2154
#
# File system type, UUID and label, read from the first blocks of a device: BusyBox
# has blkid or findfs or neither, and mount's own probing fills the console.

# bytes FILE OFFSET COUNT: sets $hex to two digits per byte, 16 bytes to a line.
bytes() {
    hex=$(od -An -v -tx1 -j "$2" -N "$3" "$1" 2>/dev/null)
}

# dashed BYTE...: sets $sb_uuid from the first 16.
dashed() {
    sb_uuid=$1$2$3$4-$5$6-$7$8
    shift 8
    sb_uuid=$sb_uuid-$1$2-$3$4$5$6$7$8
}

# text_bytes COUNT BYTE...: sets $sb_label to the hex up to the first NUL; labels are
# compared as hex, since the shell cannot make a character from a number.
text_bytes() {
    sb_label='' text_count=$1
    shift
    while [ "$text_count" -gt 0 ] && [ $# -gt 0 ] && [ "$1" != 00 ]; do
        sb_label=$sb_label$1
        text_count=$((text_count - 1))
        shift
    done
}

# wide_bytes BYTE...: the same for UTF-16.
wide_bytes() {
    sb_label=
    while [ $# -gt 1 ] && [ "$1$2" != 0000 ]; do
        sb_label=$sb_label$1$2
        shift 2
    done
}

# label_hex TEXT: sets $label and, as UTF-16, $label_wide.
label_hex() {
    label='' label_wide=''
    # shellcheck disable=SC2046
    set -- $(printf %s "$1" | od -An -v -tx1)
    for label_byte; do
        label=$label$label_byte
        label_wide=$label_wide${label_byte}00
    done
}

# read_superblock DEVICE: sets $sb_type (empty: unknown), $sb_uuid, $sb_label.
read_superblock() {
    sb_type='' sb_uuid='' sb_label='' sb_device=$1
    bytes "$sb_device" 1024 256
    # shellcheck disable=SC2086
    set -- $hex
    [ $# = 256 ] || return 1
    case "$1$2$3$4 ${57}${58}" in
        *' 53ef') superblock_ext "$@" ;;
        '1020f5f2 '*)
            sb_type=f2fs
            shift 108
            dashed "$@"
            shift 16
            wide_bytes "$@"
            ;;
        'e2e1f5e0 '*)
            sb_type=erofs
            shift 48
            dashed "$@"
            shift 16
            text_bytes 16 "$@"
            ;;
        *) superblock_elsewhere ;;
    esac
    [ -n "$sb_type" ]
}

superblock_ext() {
    shift 92
    # ext2 has no journal, and knows "file type" alone of the incompatible features,
    # "sparse super" and "large file" alone of those that forbid writing.
    case $((0x$1 & 4)),$((0x$8$7$6$5 & ~2)),$((0x${12}${11}${10}$9 & ~3)) in
        0,0,0) sb_type=ext2 ;;
        *) sb_type=ext4 ;;
    esac
    shift 12
    dashed "$@"
    shift 16
    text_bytes 16 "$@"
}

superblock_elsewhere() {
    bytes "$sb_device" 0 128
    # shellcheck disable=SC2086
    set -- $hex
    case $1$2$3$4 in
        68737173)
            # No UUID in squashfs: size and time of making tell one from another.
            sb_type=squashfs
            shift 4
            sb_uuid=$1$2$3$4$5$6$7$8
            shift 36
            sb_uuid=$sb_uuid-$1$2$3$4$5$6$7$8
            return
            ;;
        58465342)
            sb_type=xfs
            shift 32
            dashed "$@"
            shift 76
            text_bytes 12 "$@"
            return
            ;;
    esac
    bytes "$sb_device" 65568 40
    case $hex in
        *' 5f 42 48 52 66 53 5f 4d')
            sb_type=btrfs
            # shellcheck disable=SC2086
            dashed $hex
            bytes "$sb_device" 65835 128
            # shellcheck disable=SC2086
            text_bytes 128 $hex
            ;;
    esac
}
