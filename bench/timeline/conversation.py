"""The clients that bench/trace draws: they say the same to the server of each chapter."""
import collections
import re
import resource
import socket
import time

from timeline.calls import numbers

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
# Beside silent clients: the second time, all that a program says of A has been said.
ONE_SPEAKS = [
    'A connects', 'A says "hello"', 'A hears "hello"', 'pause', 'A says "again"', 'A hears "again"',
    'pause']

PAUSE_S, PATIENCE_S = 0.02, 10
DATA = {'"hello"': b'hello', '"again"': b'again', '70,000 bytes': b'x' * 70000, 'the end': b''}
# A client did this. strace uses the same clock; the port is the client's own.
Deed = collections.namedtuple('Deed', 'time client port what bytes', defaults=[0])


def in_other_words(script, says, hears):
    """Returns the script for a server that does not echo: each time, clients say these bytes, and
    wait until what they hear ends with those."""
    names = [shown(words) for words in (says, hears)]
    DATA.update(zip(names, (says, hears)))
    other = '(".*"|70,000 bytes)$'
    return [re.sub('hears ' + other, lambda _: 'hears ' + names[1],
                   re.sub('says ' + other, lambda _: 'says ' + names[0], line)) for line in script]


def shown(words):
    """Returns them as a short line for people."""
    text = ' '.join(words.decode(errors='replace').split())
    return f'"{text[:6].rstrip()} ..."' if len(text) > 12 else f'"{text}"'


def talk(port, script, silent, watcher):
    """Plays the clients. Returns their deeds, each with the time at which it began (a client hears
    when all has come), what the kernel told in each pause, and the ports of silent clients."""
    address, sockets, clients, deeds, samples = ('127.0.0.1', port), {}, {}, [], []
    allow_descriptors(silent + 100)
    quiet = [socket.create_connection(address, PATIENCE_S) for _ in range(silent)]
    others = {its.getsockname()[1]: 'silent' for its in quiet}
    await_accepted(watcher, others)
    for line in script:
        if line == 'pause':
            time.sleep(PAUSE_S)
            samples.append((time.time(), watcher.look({**clients, **others})))
            continue
        client, what = line.split(' ', 1)
        verb, _, data = what.partition(' ')
        moment, count = time.time(), len(DATA.get(data, b''))
        if verb == 'connects':
            sockets[client] = socket.create_connection(address, PATIENCE_S)
            clients[sockets[client].getsockname()[1]] = client
        elif verb == 'says':
            sockets[client].sendall(DATA[data])
        elif verb == 'hears':
            count = hear(sockets[client], DATA[data], line)
            moment = time.time()
        elif verb == 'half-closes':
            sockets[client].shutdown(socket.SHUT_WR)
        own = next(its for its, name in clients.items() if name == client)
        if verb == 'leaves' or data == 'the end':
            sockets[client].close()
        deeds.append(Deed(moment, client, own, what, count))
    return {'deeds': deeds, 'samples': samples, 'silent': others}


def hear(client, awaited, line):
    """Receives until what came ends with this, and returns how much came; nothing is the end."""
    heard, more = b'', b'?'
    try:
        while more and not (awaited and heard.endswith(awaited)):
            more = client.recv(len(DATA['70,000 bytes']))
            heard += more
    except socket.timeout:
        pass
    if heard and not awaited or not heard.endswith(awaited):
        raise ConnectionError(f'this did not happen: {line}')
    return len(heard)


def allow_descriptors(wanted):
    """Raises the limit of this process, and of the server that it starts, as far as it may."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most != resource.RLIM_INFINITY and most < wanted:
        raise OSError(f'{wanted} descriptors are needed, and {most} allowed (ulimit -n)')


def await_accepted(watcher, clients):
    """Waits until the server has accepted these clients, or for 2 s no more of them."""
    accepted, last = -1, time.time()
    while clients and accepted < len(clients) and time.time() < last + 2:
        now = len(numbers(watcher.look(clients)['descriptors'].get('silent', '')))
        if now > accepted:
            accepted, last = now, time.time()
        time.sleep(PAUSE_S)
