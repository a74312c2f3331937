"""Makes a recording of what strace and the clients saw: what happened, in the order in which it
happened, and the state that follows. README.md describes it field by field."""
import json
import math
import re

from timeline import calls
from timeline.state import State

BEFORE_S, AFTER_S = 0.003, 0.015 # a recording begins before its first deed, and ends after its last
LONG = 400 # of more than so many characters the rest is left out
# Of a call that returns after the end.
UNKNOWN = ('out', 'gets', 'bytes', 'sends', 'client', 'functions')
TAKES = re.compile('accept|recv|read') # it cannot have what it takes before it returns


def record_of(title, seen):
    """Returns the recording of a conversation, or of an experiment with scenes."""
    threads = [calls.parse(number, text) for number, text in enumerate(seen.texts)]
    moments = sorted(moments_of(threads, seen), key=lambda moment: moment[0])
    if seen.deeds:
        ends = [('', seen.deeds[0].time - BEFORE_S, seen.deeds[-1].time + AFTER_S)]
    else:
        ends = list(scenes_of(moments))
    tell = Teller(seen, ends)
    for moment in moments:
        tell.moment(*moment)
    for scene in tell.scenes:
        scene.pop('now', None)
    return {'format': 'seven-servers-recording', 'version': 1, 'title': title,
            'command': seen.command, 'scenes': tell.scenes}


def moments_of(threads, seen):
    """Yields (the time at which it has its effect, what sort it is, what it is)."""
    for own, signals in threads:
        yield from ((time, 'exit' if name == 'exit' else 'signal', (own[0].thread, name))
                    for time, name in signals if own)
        for call in kevents(own):
            if text := calls.mark(call):
                yield call.start, 'mark', (call, text)
            else:
                late = TAKES.match(call.name) and math.isfinite(call.end)
                yield call.end if late or call.slept else call.start, 'call', call
    yield from ((deed.time, 'deed', deed) for deed in seen.deeds)
    yield from ((time, 'measured', what) for time, what in seen.samples)


def kevents(own):
    """On Linux kevent() is made of other calls. Our layer tells where one begins and returns, and
    all between is one call."""
    begun = None
    for call in own:
        text = calls.mark(call)
        if text.startswith('kevent begins: '):
            kqueue, changes, room = re.match(
                r'\D*(\d+), changes \[(.*?)\], (.*)', text).groups()
            begun = calls.Call(call.thread, call.start, math.inf, 'kevent', '', '?',
                               arguments=[kqueue, changes, ''], functions=callers(call))
        elif text.startswith('kevent returns: ') and begun:
            found = re.match(r'[^,]*, (?:events \[(.*)\] )?= (.*)', text)
            begun.arguments[2], begun.result, begun.end = found[1] or '', found[2], call.end
            begun.text = f'kevent({kqueue}, [{changes}], [{found[1] or ""}], {room})'
            yield begun
            begun = None
        elif begun:
            begun.slept, begun.inside = begun.slept or call.slept, begun.inside + 1
        else:
            yield call
    if begun: # it sleeps still
        begun.text, begun.slept = f'kevent({kqueue}, [{changes}], {room})', True
        yield begun


def callers(call): # of kevent()
    names = [name for _, name in call.functions]
    return call.functions[names.index('kevent') + 1:] if 'kevent' in names else []


def scenes_of(moments):
    """An experiment marks what is to be drawn: yields a name, the begin and the end of each."""
    name, begin = None, 0
    for time, sort, what in moments:
        if sort == 'mark' and what[1].startswith('scene: '):
            if name:
                yield name, begin, time
            name, begin = what[1][7:], time
            name = None if name == 'end' else name


class Teller:
    """Goes through the moments, and writes down those that belong to a scene."""

    def __init__(self, seen, ends):
        self.seen, self.ends = seen, ends
        names = {**{deed.port: deed.client for deed in seen.deeds}, **seen.silent}
        self.state = State(names, seen.port, seen.threads, seen.echoes)
        self.scenes = [{'name': name, 'events': []} for name, _, _ in ends]
        self.last = max((end for _, _, end in ends), default=0)

    def moment(self, time, sort, what):
        over = time > self.last
        self.state.in_scene = any(belongs(sort, what, time, *ends[1:])
                                  for ends in self.ends)
        for scene, (_, begin, _) in zip(self.scenes, self.ends):
            if time >= begin and 'inferred' not in scene:
                scene['inferred'] = scene['now'] = self.state.snapshot()
        event = getattr(self, sort)(what, over) if sort == 'call' or not over else None
        for i, (_, begin, end) in enumerate(self.ends):
            if event and belongs(sort, what, time, begin, end):
                self.write(i, dict(event), sort, what, time, begin, end)

    def write(self, i, event, sort, what, time, begin, end):
        start, until = (what.start, what.end) if sort == 'call' else (time, time)
        event = {'at': ms(max(start, begin) - begin), **event}
        if sort == 'call':
            event['until'] = ms(until - begin) if until <= end else None
            if start < begin:
                event['began'] = 'before'
            if until > end: # what came of it is no part of this
                event = {name: its for name, its in event.items() if name not in UNKNOWN}
                event['result'] = '?'
        before = self.scenes[i]['now']
        now = self.state.snapshot() if time <= end else before
        if now != before:
            event['inferred'] = self.scenes[i]['now'] = now
        self.scenes[i]['events'].append(event)

    def deed(self, deed, _):
        state, verb = self.state, deed.what.split(' ')[0]
        if verb == 'connects':
            state.connects(deed.client)
        elif verb == 'says':
            state.says(deed.client, deed.bytes)
        elif verb == 'hears':
            state.hears(deed.client, deed.bytes)
        elif verb == 'half-closes':
            state.ends(deed.client)
        elif verb == 'leaves':
            state.leaves(deed.client)
        told = {'client': deed.client, 'does': deed.what}
        if deed.bytes:
            told['bytes'] = deed.bytes
        return told

    def exit(self, what, _):
        self.state.exits(what[0])

    def measured(self, what, _):
        """The kernel tells a process by its own number; we tell it as in the rest."""
        def ours(name):
            process, _, rest = name.rpartition('/')
            return f'{self.seen.threads.get(int(process), process)}/{rest}' if process else name
        return {'measured': {field: {ours(name): its for name, its in sets.items()}
                             for field, sets in what.items()}}

    def signal(self, what, _):
        return {'thread': what[0], 'signal': what[1]}

    def mark(self, what, _):
        call, text = what
        if text.startswith('scene: '):
            self.state.letters = 0
            return None
        return {'thread': call.thread, 'note': text}

    def call(self, call, over):
        # What goes into a wait is known when it begins, also if it returns after the last scene.
        told = {} if over and call.start > self.last else self.state.apply(call)
        event = {'thread': call.thread, 'call': call.name}
        process = self.state.process[call.thread]
        if process:
            event['process'] = process
        event.update(told)
        event['result'] = call.error or call.result.split(' ')[0]
        if call.slept:
            event['slept'] = True
        if call.inside:
            event['inside'] = call.inside
        if call.functions:
            event['functions'] = [name for program, name in call.functions
                                  if '.so' not in program and not name.startswith('_')]
        text = call.text if len(call.text) <= LONG else call.text[:LONG] + ' ...'
        event['strace'] = f'{text} = {call.result[:LONG]}'
        return event


def belongs(sort, what, time, begin, end):
    if sort != 'call':
        return begin <= time <= end
    # A call that began before, or ends after, is a part if the thread slept in it.
    inside = what.start >= begin and what.end <= end
    return inside or what.slept and what.end >= begin and what.start <= end


def ms(seconds):
    return round(seconds * 1000, 3)


def lines(told):
    """Returns a recording as JSON, an event a line."""
    head = {name: its for name, its in told.items() if name != 'scenes'}
    result = [json.dumps(head, indent=1)[:-2] + ',', ' "scenes": [']
    for i, scene in enumerate(told['scenes']):
        result.append(f'  {{"name": {json.dumps(scene["name"])},')
        result.append(f'   "inferred": {json.dumps(scene.get("inferred", {}))}, "events": [')
        events = [f'   {json.dumps(event)}' for event in scene['events']]
        result += [line + ',' for line in events[:-1]] + events[-1:]
        result.append('  ]}' + ',' * (i + 1 < len(told['scenes'])))
    return result + [' ]', '}']
