"""Starts a server under strace, and lets clients talk to it."""

import os
import pathlib
import re
import shlex
import signal
import subprocess
import tempfile
import time

from timeline import conversation

START_S = 30

# strace writes a file for each thread, and ends after the server. timeout(1) ends both, even if we
# have been killed.
STRACE = 'timeout -k 2 60 strace -ff -ttt -T -s 16 -o'.split()


class Failed(Exception):
    """The server did not play its part."""


def record(command, script):
    """What the clients did, and what strace wrote: a text for each thread of the server that this
    command starts, the oldest first."""
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        with open(work / 'ready', 'wb') as ready, open(work / 'said', 'wb') as said:
            server = subprocess.Popen(
                [*STRACE, work / 'thread', *command, '--host', '127.0.0.1', '--port', '0'],
                stdin=subprocess.DEVNULL, stdout=ready, stderr=said, start_new_session=True)
        try:
            deeds = conversation.talk(port_of(server, work, command), script)
            server.terminate() # timeout(1) passes it on, and kills what is there 2 s later
        except OSError as error:
            raise Failed(f'the conversation with {command[0]} failed: {error}') from error
        else:
            server.wait()
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()
        threads = sorted(work.glob('thread.*'), key=lambda path: int(path.suffix[1:]))
        return deeds, [path.read_text(errors='replace') for path in threads]


def port_of(server, work, command):
    """The port that the server says it listens on."""
    give_up, why = time.monotonic() + START_S, ''
    while not why:
        if server.poll() is not None: # first, for a server may say its port, and then end
            why = 'it ended'
        elif time.monotonic() > give_up:
            why = f'{START_S} s went by'
        said = (work / 'ready').read_text(errors='replace')
        port = re.search(r'^listening on .*:(\d+)\n', said, re.MULTILINE)
        if port:
            return int(port[1])
        time.sleep(0.05)
    said = (work / 'said').read_text(errors='replace')
    raise Failed(f'{why} without a line "listening on HOST:PORT": {shlex.join(command)}\n{said}')
