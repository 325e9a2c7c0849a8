# shellcheck shell=sh
# Listens to what is asked, and does it; then to what is asked next, until nobody asks any more.

# What is asked, line by line up to an empty one. For what is cut short nothing is done: a directory that was would name another one.
hear="while IFS= read -r line; do [ -n \"\$line\" ] || exit 0; printf \"%s\n\" \"\$line\"; done; exit 9"

# The next request. Whose line went dead without an end keeps nothing waiting here for ever.
listen() {
    if request=$(timeout 600 sh -c "$hear" 2>/dev/null); then
        limit=yes
    else
        case $? in
            9) exit 0 ;;
            12[489] | 1[3-9][0-9]) exit 1 ;;
        esac
        # There is no such tool, or an old one.
        request=$(eval "$hear") || exit 0
    fi
}

# Takes apart what was asked: its first line, the directory, which may be left to us to find, and what it is about. Then does it.
answer() {
    body=${request#*"$nl"}
    request=${request%%"$nl"*}
    claude=${body%%"$nl"*}
    body=${body#"$claude"}
    body=${body#"$nl"}
    [ "$claude" != - ] || claude=
    verb=${request%% *}
    nonce=${request#* }
    printf "\ncss1 %s\n" "$nonce"
    case $verb in
        list) verb_list ;;
        hash) verb_hash ;;
        get) verb_get ;;
        put) verb_put ;;
        *) fail "unknown verb" ;;
    esac
    finish
}

# What came as an argument is all of it: by stdin it would follow the command only after one more way there and back. Each but a put, which
# ends with the stream, is answered by a copy of this shell, so that nothing of it is left for the next; and no tool reads what is to come.
# An answer without an end is the last: who waits for it sees at once that no more comes.
limit=""
if [ "$#" -gt 0 ]; then
    request=$1
else
    listen
fi
while :; do
    case $request in
        "put "*) answer ;;
    esac
    (answer) </dev/null || exit 1
    listen
done
