"""The events of a scene as they are drawn, and who is who at each."""
from timeline import kernel_column, words
from timeline.calls import numbers, ranges


class Scene:
    """The events of a scene as they are drawn, and who is who at each."""

    def __init__(self, scene, named, kernel, hidden):
        """named: the clients whose descriptors have a colour."""
        self.title, state = scene['name'], scene.get('inferred', {})
        column = kernel_column.Column(whose := {}) if kernel else None
        own = [dict(event) for event in scene['events']] # what is added is no part of the recording
        for event in own:
            before, state = state, event.get('inferred', state)
            event['whose'] = {**owners(state, named), **owners(before, named)}
            if event.get('call') in ('send', 'write'):
                event['kept'] = state.get('unsent', {}).get(event.get('client'))
            event['client_of'] = event.get('client', '')
            if 'note' in event:
                place, _, text = event['note'].partition(': ')
                event['column'], event['note'] = (place, text) if text else (event['thread'], place)
            if column:
                whose.update(event['whose'])
                event['kernel'] = column.words(event, before, state)
                event['begins'] = kernel_column.begins(event) if 'call' in event else []
        events = [event for event in own if 'measured' not in event or 'call' in event]
        if kernel: # where a program holds both ends, a client's calls are what that client does
            events = list(filter(None, map(client_does, events)))
        self.events = words.shortened(events, hidden, not kernel)
        self.clients = sorted({event['client_of'] for event in self.events
                               if 'does' in event or kernel} - {''})
        self.descriptors = described([scene.get('inferred', {})] + [
            event['inferred'] for event in own if 'inferred' in event], named if kernel else ())
        self.threads = sorted({event['thread'] for event in self.events if 'call' in event
                               and 'does' not in event})
        for event in self.events:
            if event.get('column') in ('server', 'client'):
                event['column'] = (self.clients if event['column'] == 'client' and self.clients
                                   else self.threads)[0]
        self.find_functions()

    def find_functions(self):
        """A loop calls other functions: what all stacks begin with is of no interest."""
        stacks = [event['functions'][::-1] for event in self.events if event.get('functions')]
        common = 0
        while stacks and all(its[common:common + 1] == stacks[0][common:common + 1] != []
                             for its in stacks):
            common += 1
        self.common, self.functions = common, any(len(its) > common for its in stacks)
        self.callers = [name + '()' for name in stacks[0][:common]] if self.functions else []

    def function(self, event):
        names = {tuple(one.get('functions', [])[::-1][self.common:][:1])
                 for one in event.get('run', [event])}
        return names.pop()[0] if len(names) == 1 and names != {()} and event.get(
            'kind') != words.HOUSEKEEPING else ''

    def name(self, thread, narrow):
        own = [event for event in self.events if event.get('thread') == thread and 'call' in event]
        if len(self.threads) > 1 and own[0].get('process'):
            return f'process {self.threads.index(thread) + 1}'
        accepts = any(event['call'] == 'accept' for event in own)
        names = ['accepting' + ' thread' * (not narrow)] * accepts
        names += [f'for {event["client_of"]}' if narrow else f'thread for {event["client_of"]}'
                  for event in own[::-1] if event['client_of']]
        names.append('main' if thread == self.threads[0] else 'a thread')
        return names[0] if len(self.threads) > 1 else 'the server, one thread'


def client_does(event):
    if event.get('side') != 'client':
        return event
    does = event['result'] != 'EAGAIN' and words.meaning(event, words.DEEDS)
    hears = does and does.startswith('hears') and event['until'] is not None
    return {**event, 'does': does, 'at': event['until' if hears else 'at']} if does else None


def owners(state, named):
    """Returns the client of each descriptor."""
    return {fd: name for name, its in state.get('descriptors', {}).items()
            if name in named for fd in numbers(its)}


def described(states, clients):
    """Says what each descriptor is, and what it is after that."""
    known = {}
    for state in states:
        for name, its in state.get('descriptors', {}).items():
            for fd in numbers(its) if '/' not in name and "'" not in name else ():
                known.setdefault(fd, {})[name] = True
    names = {'listener': 'the listener', 'epoll': 'the epoll instance', 'kqueue': 'the kqueue',
             'signalfd': 'a signalfd', 'pipe': 'a pipe', 'eventfd': 'an eventfd',
             'timerfd': 'a timerfd', 'inotify': 'an inotify instance'}
    names.update((client, 'client ' + client) for client in clients)
    told = {}
    for fd, whose in sorted(known.items()):
        if all(name in names for name in whose):
            told.setdefault(' then '.join(names[name] for name in whose), []).append(fd)
    return ', '.join(f'{ranges(fds)} {name}' for name, fds in told.items())
