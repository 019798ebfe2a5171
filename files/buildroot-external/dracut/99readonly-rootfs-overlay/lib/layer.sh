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
    rw_device='' rw_type='' quarantine='' tries='' layer_base_id='' stale=no reset=no
    find_device "$rootrw" "$rootrwwait" ||
        fail missing "rootrw=$rootrw: no such device after $rootrwwait seconds" || return
    rw_device=$device
    [ "$rw_device" != "$base_device" ] ||
        fail in-use "rootrw=$rootrw is the base's own device" || return
    mount_layer || return
    stamp layer
    is_own_directory "$state" && is_own_directory "$upper" && is_own_directory "$work" || return
    if reset_is_due; then
        reset_layer || return
    fi
    check_base_id || return
    count_tries
    [ "$rootrwtries" = 0 ] || [ "$tries" -lt "$rootrwtries" ] ||
        fail tries "$tries boots with the layer on $rw_device were not confirmed" || return
    make_layer
}

mount_layer() {
    without "$rootrwoptions" mode size nr_inodes nr_blocks huge
    layer_options=${kept:-rw}
    mount_device "$rw_device" "$rw_dir" "$layer_options" "$rootrwfstype" || {
        rw_type=$fstype
        fail unmountable "rootrw=$rootrw: cannot mount $rw_device${fstype:+ as $fstype}: $cause"
        remake_layer || return
    }
    rw_type=$fstype
    # mount falls back to read-only by itself on write-protected media.
    mount_options "$rw_dir"
    case $options in
        ro | ro,*) fail read-only "rootrw=$rootrw: $rw_device is read-only" ;;
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
        read_superblock "$base_device" && base_id=${sb_uuid:+$sb_type-$sb_uuid}
    fi
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
        reset) reset_layer && stale=no ;;
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
    [ -d "$state" ] || mkdir -m 0700 "$state" 2>/dev/null ||
        fail full "cannot make state/ on $rw_device: no space or no inodes" || return
    [ -d "$work" ] || mkdir "$work" 2>/dev/null ||
        fail full "cannot make work/ on $rw_device: no space or no inodes" || return
    if [ ! -d "$upper" ]; then
        # Under its name only when it is whole: / must have the base's owner and mode.
        { [ -d "$upper.new" ] || mkdir "$upper.new" 2>/dev/null; } &&
            like_directory "$base_dir" "$upper.new" && mv "$upper.new" "$upper" ||
            fail full "cannot make upperdir/ on $rw_device: no space or no inodes" || return
        layer_base_id=
    fi
    [ -n "$layer_base_id" ] || record_base_id
}

record_base_id() {
    [ -n "$base_id" ] || return 0
    if echo "$base_id" >"$state/base-id.new" && mv "$state/base-id.new" "$state/base-id"; then
        layer_base_id=$base_id
    else
        rm -f "$state/base-id.new"
        warn "cannot record the base's identity on $rw_device"
    fi
}

# like_directory FROM TO: owner, mode and extended attributes.
like_directory() {
    # shellcheck disable=SC2046
    set -- "$1" "$2" $(ls -ldn "$1")
    [ $# -gt 6 ] || return
    like_mode=$3 like_owner=$5:$6
    [ "$like_owner" = 0:0 ] || chown "$like_owner" "$2" || return
    symbolic_mode "$like_mode"
    [ "$symbolic" = u=rwx,g=rx,o=rx ] || chmod "$symbolic" "$2" || return
    like_xattrs "$1" "$2"
}

# symbolic_mode drwxr-xr-x: sets $symbolic to what chmod takes.
symbolic_mode() {
    symbolic_rest=${1#?} symbolic='' symbolic_sticky=
    for symbolic_who in u g o; do
        symbolic_bits=${symbolic_rest%"${symbolic_rest#???}"}
        symbolic_rest=${symbolic_rest#???}
        case $symbolic_who$symbolic_bits in
            o*[tT]) symbolic_sticky=,+t ;;
        esac
        case $symbolic_bits in
            *s) symbolic_bits=${symbolic_bits%s}xs ;;
            *S) symbolic_bits=${symbolic_bits%S}s ;;
            *t) symbolic_bits=${symbolic_bits%t}x ;;
            *T) symbolic_bits=${symbolic_bits%T} ;;
        esac
        symbolic_clean=
        while [ -n "$symbolic_bits" ]; do
            case $symbolic_bits in
                -*) ;;
                *) symbolic_clean=$symbolic_clean${symbolic_bits%"${symbolic_bits#?}"} ;;
            esac
            symbolic_bits=${symbolic_bits#?}
        done
        symbolic=$symbolic${symbolic:+,}$symbolic_who=$symbolic_clean
    done
    symbolic=$symbolic$symbolic_sticky
}

# like_xattrs FROM TO: only where the base brings the tools; BusyBox has no getfattr.
like_xattrs() {
    command -v getfattr >/dev/null && command -v setfattr >/dev/null || return 0
    # TO is /, for getfattr: --restore takes the name from the dump.
    cd "$1" && getfattr -d -m - -e hex . >"$rfs/.xattr" 2>/dev/null
    cd "$2" && setfattr "--restore=$rfs/.xattr" 2>/dev/null ||
        info "cannot give / all extended attributes of the base: ${2%upperdir*} does not take them"
    cd / || :
}

# open_tmpfs: the layer that is gone after this boot.
open_tmpfs() {
    without "$rootrwoptions" errors data commit discard nobarrier
    [ "$layer" = tmpfs ] || kept=noatime
    mount -t tmpfs -o "rw,mode=755${kept:+,$kept}" tmpfs "$rw_dir" 2>"$rfs/.error" ||
        mount -t tmpfs -o rw,mode=755 tmpfs "$rw_dir" ||
        fail tmpfs "cannot mount a tmpfs as the writable layer" || return
    mkdir "$upper" "$work" && like_directory "$base_dir" "$upper"
}

# set_layer_aside: the user's file system, if it could be mounted, goes read-only to
# $rfs/quarantine; nothing on it is changed.
set_layer_aside() {
    error "booting without the writable layer: $detail"
    mount_options "$newroot"
    [ -z "$options" ] || umount "$newroot" || fatal "cannot take the overlay apart"
    mount_options "$rw_dir"
    if [ -n "$options" ]; then
        mkdir -p "$rfs/quarantine"
        mount -o remount,ro "$rw_dir"
        mount -o move "$rw_dir" "$rfs/quarantine" && quarantine=$rfs/quarantine
    fi
    case $rootrwfallback in
        reboot) fatal "rootrwfallback=reboot" ;;
        halt)
            sync
            poweroff -f
            fatal "cannot halt"
            ;;
        shell)
            if [ "$rootshell" = yes ]; then
                emergency_shell
            else
                warn "rootrwfallback=shell needs rootshell=yes"
            fi
            ;;
    esac
}
