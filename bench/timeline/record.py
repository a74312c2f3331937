"""Starts a server under strace, and lets clients talk to it; or an experiment, which has both."""
import dataclasses
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile

from timeline import conversation, kernel

# strace writes a file for each thread, and ends after the server. timeout(1) ends both, even if we
# have been killed. A mark that a program makes for us has up to 2,000 bytes.
STRACE = 'timeout -k 2 {} strace -ff -ttt -T -s 2048 -o'


@dataclasses.dataclass
class Seen:
    """What was seen of a program: a text of strace's for each thread, the oldest thread first."""
    command: list
    texts: list
    threads: dict # the number of each thread by the kernel's
    deeds: list = dataclasses.field(default_factory=list)
    samples: list = dataclasses.field(default_factory=list) # (time, what the kernel told)
    silent: dict = dataclasses.field(default_factory=dict) # the names of more clients, by port
    port: int = 0
    echoes: bool = True # if not, nobody knows what it owes


def strace(work, seconds=60, functions=True):
    """Returns strace's command. It tells which function made each call, if it can."""
    can = functions and subprocess.run(['strace', '-k', '-o', '/dev/null', 'true'],
                                       stderr=subprocess.DEVNULL).returncode == 0
    return [*STRACE.format(seconds).split(), work + '/thread', *['-k'] * can]


def texts_in(work):
    paths = sorted(pathlib.Path(work).iterdir(), key=lambda path: int(path.suffix[1:]))
    threads = {int(path.suffix[1:]): number for number, path in enumerate(paths)}
    return [path.read_text(errors='replace') for path in paths], threads


def conversation_with(command, script, silent=0, functions=True):
    """Lets clients talk to the server that this command starts; more clients connect before, and
    say nothing. functions: ask in which function each call was made, which is slow."""
    with tempfile.TemporaryDirectory() as work, tempfile.TemporaryFile() as said:
        server = subprocess.Popen(
            [*strace(work, 60 + silent // 50, functions), *command,
             '--host', '127.0.0.1', '--port', '0'],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said,
            start_new_session=True, errors='replace', env={**os.environ, 'KQUEUE_TRACE': '1'})
        try:
            port = next(filter(None, (re.match(r'listening on .*:(\d+)$', line)
                                      for line in server.stdout)), None)
            if not port:
                raise ConnectionError('it ended without a line "listening on HOST:PORT"')
            port = int(port[1])
            said_by = conversation.talk(port, script, silent, kernel.Watcher(port))
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
        texts, threads = texts_in(work)
    return Seen([os.path.basename(command[0]), *command[1:]], texts, threads, port=port, **said_by)


def experiment(command):
    """Runs a program that has scenes."""
    with tempfile.TemporaryDirectory() as work:
        done = subprocess.run([*strace(work), *command], stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            sys.exit(f'bench/trace: {shlex.join(command)} did not come out as it should\n'
                     + done.stdout.rstrip())
        return Seen([os.path.basename(command[0]), *command[1:]], *texts_in(work))
