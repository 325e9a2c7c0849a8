# shellcheck shell=sh
# The verb `put`, first half: what is to be installed is put together aside, proved by its digest, and made durable; what it displaces
# is kept in the vault, under a second name.

# The digests of files of ours.
digests() {
    if command -v sha256sum >/dev/null 2>&1; then over "$1" sha256sum 2>/dev/null; else over "$1" shasum -a 256 2>/dev/null; fi
}

# What stands before the share in use, in the last line. The name of the device may hold blanks, and so may the way to it.
free_kib() {
    nearest
    disk=$(df -Pk "$near" 2>/dev/null) || return 0
    IFS=" "
    # shellcheck disable=SC2086
    set -- ${disk##*"$nl"}
    IFS=$nl
    while [ "$#" -gt 2 ]; do
        case $2 in
            [0-9]*% | -)
                if [ "$1" -ge 0 ] 2>/dev/null; then printf "%s" "$1" && return 0; fi
                ;;
        esac
        shift
    done
}

# The plan goes through four steps, each of which reads lines and prints lines with the last fields filled in:
#   number, operation, session, token, size, digest, path, staged file, vault name, verdict (ok so far, or the outcome)

# Takes a line apart; IFS is a space while it does.
fields() {
    number=$1 operation=$2 session=$3 token=$4 length=$5 sum=$6 path=$7 staged=$8 vault=$9
    shift 9
    verdict=$*
}

row() {
    IFS=" "
    # shellcheck disable=SC2086
    fields $1
    IFS=$nl
}

# The stage goes last: it tells of the others.
clean() {
    [ -z "$abroad" ] || find "$projects/" -name ".css-$nonce-*" -exec rm -f {} + 2>/dev/null
    cd / && rm -rf "$stage"
}

take_lock() {
    locked=
    command -v flock >/dev/null 2>&1 || return 0
    trouble=$( (: >>"$own/lock") 2>&1) || fail "cannot open $own/lock: $(reason "$trouble")"
    exec 9>>"$own/lock"
    waited=0
    until flock -n 9; do
        waited=$((waited + 1))
        [ "$waited" -le 20 ] || fail "another writer holds $own/lock"
        sleep 1
    done
    locked=yes
}

# Whether a directory on the way to a path below projects/ is a symbolic link.
linked() {
    rest=$1 way=$projects
    while :; do
        case $rest in
            */*) ;;
            *) return 1 ;;
        esac
        way=$way/${rest%%/*}
        rest=${rest#*/}
        [ ! -L "$way" ] || return 0
    done
}

# Why a tool failed: its first line that is no account of a dd that went well (the later ones say that it gave up), unless the disk is
# full, which not every tool says.
reason() {
    known=$(free_kib)
    room=${known:-64}
    case $1 in
        *"o space left"* | *"uota exceeded"* | *"Wrote only "* | *"short write"*) room=0 ;;
    esac
    if [ "$room" -lt 64 ]; then
        printf "disk full%s" "${known:+: $known KiB free}"
    else
        for why in $1; do
            case $why in
                *" records in" | *" records out" | *" copied, "*) ;;
                *) printf "%.1000s" "$why" && return 0 ;;
            esac
        done
    fi
}

build() {
    for line in $plan; do
        case $line in
            "file "*) ;;
            *) continue ;;
        esac
        IFS=" "
        # shellcheck disable=SC2086
        set -- $line
        IFS=$nl
        staged=data/$2 verdict=ok
        if linked "$9"; then
            verdict="failed symlink"
        elif [ ! -f "$staged" ]; then
            verdict=bad
        elif [ "$5" = 0 ]; then
            :
        elif [ ! -f "$projects/$9" ] || [ -L "$projects/$9" ]; then
            verdict=changed
        else
            staged=new/$2
            [ -n "${flags+asked}" ] || ranges
            if ! trouble=$({ { piece 0 "$5" "$projects/$9" && cat "data/$2"; } >"$staged" && touch -r "data/$2" "$staged"; } 2>&1); then
                verdict=changed
                [ -z "$trouble" ] || verdict="failed $(reason "$trouble")"
                rm -f "$staged"
            fi
        fi
        printf "%s %s %s %s %s %s %s %s - %s\n" "$2" "$3" "$4" "$6" "$7" "$8" "$9" "$staged" "$verdict"
    done
}

# Of each line that the second word picks, what the first word says, as the tools will print it.
each() {
    for line in $lines; do
        row "$line"
        case $2 in
            "$verdict" | "$operation") ;;
            *) continue ;;
        esac
        case $1 in
            staged) printf "%s\n" "$staged" ;;
            sum) printf "%s  %s\n" "$sum" "$staged" ;;
            size) printf "%s %s\n" "$length" "$staged" ;;
            path) printf "./%s\n" "$path" ;;
            token) printf "%s ./%s\n" "$token" "$path" ;;
            vault) [ "$vault" = - ] || printf "%s\n" "$vault" ;;
        esac
    done
}

# Equal texts settle all files at once.
inspect() {
    staged=$(each staged ok)
    sums_asked=$(each sum ok)
    sizes_asked=$(each size ok)
    sums=$(digests "$staged")
    sizes=$(stats "$staged" "$stat_flag" "$size $name")
    tokens_asked=$(each token r)
    tokens=$([ -z "$tokens_asked" ] || [ ! -d "$projects" ] || { cd "$projects" && stats "$(each path r)" "$stat_flag" "$inode:$size:$modified:$changed $name"; })
    now=
}

sound() {
    { [ "$sums" = "$sums_asked" ] || case "$nl$sums$nl" in *"$nl$2  $3$nl"*) ;; *) false ;; esac } &&
        { [ "$sizes" = "$sizes_asked" ] || case "$nl$sizes$nl" in *"$nl$1 $3$nl"*) ;; *) false ;; esac }
}

unchanged() {
    [ "$tokens" = "$tokens_asked" ] || case "$nl$tokens$nl" in *"$nl$1 ./$2$nl"*) ;; *) false ;; esac
}

# Written less than 120 s ago, where there is no registry to ask.
fresh() {
    [ ! -d "$claude/sessions" ] || return 1
    written=${1#*:*:}
    written=${written%%[.:]*}
    [ -n "$now" ] || now=$(date +%s)
    written=$((now - written))
    [ "$written" -lt 120 ] && [ "$written" -ge -120 ]
}

# Makes durable what was written: before a name is given, its bytes, and before one is reported, the name. What is reported is
# remembered, and what is remembered and then missing counts as deleted by its user: no power cut may take it. Where the tool can,
# only the disks that matter are waited for, and what they say is heard.
settle() {
    trouble=$(sync -f "$own" ${abroad:+"$projects"} 2>&1) && return 0
    case $trouble in
        *"nput/output error"* | *"I/O error"* | *"o space left"* | *"uota exceeded"*) return 1 ;;
    esac
    sync
}

# The lines, where this verdict has become a failure.
doubt() {
    why=$(reason "$trouble")
    for line in $lines; do
        case $line in
            *" $1") printf "%s failed %s\n" "${line% "$1"}" "$why" ;;
            *) printf "%s\n" "$line" ;;
        esac
    done
}

# Whether a session lies in another project directory than this one: another machine put it there since we looked, and one id has one
# directory.
elsewhere() {
    set +f
    for other in "$projects"/*/"$1.jsonl"; do
        set -f
        # Through a link to its directory a file has one more name, and is still one.
        # shellcheck disable=SC3013
        [ "$other" -ef "$projects/$2/$1.jsonl" ] || { [ ! -e "$other" ] && [ ! -L "$other" ]; } || return 0
    done
    set -f
    return 1
}

# A second name for the old file, or a copy where a second name is refused.
keep() {
    if ! ln "$1" "$own/vault/$2" 2>/dev/null; then
        if ! cp -p "$1" "$own/vault/$2" || [ "$(stat "$stat_flag" "$size" "$own/vault/$2")" != "$3" ]; then
            rm -f "$own/vault/$2"
            return 1
        fi
    fi
}

# Its vault name is dropped again where the file was not displaced after all, or is a second name of something that never was that
# file: what a link led to, in the place of a directory, for a moment.
keep_not() {
    [ "$1" != - ] || return 0
    kept=$(stat "$stat_flag" "$links $inode" "$own/vault/$1" 2>/dev/null)
    case $kept in
        *" $(stat "$stat_flag" "$inode" "$2" 2>/dev/null)") rm -f "$own/vault/$1" ;;
        *" $3" | "1 "*) ;;
        *) rm -f "$own/vault/$1" ;;
    esac
}

# Where this is, whatever was put in its place since. What bash remembers of its way is no proof of it.
physical() {
    if [ -n "${BASH_VERSION:-}" ]; then env pwd -P; else pwd -P; fi
}

# Makes the directory of a path below projects/ and goes there, each step from within the one above, so that no link leads elsewhere. Where
# projects/ leads to another device, the staged file must stand there before it can be given its name.
bring_near() {
    cd "$projects" && way=$(physical) && rest=$2 || return 1
    [ "$way" != / ] || way=
    while :; do
        case $rest in
            */*) ;;
            *) break ;;
        esac
        step=./${rest%%/*}
        rest=${rest#*/}
        way=$way/${step#./}
        [ -d "$step" ] || mkdir "$step" || [ -d "$step" ] || return 1
        if ! cd "$step" 2>/dev/null || [ "$(physical)" != "$way" ]; then
            printf "symlink\n"
            return 1
        fi
    done
    [ -z "$abroad" ] || cp -p "$stage/$3" "./.css-$nonce-$1"
}

prepare() {
    for line in $lines; do
        IFS=" "
        # shellcheck disable=SC2086
        set -- $line
        shift 9
        verdict=$*
        # shellcheck disable=SC2086
        set -- $line
        IFS=$nl
        target=$projects/$7 vault=- old=${4#*:}
        old=${old%%:*}
        if [ "$verdict" = ok ] && ! sound "$5" "$6" "$8"; then
            case "$nl$sums$nl" in
                *"  $8$nl"*) verdict=bad ;;
                *) verdict="failed cannot read what was staged" ;;
            esac
        fi
        case $verdict in
            ok | bad) if [ "$2" = r ] && ! unchanged "$4" "$7"; then verdict=changed; fi ;;
        esac
        if [ "$verdict" != ok ]; then
            :
        elif [ -e "$own/forgotten/$3" ]; then
            verdict="failed forgotten there"
        elif live "$3" || { [ "$2" = r ] && fresh "$4"; }; then
            verdict=live
        elif [ "$2" = c ] && { [ -e "$target" ] || [ -L "$target" ] || elsewhere "$3" "${7%%/*}"; }; then
            verdict=exists
        elif { [ -n "$abroad" ] || [ ! -d "${target%/*}" ]; } && ! trouble=$(bring_near "$1" "$7" "$8" 2>&1); then
            verdict="failed $(reason "$trouble")"
        elif [ "$2" = r ]; then
            vault=${6#????????????????}
            vault=$3.$old.${6%"$vault"}.$nonce-$1
            if ! trouble=$(keep "$target" "$vault" "$old" 2>&1); then
                vault=- verdict="failed $(reason "$trouble")"
            fi
        fi
        printf "%s %s %s %s %s %s %s %s %s %s\n" "$1" "$2" "$3" "$4" "$5" "$6" "$7" "$8" "$vault" "$verdict"
    done
}
