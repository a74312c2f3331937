# Sourced by the gates, which set $here and $client.
# Every gate counts twice, with a short run and a longer one, and divides the difference by the
# difference in echoes: what starting, connecting and stopping cost is in both, and falls out.

# shellcheck source=common/start.sh
. "$here/../../common/start.sh"
work=$(mktemp -d)
trap 'finish' EXIT
trap 'exit 1' INT TERM HUP

finish() {
    server_kill
    rm -rf "$work"
}

# drive CONNECTIONS ECHOES: the client, with an end to all patience.
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
