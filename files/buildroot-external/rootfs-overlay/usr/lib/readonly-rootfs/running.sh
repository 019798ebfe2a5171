# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2015,SC2034
#
# What the overlay-* programs share. docs/boot.md describes the files.

PATH=/usr/sbin:/usr/bin:/sbin:/bin
me=${0##*/}

die() {
    echo "$me: $1" >&2
    exit 1
}

# status KEY: sets $value; the last line of a key holds.
status() {
    value=
    while IFS= read -r status_line; do
        case $status_line in
            "$1="*) value=${status_line#*=} ;;
        esac
    done <"$rfs/status"
}

# find_status [DIRECTORY]: of the root's overlay, or of that of one directory: sets $rfs, where its
# status is, and $layers, its writable file system.
find_status() {
    if [ "${1:-/}" = / ]; then
        for rfs in /media/rfs /.rfs; do
            layers=$rfs/rw
            [ ! -r "$rfs/status" ] || return 0
        done
        return 1
    fi
    for rfs in /run/readonly-rootfs/*; do
        layers=/run/buildroot/mounts/${rfs##*/}
        [ -r "$rfs/status" ] || continue
        status directory
        [ "$value" != "$1" ] || return 0
    done
    return 1
}

# open_state: sets $state to the writable state directory of the persistent layer, also
# when the layer is in quarantine; close_state undoes what that took.
open_state() {
    status layer
    case $value in
        persistent)
            layer_root=$layers
            ;;
        fallback)
            status quarantine
            [ -n "$value" ] || die "the layer is not mounted: $(overlay_reason)"
            layer_root=$rfs/quarantine
            mount_is_read_only "$layer_root" && reopened=yes
            [ "$reopened" = no ] || mount -o remount,rw "$layer_root" ||
                die "cannot write to the layer in $layer_root"
            trap close_state EXIT
            ;;
        *) die "there is no persistent layer: a reboot starts afresh" ;;
    esac
    state=$layer_root/state
    [ ! -L "$state" ] || die "$state is a link"
    [ -d "$state" ] || mkdir -m 0700 "$state" || die "cannot make $state"
}
reopened=no

close_state() {
    [ "$reopened" = no ] || mount -o remount,ro "$layer_root"
    reopened=no
}

overlay_reason() {
    status detail
    echo "$value"
}

mount_is_read_only() { # DIRECTORY
    while read -r mount_device mount_dir mount_type mount_options mount_rest; do
        [ "$mount_dir" != "$1" ] || break
    done </proc/mounts
    case $mount_options in
        ro | ro,*) return 0 ;;
    esac
    return 1
}

# put NAME: writes standard input to a file in $state, whole or not at all.
put() {
    cat >"$state/$1.new" && sync && mv "$state/$1.new" "$state/$1" && sync
}
