# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2034,SC2154 # For look, which the caller defines; it also assigns: token
#
# Runs look for the overlay of the root and for each that systemd mounts on a single directory,
# of which the output begins with a line of the token, the directory, and where its layers are.
unescaped() {
	# The mount table has spaces and the like in octal.
	# shellcheck disable=SC2059 # That is a format.
	printf "$(printf %s "$1" | sed 's/%/%%/g')"
}
mounts=$(cat /proc/mounts)
look </dev/null || exit
while read -r _ directory fstype options _; do
	case $fstype,$options in
	overlay,*upperdir=/run/buildroot/mounts/* | overlay,*upperdir=/run/readonly-rootfs/*) ;;
	*) continue ;;
	esac
	place=${options##*upperdir=} place=${place%%,*} place=${place%/*}
	directory=$(unescaped "$directory") place=$(unescaped "$place")
	printf '\n%s\n%s\0%s\0' "$token" "$directory" "$place"
	look </dev/null || exit
done <<END
$mounts
END
