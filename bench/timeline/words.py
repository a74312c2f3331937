"""What a picture says of a call: its name and result, what it means, and of a wait what goes in and
what comes out. A text is a list of (words, the client they are about)."""
import itertools
import re

from timeline.calls import numbers

NOBODY = [('nobody', '')]
SHOWN = 8 # of more descriptors than this, their number stands
HOUSEKEEPING = 'housekeeping'
# The first pattern that "name result" matches says what it means.
MEANINGS = [
    (r'accept EAGAIN', 'nobody else is waiting'),
    (r'accept E', 'no descriptor is left'),
    (r'accept', '{client} gets descriptor {gets}'),
    (r'(recv|read)\w* EAGAIN', 'nothing more from {client}'),
    (r'(recv|read)\w* ECONNRESET', 'the connection is lost'),
    (r'(recv|read)\w* 0', '{client} has said its last'),
    (r'(recv|read)\w* \d', '{size} from {client}'),
    (r'(send|write)\w* EAGAIN', 'no room for more'),
    (r'(send|write)\w* \d', '{size} to {client}'),
    (r'clone', 'starts a thread'),
    (r'close', 'done with {client}')]
# What a client's own calls mean, where a program holds both ends.
DEEDS = [
    (r'connect', 'connects'), (r'(send|write)\w* \d', 'says {size}'),
    (r'(recv|read)\w* 0', 'hears the end'), (r'(recv|read)\w* ECONNRESET', 'hears a reset'),
    (r'(recv|read)\w* E', 'hears {result}'),
    (r'(recv|read)\w* \d', 'hears {size}'), (r'shutdown', 'half-closes'),
    (r'close', 'leaves')]


def label(event, narrow=False):
    """Returns a call's name, what it is about and what it returned."""
    name, result = event['call'], event['result']
    about = [str(event['descriptor'])] if 'descriptor' in event and event['descriptor'] >= 0 else []
    if name == 'epoll_ctl' and 'change' in event:
        about += [event['change'], str(event['of'])]
    words = name if narrow or not about or 'in' in event else f'{name}({", ".join(about)})'
    plain = result in ('0', '?') and not re.match('recv|read|send|write', name)
    return words if plain or name == 'clone' and result.isdigit() else f'{words} = {result}'


def meaning(event, patterns=None):
    words = f'{event["call"]} {event["result"]}'
    if event['call'] == 'epoll_ctl' and 'change' in event:
        how = events_in({event['events'] or 'nothing': str(event['of'])})[event['of']]
        ends = ' no longer' if event['change'] == 'DEL' else how + ' now'
        return f'watches {event["of"]}{ends}'
    if event.get('sends') == 'RST':
        return 'sends RST' if patterns is None else 'resets'
    found = next((text for pattern, text in patterns or MEANINGS if re.match(pattern, words)), '')
    known = {'client': '', 'gets': '', 'size': size(event.get('bytes', 0)), **event}
    if not known['client'] and '{client}' in found:
        return ''
    return f'keeps {size(event["kept"])}' if event.get('kept') else found.format(**known)


def size(count):
    if count >= 1000000:
        return f'{count / 1000000:.1f} MB'
    if count >= 100000:
        return f'{count / 1000:.0f} kB'
    return f'{count:,} byte{"s" * (count != 1)}'


# ---- waits ---------------------------------------------------------------------------------------

def goes_in(event, whose):
    """What the program hands to the kernel, and what the kernel watches already."""
    its = event['in']
    if 'nfds' in its: # a set for each sort of readiness
        return [('in: ', '')] + join([sort(name, [('{', ''), *listed(its[name], whose), ('}', '')])
                                      for name in ('read', 'write', 'except') if its.get(name)])
    if 'entries' in its: # an array
        count = its['entries']
        if count > SHOWN:
            return [(f'in: an array of {count:,}', '')]
        return [('in: [', ''), *listed(its['array'], whose, events_in(its)), (']', '')]
    changes = [(f'{"-" if "DELETE" in change["flags"] else "+"}{change["ident"]}',
                whose.get(change['ident'], '')) for change in its.get('changes', [])]
    return [('in: ', ''), *(spaced(changes) or [('nothing', '')]), (', watches ', ''),
            *watched(its['watches'], whose)]


def watched(sets, whose):
    """Writes the descriptors that the kernel was told to watch."""
    sets = {name: fds for name, fds in sets.items() if name != 'SIGNAL'}
    return listed(' '.join(sets.values()), whose, events_in(sets), in_order=True) or NOBODY


def comes_out(event, whose):
    its, out = event['in'], event.get('out', {})
    if 'events' in out: # of kevent()
        words = spaced([(f'{one["ident"]}', whose.get(one['ident'], '')) for one in out['events']])
        data = [f'{"EOF, " * ("EOF" in one["flags"])}data {one["data"]}' for one in out['events']
                if one['filter'] in ('READ', 'WRITE')]
        return [('out: ', ''), *(words or [('nothing', '')]),
                *([(f' ({"; ".join(data)})', '')] if data else [])]
    if not out:
        unknown = event.get('unknown')
        return [(f'out: {unknown} unknown' if unknown else 'out: nothing', '')]
    if 'nfds' in its:
        return [('out: ', '')] + join([sort(name, [('{', ''), *listed(out[name], whose), ('}', '')])
                                       for name in ('read', 'write', 'except') if out.get(name)])
    if 'entries' in its: # the whole array comes back, with the answers in it
        ready, array = events_in(out), numbers(its['array'])
        if its['entries'] > SHOWN:
            return [('out: ', ''), *listed(' '.join(out.values()), whose, ready),
                    (f' somewhere in {its["entries"]:,}', '')]
        words = [(f'{fd}{ready[fd]}', whose.get(fd, '')) if fd in ready else ('·', '')
                 for fd in array]
        return [('out: [', ''), *spaced(words), (']', '')]
    return [('out: ', ''), *listed(' '.join(out.values()), whose, events_in(out), in_order=True)]


def sort(name, words): # most programs ask for reading alone
    return words if name == 'read' else [(name + ' ', ''), *words]


def join(parts):
    return [word for part in parts for word in (*part, (', ', ''))][:-1]


def spaced(words):
    return [part for word in words for part in (word, (' ', ''))][:-1]


def events_in(sets):
    """Returns by descriptor what it is watched for, as ':OUT'; watching for input is the rule."""
    short = {'IN': '', 'READ': '', 'nothing': ':off'}
    return {fd: short.get(name, ':' + re.sub('(IN|READ)[|]', '', name))
            for name, fds in sets.items() if name not in ('entries', 'array')
            for fd in numbers(fds)}


def listed(descriptors, whose, events=None, in_order=False):
    """Writes descriptors, each in the colour of its client; of many only how many."""
    them = sorted(set(numbers(descriptors))) if in_order else numbers(descriptors)
    if len(them) > SHOWN:
        return [(f'{len(them):,} descriptors', '')]
    return spaced([(f'{fd}{(events or {}).get(fd, "")}', whose.get(fd, '')) for fd in them])


# ---- runs ----------------------------------------------------------------------------------------

# What has to do with clients and waiting is drawn call by call; the rest is housekeeping.
DRAWN = re.compile('accept|connect|recv|read|send|write|close|shut|[ep]?poll|p?select|kevent|clone|'
                   'io_uring|fork|sigwait|kill|tgkill')


def shortened(events, hidden=(), housekeeping=True):
    """Returns the events, but one for a run in vain, of housekeeping, or of recv and send."""
    result = []
    for thread in dict.fromkeys(event.get('thread') for event in events):
        own = [event for event in events if event.get('thread') == thread]
        if thread is not None:
            own = [event for event in own if event.get('call') not in hidden]
            own = merged(spins(own), 'busy', 3, lambda event: event['result'] == 'EAGAIN')
            own = merged(own, HOUSEKEEPING, 1, lambda event: not DRAWN.match(event['call']))
            own = merged(own, 'echo', 6, moved)
            own = [event for event in own if housekeeping or event.get('kind') != HOUSEKEEPING]
        result += own
    return sorted(result, key=lambda event: event['at'])


def spins(events):
    """Makes one event of a wait that returns at once and a call that fails, again and again. The
    first turn stays."""
    def of(event):
        return event.get('call'), event.get('result')
    result, i = [], 0
    while i < len(events):
        end = i + 2
        fails = end < len(events) and events[i + 1].get('result', '').startswith('E')
        if 'in' in events[i] and fails:
            while end < len(events) and of(events[end]) == of(events[end - 2]):
                end += 1
        run = events[i + 2:end - (end - i) % 2]
        if len(run) > 4:
            result += events[i:i + 2]
            result.append({**run[0], 'until': run[-1]['until'], 'kind': 'busy', 'run': run})
            i += 2 + len(run)
        else:
            result.append(events[i])
            i += 1
    return result


def moved(event): # bytes, from this client or to it
    name = re.match('(recv|send|read|write)', event['call'])
    return (event['client'], event.get('side')) if name and event.get('bytes') else None


def merged(events, kind, least, same):
    """Makes one event of at least so many calls in a row if same() answers alike for all."""
    result = []
    def key(event):
        return 'call' in event and 'run' not in event and not event.get('slept') and same(event)
    for alike, run in itertools.groupby(events, key):
        run = list(run)
        if alike and len(run) >= least:
            run = [{**run[0], 'until': run[-1]['until'], 'kind': kind, 'run': run}]
        result += run
    return result


def of_run(event, narrow=False):
    """Returns the label and the meaning of a run."""
    run, name = event['run'], event['call']
    if event['kind'] == 'busy' and 'in' in event:
        return f'{len(run) // 2:,} times the same', 'again and again'
    if event['kind'] == 'busy':
        names = {one['call'] for one in run}
        count = f'{len(run):,} times'
        return count if narrow else f'{count}: nothing (EAGAIN)', \
            'asks again and again' if len(names) > 1 or len(run) > 9 else ''
    if event['kind'] == HOUSEKEEPING:
        if narrow:
            return f'{len(run)} call{"s" * (len(run) > 1)}', ''
        return (f'{name} + {len(run) - 1} more' if len(run) > 1 else name), HOUSEKEEPING
    names = ', '.join(dict.fromkeys(one['call'] for one in run))
    total = sum(one['bytes'] for one in run)
    if ', ' in names:
        got = sum(one['bytes'] for one in run if re.match('recv|read', one['call']))
        label = f'{len(run) // 2} echoes' if narrow else f'{names}: {len(run) // 2} times'
        return label, f'{size(got)} from {event["client"]} and back'
    way = 'from' if re.match('recv|read', name) else 'to'
    return f'{names}: {len(run):,} times', f'{size(total)} {way} {event["client"]}'
