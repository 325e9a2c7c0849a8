# shellcheck shell=sh
# The verb `put`, second half: what was prepared takes its place by one rename each, where its token still fits.

# Whether a session is live, asked before its file is replaced: no process is started for an entry that does not name it.
live() {
    [ -d "$claude/sessions" ] || return 1
    { [ -r "$claude/sessions" ] && [ -x "$claude/sessions" ]; } || return 0
    set +f
    for registered in "$claude"/sessions/[0-9]*.json; do
        set -f
        [ -f "$registered" ] || continue
        slurp "$registered"
        case $text in
            *"$1"*"}$nl") ;;
            *"}$nl") continue ;;
        esac
        case $(entry "$registered" || printf unclear) in
            "$1 "* | unclear) return 0 ;;
        esac
    done
    set -f
    return 1
}

# Goes into the directory of a path below projects/ and stays there, whatever takes its place: no link led there.
enter() {
    cd "$projects/${1%/*}" 2>/dev/null && [ "$(physical)" = "$real/${1%/*}" ]
}

# Everything that could have happened since is asked again, and then the name is given.
install() {
    real=$(cd "$projects" 2>/dev/null && physical)
    [ "$real" != / ] || real=
    for line in $lines; do
        IFS=" "
        # shellcheck disable=SC2086
        set -- $line
        shift 9
        verdict=$*
        # shellcheck disable=SC2086
        set -- $line
        IFS=$nl
        target=./${7##*/} ready=$stage/$8
        [ -z "$abroad" ] || ready=./.css-$nonce-$1
        if [ "$verdict" = ok ]; then
            if linked "$7" || ! enter "$7"; then
                verdict="failed symlink"
            elif live "$3"; then
                verdict=live
            elif [ "$2" = r ]; then
                found=$(stat "$stat_flag" "$links $inode:$size:$modified" "$target" "$own/vault/$9" 2>/dev/null)
                seen=${found%%"$nl"*} kept=${found#*"$nl"}
                if [ "$found" = "$seen" ] || [ "${seen#* }" != "${4%:*}" ]; then
                    # One of the two is gone, or it is another file.
                    verdict=changed
                elif [ "${kept#1 }" = "$kept" ] && [ "${kept#* "${4%%:*}":}" = "$kept" ]; then
                    # A second name, but not of this file; a copy has one name.
                    verdict=changed
                elif { [ -z "$abroad" ] || ln "$target" "$ready.old" 2>/dev/null || :; } && trouble=$(mv -f "$ready" "$target" 2>&1); then
                    verdict="done"
                fi
            elif [ -e "$target" ] || [ -L "$target" ]; then
                verdict=exists
            elif trouble=$(ln "$ready" "$target" 2>&1); then
                verdict="done"
            elif [ -e "$target" ]; then
                verdict=exists
            elif trouble=$(mv -n "$ready" "$target" 2>&1) && [ ! -e "$ready" ]; then
                verdict="done"
            fi
            [ "$verdict" != ok ] || verdict="failed $(reason "$trouble")"
            [ "$verdict" = "done" ] || keep_not "$9" "$projects/$7" "${4%%:*}"
        fi
        printf "%s %s %s %s %s %s %s %s %s %s\n" "$1" "$2" "$3" "$4" "$5" "$6" "$7" "$8" "$9" "$verdict"
    done
}

# Across devices the vault holds a copy, and what a client wrote to the file after that is in the file alone, which has a name of ours
# until now. If it cannot be kept, the file gets its own name back.
follow() {
    for line in $lines; do
        row "$line"
        old=$projects/${path%/*}/.css-$nonce-$number.old
        { [ "$verdict" = "done" ] && [ -f "$old" ] && [ ! -L "$old" ]; } || continue
        sizes=$(stat "$stat_flag" "$size" "$old" "$own/vault/$vault")
        [ "${sizes%%"$nl"*}" = "${sizes#*"$nl"}" ] || { cp -p "$old" grown && mv -f grown "$own/vault/$vault"; } || mv -f "$old" "$projects/$path"
    done
}

# How each line ended. What stat says comes in the order of the lines, without what is not there any more.
report() {
    # shellcheck disable=SC2046
    set -- $(cd "$projects" && stats "$(each path "done")" "$stat_flag" "$inode $size $modified $changed $name")
    for line in $lines; do
        row "$line"
        case $verdict:${1:-} in
            "done:"*" ./$path")
                printf "%s done %s\n" "$number" "${1% ./"$path"}"
                shift
                ;;
            "done:"*) printf "%s failed vanished\n" "$number" ;;
            *) printf "%s %s\n" "$number" "$verdict" ;;
        esac
    done
    # What was displaced may have grown since it was looked at.
    # shellcheck disable=SC2046
    set -- $(cd "$own/vault" && stats "$(each vault "done")" "$stat_flag" "$size $name")
    for line in $lines; do
        row "$line"
        token=${token#*:}
        case $verdict:${1:-} in
            "done:"*" $vault")
                [ "${1%% *}" = "${token%%:*}" ] || printf "%s grew %s %s\n" "$number" "$vault" "${1%% *}"
                shift
                ;;
        esac
    done
}

# A vault object goes only at the size that the plan names.
drop() {
    case $nl$plan in
        *"${nl}drop "*) ;;
        *) return 0 ;;
    esac
    asked=$(printf "%s\n" "$plan" | sed -n "s|^drop \([^ /.][^ /]*\) \([0-9]*\)\$|\1 \2|p" | sort -u)
    [ -n "$asked" ] || return 0
    found=$(cd "$own/vault" && stats "$(printf "%s\n" "$asked" | sed "s/ .*//")" "$stat_flag" "$name $size")
    found=$(printf "%s\n" "$asked" "$found" | sort | uniq -d | sed "s/ .*//")
    if [ -n "$found" ]; then
        printf "%s\n" "$found" | tr "\n" "\0" | (cd "$own/vault" && xargs -0 rm -f)
        printf "%s\n" "$found" | sed "s/.*/drop & done/"
    fi
    asked=$(printf "%s\n" "$asked" | sed "s/ .*//")
    printf "%s\n" "$asked" "$found" | sort | uniq -u | sed "/^\$/d
s/.*/drop & kept/"
}

# The id of this store, written once; a file that holds none (a power cut) is replaced.
name_replica() {
    replica_id
    [ -n "$1" ] && [ -z "$replica" ] || return 0
    named=yes
    printf "%s" "$1" >replica-id && ln replica-id "$own/replica-id" 2>/dev/null && return 0
    replica_id
    [ -n "$replica" ] || mv -f replica-id "$own/replica-id" || fail "cannot write $own/replica-id"
}

# What was installed and has the length that it was given, as it is now: so every agent can tell what is pushed from what the user writes.
# The newest are enough; a note that is lost costs one visit.
note_pushed() {
    case $outcomes in
        *" done "*) ;;
        *) return 0 ;;
    esac
    [ ! -d "$own/pushed" ] || return 0
    {
        list_pushed
        # There is one outcome for each line, and in its place.
        # shellcheck disable=SC2086
        set -- $outcomes
        for line in $lines; do
            row "$line"
            case $1 in
                "$number done "*" $length "*" "*)
                    token=${1#* done }
                    printf "%s\n" "${token% *}"
                    ;;
            esac
            shift
        done
    } | tail -n 2000 >"$stage/pushed" && mv -f "$stage/pushed" "$own/pushed"
}

# What the plan says of all files, before the first of them.
preface() {
    needed="" identity="" visitor=""
    for line in $plan; do
        case $line in
            "need "*) needed=${line#need } ;;
            "replica "*) identity=${line#replica } ;;
            "agent "*[/.]*) ;;
            "agent "*) visitor=${line#agent } ;;
            "file "*) return 0 ;;
        esac
    done
}

verb_put() {
    which_tools
    formats
    own=$claude/.claude-session-sync
    projects=$claude/projects
    stage=$own/stage/$nonce
    abroad=
    [ ! -L "$own" ] || fail "$own is a symbolic link"
    # What root leaves in a user's store, that user's client can neither read nor write.
    for place in "$projects" "$claude"; do
        [ ! -e "$place" ] || break
    done
    # shellcheck disable=SC3067
    if [ -e "$place" ] && [ ! -O "$place" ]; then
        # Root may have a directory of the host for its own.
        case $(id -u):$place in
            "0:${HOME:-/nonexistent}/"*) [ -O "$HOME" ] ;;
            *) false ;;
        esac || fail "$place belongs to another user than the one who is logged in there"
    fi
    trouble=$({ { [ -d "$own/stage" ] && [ -d "$own/vault" ]; } || mkdir -p "$own/stage" "$own/vault"; } 2>&1 && mkdir "$stage" "$stage/new" 2>&1) ||
        fail "cannot make $stage: $trouble"
    trap clean EXIT
    trap "exit 1" HUP INT TERM PIPE
    cd "$stage" || fail "cannot enter $stage"
    if ! trouble=$(bounded 21600 tar -xof - 2>&1); then
        fail "cannot unpack: $(reason "$trouble")"
    fi
    [ -f plan ] || fail "the archive holds no plan"
    plan=$(cat plan 2>&1) || fail "cannot read the plan: $(reason "$plan")"
    preface
    [ -z "$needed" ] || available=$(free_kib)
    [ -z "$needed" ] || [ "${available:-$needed}" -ge "$needed" ] 2>/dev/null || fail "disk full: $available KiB free at $claude, $needed needed"
    take_lock
    named=
    name_replica "$identity"
    note_agent "$visitor"
    lines="" ids=""
    sweep 2>/dev/null
    forgets=
    case "$nl$plan" in
        *"${nl}forget "*) forgets=$(forget) ;;
    esac
    case "$nl$plan" in
        *"${nl}file "*)
            trouble=$([ -d "$projects" ] || mkdir -p "$projects" 2>&1) || fail "cannot make $projects: $trouble"
            devices=$(stat -L "$stat_flag" "$device" "$projects" "$stage")
            [ "$devices" = "${devices%%"$nl"*}$nl${devices%%"$nl"*}" ] || abroad=yes
            lines=$(build)
            inspect
            lines=$(prepare)
            case "$lines$nl" in
                *" ok$nl"*) settle || lines=$(doubt ok) ;;
            esac
            lines=$(install)
            rm -rf "$stage/data" "$stage/new"
            ;;
    esac
    [ -z "$abroad" ] || follow
    case "$named$lines$nl" in
        yes* | *" done$nl"*) settle || lines=$(doubt "done") ;;
    esac
    outcomes=$(
        [ -z "$lines" ] || report
        drop
        [ -z "$forgets" ] || printf "%s\n" "$forgets"
    )
    replica_id
    note_pushed 2>/dev/null
    clean
    trap - EXIT
    item replica "$replica"
    item outcomes "$outcomes"
}
