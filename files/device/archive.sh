# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154 # view.sh: upper view, diff.sh: scope. The caller assigns: wanted
#
# Archives files as they are in the merged tree: wanted=names, the NUL-terminated names on standard
# input; wanted=layer, after diff.sh, all that the upper layer holds (@A; absent where directories
# were renamed, because the layer's names are not the merged tree's then). As many names as one
# command line holds make one archive, so that hard links stay hard links.
# What a running system may have deleted meanwhile, and what no archive holds.
# shellcheck disable=SC2016
present='for f do if { [ -e "$f" ] || [ -L "$f" ]; } && [ ! -S "$f" ]; then printf "%s\0" "$f"; fi; done'
pack() {
	cd "$view" || exit
	xargs -0 -r sh -c "$present" sh | xargs -0 -r -s 1000000 tar -c -f - --no-recursion -- ||
		fail "cannot archive the changes: is a file being written to? then try again"
}
if [ "$wanted" = names ]; then
	pack
elif [ "$scope" = upper ]; then
	printf '@A\n'
	(cd "$upper" && find . -xdev -print0) | pack
fi || exit
