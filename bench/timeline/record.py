"""Starts a server under strace, and lets clients talk to it."""
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile

from timeline import conversation

# strace writes a file for each thread, and ends after the server. timeout(1) ends both, even if we
# have been killed.
STRACE = 'timeout -k 2 60 strace -ff -ttt -T -s 16 -o'.split()


def record(command, script):
    """Lets clients talk to the server that this command starts. Returns what they did, and what
    strace wrote: a text for each thread of the server, the oldest thread first."""
    with tempfile.TemporaryDirectory() as work, tempfile.TemporaryFile() as said:
        server = subprocess.Popen(
            [*STRACE, work + '/thread', *command, '--host', '127.0.0.1', '--port', '0'],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said,
            start_new_session=True, errors='replace')
        try:
            port = next(filter(None, (re.match(r'listening on .*:(\d+)$', line)
                                      for line in server.stdout)), None)
            if not port:
                raise ConnectionError('it ended without a line "listening on HOST:PORT"')
            deeds = conversation.talk(int(port[1]), script)
            server.terminate() # timeout(1) passes it on, and kills what is there 2 s later
            server.communicate()
        except OSError as error:
            said.seek(0)
            sys.exit(f'bench/trace: the conversation with {shlex.join(command)} failed: {error}\n' +
                     said.read().decode(errors='replace').rstrip())
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)
                server.communicate()
        threads = sorted(pathlib.Path(work).iterdir(), key=lambda path: int(path.suffix[1:]))
        return deeds, [path.read_text(errors='replace') for path in threads]
