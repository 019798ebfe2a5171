# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154 # common.sh: rfs lower upper state directory. The caller assigns: layer
#
# Mounts the merged tree at $view for the script that follows. Prints, each up to a NUL: the mount
# table (@P), the init's status and the layer looked at (@S), and what every reset keeps (@K).
# layer=user is the quarantined one if there is one, else the current.
quarantined=$rfs/quarantine/${upper##*/}
if [ "$layer" = user ]; then
	layer=current
	[ ! -d "$quarantined" ] || layer=quarantine
fi
if [ "$layer" = quarantine ]; then
	upper=$quarantined
	state=$rfs/quarantine/state
fi
printf '@P\n'
cat /proc/mounts
printf '\0\n@S\n'
[ ! -r "$rfs/status" ] || cat "$rfs/status"
printf 'seen=%s\n\0\n@K\n' "$layer"
[ ! -r "$state/keep" ] || cat "$state/keep"
printf '\0\n'
if [ ! -d "$lower" ] || [ ! -d "$upper" ]; then
	printf '@END\n'
	exit 0
fi
[ "$(id -u)" = 0 ] || fail "looking at the layers needs root on the device"

view=
cleanup() {
	# The script may be in it, and something that it started may still be.
	cd /
	[ -z "$view" ] || { umount "$view" 2>/dev/null || umount -l "$view"; rmdir "$view"; }
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM PIPE
for place in "$rfs" /run /tmp /dev; do
	case $(grep " $place " /proc/mounts) in
	*" $place tmpfs "* | *" $place devtmpfs "*) ;;
	*) continue ;;
	esac
	mkdir -m 0700 "$place/.overlay-view.$$" 2>/dev/null || continue
	view=$place/.overlay-view.$$
	break
done
[ -n "$view" ] || fail "no tmpfs on $rfs, /run, /tmp or /dev to look at the layers from"
# A bind mount of the directory shows the merged tree without what is mounted on top of it.
if [ "$layer" = current ]; then
	mount -o bind "$directory" "$view"
else
	mount -t overlay -o "ro,lowerdir=$upper:$lower" overlay "$view"
fi || { rmdir "$view"; view=; fail "cannot mount the merged tree to look at it"; }
export lower upper view
