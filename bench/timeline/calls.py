"""Makes calls of what strace wrote: names as the book has them, and for each wait what the program
handed to the kernel and what came out."""
import dataclasses
import math
import re

SLEEPING_S = 0.004 # a call that takes so long has slept
MAY_SLEEP = re.compile('accept|connect|recv|read|send|write|poll|wait|select|futex|kevent|enter|'
                       'join|sleep')
# A line is TIME NAME(ARGUMENTS) = RESULT <SECONDS>; it breaks off if the thread ended in the call.
CALL = re.compile(r'([\d.]+) ([a-z]\w*)\((?:(.*)\) += (.*?)(?: <([\d.]+)>)?|(.*))$')
RESUMED = re.compile(r' <unfinished \.\.\.>\n(?: > .*\n)*\S+ <\.\.\. \w+ resumed>')
SIGNAL = re.compile(r'([\d.]+) --- (SIG\w+) ')
FRAME = re.compile(r' > (.*)\((\w[^.+]*).*\) \[')
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"(\.\.\.)?')

# strace tells the kernel's names.
NAMES = {'accept4': 'accept', 'recvfrom': 'recv', 'sendto': 'send', 'pselect6': 'pselect',
         '_newselect': 'select', 'epoll_pwait': 'epoll_wait', 'epoll_pwait2': 'epoll_wait',
         'clone3': 'clone', 'rt_sigtimedwait': 'sigwait', 'rt_sigprocmask': 'sigprocmask',
         'rt_sigaction': 'sigaction', 'rt_sigsuspend': 'sigsuspend', 'exit_group': 'exit',
         'eventfd2': 'eventfd', 'signalfd4': 'signalfd', 'pipe2': 'pipe', 'dup3': 'dup2',
         'epoll_create1': 'epoll_create', 'inotify_init1': 'inotify_init'}


@dataclasses.dataclass
class Call:
    thread: int # 0 is the oldest
    start: float # seconds
    end: float # infinite if it never came back
    name: str
    text: str # as strace has it, without the result
    result: str # '?' if it has none
    slept: bool = False
    functions: list = dataclasses.field(default_factory=list) # (program, function), innermost first
    inside: int = 0 # for a kevent(): the calls that it made
    arguments: list = dataclasses.field(default_factory=list)

    @property
    def number(self): # None if the result is none
        found = re.match(r'-?\d+', self.result)
        return int(found[0]) if found else None

    @property
    def descriptor(self): # the first argument, or None
        found = re.match(r'-?\d+$', self.arguments[0]) if self.arguments else None
        return int(found[0]) if found else None

    @property
    def error(self):
        found = re.match(r'-1 (\w+)|\? (ERESTART)', self.result)
        return ('EINTR' if found[2] else found[1]) if found else ''


def parse(thread, text):
    """Returns the calls of a thread, and (time, signal) for each signal that reached it; 'exit' is
    its end."""
    calls, signals = [], []
    for line in RESUMED.sub('', text).splitlines():
        if found := CALL.match(line):
            start, name, arguments, result, took, rest = found.groups()
            start, seconds, inner = float(start), float(took or math.inf), arguments or rest or ''
            calls.append(Call(thread, start, start + seconds, book_name(name, inner),
                              f'{name}({STRING.sub(shortened, inner)})', result or '?',
                              seconds > SLEEPING_S and bool(MAY_SLEEP.search(name))
                              and ' EAGAIN ' not in (result or ''),
                              arguments=split(inner)))
        elif (found := FRAME.match(line)) and calls:
            calls[-1].functions.append((found[1], found[2]))
        elif found := SIGNAL.match(line):
            signals.append((float(found[1]), found[2]))
            if calls and calls[-1].result.startswith('? ERESTART'): # it returns after the handler
                calls[-1].end = signals[-1][0] + 0.00001
        elif ' +++ ' in line and calls: # the thread exited, or was killed
            calls[-1].end = min(calls[-1].end, float(line.split()[0]))
            signals.append((float(line.split()[0]), 'exit'))
    return calls, signals


def book_name(name, arguments):
    if name == 'pselect6' and arguments.endswith(', NULL'): # without a signal mask it is select()
        return 'select'
    return NAMES.get(name, name)


def shortened(string):
    """Of a long string a transcript shows the beginning, as strace does when it is not told."""
    characters = re.findall(r'\\\d{1,3}|\\.|.', string[1])
    return f'"{"".join(characters[:16])}"' + ('...' if string[2] or len(characters) > 16 else '')


def split(text):
    """Splits arguments at the commas that stand in no string and in no bracket."""
    parts, depth, begin = [], 0, 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"?|[\[{(]|[\]})]|, ', text):
        if token[0][0] in '[{(':
            depth += 1
        elif token[0][0] in ']})':
            depth -= 1
        elif token[0] == ', ' and depth == 0:
            parts.append(text[begin:token.start()])
            begin = token.end()
    return parts + [text[begin:]] if text else []


def mark(call):
    """Returns what a program wrote for us alone, to descriptor -1; or ''."""
    is_ours = call.name == 'write' and call.descriptor == -1 and len(call.arguments) > 1
    found = is_ours and STRING.match(call.arguments[1])
    return re.sub(r'\\(.)', r'\1', found[1]) if found else ''


# ---- sets of descriptors -------------------------------------------------------------------------

def ranges(numbers):
    """Writes descriptors, in this order, as '3 5-9'."""
    words = []
    for number in numbers:
        if words and number == words[-1][1] + 1:
            words[-1][1] = number
        else:
            words.append([number, number])
    return ' '.join(str(low) if low == high else f'{low}-{high}' for low, high in words)


def numbers(words):
    """Reads what ranges() wrote."""
    found = re.findall(r'(\d+)(?:-(\d+))?', words)
    return [number for low, high in found for number in range(int(low), int(high or low) + 1)]
