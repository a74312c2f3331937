"""What strace wrote, as a list of calls; whom each serves; and runs of the same made one."""

import collections
import dataclasses
import itertools
import math
import re

SLEEPING_S = 0.004 # a call that takes so long has slept
MAY_SLEEP = re.compile('accept|recv|read|send|write|poll|wait|select|futex|kevent|enter|join|sleep')

# What has to do with clients and waiting is drawn call by call; the rest is housekeeping.
DRAWN = re.compile('accept|recv|read|send|write|close|shut|epoll|p?poll|p?select|kevent|clone|ioctl|'
                   'io_uring|fork|signal|eventfd')

# What a call is drawn as, or a run of calls.
WORK = 'done at once'
WAIT = 'the thread was asleep in it'
BUSY = 'calls that were told EAGAIN'
OTHER = 'housekeeping: a thread is started, memory is got'
ECHO = 'recv, send, recv, send for one client'

# A line is TIME NAME(ARGUMENTS) = RESULT <SECONDS>; it breaks off if the thread ended in the call.
CALL = re.compile(r'([\d.]+) ([a-z]\w*)\((.*)\) += (.*?)(?: <([\d.]+)>)?$')
BROKEN_OFF = re.compile(r'([\d.]+) ([a-z]\w*)\((.*)')
RESUMED = re.compile(r' *<unfinished \.\.\.>\n\S+ <\.\.\. \w+ resumed>')

# In a transcript runs of these are counted, and what differs each time is left out.
SETUP = re.compile('rt_sig|mmap|mprotect|munmap|madvise|rseq|set_robust|futex|brk')
ADDRESS = re.compile(r'{sa_family[^}]*}, \[[^]]*\]')
NEW_THREAD = re.compile(r'\({flags=.*}, \d+\)')


@dataclasses.dataclass
class Call:
    thread: int # 0 is the oldest
    start: float # seconds
    end: float # infinite if it never came back
    name: str
    arguments: str
    result: str
    client: str = '' # whom it serves; '' is nobody in particular
    kind: str = WORK
    run: tuple = () # the calls that it stands for

    def __post_init__(self):
        self.number = number(self.result)
        self.again = self.result.startswith('-1 EAGAIN')

    def __str__(self):
        return f'{self.name}({self.arguments}) = {self.result}'


def number(text):
    """The decimal number that a text begins with."""
    found = re.match(r'-?\d+\b', text)
    return int(found[0]) if found else None


def parse(thread, text):
    """The calls of a thread."""
    calls = []
    for line in RESUMED.sub('', text).splitlines():
        found = CALL.match(line) or BROKEN_OFF.match(line)
        if found:
            start, name, arguments, result, took = (*found.groups(), '?', None)[:5]
            end = float(start) + float(took) if took else math.inf
            calls.append(Call(thread, float(start), end, name, arguments, result))
        elif ' +++ ' in line and calls: # the thread exited, or was killed
            calls[-1].end = min(calls[-1].end, float(line.split()[0]))
    return calls


class Story:
    """The deeds, and the calls of all threads from the first deed to the last."""

    def __init__(self, deeds, texts):
        self.deeds, self.begin, self.end = deeds, deeds[0].time - 0.003, deeds[-1].time + 0.015
        calls = [call for thread, text in enumerate(texts) for call in parse(thread, text)]
        calls.sort(key=lambda call: call.start)
        find_clients(calls, {deed.port: deed.client for deed in deeds})
        for call in calls:
            if call.end - call.start > SLEEPING_S and MAY_SLEEP.search(call.name):
                call.kind = WAIT
        # Of what began before, only what was asleep.
        self.calls = [call for call in calls if call.end >= self.begin and call.start <= self.end
                      and (call.start >= self.begin or call.kind == WAIT)]

    def table(self):
        """Rows: call, times, told EAGAIN, slept, and for how many ms."""
        rows = collections.defaultdict(lambda: [0, 0, 0, 0.0])
        for call in self.calls:
            slept = call.kind == WAIT
            ms = 1000 * slept * (min(call.end, self.end) - max(call.start, self.begin))
            rows[call.name] = [a + b for a, b in zip(rows[call.name], (1, call.again, slept, ms))]
        return sorted(([name, *row] for name, row in rows.items()), key=lambda row: -row[1])

    def shortened(self):
        """The calls, one for each run of the same."""
        calls = []
        for thread in sorted({call.thread for call in self.calls}):
            own = [call for call in self.calls if call.thread == thread]
            own = merged(own, BUSY, 3, lambda call: call.again)
            own = merged(own, OTHER, 1, lambda call: not DRAWN.match(call.name))
            calls += merged(own, ECHO, 6, lambda call: call.client if echoes(call) else '')
        return sorted(calls, key=lambda call: call.start)

    def transcript(self):
        """The calls that came back, as lines for people."""
        done = [call for call in self.calls if call.end <= self.end and call.result != '?']
        for sort, run in itertools.groupby(done, repeated):
            run = list(run)
            if sort and len(run) > 2:
                names = ', '.join(dict.fromkeys(call.name for call in run))
                yield f'... {len(run)} calls: {names if sort == "setup" else sort}'
            else:
                yield from (NEW_THREAD.sub('(...)', ADDRESS.sub('...', str(call))) for call in run)


def find_clients(calls, clients):
    """A descriptor is a client's from its accept() to its close(); clients are known by port."""
    owner = {}
    for call in calls:
        descriptor, port = number(call.arguments), re.search(r'htons\((\d+)\)', call.arguments)
        if port and call.name.startswith('accept'):
            call.client = owner[call.number] = clients.get(int(port[1]), '')
        elif call.name != 'epoll_ctl': # whose first argument is the epoll instance
            call.client = owner.get(descriptor, '')
        if call.name == 'close':
            owner.pop(descriptor, None)


def merged(calls, kind, least, same):
    """Makes one call of at least so many in a row for which same() has one and the same answer."""
    result = []
    for key, run in itertools.groupby(calls, lambda call: call.kind == WORK and same(call)):
        run = tuple(run)
        if key and len(run) >= least:
            client = '' if kind == BUSY else run[0].client # a busy one asks everybody
            run = [dataclasses.replace(run[0], end=run[-1].end, kind=kind, client=client, run=run)]
        result += run
    return result


def echoes(call):
    return re.match('recv|send|read|write', call.name) and (call.number or 0) > 0


def repeated(call):
    """What a transcript counts."""
    return 'all of them -1 EAGAIN' if call.again else 'setup' if SETUP.match(call.name) else ''
