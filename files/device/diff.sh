# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154 # view.sh: lower upper view. The caller assigns: scope
#
# Prints what the controller needs to tell the user's layer from the base:
#   @N names in the merged tree    @O names in upper    @U and @L records of upper (all: merged) and lower
#   @H checksums of regular files in both    @X extended attributes, where there is a getfattr
# Names are NUL-terminated; `ls` prints one line per name, sorted. BusyBox applets of a stock
# Buildroot suffice: there is no stat, no find -printf, no getfattr to count on.
QUOTING_STYLE=escape # What else GNU ls would print raw.
export QUOTING_STYLE
# Run by xargs on batches of names.
# shellcheck disable=SC2016
records='t=$1; shift; printf "@%s %d\n" "$t" $#; printf "%s\0" "$@"; ls -linsd --full-time -- "$@" 2>/dev/null; :'
# shellcheck disable=SC2016
directories='for f do if [ -d "$f" ] && [ ! -L "$f" ]; then printf "%s\0" "$f"; fi; done'
# shellcheck disable=SC2016
common='for f do
	if [ -f "$f" ] && [ ! -L "$f" ] && [ -f "$lower/$f" ] && [ ! -L "$lower/$f" ]; then printf "%s\0" "$f"; fi
done'
# shellcheck disable=SC2016
checksums='printf "@H %d\n" $#; printf "%s\0" "$@"
for t in "$lower" "$view"; do cd "$t" && sha256sum -- "$@" 2>/dev/null; printf "\0"; done; printf "\n"'
# shellcheck disable=SC2016
attributes='t=$1; shift; printf "@X %s %d\n" "$t" $#; printf "%s\0" "$@"; $getfattr -- "$@" 2>/dev/null; printf "\0\n"'

# Where to look: at what the upper layer holds, or (scope=all) at everything.
tree=$upper
[ "$scope" = upper ] || tree=$view
all() { cd "$tree" && find . -xdev "$@" -print0; }
children() { xargs -0 -r sh -c 'find "$@" -xdev -maxdepth 1 -print0' sh; }

if [ "$scope" = upper ]; then
	printf '@N\n'
	all -type d | (cd "$view" && children)
else
	printf '@O\n'
	(cd "$upper" && find . -xdev -print0)
fi
printf '\0\n'
all | (cd "$tree" && xargs -0 -r sh -c "$records" sh U)
all -type d | (cd "$lower" && xargs -0 -r sh -c "$directories" sh | children | xargs -0 -r sh -c "$records" sh L)
# A 64 MiB file is read only if its size says that it might be unchanged: see details.sh.
all -type f -size -131073 | (cd "$tree" && xargs -0 -r sh -c "$common" sh | xargs -0 -r sh -c "$checksums" sh)

if getfattr --version >/dev/null 2>&1; then
	getfattr='getfattr -h -d -m - -e hex --absolute-names'
	printf '@G gnu\n'
elif command -v getfattr >/dev/null; then
	getfattr='getfattr -h -d'
	printf '@G busybox\n'
else
	getfattr=
fi
if [ -n "$getfattr" ]; then
	export getfattr
	(cd "$upper" && find . -xdev -print0 | xargs -0 -r sh -c "$attributes" sh U)
	all | (cd "$lower" && xargs -0 -r sh -c "$attributes" sh L)
	[ "$scope" = upper ] || all | (cd "$view" && xargs -0 -r sh -c "$attributes" sh M)
fi
printf '@END\n'
