#!/bin/sh
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
#
# Seals a root file system tree: gives it its identity, the SHA-256 over every
# path, type, mode, link target and content. Buildroot and the debian builder
# both call it with the tree as the first argument.
set -eu
export LC_ALL=C

lib=usr/lib/readonly-rootfs
identity=$lib/base-id
boot=$(cd "$(dirname "$0")/../../dracut/99readonly-rootfs-overlay/lib" && pwd)

cd "$1"
mkdir -p "$lib"
rm -f "$identity"

# With systemd, overlays on single directories use the boot script's own functions.
if [ -e usr/lib/systemd/systemd ]; then
    for part in log mount layer reset; do
        install -m 0644 "$boot/$part.sh" "$lib/"
    done
fi

id=$(
    {
        find . ! -path ./usr/lib/readonly-rootfs -printf '%P\t%y\t%m\t%l\n' | sort
        find . -type f -print0 | sort -z | xargs -0 sha256sum --
    } | sha256sum
)
printf '%s\n' "${id%% *}" >"$identity.new"
mv "$identity.new" "$identity"
