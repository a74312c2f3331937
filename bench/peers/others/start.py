"""Starts another project's server as if it were one of ours: our options, our ready line, our way
to stop. So bench/trace can record it."""
import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time


def options(name):
    """Returns a parser for the options of all our servers that another project's can have."""
    parser = argparse.ArgumentParser(prog=name, allow_abbrev=False)
    parser.add_argument('--host', default='127.0.0.1', help='an IPv4 address (127.0.0.1)')
    parser.add_argument('--port', type=int, default=7000, help='0 takes a free one (7000)')
    parser.add_argument('--backlog', type=int, default=511, help='the queue of clients (511)')
    return parser


def serve(chosen, program, arguments):
    """Runs the program, with the arguments that arguments(folder) returns, until it ends. The
    folder is its own, and is deleted then."""
    os.environ['PATH'] += ':/usr/sbin:/usr/local/sbin' # where nginx is, and only root looks
    if not shutil.which(program):
        sys.exit(f'{program} is not installed')
    chosen.port = chosen.port or free_port(chosen.host)
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen([program, *arguments(folder)], stdout=sys.stderr)
        for number in signal.SIGINT, signal.SIGTERM:
            signal.signal(number, lambda number, _: server.send_signal(number))
        while server.poll() is None and not serves(chosen):
            time.sleep(0.01)
        if server.poll() is None:
            print(f'listening on {chosen.host}:{chosen.port}', flush=True)
        status = server.wait()
        sys.exit(status if status >= 0 else 128 - status)


def free_port(host):
    with socket.create_server((host, 0)) as listener:
        return listener.getsockname()[1]


def serves(chosen):
    """A client that says it has no more to say hears the end, once the server's loop is running."""
    try:
        with socket.create_connection((chosen.host, chosen.port), 10) as client:
            client.shutdown(socket.SHUT_WR)
            return client.recv(1) == b''
    except OSError: # not yet
        return False


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)
    return path
