"""The picture: time runs down, a column for each client and for each thread of the server. Every
call and every deed has a line of its own; where nothing happens for long the scale is broken."""
import collections
import html
import re

LINE, BREAK = 19, 26 # the heights of a line and of a pause
PAUSE_S = 0.004 # where nothing happens for so long, there is a pause
TOP, FOOT = 84, 58 # the heights of what is above and below the lines
AXIS, CLIENT = 64, 138 # the widths of the time's column and of a client's

COLOURS = {'A': ('#cfe2ff', '#1f5fbf'), 'B': ('#ffe3c2', '#b35c00'), 'C': ('#d3f0d5', '#1f7a34'),
           '': ('#e6e6e6', '#8a8a8a'), 'wait': ('url(#asleep)', '#9a9a9a'),
           'busy': ('#ffc9c9', '#b42318')}
HEAD = '''\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}">
<title>{2}</title>
<style>text{{font:11.5px sans-serif}}.h{{font-size:13px;font-weight:bold}}.p,.m{{font-style:italic}}
.c,.t{{font:11px monospace}}.t,.m{{text-anchor:end}}</style>
<defs><pattern id="asleep" width="7" height="7" patternUnits="userSpaceOnUse" \
patternTransform="rotate(45)"><rect width="7" height="7" fill="#fafafa"/>\
<rect width="2" height="7" fill="#e4e4e4"/></pattern></defs>
<rect x=".5" y=".5" width="{3}" height="{4}" rx="8" fill="#fff" stroke="#ccc"/>
<text x="14" y="24" class="h" fill="#111">{2}</text>
<text x="14" y="44" class="d" fill="#555">Time runs down, a line for each call and each thing a \
client does; pauses are shortened. After = is what the call returned.</text>
<text x="14" y="68" class="p" fill="#777">ms</text>'''
MARKER = '<marker id="{}" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">' \
         '<path d="M1 1L7 4L1 7z" fill="{}"/></marker>'
TEXT = '<text x="{}" y="{}" class="{}" fill="{}">{}</text>'
BOX = '<rect x="{}" y="{}" width="{}" height="{}" rx="{}" fill="{}" stroke="{}"/>'
MIDDLE = '<path d="M{} {}V{}" stroke="{}" opacity=".35"/>'
PAUSE = '<path d="M{} {}H{}" stroke="#bbb" stroke-dasharray="2 5"/>'
ARROW = '<path d="M{}L{}" stroke="{}" fill="none" opacity=".6" marker-end="url(#{})"/>'
LEGEND = [(14, 'wait', 'the thread is asleep in this call'),
          (232, '', 'a call; its colour is that of the client it is for'),
          (540, 'busy', 'calls in vain; the processor is busy')]
# The first pattern that a call matches says what it means: {0} is the client, {1} the result.
MEANINGS = [
    (r'accept.* = -1 EAGAIN', 'nobody else is waiting'),
    (r'accept.* = \d', '{0} gets descriptor {1}'),
    (r'ioctl.*FIONREAD', 'asks how much there is'),
    (r'ioctl', 'housekeeping'),
    (r'\w*ctl', 'changes what is watched'),
    (r'\w*(wait|poll|select|kevent).* = [1-9]', '{1} ready'),
    (r'\w*(wait|poll|select|kevent)', 'nobody is ready'),
    (r'recv.* = -1 EAGAIN', 'nothing more from {0}'),
    (r'recv.* = 0', '{0} has said its last'),
    (r'recv.* = \d', '{1} bytes from {0}'),
    (r'send.* = \d', '{1} bytes to {0}'),
    (r'close', 'done with {0}')]
# These calls take what a client does, or send what it hears.
OTHER_END = {'connects': r'accept.* = \d', 'says': r'(recv|read).* = [1-9]',
             'half-closes': r'(recv|read).* = 0', 'leaves': r'(recv|read).* = 0',
             'hears': 'send|write', 'hears the end': 'close|shut'}
Line = collections.namedtuple('Line', 'time y pause deed call') # it has a deed or a call


class Picture:
    def __init__(self, story, title):
        self.begin, self.end, self.calls = story.begin, story.end, story.shortened()
        self.threads = sorted({call.thread for call in self.calls})
        self.column = {1: 372, 2: 230}.get(len(self.threads), 142) # the width of a thread's column
        self.x = {client: AXIS + i * CLIENT for i, client in enumerate('ABC')}
        for i, thread in enumerate(self.threads):
            self.x[thread] = AXIS + 3 * CLIENT + 12 + i * self.column
        width = AXIS + 3 * CLIENT + 16 + len(self.threads) * self.column
        self.lay_out(story.deeds)
        self.svg = []
        self.put(HEAD, width, self.height, title, width - 1, self.height - 1)
        self.draw_frame()
        for line in self.lines:
            if line.pause:
                y = line.y - BREAK // 2 - 1
                self.put(PAUSE, AXIS - 8, y, width - 10)
                self.put(TEXT, 10, y + 4, 'p', '#777', 'pause')
            self.draw_line(line)
        for line in self.lines:
            if line.deed:
                self.draw_arrow(line, line.deed.client, line.deed.what)
        self.svg.append('</svg>')

    def lay_out(self, deeds):
        moments = [(deed.time, deed, None) for deed in deeds]
        for call in self.calls:
            # What takes something from a client cannot have it before it returns.
            takes = call.kind == 'work' and re.match('accept|recv', call.name)
            moments.append((max(call.end if takes else call.start, self.begin), None, call))
        moments.sort(key=lambda moment: moment[0])
        self.lines, y = [], TOP
        for time, deed, call in moments:
            pause = bool(self.lines) and time - self.lines[-1].time > PAUSE_S
            if self.lines and time > self.begin: # calls that slept before share the first line
                y += LINE + pause * BREAK
            self.lines.append(Line(time, y, pause, deed, call))
        self.height = y + LINE + FOOT

    def y(self, time): # of the first line that is not before it
        return next((line.y for line in self.lines if line.time >= time), self.height - FOOT)

    def put(self, template, *values):
        self.svg.append(template.format(*(html.escape(str(value), False) for value in values)))

    def draw_frame(self):
        for client in 'ABC':
            x, ink = self.x[client], COLOURS[client][1]
            self.put(MARKER, client, ink)
            self.put(TEXT, x + 12, 68, 'h', ink, 'client ' + client)
            self.put(MIDDLE, x + CLIENT // 2, TOP - 8, self.height - 39, ink)
        for thread in self.threads:
            self.put(TEXT, self.x[thread] + 4, 68, 'h', '#111', self.name(thread))
        for x, colour, text in LEGEND:
            self.put(BOX, x, self.height - 29, 22, 13, 3, *COLOURS[colour])
            self.put(TEXT, x + 28, self.height - 18, 'd', '#444', text)

    def name(self, thread):
        own = [call for call in self.calls if call.thread == thread]
        names = ['accepting thread' for call in own if call.name.startswith('accept')]
        names += [f'thread for {call.client}' for call in own[::-1] if call.client]
        names.append('main thread' if thread == self.threads[0] else 'a thread')
        return names[0] if len(self.threads) > 1 else 'the server, one thread'

    def draw_line(self, line):
        if line.time > self.begin:
            ms = (line.time - self.begin) * 1000
            self.put(TEXT, AXIS - 12, line.y + 13, 't', '#777', f'{ms:.1f}')
        if line.call:
            self.draw_call(line.call, self.x[line.call.thread], line.y)
        else:
            x = self.x[line.deed.client] + 4
            self.put(BOX, x, line.y, CLIENT - 8, LINE - 2, 8, *COLOURS[line.deed.client])
            self.put(TEXT, x + 8, line.y + 13, 'd', '#222', line.deed.what)

    def draw_call(self, call, x, y):
        height, (fill, edge) = LINE - 2, COLOURS[call.client]
        if call.kind in ('wait', 'busy'):
            height = max(height, self.y(call.end) - 2 - y)
            fill, edge = COLOURS[call.kind][0], COLOURS[call.client or call.kind][1]
        self.put(BOX, x, y, self.column - 8, height, 3, fill, edge)
        fits = (self.column - 16) * 10 // 66
        label, short, meaning = words(call)
        if call.kind == 'wait':
            begun, ended = call.start > self.begin, call.end < self.end
            ms = f' for {(call.end - call.start) * 1000:.0f} ms' if begun and ended else ''
            meaning = f'asleep{ms}' + (f', then {meaning}' if meaning and ended else '')
            label = label if call.end <= self.end else short
        if len(label) > fits:
            label = short if len(short) <= fits else short[:fits - 1] + '…'
        self.put(TEXT, x + 5, y + 13, 'c', '#7a1710' if call.kind == 'busy' else '#222', label)
        if self.column >= 300 and (call.kind == 'wait' or call.end < self.end):
            self.put(TEXT, x + self.column - 14, y + 13, 'm', '#444', meaning)

    def draw_arrow(self, line, client, what):
        """Leads from what a client does to the call that takes it, or back to what it hears."""
        hears = what.startswith('hears')
        pattern = OTHER_END.get(what) or OTHER_END[what.split()[0]]
        ends = [(call, y) for _, y, _, _, call in self.lines if call and call.client == client
                and (call.start < line.time if hears else call.end >= line.time)
                and any(re.match(pattern, str(one)) for one in call.run or [call])]
        for call, y in ends[-1:] if hears else ends[:1]:
            if call.kind == 'wait' and not hears:
                y = max(y, self.y(call.end) - LINE)
            points = [f'{self.x[client] + CLIENT - 4} {line.y + LINE // 2}',
                      f'{self.x[call.thread]} {y + LINE // 2}']
            self.put(ARROW, *(points[::-1] if hears else points), COLOURS[client][1], client)


def words(call):
    """Returns the label of a call, a shorter one, and its meaning."""
    count, name, client = len(call.run), call.name, call.client or 'someone'
    if call.kind == 'busy':
        return [f'{count} times: nothing (EAGAIN)'] * 2 + ['asks again and again']
    if call.kind == 'other':
        label = f'{name} + {count - 1} more' if count > 1 else name
        return label, f'{count} other calls' if count > 1 else name, 'housekeeping'
    if call.kind == 'echo':
        got = sum(int(one.result) for one in call.run if re.match('recv|read', one.name))
        return [f'recv, send: {count // 2} times'] * 2 + [f'{got} bytes from {client} and back']
    result = 'EAGAIN' if call.again else call.result.split()[0]
    label = name if result == '?' else f'{name} = {result}'
    meaning = next((text for pattern, text in MEANINGS if re.match(pattern, str(call))), '')
    return label, name if call.kind == 'wait' else label, meaning.format(client, result)
