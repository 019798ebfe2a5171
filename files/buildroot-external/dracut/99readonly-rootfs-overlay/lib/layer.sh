# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2015,SC2034,SC2154
#
# The writable layer: upperdir/, work/ and what is known about them in state/.
# The directories are variables: the overlays on single directories are laid elsewhere.

base_dir=$rfs/ro
rw_dir=$rfs/rw
upper=$rw_dir/upperdir
work=$rw_dir/work
state=$rw_dir/state

# open_layer: the user's layer, or a reason why not.
open_layer() {
    find_device "$rootrw" "$rootrwwait" ||
        fail missing "rootrw=$rootrw: no such device after $rootrwwait seconds" || return
    rw_device=$device
    [ "$rw_device" != "$base_device" ] ||
        fail in-use "rootrw=$rootrw is the base's own device" || return
    mount_layer || return
    stamp layer
    is_own_directory "$state" && is_own_directory "$upper" && is_own_directory "$work" || return
    if reset_is_due; then
        must_be_writable || return
        use reset
        reset_layer || return
    fi
    check_base_id || return
    count_tries
    [ "$rootrwtries" = 0 ] || [ "$tries" -lt "$rootrwtries" ] ||
        fail tries "$tries boots with the layer on $rw_device were not confirmed" || return
    make_layer
}

layer_mount_options() {
    without "$rootrwoptions" mode size nr_inodes nr_blocks huge
    layer_options=${kept:-rw}
}

mount_layer() {
    [ "$layer_mounted" = no ] || return 0
    layer_mount_options
    mount_device "$rw_device" "$rw_dir" "$layer_options" "$rootrwfstype" || {
        rw_type=$fstype
        fail unmountable "rootrw=$rootrw: cannot mount $rw_device${fstype:+ as $fstype}: $cause"
        use reset
        remake_layer || return
    }
    rw_type=$fstype
}

# must_be_writable: mount falls back to read-only by itself on write-protected media. Asked
# where something is to be written but a try: that fails by itself.
must_be_writable() {
    mount_options "$rw_dir"
    case $options in
        ro | ro,*) fail read-only "$rw_device is read-only" ;;
    esac
}

# is_own_directory PATH: true for a directory and for nothing at all; never a link, which
# could lead anywhere.
is_own_directory() {
    [ ! -L "$1" ] && { [ -d "$1" ] || [ ! -e "$1" ]; } ||
        fail odd "${1#"$rw_dir/"} on $rw_device is not a directory"
}

# is_own_file PATH: true for a regular file; reading a fifo would hang the boot.
is_own_file() {
    [ -f "$1" ] && [ ! -L "$1" ]
}

# read_base_id: sets $base_id; the builders' file, or else the file system's own identity.
read_base_id() {
    base_id=
    if is_own_file "$base_dir/usr/lib/readonly-rootfs/base-id"; then
        read -r base_id <"$base_dir/usr/lib/readonly-rootfs/base-id" || :
    fi
    if [ -z "$base_id" ] && [ -n "$base_device" ]; then
        use superblock
        read_superblock "$base_device" && base_id=${sb_uuid:+$sb_type-$sb_uuid}
    fi
}

# reset_is_due: asked for on the command line, or by the running system.
reset_is_due() {
    [ "$rootrwreset" != yes ] || return 0
    is_own_file "$state/reset"
}

# check_base_id: is this the base that the layer was made on?
check_base_id() {
    layer_base_id=
    ! is_own_file "$state/base-id" || read -r layer_base_id <"$state/base-id" || :
    [ -n "$layer_base_id" ] && [ -n "$base_id" ] && [ "$layer_base_id" != "$base_id" ] || return 0
    stale=yes
    case $rootrwstale in
        warn) warn "the layer on $rw_device was made on another base ($layer_base_id)" ;;
        tmpfs) fail stale "the layer on $rw_device was made on another base ($layer_base_id)" ;;
        reset)
            must_be_writable || return
            use reset
            reset_layer && stale=no
            ;;
    esac
}

# count_tries: sets $tries to the boots with this layer that nobody confirmed.
count_tries() {
    tries=0
    is_own_file "$state/tries" || return 0
    while read -r tries_line; do
        tries=$((tries + 1))
    done <"$state/tries"
}

# count_try: one line more. Appending one line is whole or absent after a power cut; the
# sync is what makes a crash in the next second count.
count_try() {
    [ "$rootrwtries" != 0 ] || return 0
    read -r boot_id </proc/sys/kernel/random/boot_id || boot_id=unknown
    { echo "$boot_id" >>"$state/tries"; } 2>/dev/null ||
        fail full "no space or no inodes on $rw_device" || return
    tries=$((tries + 1))
    sync
}

# make_layer: what is missing of the layer; everything on the first boot.
make_layer() {
    [ -d "$state" ] && [ -d "$work" ] && [ -d "$upper" ] && [ -n "$layer_base_id" ] && return
    must_be_writable || return
    use fresh
    make_fresh
}

# open_tmpfs: the layer that is gone after this boot.
open_tmpfs() {
    without "$rootrwoptions" errors data commit discard nobarrier
    [ "$layer" = tmpfs ] || kept=noatime
    mount -t tmpfs -o "rw,mode=755${kept:+,$kept}" tmpfs "$rw_dir" 2>"$rfs/.error" ||
        mount -t tmpfs -o rw,mode=755 tmpfs "$rw_dir" ||
        fail tmpfs "cannot mount a tmpfs as the writable layer" || return
    use fresh
    mkdir "$upper" "$work" && like_directory "$base_dir" "$upper"
}
