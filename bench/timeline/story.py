"""Makes calls of what strace wrote, finds the client that each serves, and shortens runs."""
import collections
import dataclasses
import itertools
import math
import re

SLEEPING_S = 0.004 # a call that takes so long has slept
MAY_SLEEP = re.compile('accept|recv|read|send|write|poll|wait|select|futex|kevent|enter|join|sleep')
# What has to do with clients and waiting is drawn call by call; the rest is housekeeping.
DRAWN = re.compile('accept|recv|read|send|write|close|shut|[ep]?poll|p?select|kevent|clone|ioctl|'
                   'io_uring|fork|signal|eventfd')
# A line is TIME NAME(ARGUMENTS) = RESULT <SECONDS>; it breaks off if the thread ended in the call.
CALL = re.compile(r'([\d.]+) ([a-z]\w*)\((?:(.*)\) += (.*?)(?: <([\d.]+)>)?|(.*))$')
RESUMED = re.compile(r' <unfinished \.\.\.>\n\S+ <\.\.\. \w+ resumed>')
# A transcript counts runs of these, and leaves out what differs each time.
SETUP = re.compile('rt_sig|mmap|mprotect|munmap|madvise|rseq|set_robust|futex|brk')
DIFFERS = re.compile(r'{sa_family[^}]*}, \[[^]]*\]|(?<=\(){flags=.*}, \d+(?=\))')


@dataclasses.dataclass
class Call:
    thread: int # 0 is the oldest
    start: float # seconds
    end: float # infinite if it never came back
    name: str
    arguments: str
    result: str # '?' if it has none
    kind: str # 'work'; 'wait': the thread was asleep in it; of a run 'busy', 'other' or 'echo'
    client: str = '' # whom it serves; '' is nobody in particular
    run: tuple = () # the calls that it stands for

    @property
    def again(self):
        return self.result.startswith('-1 EAGAIN')

    def __str__(self):
        return f'{self.name}({self.arguments}) = {self.result}'


def parse(thread, text):
    calls = []
    for line in RESUMED.sub('', text).splitlines():
        found = CALL.match(line)
        if found:
            start, name, arguments, result, took, rest = found.groups()
            start, seconds = float(start), float(took or math.inf)
            kind = 'wait' if seconds > SLEEPING_S and MAY_SLEEP.search(name) else 'work'
            calls.append(Call(thread, start, start + seconds, name, arguments or rest or '',
                              result or '?', kind))
        elif ' +++ ' in line and calls: # the thread exited, or was killed
            calls[-1].end = min(calls[-1].end, float(line.split()[0]))
    return calls


def find_clients(calls, clients):
    """A descriptor is a client's from its accept() to its close(); clients are known by port."""
    owner = {}
    for call in calls:
        descriptor, port = call.arguments.split(',')[0], re.search(r'htons\((\d+)', call.arguments)
        call.client = owner.get(descriptor, '')
        if port and call.name.startswith('accept'):
            call.client = owner[call.result] = clients.get(int(port[1]), '')
        if call.name == 'close':
            owner.pop(descriptor, None)


class Story:
    """The deeds, and the calls of all threads from the first deed to the last."""

    def __init__(self, deeds, texts):
        self.deeds, self.begin, self.end = deeds, deeds[0].time - 0.003, deeds[-1].time + 0.015
        self.lines = [line for text in texts for line in text.splitlines()]
        calls = [call for thread, text in enumerate(texts) for call in parse(thread, text)]
        calls.sort(key=lambda call: call.start)
        find_clients(calls, {deed.port: deed.client for deed in deeds})
        # A call that began before is one of them if the thread slept in it.
        self.calls = [call for call in calls if call.end >= self.begin and call.start <= self.end
                      and (call.start >= self.begin or call.kind == 'wait')]

    def table(self):
        """Returns a row for each name: times called, told EAGAIN and slept, and the ms asleep."""
        for name, times in collections.Counter(call.name for call in self.calls).most_common():
            own = [call for call in self.calls if call.name == name]
            slept = [min(call.end, self.end) - max(call.start, self.begin)
                     for call in own if call.kind == 'wait']
            yield name, times, sum(call.again for call in own), len(slept), sum(slept) * 1000

    def transcript(self):
        """Returns the calls that came back, as lines for people."""
        done = [call for call in self.calls if call.end <= self.end and call.result != '?']
        for sort, run in itertools.groupby(done, lambda call: 'all of them -1 EAGAIN' if call.again
                                           else SETUP.match(call.name) and 'setup'):
            run = list(run)
            if sort and len(run) > 2:
                names = ', '.join(dict.fromkeys(call.name for call in run))
                yield f'... {len(run)} calls: {names if sort == "setup" else sort}'
            else:
                yield from (DIFFERS.sub('...', str(call)) for call in run)

    def shortened(self):
        """Returns the calls, but one for a run in vain, of housekeeping, or of recv and send."""
        calls = []
        for thread in sorted({call.thread for call in self.calls}):
            own = [call for call in self.calls if call.thread == thread]
            own = merged(own, 'busy', 3, lambda call: call.again)
            own = merged(own, 'other', 1, lambda call: not DRAWN.match(call.name))
            calls += merged(own, 'echo', 6, lambda call: call.client if re.match(
                r'(recv|send|read|write).* = [1-9]', str(call)) else '')
        return sorted(calls, key=lambda call: call.start)


def merged(calls, kind, least, same):
    """Makes one call of at least so many in a row if same() answers the same for all of them."""
    result = []
    for key, run in itertools.groupby(calls, lambda call: call.kind == 'work' and same(call)):
        run = tuple(run)
        if key and len(run) >= least:
            client = '' if kind == 'busy' else run[0].client # it asked all clients
            run = [dataclasses.replace(run[0], end=run[-1].end, kind=kind, client=client, run=run)]
        result += run
    return result
