"""Reads what a program hands to a wait, and what comes out, from the words in which strace and our
layer for kevent() tell it."""
import re

from timeline.calls import numbers, ranges

SETS = ('read', 'write', 'except')
LISTED = re.compile('{([^}]*)}')


def sets(call):
    """Of select(): the sets, and those that came out."""
    given = {'nfds': call.descriptor}
    given.update({name: ranges(numbers(words)) for name, words in zip(SETS, call.arguments[1:4])
                  if words != 'NULL'})
    found = re.findall(r'(in|out|exc\w*) \[([\d ]*)\]', call.result)
    return given, {SETS[('in', 'out').index(which) if which in ('in', 'out') else 2]:
                   ranges(numbers(words)) for which, words in found}


def array(call):
    """Of poll(): the array, in its order, and the entries that came out with an answer."""
    words = ''.join(call.arguments[:1])
    entries = [(int(fd), events) for fd, events in
               re.findall(r'{fd=(-?\d+)(?:, events=([\w|]*))?}', words) if int(fd) >= 0]
    count = call.arguments[1] if len(call.arguments) > 1 else ''
    given = {'entries': int(count) if count.isdigit() else len(entries),
             'array': ranges(fd for fd, _ in entries), **by_events(entries)}
    return given, by_events((int(fd), events) for fd, events in
                            re.findall(r'{fd=(\d+), revents=([\w|]*)}', call.result))


def events(text):
    """Of epoll: returns (events, what the program gets back with them) for each."""
    return [(events_of(words), key) for words, key in
            re.findall(r'{events=([^,}]*), data=({[^}]*}|[^}]*)}', text)]


def changes(text):
    """Of kevent(): {5 READ ADD|CLEAR}, ..."""
    return [{'ident': int(ident), 'filter': name, 'flags': flags[0].split('|') if flags else []}
            for ident, name, *flags in map(str.split, LISTED.findall(text))]


def reports(text):
    """Of kevent(): {5 READ EOF fflags 0x1 data 0}, ..."""
    return [{'ident': int(ident), 'filter': name, 'data': int(rest[-1]),
             'flags': rest[0].split('|') if rest[0].isupper() else []}
            for ident, name, *rest in map(str.split, LISTED.findall(text))]


def events_of(words):
    return '' if words == '0' else re.sub('EPOLL|POLL', '', words)


def by_events(pairs):
    """(descriptor, events) become {'IN': '3 5-9'}."""
    found = {}
    for descriptor, words in pairs:
        found.setdefault(events_of(words), []).append(descriptor)
    return {words: ranges(descriptors) for words, descriptors in found.items()}
