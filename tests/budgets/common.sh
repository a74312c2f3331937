# Sourced by the gates: starting a server, with or without a tool round it, and ending it.
# Every gate counts twice, with a short run and a longer one, and divides the difference by the
# difference in echoes: what starting, connecting and stopping cost is in both, and falls out.

work=$(mktemp -d)
server=
trap 'finish' EXIT
trap 'exit 1' INT TERM HUP

finish() {
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
    rm -rf "$work"
}

# start_server COMMAND...: sets $server and $port.
start_server() {
    : >"$work/ready" # there before the server is
    "$@" --host 127.0.0.1 --port 0 >"$work/ready" 2>"$work/said" &
    server=$!
    port=
    tries=0
    while [ -z "$port" ]; do
        port=$(sed -n 's/^listening on .*:\([0-9]*\)$/\1/p' "$work/ready")
        tries=$((tries + 1))
        if [ $tries -gt 600 ]; then
            echo "no \"listening on\" line from: $*" >&2
            cat "$work/said" >&2
            exit 1
        fi
        [ -n "$port" ] || sleep 0.05
    done
}

stop_server() {
    kill -TERM "$server"
    wait "$server" || true
    server=
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
