"""Makes recordings of conversations that never were: from a short script come the lines that strace
would have written, and what the clients would have done. check() writes TAP."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from timeline import recording  # noqa: E402
from timeline.conversation import Deed  # noqa: E402
from timeline.record import Seen  # noqa: E402

# Before each script: descriptor 3 is a listener at this port, and 4 an epoll instance.
PORT = 4000
BEFORE = f'''socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 3
bind(3, {{sa_family=AF_INET, sin_port=htons({PORT})}}, 16) = 0
listen(3, 5) = 0
epoll_create1(EPOLL_CLOEXEC) = 4'''
BYTES = {'"hello"': 5, '"again"': 5}
FAILED = {'EAGAIN': 'Resource temporarily unavailable'}
number, failed = 0, False


def check(what, got, wanted=True):
    global number, failed
    number += 1
    failed = failed or got != wanted
    print('ok' if got == wanted else 'not ok', number, '-', what)
    if got != wanted:
        print(f'# got    {got!r}\n# wanted {wanted!r}')


def end():
    print(f'1..{number}')
    sys.exit(failed)


# ---- a script ------------------------------------------------------------------------------------

def port_of(client):
    return 40000 + ord(client)


def events(words):
    return '|'.join('EPOLL' + word for word in words.split('|')) if words != '0' else '0'


def data(key): # of an epoll event: a number, two numbers as 9:94, or a pointer
    low, _, whole = key.partition(':')
    return key if key.startswith('0x') else f'{{u32={low}, u64={whole or low}}}'


def result(words):
    return f'-1 {words} ({FAILED.get(words, "Error")})' if words.startswith('E') else words


def waited(words): # 'IN 5' or 'IN 5, OUT 6'
    its = [one.split() for one in words.split(', ') if one]
    return f'epoll_wait(4, [%s], 64, -1) = {len(its)}' % ', '.join(
        f'{{events={events(its_events)}, data={data(key)}}}' for its_events, key in its)


SHORT = [ # what a line of a script stands for; all else is strace's
    (r'accept (\w) (\d+)', lambda client, fd: 'accept4(3, {sa_family=AF_INET, sin_port=htons('
     f'{port_of(client)}), sin_addr=inet_addr("127.0.0.1")}}, [128 => 16], SOCK_CLOEXEC) = {fd}'),
    (r'accept (E\w+)', lambda error: f'accept4(3, 0x7ffe, [128], SOCK_CLOEXEC) = {result(error)}'),
    (r'(add|mod) (\d+) (\S+) ?(\S*)', lambda change, fd, its, key:
     f'epoll_ctl(4, EPOLL_CTL_{change.upper()}, {fd}, {{events={events(its)}, '
     f'data={data(key or fd)}}}) = 0'),
    (r'del (\d+)', lambda fd: f'epoll_ctl(4, EPOLL_CTL_DEL, {fd}, NULL) = 0'),
    (r'wait ?(.*)', waited),
    (r'recv (\d+) (\w+)', lambda fd, its: f'recvfrom({fd}, "x"..., 64, 0, 0, 0) = {result(its)}'),
    (r'send (\d+) (\w+)', lambda fd, its: f'sendto({fd}, "x"..., 9, 0, NULL, 0) = {result(its)}'),
    (r'close (\d+)', lambda fd: f'close({fd}) = 0'),
    (r'(scene: .*|server: .*|client: .*|kevent \w+: .*|kernel: .*)',
     lambda text: 'write(-1, "%s", 9) = -1 EBADF (Bad file descriptor)' % text.replace('"', '\\"'))]

KEVENT = re.compile(r'kevent \[(.*?)\] \[(.*?)\] = (\d)')


def play(script, before=BEFORE, threads=None, samples=(), silent=None, port=PORT):
    """A line, or what ends with a semicolon, is a client's deed or a call: [THREAD|][+MS ]LINE[
    <SECONDS>]. They come 1 ms after each other, or so many more. Returns what has been seen."""
    script = KEVENT.sub(r'kevent begins: kqueue 4, changes [\1], room 8, timeout none; '
                        r'kevent returns: kqueue 4, events [\2] = \3', script)
    texts, deeds, time = {0: []}, [], 99
    for line in filter(None, re.split('\n|; ?', f'{before}\nbegin\n{script}')):
        thread, wait, line, took = re.match(
            r'(?:(\d)\|)?(?:\+(\d+) )?(.*?)(?: <([\d.]+)>)?$', line).groups()
        own = texts.setdefault(int(thread or 0), [])
        if line.startswith('in '): # the stack of the call before, innermost function first
            own += [f' > /srv/server({name}+0x1) [0x1]\n' for name in line.split()[1:]]
            continue
        time = 100 if line == 'begin' else round(time + 0.001 + int(wait or 0) / 1000, 6)
        if re.match('[A-D] [a-z]', line):
            client, what = line.split(' ', 1)
            count = re.search(r'(?:says|hears) (\d+)', line)
            count = int(count[1]) if count else BYTES.get(what.split()[-1], 0)
            deeds.append(Deed(time, client, port_of(client), what, count))
        elif line != 'begin':
            for pattern, its in SHORT:
                if found := re.fullmatch(pattern, line):
                    line = its(*found.groups())
                    break
            came_back = ' = ' in line and not line.endswith('= ?')
            own.append(f'{time:.6f} {line}' + f' <{took or "0.000050"}>' * came_back + '\n')
    texts = [''.join(texts[thread]) for thread in sorted(texts)]
    return Seen(['server'], texts, threads or {}, deeds, list(samples), silent or {}, port)


def record(script, **more):
    """Returns the recording of a script, as a file of it would say."""
    told = recording.record_of('a title', play(script, **more))
    return json.loads('\n'.join(recording.lines(told)))


def happened(told, scene=0):
    return told['scenes'][scene]['events']


def calls(told, *names, scene=0):
    return [event for event in happened(told, scene) if event.get('call') in names]


def state(script, **more):
    """Returns the state at the end."""
    states = [event.get('inferred') for event in happened(record(script, **more))]
    return list(filter(None, states))[-1]
