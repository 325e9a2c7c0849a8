# shellcheck shell=sh
# The verb `put`, where it forgets: sessions go that their user removed, and so do the leftovers of a put that was killed.

# What a put left that was killed: it goes once it is older than a day. Where sessions are to be forgotten, their ids given, who holds
# the lock also clears away what waits for it and holds bytes of theirs, which its plan says: that would bring them back.
sweep() {
    set +f
    for other in "$own/stage"/*; do
        set -f
        if [ "$other" = "$stage" ] || [ -L "$other" ] || [ ! -d "$other" ]; then continue; fi
        if [ -z "$ids" ] || [ -z "$locked" ] || { [ -f "$other/plan" ] && ! grep -q -F "$ids" "$other/plan"; }; then
            [ -n "$(find "$other" -prune -mmin +1440)" ] || continue
        fi
        [ ! -d "$projects" ] || find "$projects/" -name ".css-${other##*/}-*" -exec rm -f {} +
        rm -rf "$other"
    done
    set -f
    [ -z "$ids" ] || [ ! -d "$projects" ] || find "$projects/" -type f -name ".css-????????????????????????????????-*" -cmin +1440 -exec rm -f {} +
}

# Where there is no registry to ask: whether one of the transcripts was written less than 120 s ago.
young() {
    [ -n "$1" ] && [ ! -d "$claude/sessions" ] || return 1
    for written in $(cd "$projects" && stats "$(printf "%s\n" "$1" | sed -n "/\.jsonl\$/p")" "$stat_flag" "$inode:$size:$modified"); do
        if fresh "$written"; then return 0; fi
    done
    return 1
}

# Removes names below projects/. They come from a walk that follows no link, and a link among them goes as a link.
erase() {
    if [ -n "$1" ]; then
        printf "%s\n" "$1" | tr "\n" "\0" | (cd "$projects" && xargs -0 rm -rf) || return 1
    fi
    set +f
    for object in "$own/vault/$2".*; do
        set -f
        if [ -e "$object" ] || [ -L "$object" ]; then rm -rf "$object" || return 1; fi
    done
    set -f
}

# A session that its user forgot goes from every project directory and from the vault, unless it is open; the note that it was
# forgotten comes last, so that half a removal is done again.
forget() {
    asked=$(printf "%s\n" "$plan" | sed -n "s/^forget \([0-9a-f-]\{36\} [0-9TZ:.-]\{20,40\}\)\$/\1/p")
    [ -n "$asked" ] || return 0
    ids=$(printf "%s\n" "$asked" | sed "s/ .*//")
    now=$(date +%s) walked=yes lies=
    if [ -d "$projects" ]; then
        lies=$(cd "$projects" && find . -name "*$nl*" -prune -o -path "./*/*" -prune -name "????????-????-????-????-????????????*" -print) || walked=
    fi
    sweep 2>/dev/null
    noting=$({ [ -d "$own/forgotten" ] || mkdir "$own/forgotten"; } 2>&1)
    for line in $asked; do
        id=${line%% *}
        names=$(printf "%s\n" "$lies" | sed -n "s|^\(\./[^/]*/$id\)\$|\1|p
s|^\(\./[^/]*/$id\.jsonl\)\$|\1|p")
        kept=$(set +f && printf "%s" "$own/vault/$id".*)
        verdict=noted
        if [ -n "$names" ] || [ "$kept" != "$own/vault/$id.*" ]; then verdict=removed; fi
        if [ -L "$own/vault" ] || [ -L "$own/forgotten" ] || [ -L "$own/forgotten/$id" ] || [ -d "$own/forgotten/$id" ]; then
            verdict="failed symlink"
        elif [ -z "$walked" ]; then
            verdict="failed cannot list $projects"
        elif live "$id" || young "$names"; then
            verdict=live
        elif [ -n "$noting" ]; then
            verdict="failed $(reason "$noting")"
        elif ! trouble=$({ erase "$names" "$id" && printf "%s\n" "${line#* }" >"$stage/note" && mv -f "$stage/note" "$own/forgotten/$id"; } 2>&1); then
            verdict="failed $(reason "$trouble")"
        fi
        printf "forget %s %s\n" "$id" "$verdict"
    done
    sync
}
