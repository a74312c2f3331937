# Sourced by calls and instructions, which set $here and $client.
# Both count a short run and a longer one, and divide the difference by the difference in echoes.
# Starting, connecting and stopping cost the same in both runs, so their cost falls out.

# shellcheck source=common/start.sh
. "$here/../../common/start.sh"
work=$(mktemp -d)
trap 'finish' EXIT
trap 'exit 1' INT TERM HUP

finish() {
    server_kill
    rm -rf "$work"
}

# drive CONNECTIONS ECHOES: runs the client, for a minute at most.
drive() {
    timeout 60 "$client" "$port" "$@" "$server" || {
        echo "the client failed" >&2
        cat "$work/said" >&2
        exit 1
    }
}

# holds GOT WORD LIMIT: WORD is "exactly" (within 0.02) or "at most".
holds() {
    awk -v got="$1" -v word="$2" -v limit="$3" 'BEGIN {
        d = got - limit
        exit !(word == "exactly" ? d < 0.02 && d > -0.02 : d <= 0) }'
}

# verdict NAME GOT WORD LIMIT: TAP.
verdict() {
    number=$((number + 1))
    if holds "$2" "$3" "$4"; then
        echo "ok $number - $1: $2, $3 $4"
    else
        echo "not ok $number - $1: $2, not $3 $4"
        failed=1
    fi
}
number=0
failed=0
