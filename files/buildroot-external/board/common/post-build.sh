#!/bin/sh
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
#
# Seals a root file system tree: gives it its identity, the SHA-256 over every
# path, type, mode, link target and content. Buildroot and the debian builder
# both call it with the tree as the first argument.
set -eu
export LC_ALL=C

identity=usr/lib/readonly-rootfs/base-id

cd "$1"
mkdir -p "${identity%/*}"
rm -f "$identity"

id=$(
    {
        find . ! -path ./usr/lib/readonly-rootfs -printf '%P\t%y\t%m\t%l\n' | sort
        find . -type f -print0 | sort -z | xargs -0 sha256sum --
    } | sha256sum
)
printf '%s\n' "${id%% *}" >"$identity.new"
mv "$identity.new" "$identity"
