#!/bin/sh
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
#
# Finishes a root file system tree: does what commits from devices ask for, then gives
# the tree its identity, the SHA-256 over every path, type, mode, link target and
# content. Buildroot and the debian builder both call it with the tree as the first
# argument.
set -eu
export LC_ALL=C

lib=usr/lib/readonly-rootfs
identity=$lib/base-id
boot=$(cd "$(dirname "$0")/../../dracut/99readonly-rootfs-overlay" && pwd)

cd "$1"
mkdir -p "$lib"
rm -f "$identity"

# The boot script is in the base, too: `init=/init` starts it where there is no
# initramfs, and overlays on single directories use its functions.
install -m 0755 "$boot/init" init
install -m 0644 "$boot"/lib/*.sh "$lib/"

# Lines of module overlay_commit. Nothing outside of the tree is touched, whatever links it has.
tree=$(pwd -P)
inside() {
    case $(cd "$(dirname "./$1")" 2>/dev/null && pwd -P)/ in
        "$tree"/*) [ -e "$1" ] || [ -L "$1" ] ;;
        *) return 1 ;;
    esac
}
if [ -d "$lib/commit" ]; then
    cat "$lib"/commit/* | while IFS= read -r line; do
        case $line in
            "delete "*) path=${line#delete } ;;
            "mode "*) path=${line#mode ????? } mode=${line#mode } ;;
            *) echo "$0: unknown line: $line" >&2 && exit 1 ;;
        esac
        inside "$path" || continue
        case $line in
            "delete "*) rm -rf -- "./$path" ;;
            "mode "*) [ -L "$path" ] || chmod "${mode%% *}" "./$path" ;;
        esac
    done
    rm -rf "$lib/commit"
fi

id=$(
    {
        find . ! -path ./usr/lib/readonly-rootfs -printf '%P\t%y\t%m\t%l\n' | sort
        find . -type f -print0 | sort -z | xargs -0 sha256sum --
    } | sha256sum
)
printf '%s\n' "${id%% *}" >"$identity.new"
mv "$identity.new" "$identity"
