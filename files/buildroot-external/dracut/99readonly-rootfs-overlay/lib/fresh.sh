# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2015,SC2034,SC2154
#
# A layer that is not there yet, or not all of it: the first boot, and after a reset.

make_fresh() {
    layer_fresh=yes
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

# like_xattrs FROM TO: only where the base brings GNU's tools, which are called by their path
# because a BusyBox shell may take its own applets for them.
like_xattrs() {
    [ -x /usr/bin/getfattr ] && [ -x /usr/bin/setfattr ] || return 0
    # TO is /, for getfattr: --restore takes the name from the dump.
    cd "$1" && /usr/bin/getfattr -d -m - -e hex . >"$rfs/.xattr" 2>/dev/null
    # Marks of overlayfs are about what is in FROM, and would hide the base's files in TO.
    while IFS= read -r xattr_line; do
        case $xattr_line in
            trusted.overlay.* | user.overlay.*) ;;
            *) printf '%s\n' "$xattr_line" ;;
        esac
    done <"$rfs/.xattr" >"$rfs/.xattr.own"
    cd "$2" && /usr/bin/setfattr "--restore=$rfs/.xattr.own" 2>/dev/null ||
        info "cannot give / all extended attributes of the base: ${2%upperdir*} does not take them"
    cd / || :
}
