# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2015,SC2034,SC2154
#
# Mounts: kernel modules where the kernel needs them, the base, the two kinds of
# writable file system, the overlay.

# know_filesystem TYPE: true if the kernel can mount it, after loading a module.
know_filesystem() {
    kernel_has "$1" && return
    modprobe -q "$1" 2>/dev/null
    kernel_has "$1"
}

kernel_has() { # TYPE
    while read -r has_first has_second; do
        [ "${has_second:-$has_first}" != "$1" ] || return 0
    done </proc/filesystems
    return 1
}

# mount_options DIRECTORY: sets $options as the kernel shows them, and $mounted_type.
mount_options() {
    options='' mounted_type=
    while read -r mounts_device mounts_dir mounts_type mounts_options mounts_rest; do
        [ "$mounts_dir" != "$1" ] || options=$mounts_options mounted_type=$mounts_type
    done </proc/mounts
}

# without OPTIONS NAME...: sets $kept to the options whose name is not listed.
without() {
    kept=
    without_rest=$1,
    shift
    while [ -n "$without_rest" ]; do
        without_option=${without_rest%%,*}
        without_rest=${without_rest#*,}
        for without_name; do
            [ "${without_option%%=*}" != "$without_name" ] || continue 2
        done
        [ -z "$without_option" ] || kept=${kept:+$kept,}$without_option
    done
}

# mount_device DEVICE DIRECTORY OPTIONS TYPE: an empty TYPE is probed. Sets $fstype.
mount_device() {
    fstype=$4
    if [ -z "$fstype" ]; then
        use superblock
        read_superblock "$1" || {
            cause="no file system that this boot knows"
            return 1
        }
        fstype=$sb_type
    fi
    mount_as "$@" && return
    # Only now: a list of what the kernel knows takes time to read.
    kernel_has "$fstype" && return 1
    know_filesystem "$fstype" || {
        # One driver serves all of ext2, ext3 and ext4 in many kernels.
        case $fstype in
            ext2 | ext3) fstype=ext4 ;;
        esac
        know_filesystem "$fstype" || {
            cause="the kernel has no $fstype"
            return 1
        }
    }
    mount_as "$@"
}

mount_as() { # DEVICE DIRECTORY OPTIONS
    leave_journal "$fstype" "$3"
    mount -t "$fstype" -o "$as_options" "$1" "$2" 2>"$rfs/.error" && return
    first_error "$rfs/.error"
    return 1
}

# leave_journal TYPE OPTIONS: sets $as_options. Mounting read-only would still replay the
# journal into the device.
leave_journal() {
    as_options=$2
    case $1,$2, in
        ext[34],ro,*) as_options=$2,noload ;;
        xfs,ro,* | f2fs,ro,*) as_options=$2,norecovery ;;
    esac
}

# mount_both DEVICE OPTIONS: the ordinary case, both devices there and their types known,
# in one process. Anything odd is left to the careful way, which says what is wrong.
mount_both() {
    [ -n "$rootfstype" ] && [ -n "$rootrwfstype" ] && [ "$1" != "$rootrw" ] && [ -b "$rootrw" ] ||
        return
    leave_journal "$rootfstype" "$2"
    both_base="$1 $rfs/ro $rootfstype $as_options"
    layer_mount_options
    both_layer="$rootrw $rw_dir $rootrwfstype $layer_options"
    # shellcheck disable=SC2086
    set -- $both_base $both_layer
    case $#,$4,$8, in
        *,noauto,* | *,swap,* | *[\\\#]*) return 1 ;; # an fstab's own words
        8,*) ;;
        *) return 1 ;;
    esac
    mount_together "$both_base" "$both_layer" 2>/dev/null || {
        umount "$rw_dir" 2>/dev/null
        umount "$rfs/ro" 2>/dev/null
        return 1
    }
    base_type=$rootfstype rw_type=$rootrwfstype layer_mounted=yes
}

# mount_base: the lower layer, never written.
mount_base() {
    base_device='' base_type='' layer_mounted=no
    if [ "$mode" = root ]; then
        current_root_device
        # Another name for the same driver would be refused.
        mount_options /base
        rootfstype=$mounted_type
    elif [ -n "$root" ]; then
        mount_base_wait=$rootrwwait
        case $rootwait in
            yes) mount_base_wait=forever ;;
            no) ;;
            *) mount_base_wait=$rootwait ;;
        esac
        find_device "$root" "$mount_base_wait" ||
            fail root "root=$root: no such device after $mount_base_wait seconds" || return
        base_device=$device
    fi
    if [ -z "$base_device" ]; then
        mount_current_root
        return
    fi
    set_read_only "$base_device"
    without "ro,$rootoptions${rootflags:+,$rootflags}" rw
    base_options=$kept
    if [ "$mode" = root ] || ! mount_both "$base_device" "$base_options"; then
        mount_device "$base_device" "$rfs/ro" "$base_options" "$rootfstype" ||
            fail root "root=$root: cannot mount $base_device${fstype:+ as $fstype}: $cause" || return
        base_type=$fstype
    fi
    stamp base
}

# The initramfs, or a root that is no block device, is itself the base.
mount_current_root() {
    mount_current_from=/
    [ "$mode" = initramfs ] || mount_current_from=/base
    mount --bind $mount_current_from "$rfs/ro" && mount -o remount,bind,ro "$rfs/ro" ||
        fail root "cannot use the current root file system as the base"
}

# set_read_only DEVICE: what holds against a later remount by root.
set_read_only() {
    if command -v blockdev >/dev/null; then
        blockdev --setro "$1" && return
    elif command -v hdparm >/dev/null; then
        hdparm -r1 "$1" >/dev/null && return
    fi
    warn "cannot set $1 read-only (blockdev or hdparm)"
}

# assemble: the overlay on $newroot.
assemble() {
    skeleton
    mount_overlay || {
        must_be_writable || return
        kernel_has overlay || know_filesystem overlay ||
            fail overlay "the kernel has no overlay file system (CONFIG_OVERLAY_FS)" || return
        # A kernel that keeps an index by default refuses a layer that was made on another base.
        mount_overlay || mount_overlay ,index=off || {
            first_error "$rfs/.error"
            fail overlay "cannot mount the overlay: $cause"
            return
        }
    }
    # Out of space, the kernel makes do with a read-only overlay.
    mount_options "$newroot"
    case $options in
        ro | ro,*) fail full "no space or no inodes for the overlay on ${rw_device:-tmpfs}" || return ;;
    esac
    # A link of the user's would lead elsewhere.
    [ ! -L "$newroot/media" ] || rfs_after=/.rfs
    stamp overlay
}

mount_overlay() { # MORE-OPTIONS
    mount -t overlay \
        -o "lowerdir=$lowerdir,upperdir=$rfs/rw/upperdir,workdir=$rfs/rw/work${1-}" \
        overlay "$newroot" 2>"$rfs/.error"
}

# skeleton: mount points that the base lacks come from one more lower layer; they must
# not be made in the user's. Sets $lowerdir and $rfs_after, where $rfs ends up.
skeleton() {
    lowerdir=$rfs/ro rfs_after=$rfs skeleton_dirs=
    if [ -L "$rfs/ro/media" ] || [ -L "$rfs/ro$rfs" ]; then
        rfs_after=/.rfs
    fi
    for skeleton_dir in $rfs_after /proc /sys /dev; do
        [ -d "$rfs/ro$skeleton_dir" ] || skeleton_dirs="$skeleton_dirs $rfs/skeleton$skeleton_dir"
    done
    [ -n "$skeleton_dirs" ] || return 0
    # shellcheck disable=SC2086
    mkdir -p $skeleton_dirs
    lowerdir=$lowerdir:$rfs/skeleton
}
