# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154 # view.sh: view. The caller assigns: directories others deleted attributes owners
#
# Makes the changes of a backup in the merged tree. On standard input, one after the other: NUL-terminated
# names, $directories bytes of what is a directory in the archive, $others of what is not, $deleted of what to
# delete; then $attributes bytes for setfattr, and a tar archive.
# owners are commands for the symbolic links, whose owners BusyBox's tar does not restore.
# Prints @xattrs if the attributes were set.
cd "$view" || exit
# A link where the archive has a directory would lead astray, a directory where it has a file be in the way.
# shellcheck disable=SC2016
make_real='for f do if [ -L "$f" ] || [ ! -d "$f" ]; then rm -f -- "$f"; fi; done'
# shellcheck disable=SC2016
make_way='for f do if [ ! -L "$f" ] && [ -d "$f" ]; then rm -rf -- "$f"; fi; done'
# bs=1: what follows must be left in the pipe.
dd bs=1 count="$directories" 2>/dev/null | xargs -0 -r sh -c "$make_real" sh
dd bs=1 count="$others" 2>/dev/null | xargs -0 -r sh -c "$make_way" sh
dd bs=1 count="$deleted" 2>/dev/null | xargs -0 -r rm -rf -- || fail "cannot delete what the backup deletes"
dump=$(dd bs=1 count="$attributes" 2>/dev/null)
tar -x -f - || fail "cannot unpack the backup: is the layer full or read-only?"
eval "$owners"
# Last, because a change of the owner takes capabilities away. BusyBox's sets nothing binary,
# and its shell may take its own applet where no path is given.
if /usr/bin/setfattr --version >/dev/null 2>&1; then
	[ -z "$dump" ] || printf '%s\n' "$dump" | /usr/bin/setfattr -h --restore=- || fail "cannot set extended attributes"
	printf '@xattrs\n'
fi
sync
