"""The strip: what one wait costs in chapters 03 to 06 when one client of 3, 10 or 10,000 speaks.
There is a column for each chapter and a row for each number of clients. In a row time runs down:
what is copied into the kernel, what the kernel and then the program walk, what comes out."""
import collections
import html

from timeline.calls import numbers

WIDTH, LEFT, COLUMN, TOP = 860, 144, 177, 92
ROOM, CELL, LINE = 168, 18, 15 # the width for cells in a column; heights of a cell and of a text
CELLS_MAX, DOT, ACROSS = 40, 1.55, 108 # more cells are dots: their distance, and how many a line

# How a class looks on a light and on a dark page: what it is filled with, and its edge.
LOOKS = {
    'card': ('#fff #ccc', '#161a20 #3d444d'), 'none': ('none #b9bfc7', 'none #4d5560'),
    'tab': ('#e4e8ee', '#2d343e'), 'band': ('#f1f3f6', '#222932'), 'ink': ('#111', '#e9edf1'),
    'sub': ('#555', '#a3adb8'), 'on-wall': ('#7a1710', '#ffb4a8'), 'on-ready': ('#fff', '#0c1a2e'),
    'on-asked': ('#111', '#fff'), 'on-known': ('#666d76', '#8d97a3'),
    'on-unset': ('#666d76', '#98a2ad'), 'ready': ('#1f5fbf #1f5fbf', '#8ab8ff #8ab8ff'),
    'asked': ('#c9cdd3 #646b75', '#5b636e #aab3bd'), 'known': ('#fff #cdd2d8', '#1a1f26 #48505a'),
    'unset': ('none #a9afb7', 'none #656e79'), 'asked-dot': ('#39404a', '#d3dae2'),
    'known-dot': ('#ccd2d9', '#47505b'), 'brick': ('#ecd3c9 #fff', '#4a3027 #161a20'),
    'wall': ('url(#bricks) #b98a78', 'url(#bricks) #7d5a4c')}
LEGEND = {'ready': 'A, the client that speaks', 'asked': 'copied in, asked',
          'unset': 'its bit is not set', 'known': 'the kernel’s list, which this wait leaves alone'}
FOOT = ['Numbers are recorded, or computed from manual pages; a kevent on FreeBSD has 64 bytes.',
        'If a wait of 03 or 04 sleeps, the kernel asks all of them twice: before, and when woken.']
WALL = ['select() holds only', 'descriptors below', 'FD_SETSIZE = 1,024:', 'not recorded']
HEAD = '''\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}">
<title>What one wait costs when one client of many speaks: chapters 03 to 06</title>
<style>text{{font:11.5px sans-serif}}.b{{font-weight:bold}}.h{{font-size:13px;font-weight:bold}}
.i{{font-style:italic}}.c{{font:11px monospace}}.m{{text-anchor:middle}}
.unset{{stroke-dasharray:2 2}}{2}@media (prefers-color-scheme:dark){{{3}}}</style>
<defs>{4}<pattern id="bricks" width="24" height="16" patternUnits="userSpaceOnUse">\
<path d="M0 0h24v8h-24zM-12 8h24v8h-24zM12 8h24v8h-24z" class="brick"/></pattern></defs>
<rect x=".5" y=".5" width="{5}" height="{6}" rx="8" class="card"/>
<text x="14" y="24" class="h ink">What one wait costs when one client of many speaks</text>
<text x="14" y="44" class="sub">Only client A speaks. 03 and 04 hand over all descriptors on every \
call, and walk all; 05 and 06 registered them before, and touch A’s only.</text>'''
DOTS = '<pattern id="{0}" width="{1}" height="{1}" patternUnits="userSpaceOnUse">' \
       '<path d="{2}" class="{0}"/></pattern>'
TEXT = '<text x="{}" y="{}" class="{}">{}</text>'
COMPUTED = '<text x="{}" y="{}" class="i sub">computed: <tspan class="b">{}</tspan></text>'
TURNED = '<text transform="translate({} {})rotate(-90)" class="{}">{}</text>'
BOX = '<rect x="{}" y="{}" width="{}" height="{}" rx="{}" class="{}"/>'
FIELD = '<path transform="translate({} {})" d="M0 0H{}V{}H{}V{}H0z" fill="url(#{}-dot)"/>'
SPOT = '<circle cx="{}" cy="{}" r="4.5" class="ready"/>'

# Lists of cells, each a label and a class; counts; and what is copied in, in words.
Cost = collections.namedtuple('Cost', 'given copied size_in walked kernel server ready size_out')


def cells(labels, look, ready=()):
    return [(label, 'ready' if label in ready else look) for label in labels]


def cost(event):
    """Works out what a recorded wait costs, but for its arguments, its time and its signal mask."""
    taken, out = event['in'], event['out']
    if 'watches' in taken:
        return cost_of_list(taken, out)
    ready = sorted({fd for text in out.values() for fd in numbers(text)})
    if 'entries' in taken:
        # poll(2), and do_sys_poll() in Linux's fs/select.c: 8 bytes of each struct pollfd go in,
        # and its revents, 2 bytes, comes out, ready or not. Both walk all of it.
        count = int(taken['entries'])
        fds = set(numbers(taken.get('array', '')))
        # A recording shows the beginning of a long array; the rest is drawn without numbers.
        hidden = [fd for fd in ready if fd not in fds]
        row = cells(sorted(fds) + [''] * (count - len(fds) - len(hidden)) + hidden, 'asked', ready)
        return Cost(f'{count:,} entries', row, 8 * count, row, count, count,
                    cells(ready, 'ready'), 2 * count)
    # select(2), and core_sys_select() there: nfds bits of each set, in words of 8 bytes, go in
    # and come out. The kernel asks the descriptors in the sets; our program tries each number.
    nfds, sets = int(taken['nfds']), [taken[name] for name in ('read', 'write', 'except')
                                      if name in taken]
    fds = {fd for text in sets for fd in numbers(text)}
    looks = {**dict.fromkeys(fds, 'asked'), **dict.fromkeys(ready, 'ready')}
    row = [(fd, looks.get(fd, 'unset')) for fd in range(nfds)]
    size = len(sets) * 8 * -(-nfds // 64)
    return Cost(f'{len(sets)} sets of {nfds:,} bits', row, size, row, len(fds), nfds,
                cells(ready, 'ready'), size)


def cost_of_list(taken, out):
    """The kernel keeps a list of what is ready (epoll(7), kqueue(2)): only that is walked."""
    # struct epoll_event is packed on x86-64: 12 bytes. struct kevent of FreeBSD 12 and later: 64.
    size = 64 if 'kqueue' in taken else 12
    changes = [change['ident'] for change in taken.get('changes', [])]
    known = [fd if name != 'SIGNAL' else 'sig' for name, text in taken['watches'].items()
             for fd in numbers(text)]
    ready = [one['ident'] if one['filter'] != 'SIGNAL' else 'sig' for one in out.get('events', [])]
    ready += [fd for name, text in out.items() if name != 'events' for fd in numbers(text)]
    given = f'changes: {len(changes):,}' if changes else 'nothing'
    return Cost(given, cells(changes, 'asked'), size * len(changes), cells(known, 'known', ready),
                len(ready), len(ready), cells(ready, 'ready'), size * len(ready))


def tallest(rows):
    return max([CELL] + [-int(-len(row) // ACROSS * DOT) for row in rows if len(row) > CELLS_MAX])


class Strip:
    def __init__(self, moments):
        self.svg, self.seen, y = [], set(), TOP
        self.x = {chapter: LEFT + i * COLUMN for i, chapter in enumerate(moments)}
        for chapter, row in moments.items():
            self.put(TEXT, self.x[chapter], 68, 'h ink', chapter)
            for call in [event['call'] for event in row.values() if event][:1]:
                self.put(TEXT, self.x[chapter], 82, 'c sub', call + '()')
        for clients in sorted({clients for row in moments.values() for clients in row}):
            y = self.draw_row(clients, y, {chapter: cost(row[clients]) if row.get(clients) else None
                                           for chapter, row in moments.items()})
        self.draw_foot(y)
        styles = [''.join('.{}{{fill:{};stroke:{}}}'.format(name, *(look[i] + ' none').split()[:2])
                          for name, look in LOOKS.items()) for i in (0, 1)]
        dots = ''.join(f'M{i % 10 * DOT:.5g} {i // 10 * DOT:.5g}h1v1h-1z' for i in range(100))
        dots = ''.join(DOTS.format(f'{look}-dot', 10 * DOT, dots) for look in ('asked', 'known'))
        self.svg.insert(0, HEAD.format(WIDTH, y + 59, *styles, dots, WIDTH - 1, y + 58))

    def put(self, template, *values):
        values = (f'{value:g}' if isinstance(value, float) else str(value) for value in values)
        self.svg.append(template.format(*(html.escape(value, False) for value in values)))

    def draw_row(self, clients, y, costs):
        walk = y + 2 * LINE + 11 + tallest(one.copied for one in costs.values() if one)
        out = walk + 2 * LINE + 13 + tallest(one.walked for one in costs.values() if one)
        end = out + 2 * LINE + 6
        self.put(BOX, 14, y, 20, end - y, 4, 'tab')
        self.put(TURNED, 28, (y + end) // 2, 'b ink m', f'{clients:,} clients')
        self.put(BOX, 38, walk, WIDTH - 48, out - walk - 4, 4, 'band')
        for at, words in [(y, 'copied in'), (walk + 2, 'the kernel asks'),
                          (walk + 2 + LINE, 'our server walks'), (out, 'comes out')]:
            self.put(TEXT, 42, at + 12, 'ink', words)
        for chapter, one in costs.items():
            if one:
                self.draw_cost(one, self.x[chapter], y, walk + 2, out)
            else:
                words = WALL if chapter == '03-select' and clients > 1000 else WALL[-1:]
                self.draw_wall(words, self.x[chapter], y, out - 8)
        return end + 8

    def draw_cost(self, one, x, y, walk, out):
        self.put(TEXT, x, y + 12, 'b ink', one.given)
        self.put(COMPUTED, x, y + 12 + LINE, f'{one.size_in:,} bytes')
        self.draw_cells(x, y + 2 * LINE + 3, one.copied)
        if not one.copied:
            self.put(BOX, x + .5, y + 2 * LINE + 3, ROOM - 1, walk - y - 2 * LINE - 13, 4, 'none')
            self.put(TEXT, x + ROOM / 2, (y + 2 * LINE + walk + 4) / 2, 'm ink',
                     f'{len(one.walked):,} registered before')
        self.put(COMPUTED, x, walk + 12, f'{one.kernel:,}')
        self.put(COMPUTED, x, walk + 12 + LINE, f'{one.server:,}')
        self.draw_cells(x, walk + 2 * LINE + 3, one.walked)
        width = self.draw_cells(x, out, one.ready)
        self.put(TEXT, x + width + 6, out + 13, 'b ink', f'{len(one.ready):,} ready')
        self.put(COMPUTED, x, out + 16 + LINE, f'{one.size_out:,} bytes')

    def draw_cells(self, x, y, row):
        """Draws cells, or a field of dots, and returns their width."""
        self.seen |= (looks := {look for _, look in row})
        if len(row) > CELLS_MAX:
            lines, rest = divmod(len(row), ACROSS)
            ends = [dots * DOT for dots in (ACROSS, lines, rest, lines + bool(rest))]
            self.put(FIELD, x, y, *ends, 'known' if 'known' in looks else 'asked')
            for i in [i for i, (_, look) in enumerate(row) if look == 'ready']:
                self.put(SPOT, x + (i % ACROSS + .5) * DOT, y + (i // ACROSS + .5) * DOT)
            return ROOM
        longest = max([3, *(len(str(label)) for label, _ in row)])
        wide = min(longest * 6.7 + 3, ROOM / max(len(row), 1))
        for i, (label, look) in enumerate(row):
            self.put(BOX, x + i * wide + .5, y + .5, wide - 2, CELL - 2, 2, look)
            if wide > 3 * 6.7: # then there is room for its label
                self.put(TEXT, x + (i + .5) * wide - .5, y + 13, 'c m on-' + look, label)
        return wide * len(row)

    def draw_wall(self, words, x, y, end):
        top = (y + end - LINE * len(words)) / 2
        self.put(BOX, x, y, ROOM, end - y, 2, 'wall')
        self.put(BOX, x + 12, top - 6, ROOM - 24, LINE * len(words) + 11, 4, 'card')
        for i, line in enumerate(words):
            self.put(TEXT, x + ROOM / 2, top + 11 + i * LINE, 'b m on-wall', line)

    def draw_foot(self, y):
        x = 14
        for look, words in LEGEND.items():
            if look in self.seen:
                self.put(BOX, x + .5, y + 1, 16, 14, 2, look)
                self.put(TEXT, x + 23, y + 12, 'sub', words)
                x += 46 + 6.4 * len(words)
        for i, line in enumerate(FOOT):
            self.put(TEXT, 14, y + 31 + i * LINE, 'sub', line)


def draw(moments):
    """Returns lines of SVG. moments is {chapter: {clients: a recorded wait, or None}}."""
    return Strip(moments).svg + ['</svg>']
