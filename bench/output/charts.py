"""The charts of a result, one method for each; svg.py draws.

A chart is a Drawing, or None when the result has not what it shows. Colours are those of the list
in meson.build; a server without one is in no chart.
"""
import re
from types import SimpleNamespace

import svg
from results import disturbed, number, turned_away
from svg import Axis, Drawing, figure

NAMES = ("idle", "throughput", "rate", "latency", "memory", "loop")
WAYS = {"is told": ("01", "05", "06", "07"), "asks everyone": ("02", "03", "04")}


def line_of(server, points, mark, reference, label=None, book=False):
    """A line of a chart. A library's is dashed, with hollow marks; the reference's is wide."""
    peer = "peer" in server.roles
    width = 3.5 if server.name == reference and not book else 1.4 if peer else 2
    return SimpleNamespace(
        server=server, points=points, label=[label or server.label], width=width,
        dash="2 4" if book else "7 3" if peer else "none",
        mark=None if book else {"colour": server.colour, "shape": mark, "hollow": peer})


def points_of(rows, x, y, unit=1):
    """A function that gives the points of a server, by its name."""
    return lambda name: [(number(row[x]), number(row[y]) / unit) for row in rows
                         if row["server"] == name and row[y] and not row["trouble"]]


def frame(drawing, across, up, words):
    """Draws two axes; `words` is what the lower one says. `up` may be just its two ends."""
    for y, text in up.ticks() if isinstance(up, Axis) else []:
        drawing.line([(across.first, y), (across.last, y)], "grid")
        drawing.text(across.first - 7, y + 4.5, text, "dim", "end")
    for x, text in across.ticks():
        end = up.first + 5 if isinstance(up, Axis) else up.last
        drawing.line([(x, up.first), (x, end)], "grid")
        drawing.text(x, up.first + 20, text, "dim", "middle")
    corners = (across.first, up.last), (across.first, up.first), (across.last, up.first)
    drawing.line(corners, "dim")
    drawing.text((across.first + across.last) / 2, up.first + 40, words, anchor="middle")


def curves(drawing, lines, across, up, words):
    """Lines with their names at their ends. The widest lies on top."""
    frame(drawing, across, up, words)
    lines = sorted(lines, key=lambda line: line.width)
    for line in lines:
        line.places = [(across.at(x), up.at(y)) for x, y in line.points]
        drawing.line(line.places, line.server.colour, line.width, line.dash)
        for x, y in line.places if line.mark else []:
            drawing.mark(x, y, **line.mark)
    named = [line for line in lines if line.label]
    middles = svg.apart([line.places[-1][1] for line in named],
                        [19 * len(line.label) - 2 for line in named], up.first + 25)
    beside = across.last + 34
    for line, middle in zip(named, middles):
        x, y = line.places[-1]
        top, colour = middle - 8.5 * (len(line.label) - 1), line.server.colour
        drawing.line([(x + 7, y), (across.last + 2, y), (beside - 9, top)], colour, 0.8, "2 2")
        if line.mark:
            drawing.mark(beside, top, **line.mark)
        for i, text in enumerate(line.label):
            drawing.text(beside + 9, top + 4.5 + 17 * i, text, "dim" if i else colour, bold=not i)


def line_chart(name, title, note, lines, words, logarithmic, right=655):
    """A chart with nothing but lines; `logarithmic` says of its two axes which are."""
    if not lines:
        return None
    drawing = Drawing(name, title, note, 470)
    xs, ys = [sorted({point[side] for line in lines for point in line.points}) for side in (0, 1)]
    curves(drawing, lines, Axis(xs, 60, right, logarithmic[0], {x: figure(x) for x in xs}),
           Axis(ys, 420, 60, logarithmic[1]), words)
    return drawing


def title(words, rows):
    """The title of what compares rates or latencies says whether there were neighbours."""
    return words + " (other programs ran: not to be compared)" * any(map(disturbed, rows))


def silence_bars(drawing, lines, limits, left, most, what):
    """The servers beside the most silent connections, in one linear scale."""
    drawing.text(left, 54, f"{what} beside {figure(most)} silent", bold=True)
    drawing.text(left, 72, "linear: the bars are to scale", "dim")
    values = [dict(line.points).get(most, 0) for line in lines]
    axis = Axis(values, left, svg.WIDTH - 80)
    for i, (line, value) in enumerate(zip(lines, values)):
        y = 98 + 43 * i
        drawing.text(left, y, line.server.label)
        if value:
            drawing.bar(left, axis.at(value), y + 11, 12, line.server.colour)
            times = f"{value:.0f} times" if value >= 9.5 else f"{value:.2f}"
            drawing.text(axis.at(value) + 7, y + 15.5, times, bold=True)
        elif line.server.name in limits:
            drawing.text(left, y + 15.5, limits[line.server.name], "dim")


def name_by_way(lines, limits, reference):
    """The second line of a label. A line that ends where the reference's does shares its label."""
    its = [line for line in lines if line.server.name == reference]
    for line in lines:
        ways = [way for way, chapters in WAYS.items() if line.server.heading in chapters]
        line.label += [limits[line.server.name]] if line.server.name in limits else ways
        if its and line is not its[0] and line.label[1:] == ["is told"] and \
                abs(line.points[-1][1] / its[0].points[-1][1] - 1) < 0.1:
            its[0].label = [f"{its[0].label[0]}, {line.server.heading}", "are told"]
            line.label = []


class Charts:
    def __init__(self, result):
        self.result, self.reference = result, result.reference
        self.servers = [server for server in result.servers() if server.colour]

    def lines(self, points_of):
        """A line for each server that has points; `points_of` takes a server's name."""
        lines = [line_of(server, sorted(points_of(server.name)), mark, self.reference)
                 for mark, server in enumerate(self.servers)]
        return [line for line in lines if line.points]

    def idle(self):
        ratios = self.result.against_silence()
        limits = {row["server"]: f"limit: {figure(turned_away(row))}"
                  for row in self.result.closed(active=64) if turned_away(row)}
        lines = [line for line in self.lines(lambda name: ratios[name].items())
                 if "peer" not in line.server.roles]
        silent = sorted({x for line in lines for x, y in line.points})
        if not silent or not silent[-1]:
            return None
        what = f"CPU for one echo; {self.reference.split('-')[0]} with nobody silent = 1"
        left, words = (590, "The same") if len(silent) > 1 else (10, what + ";")
        height = 120 + 43 * max(7, len(lines))
        drawing = Drawing("idle", "What a silent connection costs", "", height)
        silence_bars(drawing, lines, limits, left, silent[-1], words)
        if len(silent) > 1:
            drawing.text(10, 54, what, bold=True)
            drawing.text(10, 72, "both axes are logarithmic: each step multiplies", "dim")
            name_by_way(lines, limits, self.reference)
            # A logarithmic axis has no 0: it stands to the left of the first number.
            places = {x: x or next(filter(None, silent)) / 3.3 for x in silent}
            for line in lines:
                line.points = [(places[x], y) for x, y in line.points]
            marks = {place: figure(x) for x, place in places.items()}
            curves(drawing, lines, Axis(marks, 46, 400, True, marks),
                   Axis([y for line in lines for x, y in line.points], 365, 88, True),
                   "silent connections, beside 64 that talk")
        return drawing

    def throughput(self):
        rows = self.result.closed(idle=0)
        return line_chart("throughput", title("Throughput, everybody talking", rows),
                          "thousand echoes a second, one core",
                          self.lines(points_of(rows, "active", "rate", 1000)),
                          "connections that talk (logarithmic)", (True, False))

    def rate(self):
        rows = [row for row in self.result.summary
                if row["mode"] == "rate" and number(row["percent"]) <= 100]
        return line_chart("rate", title("Latency as clients feel it: open loop", rows),
                          "nine in ten requests take less: microseconds (logarithmic)",
                          self.lines(points_of(rows, "percent", "p90_us")),
                          f"requests a second, per cent of what {self.reference} can do",
                          (False, True))

    def rows(self, name, title, note, values, right, logarithmic, words):
        """A chart with a row for each server, named but empty; and of each its server, its height,
        the places of its values, and these."""
        found = [(server, values[server.name]) for server in self.servers if server.name in values]
        if not found:
            return None, []
        drawing = Drawing(name, title, note, 120 + 26 * len(found))
        axis = Axis([value for _, its in found for value in its], 180, right, logarithmic)
        frame(drawing, axis, SimpleNamespace(first=66 + 26 * len(found), last=60), words)
        for i, (server, its) in enumerate(found):
            drawing.text(170, 83.5 + 26 * i, server.label, server.colour, "end", bold=True)
        return drawing, [(server, 79 + 26 * i, map(axis.at, its), its)
                         for i, (server, its) in enumerate(found)]

    def latency(self):
        rows = [row for row in self.result.closed(active=64, idle=0)
                if row["p50_us"] and not row["trouble"]]
        drawing, found = self.rows(
            "latency", title("Latency, 64 talking, closed loop", rows),
            "dot: half of the echoes are faster; bar: nine in ten; triangle: 99 in a hundred",
            {row["server"]: [number(row[name]) for name in ("p50_us", "p90_us", "p99_us")]
             for row in rows}, 850, True, "microseconds (logarithmic)")
        for server, y, (half, nine, most), _ in found:
            drawing.line([(half, y), (most, y)], server.colour, 2.5)
            drawing.mark(half, y, 0, server.colour)
            drawing.bar(nine - 1.5, nine + 1.5, y, 12, server.colour)
            drawing.mark(most, y, 2, server.colour)
        return drawing

    def memory(self):
        rows, values = self.result.fullest(), {}
        for name, row in rows.items():
            user, stacks, tables = [max(0, number(row[column])) / 1024 for column in (
                "user_B", "kernel_stacks_B", "page_tables_B")]
            values[name] = user, user + stacks + tables
        drawing, found = self.rows(
            "memory", "Memory of one idle connection",
            "coloured: the process; grey: the kernel, for its threads' stacks and its page tables",
            values, 730, False, "KiB; sockets left out, which every server has")
        most = max((number(row["idle"]) for row in rows.values()), default=0)
        for server, y, (middle, end), (_, total) in found:
            drawing.bar(180, middle, y, 16, server.colour)
            drawing.bar(middle, end, y, 16, "dim")
            size = f"{total:.1f} KiB" if total >= 10 else f"{1024 * total:,.0f} B"
            idle = number(rows[server.name]["idle"])
            drawing.text(end + 8, y + 4.5, size + f", of {figure(idle)}" * (idle < most))
        return drawing

    def loop(self):
        """The bare calls have the colour of the server that uses them. The book is dotted."""
        lines = []
        for mark, server in enumerate(self.servers):
            calls = re.match(r"\d\d-(epoll|kqueue|poll|select)($| )", server.name)
            name = "raw" if calls else server.name.split("-")[-1]
            for backend in [calls[1]] if calls else ["epoll", "kqueue"]:
                rows = [row for row in self.result.rows("loop")
                        if row["loop"] == name and row["backend"] == backend]
                label = backend if calls else f"{server.label}, {backend}"
                for column, book in ("seconds", ""), ("book's_seconds", ", the book (2010)"):
                    points = [(number(row["descriptors"]), 10 * number(row[column]))
                              for row in rows if row[column]]
                    lines.append(line_of(server, points, mark, self.reference, label + book,
                                         bool(book)))
        return line_chart("loop", "Asking who is ready, one of N: no network",
                          "CPU for write, wait, read: microseconds (logarithmic)",
                          [line for line in lines if line.points],
                          "descriptors watched (logarithmic)", (True, True), right=610)

    def write(self):
        """Writes the charts into the result's directory, and returns them by their names. One that
        an earlier run has left there goes when this result cannot have it."""
        charts = {name: str(getattr(self, name)() or "") for name in NAMES}
        for name, text in charts.items():
            path = self.result.directory / f"{name}.svg"
            if text:
                path.write_text(text, encoding="utf-8")
            elif path.exists():
                path.unlink()
        return charts
