"""The picture: time runs down, a column for each client and for each thread of the server. Every
call and every deed has a line of its own, a wait has one where it begins and one where it returns;
where nothing happens for long the scale is broken."""
import collections
import html
import re

from timeline import words
from timeline.scene import Scene

GAP = 12 # between the clients and the server
LINE, BREAK = 18, 24 # the heights of a line and of a pause
PAUSE_MS = 12 # where nothing happens for so long, there is a pause
TOP, AXIS, WIDTH = 92, 56, 880
CLIENT, KERNEL, FUNCTION = 126, 258, 124 # the widths of columns

# Fill and ink, on light pages and on dark ones.
COLOURS = {'A': '#cfe2ff #1f5fbf #17365f #8cb8ff', 'B': '#ffe3c2 #9e4f00 #4d3210 #ffb86b',
           'C': '#d3f0d5 #1d7331 #17401f #7fd68f', 'D': '#ead9ff #7433b8 #3a2459 #cda6ff',
           'n': '#e9e9e9 #666666 #30363d #9aa3ad', 'busy': '#ffc9c9 #b42318 #5a1f1a #ff9b91'}
STYLE = '''text{{font:11.5px sans-serif;fill:{0}}}.h{{font-size:13px;font-weight:bold}}
.i{{font-style:italic;fill:{1}}}.c{{font:11px monospace}}.e{{text-anchor:end}}
.card{{fill:{2};stroke:{3}}}
.gap{{stroke:{3};stroke-dasharray:2 5}}.s0{{fill:{4}}}.s1{{fill:{5}}}
.side{{stroke:{1};fill:none}}'''
CLIENTS = '.{0}{{fill:{1};stroke:{2}}}.t{0}{{fill:{2}}}.l{0}{{stroke:{2};fill:none}}'
HEAD = '''\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}">
<title>{2}</title>
<style>
{3}
.a{{opacity:.7}}.m{{opacity:.35}}
@media (prefers-color-scheme:dark){{
{4}
}}
.sleep{{fill:url(#asleep)}}</style>
<defs><pattern id="asleep" width="7" height="7" patternUnits="userSpaceOnUse" \
patternTransform="rotate(45)"><rect width="7" height="7" class="s0"/>\
<rect width="2" height="7" class="s1"/></pattern></defs>
<rect x=".5" y=".5" width="{5}" height="{6}" rx="8" class="card"/>
<text x="14" y="24" class="h">{2}</text>
<text x="14" y="44" class="i">{7}</text>'''
MARKER = '<marker id="{0}" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">' \
         '<path d="M1 1L7 4L1 7z" class="{1}"/></marker>'
TEXT = '<text x="{}" y="{}" class="{}">{}</text>'
BOX = '<rect x="{}" y="{}" width="{}" height="{}" rx="{}" class="{}"/>'
PATH = '<path d="{}" class="{}"{}/>'
# These calls take what a client does, or send what it hears.
OTHER_END = {'connects': r'accept \d', 'says': r'(recv|read)\w* [1-9]',
             'half-closes': r'(recv|read)\w* 0', 'leaves': r'(recv|read)\w* 0',
             'hears': 'send|write', 'hears the end': 'close|shut'}
Row = collections.namedtuple('Row', 'time y event part') # part: 'begin', 'end' of a wait, or ''


def style(light):
    ink, dim, card, edge, pale, stripe = (
        '#222222', '#5a5a5a', '#ffffff', '#cccccc', '#fafafa', '#e4e4e4') if light else (
        '#e6edf3', '#9ea5ae', '#0d1117', '#3d444d', '#161b22', '#272e37')
    lines = [STYLE.format(ink, dim, card, edge, pale, stripe)]
    for name, its in COLOURS.items():
        fill, its_ink = its.split()[:2] if light else its.split()[2:]
        lines.append(CLIENTS.format(name, fill, its_ink))
    return '\n'.join(lines)


class Picture:
    def __init__(self, title, note, scenes, kernel=False, hidden=()):
        """kernel: draw what the kernel holds, as far as it follows from the calls."""
        self.kernel, self.svg, self.occurs, self.height = kernel, [], set(), TOP - 46
        self.markers = set()
        for scene in scenes:
            self.draw_scene(Scene(scene, COLOURS, kernel, hidden))
        self.draw_legend()
        self.svg.insert(0, HEAD.format(WIDTH, self.height, html.escape(title, False), style(True),
                                       style(False), WIDTH - 1, self.height - 1,
                                       html.escape(note, False)))
        self.svg.append('</svg>')

    def put(self, template, *values):
        self.svg.append(template.format(*values))

    def text(self, x, y, style, parts):
        """Writes a text, or parts of one, each in the colour of its client."""
        parts = [(parts, '')] if isinstance(parts, str) else parts
        inner = ''.join(f'<tspan class="t{colour(client)}">{html.escape(its, False)}</tspan>'
                        if client else html.escape(its, False) for its, client in parts)
        self.put(TEXT, x, y, style, inner)

    # ---- columns -----------------------------------------------------------------------------

    def set_columns(self, scene):
        clients, threads = scene.clients, scene.threads
        few = len(threads) < 3 and len(clients) < 4
        self.kernel_width = self.kernel and (KERNEL if few else 172)
        room = WIDTH - AXIS - GAP - 6 - self.kernel_width
        self.client = CLIENT if len(clients) < 4 else 88
        if len(threads) == 1 and scene.functions and not self.kernel:
            room -= FUNCTION
        self.x = {name: AXIS + i * self.client for i, name in enumerate(clients)}
        x = AXIS + len(clients) * self.client + GAP
        self.x['kernel'] = x
        self.thread = (room - len(clients) * self.client) // max(1, len(threads))
        self.x.update((thread, x + self.kernel_width + i * self.thread)
                      for i, thread in enumerate(threads))
        self.functions = scene.functions and not self.kernel and len(threads) == 1
        self.narrow = self.thread < 200

    def draw_heads(self, scene, y):
        for name in scene.clients:
            self.text(self.x[name] + 8, y, f'h t{colour(name)}',
                      f'client {name}')
        if self.kernel:
            self.text(self.x['kernel'] + 4, y, 'h', 'the kernel')
        for thread in scene.threads:
            self.text(self.x[thread] + 2, y, 'h', scene.name(thread, self.narrow))
        if self.functions:
            self.text(self.x[scene.threads[0]] + self.thread + 4, y, 'h', 'called in')
        self.text(14, y, 'i', 'ms')

    # ---- rows --------------------------------------------------------------------------------

    def draw_scene(self, scene):
        self.set_columns(scene)
        y = self.height + 10
        if scene.title:
            self.put(PATH, f'M14 {y}H{WIDTH - 14}', 'gap', '')
            self.text(14, y + 22, 'h', scene.title)
            y += 28
        if scene.descriptors:
            self.text(14, y + 12, 'i', 'descriptors: ' + scene.descriptors)
            if self.functions:
                callers = ', '.join(scene.callers)
                self.text(WIDTH - 12, y + 12, 'i e', f'all called from {callers}')
            y += 22
        self.draw_heads(scene, y + 14)
        top = y + 24
        rows, bottom = self.lay_out(scene, top)
        for name in scene.clients:
            middle = self.x[name] + self.client // 2
            self.put(PATH, f'M{middle} {top - 4}V{bottom}', f'l{colour(name)} m', '')
        for row in rows:
            self.draw_row(scene, row, rows, bottom)
        for row in rows:
            if 'does' in row.event:
                self.draw_arrow(row, rows)
        if self.functions:
            self.draw_functions(scene, rows)
        self.height = bottom + 4

    def lay_out(self, scene, top):
        moments = []
        for event in scene.events:
            wait = 'call' in event and 'does' not in event and (
                'in' in event or event.get('slept') or event.get('kind') == 'busy')
            takes = not wait and re.match('accept|recv|read', event.get('call', ''))
            moments.append((event['until' if takes else 'at'], event, 'begin' if wait else ''))
            if wait and event['until'] is not None:
                moments.append((event['until'], event, 'end'))
        moments.sort(key=lambda moment: moment[0])
        rows, y, end = [], top, top
        for time, event, part in moments:
            # Calls that slept before all this share the first line.
            if rows and not (event.get('began') and part == 'begin' and y == top):
                pause = time - rows[-1].time > PAUSE_MS
                if pause:
                    middle = end + BREAK // 2
                    self.put(PATH, f'M{AXIS - 10} {middle}H{WIDTH - 12}', 'gap', '')
                    self.text(10, middle + 4, 'i', 'pause')
                y = end + pause * BREAK
            rows.append(Row(time, y, event, part))
            end = max(end, y + LINE * max(1, len(event.get('kernel', ()))
                                          if part != 'begin' else 1))
        return rows, end

    def draw_row(self, scene, row, rows, bottom):
        event, y = row.event, row.y
        if not event.get('began') or row.part == 'end':
            self.text(AXIS - 12, y + 13, 'c i e', f'{row.time:.1f}')
        if 'does' in event:
            name = event['client']
            self.put(BOX, self.x[name] + 3, y, self.client - 6, LINE - 2, 8, colour(name))
            self.text(self.x[name] + 9, y + 13, '', event['does'])
        elif 'call' in event and row.part != 'end':
            self.draw_call(scene, row, rows, bottom)
        elif 'signal' in event:
            self.text(self.x[event['thread']] + 5, y + 13, 'i',
                      f'the handler of {event["signal"]} runs')
        elif 'note' in event and event['column'] != 'kernel':
            self.text(self.x[event['column']] + 5, y + 13, 'i', event['note'])
        lines = event.get('begins' if row.part == 'begin' else 'kernel', ())
        for i, parts in enumerate(lines):
            self.text(self.x['kernel'] + 4, y + 13 + i * LINE, 'c', parts)
        if self.kernel and 'sends' in event and 'does' not in event and event['client']:
            self.put_arrow(event['client'], [(self.x[event['client']] + self.client // 2 + 2, y),
                                             (self.x['kernel'] + 2, y)], True)

    # ---- one call ----------------------------------------------------------------------------

    def draw_call(self, scene, row, rows, bottom):
        event, x, y = row.event, self.x[row.event['thread']], row.y
        end = next((its.y for its in rows if its.event is event and its.part == 'end'), None)
        height = LINE - 2
        if row.part == 'begin':
            height = max(height, (bottom - 4 if end is None else end + LINE - 2) - y)
        kind = {'busy': 'busy', words.HOUSEKEEPING: 'n'}.get(event.get('kind'),
                                                             colour(event.get('client')))
        self.occurs.add('sleep' if event.get('slept') else kind)
        self.put(BOX, x, y, self.thread - 6, height, 3,
                 kind + ' sleep' * bool(event.get('slept')))
        left, right = self.words_of(scene, event)
        self.line_of(x, y, left[0], right[0])
        if end is not None:
            self.line_of(x, end, left[1], right[1])

    def words_of(self, scene, event):
        """Returns the words on the left and on the right, where a call begins and where it ends."""
        if 'run' in event:
            label, means = words.of_run(event, self.narrow)
            return (label, ''), (means, '')
        if 'in' not in event and not event.get('slept'):
            return (words.label(event, self.narrow), ''), (words.meaning(event), '')
        whose = event['whose']
        left = event['call'] if self.narrow or 'in' in event else words.label(event).split(' = ')[0]
        begun, ended = not event.get('began'), event['until'] is not None
        asleep = event.get('slept') and begun and ended and not self.narrow
        after = f' after {event["until"] - event["at"]:.0f} ms' if asleep else ''
        means = '' if 'in' in event else words.meaning(event) if ended else 'asleep'
        return (left, f'= {event["result"]}{after}'), (
            words.goes_in(event, whose) if 'in' in event else '' if ended else means,
            words.comes_out(event, whose) if 'in' in event and ended else means)

    def line_of(self, x, y, left, right):
        fits = (self.thread - 14) * 10 // 66
        length = sum(len(its) for its, _ in right) if isinstance(right, list) else len(right)
        room = fits - (length + 1) * (isinstance(right, list) and not self.narrow)
        left = left if len(left) <= room else left[:max(1, room - 1)] + '…'
        self.text(x + 4, y + 12, 'c', left)
        if right and not self.narrow and len(left) + length + 1 <= fits:
            style = 'c e' if isinstance(right, list) else 'i e'
            self.text(x + self.thread - 12, y + 12, style, right)

    def draw_arrow(self, row, rows):
        """Leads from what a client does to the call that takes it, or back to what it hears."""
        event, does = row.event, row.event['does']
        hears, edge = does.startswith('hears'), self.x[event['client']] + self.client - 3
        if self.kernel: # in the middle stands what becomes of it
            return self.put_arrow(event['client'], [(edge, row.y), (self.x['kernel'] + 2, row.y)],
                                  hears)
        pattern = OTHER_END.get(does) or OTHER_END[does.split()[0]]
        ends = [its for its in rows if 'call' in its.event and its.event['client_of'] ==
                event['client'] and 'does' not in its.event
                and (its.event['at'] < row.time if hears else
                     (its.event['until'] or 0) >= row.time)
                and (its.part != 'begin' or its.event['until'] is None)
                and any(re.match(pattern, f'{one["call"]} {one["result"]}')
                        for one in its.event.get('run', [its.event]))]
        if not ends:
            return
        other, name = ends[-1 if hears else 0], event['client']
        self.put_arrow(name, [(self.x[name] + self.client - 3, row.y),
                              (self.x[other.event['thread']], other.y)], hears)

    def put_arrow(self, client, points, back):
        name = colour(client)
        if name not in self.markers:
            self.markers.add(name)
            self.put(MARKER, name, f't{name}')
        path = 'L'.join(f'{x} {y + LINE // 2}' for x, y in (points[::-1] if back else points))
        self.put(PATH, 'M' + path, f'l{name} a', f' marker-end="url(#{name})"')

    def draw_functions(self, scene, rows):
        x, run = self.x[scene.threads[0]] + self.thread - 2, []
        calls = [row for row in rows if 'call' in row.event] + [None]
        for row in calls:
            name = row and scene.function(row.event)
            if run and (not row or name != run[0][1]):
                if run[0][1]:
                    top, bottom = run[0][0].y + 1, run[-1][0].y + LINE - 3
                    self.put(PATH, f'M{x} {top}h4V{bottom}h-4', 'side', '')
                    its = run[0][1]
                    self.text(x + 8, (top + bottom) // 2 + 4, 'c',
                              (its if len(its) < 16 else its[:14] + '…') + '()')
                run = []
            if row:
                run.append((row, name))

    def draw_legend(self):
        self.height += 14
        x, y = 14, self.height
        for kind, its, sentence in [
                ('sleep', 'n sleep', 'the thread is asleep in this call'),
                ('n', 'n', 'a call for no client in particular'),
                ('busy', 'busy', 'calls in vain; the processor is busy')]:
            if kind in self.occurs:
                self.put(BOX, x, y, 22, 13, 3, its)
                self.text(x + 28, y + 11, '', sentence)
                x += 44 + round(len(sentence) * 6.3)
        if self.kernel and 'RST' in ''.join(self.svg):
            self.height += 20
            self.text(14, self.height + 11, 'i', 'FIN: no more bytes will come. '
                      'RST: the connection is gone, with all that is on the way.')
        self.height += 28


def colour(client):
    return client if client in COLOURS else 'n'
