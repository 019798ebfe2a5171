# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2015,SC2034,SC2154
#
# Reset: the request file is the only thing that decides; every step may be cut and is
# done again, or found done, at the next boot, before anything is built on the layer.

# remake_layer: a new file system, only in place of one that cannot be mounted, and only
# if that was asked for: on the command line, or in a request that can still be read.
remake_layer() {
    if [ "$rootrwreset" != mkfs ]; then
        mkdir -p "$rfs/quarantine"
        mount_device "$rw_device" "$rfs/quarantine" ro,noatime "$rootrwfstype" || return
        quarantine=$rfs/quarantine
        request_says_mkfs "$quarantine/state/reset" && umount "$quarantine" || return
        quarantine=
    fi
    find_mke2fs || {
        warn "cannot make a file system on $rw_device: the initramfs has no mke2fs"
        return 1
    }
    remake_type=${rootrwfstype:-${sb_type:-ext4}}
    # The command line must find it again.
    lower "${rootrw%%=*}"
    case $lowered in
        uuid) set -- -U "${rootrw#*=}" ;;
        label) set -- -L "${rootrw#*=}" ;;
        *) set -- ;;
    esac
    warn "making a new $remake_type file system on $rw_device"
    "$mke2fs" -q -F -t "$remake_type" "$@" "$rw_device" >/dev/null 2>"$rfs/.error" &&
        mount_device "$rw_device" "$rw_dir" "$layer_options" "$remake_type" &&
        reset=mkfs
}

# find_mke2fs: sets $mke2fs. BusyBox's makes no journal, and does not know the type.
find_mke2fs() {
    for mke2fs in /usr/sbin/mke2fs /sbin/mke2fs /usr/bin/mke2fs /bin/mke2fs; do
        [ -x "$mke2fs" ] || continue
        case $(readlink "$mke2fs") in
            *busybox) ;;
            *) return 0 ;;
        esac
    done
    return 1
}

request_says_mkfs() { # FILE
    is_own_file "$1" || return 1
    while read -r request_line; do
        [ "$request_line" != mkfs=yes ] || return 0
    done <"$1"
    return 1
}

reset_layer() {
    use fresh
    record_request
    gather_keep_list
    take_kept_out
    trash_upper=$upper
    if [ -e "$upper" ]; then
        next_trash
        rename "$upper" "$trash" || fail reset "cannot rename upperdir on $rw_device" || return
        trash_upper=$trash
    fi
    # The work directory belongs to the old upper.
    if [ -e "$work" ]; then
        next_trash
        rename "$work" "$trash"
    fi
    set_strays_aside
    make_fresh_layer || return
    put_kept_back
    # All of the new layer is on the device before the request is gone.
    sync
    rm -f "$state/tries" "$state/reset"
    sync
    reset=yes reason='' detail=''
    info "the layer on $rw_device was reset"
}

# A second name for a file that exists needs neither a block nor an inode.
record_request() {
    [ ! -e "$state/reset" ] || return 0
    [ -d "$state" ] || mkdir -m 0700 "$state" 2>/dev/null
    { : >"$state/reset"; } 2>/dev/null || ln "$state/base-id" "$state/reset" 2>/dev/null ||
        warn "cannot record the reset on $rw_device: a power cut now would leave it undone"
    sync
}

trash_number=0

next_trash() {
    while :; do
        trash=$rw_dir/trash.$trash_number
        trash_number=$((trash_number + 1))
        [ -e "$trash" ] || [ -L "$trash" ] || break
    done
}

# rename FROM TO: also when FROM was made immutable.
rename() {
    mv "$1" "$2" 2>/dev/null && return
    chattr -ia "$1" "$rw_dir" 2>/dev/null
    mv "$1" "$2"
}

# set_strays_aside: everything on the file system goes, also what is not the overlay's.
set_strays_aside() {
    set +f
    for stray in "$rw_dir"/* "$rw_dir"/.[!.]* "$rw_dir"/..?* "$rw_dir"/lost+found/*; do
        case $stray in
            */upperdir | */upperdir.new | */work | */state | */trash.* | "$rw_dir/lost+found") continue ;;
        esac
        [ -e "$stray" ] || [ -L "$stray" ] || continue
        next_trash
        rename "$stray" "$trash" || warn "cannot set ${stray#"$rw_dir/"} aside"
    done
    set -f
}

# make_fresh_layer: on a full file system the old data has to go now, not later.
make_fresh_layer() {
    layer_base_id=
    make_layer && has_room && return
    delete_old_now
    make_layer
}

delete_old_now() {
    warn "no space for a fresh layer on $rw_device: deleting the old one first"
    set +f
    rm -rf "$rw_dir"/trash.*
    set -f
}

# has_room: for what the kernel makes in the work directory, and for the count of tries.
# The kernel clears it away.
has_room() {
    mkdir "$work/work" "$work/work/1" "$work/work/2" 2>/dev/null
}

# gather_keep_list: sets $keep to the lines that name a path; from the request and from the
# list that holds for every reset. Printed, since a string that grows takes ever longer.
gather_keep_list() {
    keep=$(
        for keep_file in "$state/keep" "$state/reset"; do
            is_own_file "$keep_file" || continue
            while IFS= read -r keep_line || [ -n "$keep_line" ]; do
                case $keep_line in
                    keep=*) printf '%s\n' "$keep_line" ;;
                esac
            done <"$keep_file"
        done
    )
}

newline='
'

# Kept paths wait in state/kept.N, N being the line in the list, between the old layer
# and the new one.
take_kept_out() {
    kept_number=0 kept_ifs=$IFS IFS=$newline
    for kept_line in $keep; do
        IFS=$kept_ifs
        kept_path=${kept_line#keep=}
        take_one_out "${kept_path%/}"
        kept_number=$((kept_number + 1))
    done
    IFS=$kept_ifs
}

# In reverse: what was taken out of another kept path finds that path there again.
put_kept_back() {
    kept_ifs=$IFS IFS=$newline
    # shellcheck disable=SC2086
    set -- $keep
    IFS=$kept_ifs
    while [ "$kept_number" -gt 0 ]; do
        eval "kept_line=\${$kept_number}"
        kept_number=$((kept_number - 1))
        kept_path=${kept_line#keep=}
        put_one_back "${kept_path%/}"
    done
}

take_one_out() { # PATH
    case $1/ in
        [!/]* | / | *//* | */./* | */../*)
            warn "$kept_line is not a plain absolute path: ignored"
            return
            ;;
    esac
    take_from=$upper$1 take_to=$state/kept.$kept_number
    [ ! -e "$take_to" ] && [ ! -L "$take_to" ] || return 0
    parents_are_real "$1" || return 0
    [ -e "$take_from" ] || [ -L "$take_from" ] || return 0
    rename "$take_from" "$take_to" || warn "cannot keep $1"
}

# parents_are_real PATH: no link on the way, which could lead out of the layer; nor one of
# the base, for what is meant lies elsewhere then.
parents_are_real() {
    parents_done='' parents_rest=${1#/}
    while :; do
        case $parents_rest in
            */*) ;;
            *) return 0 ;;
        esac
        parents_done=$parents_done/${parents_rest%%/*}
        parents_rest=${parents_rest#*/}
        [ -d "$upper$parents_done" ] && [ ! -L "$upper$parents_done" ] && continue
        if [ -L "$upper$parents_done" ] ||
            { [ ! -e "$upper$parents_done" ] && [ -L "$base_dir$parents_done" ]; }; then
            warn "keep=$1: $parents_done is a link: not kept"
        fi
        return 1
    done
}

put_one_back() { # PATH
    put_from=$state/kept.$kept_number put_done='' put_rest=${1#/}
    [ -e "$put_from" ] || [ -L "$put_from" ] || return 0
    while :; do
        case $put_rest in
            */*) ;;
            *) break ;;
        esac
        put_done=$put_done/${put_rest%%/*}
        put_rest=${put_rest#*/}
        [ -d "$upper$put_done" ] && [ ! -L "$upper$put_done" ] && continue
        make_parent "$put_done" && continue
        delete_old_now
        make_parent "$put_done" || break
    done
    mv "$put_from" "$upper$1" || error "cannot put $1 back: it is in state/${put_from##*/}"
}

# make_parent PATH: under its name only when it is whole. As the old layer had it, which a
# power cut may have left in any of the trash, or else the base.
make_parent() {
    parent_new=$state/parent.new parent_like=
    set +f
    for parent_of in "$base_dir" "$rw_dir"/trash.* "$trash_upper"; do
        [ ! -d "$parent_of$1" ] || [ -L "$parent_of$1" ] || parent_like=$parent_of$1
    done
    set -f
    [ ! -e "$parent_new" ] || rm -rf "$parent_new"
    mkdir "$parent_new" 2>/dev/null || return
    [ -z "$parent_like" ] || like_directory "$parent_like" "$parent_new"
    mv "$parent_new" "$upper$1" 2>/dev/null
}
