# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154 # common.sh: rfs upper state
#
# Prints sections that begin with a line @name; @changes counts names, which may hold newlines.
section() {
	printf '\n@%s\n' "$1"
}

section boot_id
cat /proc/sys/kernel/random/boot_id
section uptime
cat /proc/uptime
section release
uname -r
section mounts
cat /proc/mounts
section status
[ ! -r "$rfs/status" ] || cat "$rfs/status"
section rfs
echo "$rfs"
section space
df -P -k "$rfs/rw" 2>/dev/null
section inodes
df -P -i "$rfs/rw" 2>/dev/null
section changes
[ ! -d "$upper" ] || find "$upper" -xdev -print0 | tr -cd '\000' | wc -c
section request
[ ! -e "$state/reset" ] || echo pending
section directories
for status in /run/readonly-rootfs/*/status; do
	[ -r "$status" ] || continue
	rfs=${status%/status}
	layers=/run/buildroot/mounts/${rfs##*/}
	cat "$status"
	echo "layers=$layers"
	printf 'space=%s\n' "$(df -P -k "$layers" 2>/dev/null | tail -n 1)"
	printf 'changes=%s\n' "$(find "$layers/upper" -xdev -print0 | tr -cd '\000' | wc -c)"
	for request in "$layers/state/reset" "$rfs/quarantine/state/reset"; do
		[ ! -e "$request" ] || echo request=pending
	done
done
printf '\n'
