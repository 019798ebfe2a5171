# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2015,SC2034,SC2154
#
# Will the real init start? Asked before the switch, while another layer can be chosen.

# preflight: init, what it is a link to, its interpreter or loader, all inside $newroot.
preflight() {
    runs "$init" 0 || fail init "$init cannot start: $cause" || return
    stamp checked
}

# runs PATH DEPTH
runs() {
    resolve "$1" || return
    runs_program=$resolved
    [ -f "$newroot$resolved" ] || {
        cause="$resolved is missing"
        return 1
    }
    [ -s "$newroot$resolved" ] && [ -x "$newroot$resolved" ] || {
        cause="$resolved is empty or not executable"
        return 1
    }
    first_line "$newroot$resolved"
    case $line in
        '#!'*)
            [ "$2" -lt 4 ] || {
                cause="too many interpreters"
                return 1
            }
            # shellcheck disable=SC2086
            set -- "$2" ${line#??}
            [ $# -gt 1 ] || {
                cause="$resolved names no interpreter"
                return 1
            }
            runs "$2" $(($1 + 1))
            ;;
        ?ELF*)
            ! base_alone_runs || return 0
            use elf
            read_loader "$newroot$resolved" || return
            [ -z "$loader" ] || { loader_is_there && libraries_load; }
            ;;
        *)
            cause="$resolved is no program"
            return 1
            ;;
    esac
}

# first_line FILE: sets $line; of a program that is no script, as much as tells what it is.
first_line() {
    line=
    # dash has no -n.
    # shellcheck disable=SC3045
    read -r -n 4 line 2>/dev/null <"$1" || read -r line 2>/dev/null <"$1" || :
    case $line in
        '#!'*) read -r line <"$1" || : ;;
    esac
}

# base_alone_runs: the program is the base's and so are all libraries, on a layer that was
# made on this very base; that was looked into then.
base_alone_runs() {
    [ "$layer" != fallback ] && [ "$layer_fresh" = no ] &&
        [ -n "$base_id" ] && [ "$layer_base_id" = "$base_id" ] || return
    for alone in "$runs_program" /usr /lib /lib32 /lib64 /usr/lib /usr/lib32 /usr/lib64; do
        # Deleted, hidden by a directory made anew, or of the layer.
        if [ -e "$base_dir$alone" ] && [ ! -e "$newroot$alone" ]; then
            return 1
        fi
        [ "$alone" != /usr ] || [ ! -d "$upper/usr" ] || [ -L "$upper/usr" ] || continue
        [ ! -e "$upper$alone" ] && [ ! -L "$upper$alone" ] || return
    done
}

# resolve PATH: sets $resolved, all links followed as if $newroot were /.
resolve() {
    resolved='' resolve_rest=$1 resolve_links=0
    while :; do
        while :; do # slashes
            case $resolve_rest in
                /*) resolve_rest=${resolve_rest#/} ;;
                *) break ;;
            esac
        done
        [ -n "$resolve_rest" ] || break
        resolve_name=${resolve_rest%%/*}
        resolve_rest=${resolve_rest#"$resolve_name"}
        case $resolve_name in
            .) continue ;;
            ..)
                resolved=${resolved%/*}
                continue
                ;;
        esac
        if [ ! -L "$newroot$resolved/$resolve_name" ]; then
            resolved=$resolved/$resolve_name
            continue
        fi
        resolve_links=$((resolve_links + 1))
        [ $resolve_links -le 40 ] || {
            cause="$1 is a loop of links"
            return 1
        }
        # A link to a directory that stays inside needs no process: the shell itself
        # tells where it leads.
        if [ -d "$newroot$resolved/$resolve_name/." ] &&
            cd -P "$newroot$resolved/$resolve_name" 2>/dev/null; then
            resolve_there=$PWD
            cd / || :
            case $resolve_there in
                "$newroot"/*)
                    resolved=${resolve_there#"$newroot"}
                    continue
                    ;;
            esac
        fi
        # What init usually is a link to needs none either. The name that was guessed is
        # resolved in its turn.
        for resolve_usual in /bin/busybox /lib/systemd/systemd; do
            # shellcheck disable=SC3013 # ash, dash and bash have -ef
            if [ "$newroot$resolved/$resolve_name" -ef "$newroot$resolve_usual" ] &&
                [ "$resolved/$resolve_name" != $resolve_usual ]; then
                resolved='' resolve_rest=$resolve_usual$resolve_rest
                continue 2
            fi
        done
        resolve_target=$(readlink "$newroot$resolved/$resolve_name")
        case $resolve_target in
            /*) resolved= ;;
        esac
        resolve_rest=$resolve_target$resolve_rest
    done
}
