# Sourced by scripts that talk to a server: starts one in the background, waits until it is ready,
# and ends it.
#
#   server_start DIR COMMAND...  runs COMMAND with --host 127.0.0.1 --port 0; its output goes to
#                                DIR/ready and DIR/said. Sets $server, its process, and $port. When
#                                it does not get ready, says why, leaves nothing running, and fails.
#   server_stop                  ends it with SIGTERM. Says so, and fails, if it has to kill it.
#   server_kill                  kills it, if there is one: for the caller's traps.
#
# The caller may set their time limits in seconds: server_start_limit and server_stop_limit.

server=
server_start_limit=30
server_stop_limit=10

# The shell learns of its child's end while it waits for sleep(1). Until then the child is "alive".
server_is_alive() {
    kill -0 "$server" 2>/dev/null
}

# A server may write its line in pieces: read fails on a line that has no end yet.
server_is_ready() { # file
    while IFS= read -r server_line; do
        case $server_line in
        'listening on '*:[0-9]*)
            port=${server_line##*:}
            return
            ;;
        esac
    done <"$1"
    return 1
}

server_kill() {
    [ -n "$server" ] || return 0
    # timeout(1) leads a process group with its command in it. Other commands do not lead a group.
    kill -s KILL -- "-$server" 2>/dev/null || kill -KILL "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
}

server_start() { # directory, command...
    # shellcheck disable=SC2034 # the port is the caller's to use
    server_dir=$1 port=
    shift
    : >"$server_dir/ready" # it must exist before the server does
    "$@" --host 127.0.0.1 --port 0 >"$server_dir/ready" 2>"$server_dir/said" &
    server=$! server_why=
    server_tries=$((server_start_limit * 20))
    while [ -z "$server_why" ]; do
        # The order matters: a server may get ready, and end, between the two questions.
        if ! server_is_alive; then
            server_why='it ended'
        elif [ $server_tries = 0 ]; then
            server_why="$server_start_limit s went by"
        fi
        if server_is_ready "$server_dir/ready"; then
            return
        fi
        server_tries=$((server_tries - 1))
        [ -n "$server_why" ] || sleep 0.05
    done
    server_kill
    echo "$server_why without a line \"listening on HOST:PORT\": $*" >&2
    cat "$server_dir/said" >&2
    return 1
}

server_stop() {
    kill -TERM "$server" 2>/dev/null || true
    server_tries=$((server_stop_limit * 20))
    while server_is_alive; do
        if [ $server_tries = 0 ]; then
            echo "the server is still there $server_stop_limit s after SIGTERM, and is killed" >&2
            server_kill
            return 1
        fi
        server_tries=$((server_tries - 1))
        sleep 0.05
    done
    wait "$server" 2>/dev/null || true # a signal may have set its status
    server=
}
