"""The clients that bench/trace draws: they say the same to the server of each chapter."""
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
# Without the second pause, a server that asks for more would find the end, and not EAGAIN.
ONE_CLIENT = [
    'pause', 'A connects', 'A says "hello"', 'A hears "hello"', 'pause', 'A leaves', 'pause']

PAUSE_S, PATIENCE_S = 0.02, 10
DATA = {'"hello"': b'hello', '"again"': b'again', '70,000 bytes': b'x' * 70000, 'the end': b''}
# A client did this. strace uses the same clock; the port is the client's own.
Deed = collections.namedtuple('Deed', 'time client port what')


def talk(port, script):
    """Plays the clients, and returns their deeds, each with the time at which it began. A client
    hears when all has come."""
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
