# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154 # view.sh: lower view
#
# For the NUL-terminated names on standard input: the regular files of that name in the merged
# tree and in the base, as tar archives, after a line that tells where the merged tree is.
printf '%s %s\n' "$view" "$lower"
# shellcheck disable=SC2016
both='for f do
	for t in "$view" "$lower"; do
		if [ -f "$t/$f" ] && [ ! -L "$t/$f" ]; then printf "%s\0" "$t/$f"; fi
	done
done'
# BusyBox tells on standard error that it drops the leading slash.
xargs -0 -r sh -c "$both" sh | (cd / && xargs -0 -r tar -cf - 2>/dev/null) ||
	fail "cannot read the files: is one being written to? then try again"
