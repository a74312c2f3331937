"""usage: match.py [--transcript] EXPECTED GOT

Compares an output with what a text expects. There <n> stands for any number, <...> for anything
within a line, and a line that is only "..." for any lines. The number of blanks does not count.
Says which line it cannot find first; the status is then 1.
"""

import re
import sys

sys.dont_write_bytecode = True
from document import lines_of  # noqa: E402

WILD = {'<n>': r'[-+]?[0-9][0-9.,]*(e[-+]?[0-9]+)?', '<...>': '.*'}
NUMBER = re.compile(r'0x[0-9a-f]+|[0-9]([0-9.,]*[0-9])?(e[-+]?[0-9]+)?')
# Transcripts differ in the C library's calls for threads, and in the calls that bench/trace counts.
LEFT_OUT = re.compile(r'(rt_sig|mmap|mprotect|munmap|madvise|rseq|set_robust|futex|brk'
                      r'|\.\.\. [0-9]+ calls: |$)')
STABLE = re.compile(r'"[^"]*"|\[[0-9 ]*\]|fd=[0-9]+|(?<=, )-?[0-9]+(?=[,)])'
                    r'|[A-Z][A-Z0-9_|]+[A-Z0-9]')

SAME_IN_EACH_VERSION = re.compile(r'"[^"]*"|[A-Z][A-Z0-9_|]+[A-Z0-9]')


def plain(lines):
    return [re.sub('[ \t]+', ' ', line).strip(' ') for line in lines]


def code(lines):
    return [line for line in plain(lines) if line]


def pattern(line):
    return ''.join(WILD.get(part) or re.escape(part) for part in re.split(r'(<n>|<\.\.\.>)', line))


def first_missing(expected, got, pattern_of):
    """Returns the index of the first expected line that cannot be found, the number of these lines
    if got goes on after them, or None if all is well. Both are plain()."""
    places = {0} # how many lines of got those before this one may have taken
    for index, line in enumerate(expected):
        if line == '...':
            places = set(range(min(places), len(got) + 1))
        else:
            fits = re.compile(pattern_of(line)).fullmatch
            places = {place + 1 for place in places if place < len(got) and fits(got[place])}
        if not places:
            return index
    return None if len(got) in places else len(expected)


def shape(lines):
    """Makes every number fit every number."""
    return [NUMBER.sub('0', line) for line in lines]


def output_mismatch(expected, got):
    index = first_missing(plain(expected), plain(got), pattern)
    if index == len(expected):
        return 'the output goes on after its expected end'
    return None if index is None else 'not found in the output: ' + plain(expected)[index]


def missing_code(quote, sources):
    """Returns the first line of a quote that no source has there, or None. All are code()."""
    found = [first_missing(['...', *quote, '...'], source, re.escape) for source in sources]
    return None if None in found or not quote else quote[max(found, default=1) - 1]


def stable_call(line):
    """Keeps a call's name, descriptors, numbers, flags, strings and result. Leaves out what differs
    each time, or with strace's version: addresses, ids of threads, the insides of structures."""
    call, _, rest = line.partition('(')
    arguments, _, result = re.sub(' = (?=-?[0-9])', '\n', rest, count=1).partition('\n')
    if call in ('clone', 'clone3'):
        call, result = 'clone', 'a thread'
    if call == 'getsockopt':
        arguments = arguments.partition('"')[0] # a structure, as bytes or in words
    result = re.sub(r' \([A-Z][a-z].*', '', result) # the error in words
    words = [f'{call}({re.match("[0-9]*", arguments)[0]}', *STABLE.findall(arguments)]
    return ' '.join(words) + f') = {result}'


def shape_of_call(line):
    """Keeps what the next version of another project's program still does: a call's name, flags and
    strings, whether a wait has a timeout, and whether there was a result."""
    call, _, rest = line.partition('(')
    arguments, _, result = re.sub(' = (?=-?[0-9])', '\n', rest, count=1).partition('\n')
    words = SAME_IN_EACH_VERSION.findall(arguments)
    if call in ('epoll_wait', 'epoll_pwait'):
        timeout = re.findall('(?<=, )-?[0-9]+', arguments)[1]
        words.append({'0': 'at once', '-1': 'forever'}.get(timeout, 'until a timer'))
    error = re.match('-1 [A-Z]+', result)
    result = error[0] if error else '0' if result == '0' else 'some'
    return f'{call}({" ".join(words)}) = {result}'


def stable(transcript, kept_of=stable_call):
    """Keeps what is the same in each transcript of bench/trace. The calls in vain of a server that
    polls become one line."""
    lines = [re.sub(' +# .*', '', line).lstrip(' ') for line in transcript]
    calls = [line if line == '...' else kept_of(line)
             for line in lines if not LEFT_OUT.match(line)]
    if any(re.fullmatch(r'\.\.\. [0-9]+ calls: all of them -1 EAGAIN', line) for line in lines):
        calls = [call for call in calls if not call.endswith(' = -1 EAGAIN')]
        calls.append('calls in vain, all of them -1 EAGAIN')
    return calls


if __name__ == '__main__':
    texts = [lines_of(name) for name in sys.argv[-2:]]
    sys.exit(output_mismatch(*(map(stable, texts) if '--transcript' in sys.argv else texts)))
