"""What bench/trace tells in words: the calls by kind, and the calls that serve one client."""
import collections
import itertools
import re

# A transcript counts runs of these, and leaves out what differs each time.
SETUP = re.compile('rt_sig|mmap|mprotect|munmap|madvise|rseq|set_robust|futex|brk')
DIFFERS = re.compile(r'{sa_family[^}]*}, \[[^]]*\]|(?<=\(){flags=.*}, \d+(?=\))')


def calls_of(recording):
    return [event for scene in recording['scenes'] for event in scene['events'] if 'call' in event]


def rows(recording):
    """Yields for each call: its name, times called, told EAGAIN and slept, and the ms asleep."""
    calls = calls_of(recording)
    end = max(event['at'] for scene in recording['scenes'] for event in scene['events'])
    for name, times in collections.Counter(event['call'] for event in calls).most_common():
        own = [event for event in calls if event['call'] == name]
        slept = [(end if event['until'] is None else event['until']) - event['at']
                 for event in own if event.get('slept')]
        again = sum(event['result'] == 'EAGAIN' for event in own)
        yield name, times, again, len(slept), sum(slept)


def transcript(recording):
    """Yields the calls that came back, as lines for people, in the order in which they began."""
    done = [event for event in calls_of(recording)
            if event['until'] is not None and event['result'] != '?']
    done.sort(key=lambda event: (not event.get('began'), event['at']))
    for sort, run in itertools.groupby(done, lambda event: 'all of them -1 EAGAIN'
                                       if event['result'] == 'EAGAIN'
                                       else SETUP.match(event['strace']) and 'setup'):
        run = list(run)
        if sort and len(run) > 2:
            names = ', '.join(dict.fromkeys(event['strace'].split('(')[0] for event in run))
            yield f'... {len(run)} calls: {names if sort == "setup" else sort}'
        else:
            yield from (DIFFERS.sub('...', event['strace']) for event in run)
