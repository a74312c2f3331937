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

# After the second pause a server that has asked for more was told that there is none, not of the end.
ONE_CLIENT = ['pause', 'A connects', 'A says "hello"', 'A hears "hello"', 'pause', 'A leaves', 'pause']

DATA = {'"hello"': b'hello', '"again"': b'again', '70,000 bytes': b'x' * 70000, 'the end': b''}
PAUSE_S, PATIENCE_S = 0.02, 10

# What a client did. The time is that of the clock that strace uses; the port is the client's own.
Deed = collections.namedtuple('Deed', 'time client port what')


def talk(port, script):
    """Plays the clients; returns what each did, and when: began to say, and had heard."""
    clients, deeds = {}, []
    for line in script:
        if line == 'pause':
            time.sleep(PAUSE_S)
            continue
        name, what = line.split(' ', 1)
        moment = time.time()
        if what == 'connects':
            clients[name] = socket.create_connection(('127.0.0.1', port), PATIENCE_S)
        own_port = clients[name].getsockname()[1]
        act(clients[name], *what.split(' ', 1))
        if what.startswith('hears'):
            moment = time.time()
        deeds.append(Deed(moment, name, own_port, what))
    return deeds


def act(client, verb, what=''):
    if verb == 'says':
        client.sendall(DATA[what])
    elif verb == 'hears':
        heard, length = b'', len(DATA[what])
        while len(heard) < length:
            more = client.recv(length - len(heard))
            if not more:
                raise ConnectionError(f'there was an end before {what}')
            heard += more
        if what == 'the end' and client.recv(1):
            raise ConnectionError('there was more before the end')
    elif verb == 'half-closes':
        client.shutdown(socket.SHUT_WR)
    if verb == 'leaves' or what == 'the end':
        client.close()
