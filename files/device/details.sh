# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154 # view.sh: lower view
#
# For the NUL-terminated names on standard input: both targets of a symbolic link, or whether two
# files are the same; what diff.sh leaves open because `ls` cannot show it or it would take long.
# shellcheck disable=SC2016
compare='for f do
	printf "%s\0" "$f"
	if [ -L "$view/$f" ]; then
		readlink -n -- "$lower/$f" 2>/dev/null; printf "\0"
		readlink -n -- "$view/$f"; printf "\0"
	elif cmp -s -- "$lower/$f" "$view/$f"; then
		printf "same\0same\0"
	else
		printf "\0differs\0"
	fi
done'
xargs -0 -r sh -c "$compare" sh
printf '@END\n'
