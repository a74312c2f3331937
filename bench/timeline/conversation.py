"""What clients say to an echo server for bench/trace: the same in each chapter."""

import collections
import socket
import time

THREE_CLIENTS = [
    'pause', 'A connects', 'A says "hello"', 'A hears "hello"',
    'pause', 'B connects',
    'pause', 'C connects', 'C says 70,000 bytes', 'C hears 70,000 bytes',
    'pause', 'A says "again"', 'A half-closes', 'A hears "again"', 'A hears the end',
    'pause', 'B leaves',
    'pause', 'C leaves', 'pause']
# In the second pause a server that asks for more is told that there is none, and not of the end.
ONE_CLIENT = [
    'pause', 'A connects', 'A says "hello"', 'A hears "hello"', 'pause', 'A leaves', 'pause']

PAUSE_S, PATIENCE_S = 0.02, 10
DATA = {'"hello"': b'hello', '"again"': b'again', '70,000 bytes': b'x' * 70000, 'the end': b''}

# What a client did. The time is that of the clock that strace uses; the port is the client's own.
Deed = collections.namedtuple('Deed', 'time client port what')


def talk(port, script):
    """Plays the clients. Of most deeds the time is when they began, of hearing when it was done."""
    sockets, ports, deeds = {}, {}, []
    for line in script:
        if line == 'pause':
            time.sleep(PAUSE_S)
            continue
        client, what = line.split(' ', 1)
        verb, _, data = what.partition(' ')
        moment = time.time()
        if verb == 'connects':
            sockets[client] = socket.create_connection(('127.0.0.1', port), PATIENCE_S)
            ports[client] = sockets[client].getsockname()[1]
        elif verb == 'says':
            sockets[client].sendall(DATA[data])
        elif verb == 'hears':
            with sockets[client].makefile('rb') as file:
                if file.read(len(DATA[data]) or 1) != DATA[data]:
                    raise ConnectionError(f'this did not happen: {line}')
            moment = time.time()
        elif verb == 'half-closes':
            sockets[client].shutdown(socket.SHUT_WR)
        if verb == 'leaves' or data == 'the end':
            sockets[client].close()
        deeds.append(Deed(moment, client, ports[client], what))
    return deeds
