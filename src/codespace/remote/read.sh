# shellcheck shell=sh
# The verbs `hash` and `get`: digests of files and of their beginnings, and bytes of them. Who asks for a digest may know already which
# bytes it will want: they follow the digests.

# The digests of files of the store, in their order. One that cannot be opened keeps all of them waiting, but not for long: then each is
# read alone.
digests_of_store() {
    if command -v sha256sum >/dev/null 2>&1; then
        hashed=$(over "$1" ${limit:+timeout} ${limit:+20} sha256sum 2>/dev/null)
    else
        hashed=$(over "$1" shasum -a 256 2>/dev/null)
    fi && printf "%s\n" "$hashed" && return 0
    ranges
    for path in $1; do
        case $nl$hashed$nl in
            *"  $path$nl"*)
                sum=$nl$hashed$nl
                sum=${sum%%"  $path$nl"*}
                printf "%s  %s\n" "${sum##*"$nl"}" "$path"
                ;;
            *)
                sum=$([ ! -f "$path" ] || piece 0 "" "$path" 2>/dev/null | digest)
                [ -z "$sum" ] || printf "%s  %s\n" "${sum%% *}" "$path"
                ;;
        esac
    done
}

digest() {
    if command -v sha256sum >/dev/null 2>&1; then sha256sum; else shasum -a 256; fi
}

# The paths behind this word of the request (and, but for `w`, a number), or behind two numbers: those that can be read.
readable() {
    for line in $body; do
        case $line in
            "$1"*) ;;
            *) continue ;;
        esac
        path=${line#* }
        [ "$1" = "w " ] || path=${path#* }
        if [ -f "$path" ] && [ -r "$path" ]; then printf "%s\n" "$path"; fi
    done
}

# What the tools say comes in the order in which it was asked, without what they could not read.
hash_whole() {
    paths=$(readable "w ")
    # shellcheck disable=SC2046
    set -- $([ -z "$paths" ] || digests_of_store "$paths")
    for line in $body; do
        case $line in
            "w "*) path=${line#w } ;;
            *) continue ;;
        esac
        case ${1:-} in
            [0-9a-f]*"  $path")
                printf "w %s %s\n" "${1%% *}" "$path"
                shift
                ;;
            *) printf "x %s\n" "$path" ;;
        esac
    done
}

hash_parts() {
    paths=$(readable "h ")
    [ -z "$paths" ] || ranges
    # shellcheck disable=SC2046
    set -- $(stats "$paths" -L "$stat_flag" "$size $name")
    for line in $body; do
        case $line in
            "h "*) line=${line#h } ;;
            *) continue ;;
        esac
        length=${line%% *} path=${line#* } sum=
        case ${1:-} in
            *" $path")
                [ "${1%% *}" -lt "$length" ] || sum=$(piece 0 "$length" "$path" 2>/dev/null | digest)
                shift
                ;;
        esac
        if [ -n "$sum" ]; then printf "h %s %s %s\n" "$length" "${sum%% *}" "$path"; else printf "x %s\n" "$path"; fi
    done
}

verb_hash() {
    which_tools
    formats
    cd "$claude" || fail "cannot enter $claude"
    item hashes "$(hash_whole && hash_parts)"
    asked=$body body=
    for line in $asked; do
        case $line in
            "b "*) body=$body${body:+$nl}${line#b } ;;
        esac
    done
    [ -z "$body" ] || give
}

# A range, in the length that was announced: of a file that became shorter, or a pipe, zeros stand for what is missing. Who asked
# proves what it gets, so this costs that file and not the visit.
send() {
    [ "$2" != 0 ] || return 0
    # The shell that reads what dd says becomes dd: of each file that is sent, this saves a copy of a shell that knows all of them.
    { told=$(alone="exec" && piece "$1" "$2" "$3" 2>&1 >&3); } 3>&1
    told=${told##*"$nl"}
    case $told in
        *" byte"*) told=${told%% *} ;;
        "dd: "*) told=0 ;;
    esac
    if [ "$told" -lt "$2" ] 2>/dev/null; then head -c "$(($2 - told))" </dev/zero; fi
}

# The ranges that are asked for, one after the other.
give() {
    ranges
    paths=$(readable "")
    # shellcheck disable=SC2046
    set -- $(stats "$paths" -L "$stat_flag" "$size $name")
    for line in $body; do
        offset=${line%% *}
        line=${line#* }
        length=${line%% *}
        path=${line#* }
        available=-1
        case ${1:-} in
            *" $path")
                available=${1%% *}
                shift
                ;;
        esac
        if [ $((offset + length)) -le "$available" ]; then
            printf "data %s\n" "$length"
            send "$offset" "$length" "$path"
        else
            printf "gone 0\n"
        fi
    done
}

verb_get() {
    which_tools
    formats
    cd "$claude" || fail "cannot enter $claude"
    give
}
