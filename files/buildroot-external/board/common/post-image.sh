#!/bin/sh
# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
#
# From kernel and rootfs.* in the images directory (first argument) to
# overlay.ext4, sdcard.img and, for a board that QEMU has, start-qemu.sh. Buildroot and the debian builder
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
mkdir -p "$work/root/boot" "$work/out"

# What the firmware of some boards reads from a boot partition.
if [ -e "$common/boot-files" ]; then
    cd "$images"
    while IFS= read -r pattern; do
        for file in $pattern; do
            cp -R -- "$file" "$work/root/boot/"
        done
    done <"$common/boot-files"
    find "$work/root" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
fi

# Another UUID for every base, made of its identity: by it overlayfs knows that a layer's copies of
# files are not of the base below. (Buildroot made the file system with the same one always.)
identity=${TARGET_DIR:-/nonexistent}/usr/lib/readonly-rootfs/base-id
if [ -e "$identity" ] && [ -e "$images/rootfs.ext2" ]; then
    uuid=$(sed -E 's/^(.{8})(.{4})(.{4})(.{4})(.{12}).*/\1-\2-\3-\4-\5/' "$identity")
    tune2fs -U "$uuid" "$images/rootfs.ext2"
fi

genimage \
    --config "$common/genimage.cfg" \
    --rootpath "$work/root" \
    --tmppath "$work/tmp" \
    --inputpath "$images" \
    --outputpath "$work/out"
[ ! -e "$common/start-qemu.sh" ] || install -m 0755 "$common/start-qemu.sh" "$work/out/"

mv "$work/out/"* "$images/"
