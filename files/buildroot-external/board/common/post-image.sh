#!/bin/sh
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
#
# From kernel and rootfs.* in the images directory (first argument) to
# overlay.ext4, sdcard.img and start-qemu.sh. Buildroot and the debian builder
# both call it; nothing half-made gets a final name.
set -eu

images=$1
common=$(cd "$(dirname "$0")" && pwd)

# Times inside the file systems: those of the sources, not of the build.
export E2FSPROGS_FAKE_TIME="${SOURCE_DATE_EPOCH:?}"
export E2FSCK_TIME="$SOURCE_DATE_EPOCH"
export MKE2FS_CONFIG="$common/mke2fs.conf"

work=$(mktemp -d "$images/.post-image.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$work/root" "$work/out"

genimage \
    --config "$common/genimage.cfg" \
    --rootpath "$work/root" \
    --tmppath "$work/tmp" \
    --inputpath "$images" \
    --outputpath "$work/out"
install -m 0755 "$common/start-qemu.sh" "$work/out/"

mv "$work/out/"* "$images/"
