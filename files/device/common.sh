# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2034,SC2154 # For the script that follows.
#
# The beginning of every script: the environment, and where the layers are. The caller assigns:
# directory, on which the overlay is, and place, where its layers are if that is not the root.
LC_ALL=C TZ=UTC0
export LC_ALL TZ
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH

fail() {
	echo "$*" >&2
	exit 1
}

rfs=/media/rfs
[ ! -d /.rfs/ro ] || rfs=/.rfs
lower=$rfs/ro
upper=$rfs/rw/upperdir
layers=$rfs/rw
if [ "$directory" != / ]; then
	layers=$(readlink -f "$place")
	rfs=/run/readonly-rootfs/${layers##*/}
	lower=$layers/lower
	upper=$layers/upper
fi
state=$layers/state
