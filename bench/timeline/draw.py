"""The picture: time runs down, a column for each client and for each thread of the server.

Every call and every deed has a line of its own, since most calls take microseconds and the pauses
milliseconds; where nothing happens for long the scale is broken, and says so."""

import bisect
import collections
import html
import re

from timeline.story import BUSY, ECHO, OTHER, WAIT, WORK

LINE, BREAK = 19, 26 # the heights of a line and of a pause
TOP, FOOT = 84, 58 # and of what is above and below the lines
AXIS, COLUMN = 64, 138 # the widths of the time's column and of a client's
PAUSE_S = 0.004

# Fill and edge.
COLOURS = {'A': ('#cfe2ff', '#1f5fbf'), 'B': ('#ffe3c2', '#b35c00'), 'C': ('#d3f0d5', '#1f7a34'),
           '': ('#e6e6e6', '#8a8a8a'), WAIT: ('url(#asleep)', '#9a9a9a'), BUSY: ('#ffc9c9', '#b42318')}
HEAD = '''\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}">
<title>{2}</title>
<style>text{{font:12px sans-serif}}.c,.t{{font:11px monospace}}.t{{text-anchor:end}}\
.h{{font:bold 13px sans-serif}}.p{{font:italic 11px sans-serif}}.d{{font:11.5px sans-serif}}\
.m{{font:italic 11.5px sans-serif;text-anchor:end}}</style>
<defs><pattern id="asleep" width="7" height="7" patternUnits="userSpaceOnUse" \
patternTransform="rotate(45)"><rect width="7" height="7" fill="#fafafa"/>\
<rect width="2" height="7" fill="#e4e4e4"/></pattern></defs>'''
MARKER = '''\
<marker id="{}" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">\
<path d="M1 1L7 4L1 7z" fill="{}"/></marker>'''
ABOUT = 'Time runs down, a line for each call and each thing a client does; pauses are shortened. ' \
        'After = is what the call returned.'

# What a call means, for a reader who has not met it.
MEANINGS = [
    (r'accept.* = -1 EAGAIN', 'nobody else is waiting'),
    (r'accept.* = \d', '{0.client} gets descriptor {0.number}'),
    (r'ioctl.*FIONREAD', 'asks how much there is'),
    (r'ioctl', 'housekeeping'),
    (r'\w*ctl', 'changes what is watched'),
    (r'\w*(wait|poll|select|kevent).* = [1-9]', '{0.number} ready'),
    (r'\w*(wait|poll|select|kevent)', 'nobody is ready'),
    (r'recv.* = -1 EAGAIN', 'nothing more from {0.client}'),
    (r'recv.* = 0', '{0.client} has said its last'),
    (r'recv.* = \d', '{0.number} bytes from {0.client}'),
    (r'send.* = \d', '{0.number} bytes to {0.client}'),
    (r'close', 'done with {0.client}')]

# The call that takes what a client does, or gives what it hears.
OTHER_END = {'connects': r'accept.* = \d', 'says': r'(recv|read).* = [1-9]',
             'half-closes': r'(recv|read).* = 0', 'leaves': r'(recv|read).* = 0',
             'hears': 'send|write', 'hears the end': 'close|shut'}

# In it is a deed or a call.
Line = collections.namedtuple('Line', 'time y pause deed call')


class Picture:
    def __init__(self, story, title):
        self.begin, self.end, self.calls, self.svg = story.begin, story.end, story.shortened(), []
        threads = sorted({call.thread for call in self.calls})
        self.lane = {1: 372, 2: 230}.get(len(threads), 142) # the width of a thread's column
        self.x = {client: AXIS + i * COLUMN for i, client in enumerate('ABC')}
        for i, thread in enumerate(threads):
            self.x[thread] = AXIS + 3 * COLUMN + 12 + i * self.lane
        self.width = AXIS + 3 * COLUMN + 16 + len(threads) * self.lane
        self.lay_out(story.deeds)
        self.draw_frame(title)
        for thread in threads:
            self.text(self.x[thread] + 4, 68, 'h', '#111', self.name(thread, threads))
        for line in self.lines:
            self.draw_line(line)
        for line in self.lines:
            if line.deed:
                self.draw_arrow(line, *line.deed[1::2])
        self.svg.append('</svg>')

    def lay_out(self, deeds):
        moments = [(deed.time, deed, None) for deed in deeds]
        for call in self.calls:
            # What takes something from a client cannot have it before it returns.
            takes = call.kind == WORK and re.match('accept|recv', call.name)
            moments.append((max(call.end if takes else call.start, self.begin), None, call))
        moments.sort(key=lambda moment: moment[0])
        self.lines, y, last = [], TOP, moments[0][0]
        for time, deed, call in moments:
            pause = time - last > PAUSE_S
            if self.lines and time > self.begin: # calls that slept before share the first line
                y += LINE + pause * BREAK
            self.lines.append(Line(time, y, pause, deed, call))
            last = time
        self.height = y + LINE + FOOT

    def y(self, time):
        """The top of the first line that is not before this time."""
        i = bisect.bisect_left([line.time for line in self.lines], time)
        return self.lines[i].y if i < len(self.lines) else self.height - FOOT

    def text(self, x, y, style, fill, text):
        self.svg.append(f'<text x="{x}" y="{y}" class="{style}" fill="{fill}">'
                        f'{html.escape(text, quote=False)}</text>')

    def box(self, x, y, width, height, radius, fill, edge):
        self.svg.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}" '
                        f'fill="{fill}" stroke="{edge}"/>')

    def path(self, points, colour, more):
        self.svg.append(f'<path d="{points}" stroke="{colour}" {more}/>')

    def draw_frame(self, title):
        self.svg.append(HEAD.format(self.width, self.height, html.escape(title)))
        self.box('.5', '.5', self.width - 1, self.height - 1, 8, '#fff', '#ccc')
        self.text(14, 24, 'h', '#111', title)
        self.text(14, 44, 'd', '#555', ABOUT)
        self.text(14, 68, 'p', '#777', 'ms')
        for client in 'ABC':
            x, ink = self.x[client], COLOURS[client][1]
            self.svg.append(MARKER.format(client, ink))
            self.text(x + 12, 68, 'h', ink, 'client ' + client)
            self.path(f'M{x + COLUMN // 2} {TOP - 8}V{self.height - 39}', ink, 'opacity=".35"')
        for x, colour, text in [
                (14, WAIT, 'the thread is asleep in this call'),
                (232, '', 'a call; its colour is that of the client it is for'),
                (540, BUSY, 'calls in vain; the processor is busy')]:
            self.box(x, self.height - 29, 22, 13, 3, *COLOURS[colour])
            self.text(x + 28, self.height - 18, 'd', '#444', text)

    def name(self, thread, threads):
        """A thread is called by what it does."""
        own = [call for call in self.calls if call.thread == thread]
        clients = [call.client for call in own if call.client]
        if len(threads) == 1:
            return 'the server, one thread'
        if any(call.name.startswith('accept') for call in own):
            return 'accepting thread'
        if clients:
            return 'thread for ' + clients[-1]
        return 'main thread' if thread == threads[0] else 'a thread'

    def draw_line(self, line):
        if line.pause:
            y = line.y - BREAK // 2 - 1
            self.path(f'M{AXIS - 8} {y}H{self.width - 10}', '#bbb', 'stroke-dasharray="2 5"')
            self.text(10, y + 4, 'p', '#777', 'pause')
        if line.time > self.begin:
            ms = (line.time - self.begin) * 1000
            self.text(AXIS - 12, line.y + 13, 't', '#777', f'{ms:.1f}')
        if line.deed:
            x = self.x[line.deed.client] + 4
            self.box(x, line.y, COLUMN - 8, LINE - 2, 8, *COLOURS[line.deed.client])
            self.text(x + 8, line.y + 13, 'd', '#222', line.deed.what)
        else:
            self.draw_call(line.call, self.x[line.call.thread], line.y)

    def draw_call(self, call, x, y):
        height, (fill, edge) = LINE - 2, COLOURS[call.client]
        if call.kind in (WAIT, BUSY):
            height = max(height, self.y(call.end) - 2 - y)
            fill, plain = COLOURS[call.kind]
            edge = edge if call.client else plain
        self.box(x, y, self.lane - 8, height, 3, fill, edge)
        label, meaning = self.words(call, (self.lane - 16) * 10 // 66)
        self.text(x + 5, y + 13, 'c', '#7a1710' if call.kind == BUSY else '#222', label)
        if meaning and self.lane >= 300:
            self.text(x + self.lane - 14, y + 13, 'm', '#444', meaning)

    def words(self, call, fits):
        """The call and its result; how long it slept, and what the result means."""
        label, meaning = describe(call)
        meaning = meaning if call.end < self.end else ''
        if call.kind == WAIT:
            label = label if call.end <= self.end and len(label) <= fits else call.name
            whole = call.start > self.begin and call.end < self.end
            asleep = f'asleep for {(call.end - call.start) * 1000:.0f} ms' if whole else 'asleep'
            meaning = f'{asleep}, then {meaning}' if meaning else asleep
        if call.kind == OTHER and len(label) > fits:
            label = f'{len(call.run)} other calls'
        return label if len(label) <= fits else label[:fits - 1] + '…', meaning

    def draw_arrow(self, line, client, what):
        """From what a client does to the call that takes it; from what sends to what it hears."""
        pattern = OTHER_END.get(what) or OTHER_END[what.split()[0]]
        ends = [(call, y) for _, y, _, _, call in self.lines if call and call.client == client
                and any(re.match(pattern, str(one)) for one in call.run or [call])]
        hears = what.startswith('hears')
        if hears:
            ends = [(call, y) for call, y in ends if call.start < line.time][-1:]
        else:
            ends = [(call, y) for call, y in ends if call.end >= line.time][:1]
        for call, y in ends:
            if call.kind == WAIT and not hears:
                y = max(y, self.y(call.end) - LINE)
            points = [f'{self.x[client] + COLUMN - 4} {line.y + LINE // 2}',
                      f'{self.x[call.thread]} {y + LINE // 2}']
            self.path('M' + 'L'.join(points[::-1] if hears else points), COLOURS[client][1],
                      f'fill="none" opacity=".6" marker-end="url(#{client})"')


def describe(call):
    """The label of a call, and its meaning."""
    count = len(call.run)
    if call.kind == BUSY:
        return f'{count} times: nothing (EAGAIN)', 'asks again and again'
    if call.kind == OTHER:
        return call.name + (f' + {count - 1} more' if count > 1 else ''), 'housekeeping'
    if call.kind == ECHO:
        got = sum(one.number for one in call.run if re.match('recv|read', one.name))
        return f'recv, send: {count // 2} times', f'{got} bytes from {call.client} and back'
    if call.number is None:
        return call.name, ''
    meaning = next((text for pattern, text in MEANINGS if re.match(pattern, str(call))), '')
    return f'{call.name} = {"EAGAIN" if call.again else call.number}', meaning.format(call)
