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
    runs_magic=
    read -r runs_magic 2>/dev/null <"$newroot$resolved" || :
    case $runs_magic in
        '#!'*)
            [ "$2" -lt 4 ] || {
                cause="too many interpreters"
                return 1
            }
            # shellcheck disable=SC2086
            set -- "$2" ${runs_magic#??}
            [ $# -gt 1 ] || {
                cause="$resolved names no interpreter"
                return 1
            }
            runs "$2" $(($1 + 1))
            ;;
        ?ELF*)
            read_loader "$newroot$resolved" || return
            [ -z "$loader" ] || { loader_is_there && libraries_load; }
            ;;
        *)
            cause="$resolved is no program"
            return 1
            ;;
    esac
}

loader_is_there() {
    resolve "$loader" || return
    runs_magic=
    [ ! -f "$newroot$resolved" ] || [ ! -x "$newroot$resolved" ] ||
        read -r runs_magic 2>/dev/null <"$newroot$resolved" || :
    case $runs_magic in
        ?ELF*) ;;
        *)
            cause="its loader $loader is missing or broken"
            return 1
            ;;
    esac
}

# libraries_load: only a layer with libraries of its own can spoil them; then the loader
# itself is asked. One that does not know --list refuses the base, too.
libraries_load() {
    for runs_directory in lib lib64 lib32 usr/lib usr/lib64 usr/lib32; do
        [ ! -d "$upper/$runs_directory" ] || break
        runs_directory=
    done
    [ -n "$runs_directory" ] || return 0
    chroot "$newroot" "$loader" --list "$runs_program" >/dev/null 2>"$rfs/.error" ||
        ! chroot "$rfs/ro" "$loader" --list "$runs_program" >/dev/null 2>&1 || {
        first_error "$rfs/.error"
        return 1
    }
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

# read_loader FILE: sets $loader to the ELF program interpreter, empty if static. The
# first kilobyte nearly always holds all that is asked for.
read_loader() {
    loader='' elf_file=$1
    bytes "$elf_file" 0 1024
    # shellcheck disable=SC2086
    set -- $hex
    [ $# -ge 64 ] || {
        cause="$resolved is cut short"
        return 1
    }
    elf_order=$6
    case $5,$6 in # class, byte order
        02,01) elf_headers=$((0x${36}${35}${34}${33})) ;;
        02,02) elf_headers=$((0x${37}${38}${39}${40})) ;;
        01,01) elf_headers=$((0x${32}${31}${30}${29})) ;;
        01,02) elf_headers=$((0x${29}${30}${31}${32})) ;;
        *) elf_headers=0 ;;
    esac
    if [ "$5" = 02 ]; then
        elf_half "${57}" "${58}"
        elf_size=56
    else
        elf_half "${45}" "${46}"
        elf_size=32
    fi
    elf_left=$elf_value
    if [ $((elf_headers + elf_left * elf_size)) -le $# ]; then
        shift "$elf_headers"
    else
        bytes "$elf_file" "$elf_headers" $((elf_left * elf_size))
        # shellcheck disable=SC2086
        set -- $hex
    fi
    while [ "$elf_left" -gt 0 ] && [ $# -ge $elf_size ]; do
        elf_word "$1" "$2" "$3" "$4"
        if [ "$elf_value" = 3 ]; then # PT_INTERP
            elf_segment "$@"
            return
        fi
        shift $elf_size
        elf_left=$((elf_left - 1))
    done
}

elf_half() {
    if [ "$elf_order" = 01 ]; then elf_value=$((0x$2$1)); else elf_value=$((0x$1$2)); fi
}

elf_word() {
    if [ "$elf_order" = 01 ]; then elf_value=$((0x$4$3$2$1)); else elf_value=$((0x$1$2$3$4)); fi
}

# elf_segment BYTE...: sets $loader to what the segment of this header holds.
elf_segment() {
    case $elf_size,$elf_order in
        56,01)
            elf_word "$9" "${10}" "${11}" "${12}"
            shift 32
            ;;
        56,02)
            elf_word "${13}" "${14}" "${15}" "${16}"
            shift 36
            ;;
        *)
            elf_word "$5" "$6" "$7" "$8"
            shift 16
            ;;
    esac
    elf_offset=$elf_value
    elf_word "$1" "$2" "$3" "$4"
    bytes "$elf_file" "$elf_offset" "$elf_value"
    # From numbers to characters without a process: through a file.
    elf_text=
    for elf_byte in $hex; do
        [ "$elf_byte" != 00 ] || break
        elf_value=$((0x$elf_byte))
        elf_text=$elf_text\\$((elf_value / 64))$((elf_value / 8 % 8))$((elf_value % 8))
    done
    # shellcheck disable=SC2059
    printf "$elf_text\n" >"$rfs/.loader"
    read -r loader <"$rfs/.loader"
}
