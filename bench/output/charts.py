"""The charts of a result: a method of Charts for each; svg.py draws.

Colours are those of the list in meson.build; a server without one is in no chart.
"""
from collections import defaultdict
from types import SimpleNamespace

from results import disturbed, limit_of, number
from svg import DIM, WIDTH, Axis, Drawing, figure

WAYS = {"01": "is told", "05": "is told", "06": "is told", "07": "is told",
        "02": "asks everyone", "03": "asks everyone", "04": "asks everyone"}


class Charts:
    """A method draws the chart of its name, or returns None when the result has not what it shows.
    Those with an underscore help the others."""

    def __init__(self, result):
        self.result, self.reference = result, result.reference
        self.servers = [server for server in result.servers() if server.colour]
        for shape, server in enumerate(self.servers):
            server.peer = "peer" in server.roles
            server.width = 3.5 if server.name == self.reference else 2
            server.mark = server.colour, shape, server.peer

    def idle(self):
        ratios = self.result.against_silence()
        limits = {row["server"]: f"limit: {figure(limit_of(row))}"
                  for row in self.result.closed(active=64) if limit_of(row)}
        lines = [line for line in self._lines(ratios) if not line.server.peer]
        silent = sorted({x for line in lines for x, y in line.points})
        if not any(silent):
            return None
        what = f"CPU for one echo; {self.reference.split('-')[0]} with nobody silent = 1"
        drawing = Drawing("What a silent connection costs", "", 120 + 43 * max(7, len(lines)))
        if len(silent) == 1:
            silence_bars(drawing, lines, limits, 10, silent[0], what + ";")
            return drawing
        silence_bars(drawing, lines, limits, 590, silent[-1], "The same")
        drawing.text(10, 54, what, bold=True)
        drawing.text(10, 72, "both axes are logarithmic: each step multiplies", DIM)
        name_ways(lines, limits, self.reference)
        up = Axis([y for line in lines for x, y in line.points], 365, 88, True)
        drawing.curves(lines, Axis(silent, 46, 400, True, silent), up,
                       "silent connections, beside 64 that talk")
        return drawing

    def throughput(self):
        rows = self.result.closed(idle=0)
        return line_chart(compared("Throughput, everybody talking", rows),
                          "echoes a second, one core",
                          self._lines(points(rows, "active", "rate")),
                          "connections that talk (logarithmic)", (True, False))

    def rate(self):
        rows = [row for row in self.result.summary
                if row["mode"] == "rate" and number(row["percent"]) <= 100]
        return line_chart(compared("Latency as clients feel it: open loop", rows),
                          "nine in ten requests take less: microseconds (logarithmic)",
                          self._lines(points(rows, "percent", "p90_us")),
                          f"requests a second, per cent of what {self.reference} can do",
                          (False, True))

    def latency(self):
        rows = [row for row in self.result.closed(active=64, idle=0)
                if row["p50_us"] and not row["trouble"]]
        drawing, found = self._rows(
            compared("Latency, 64 talking, closed loop", rows),
            "dot: half of the echoes are faster; bar: nine in ten; triangle: 99 in a hundred",
            {row["server"]: [number(row[name]) for name in ("p50_us", "p90_us", "p99_us")]
             for row in rows}, 850, True, "microseconds (logarithmic)")
        for server, y, (half, nine, most) in found:
            drawing.line([(half, y), (most, y)], server.colour, 2.5)
            drawing.mark(half, y, server.colour, 0)
            drawing.bar(nine - 1.5, nine + 1.5, y, 12, server.colour)
            drawing.mark(most, y, server.colour, 2)
        return drawing

    def memory(self):
        rows, values = self.result.fullest(), {}
        for name, row in rows.items():
            user, stacks, tables = [max(0, number(row[column])) / 1024 for column in (
                "user_B", "kernel_stacks_B", "page_tables_B")]
            values[name] = user, user + stacks + tables
        drawing, found = self._rows(
            "Memory of one idle connection",
            "coloured: the process; grey: the kernel, for its threads' stacks and its page tables",
            values, 730, False, "KiB; sockets left out, which every server has")
        most = max((number(row["idle"]) for row in rows.values()), default=0)
        for server, y, (middle, end) in found:
            drawing.bar(180, middle, y, 16, server.colour)
            drawing.bar(middle, end, y, 16, DIM)
            total, idle = values[server.name][1], number(rows[server.name]["idle"])
            size = f"{total:.1f} KiB" if total >= 10 else f"{1024 * total:,.0f} B"
            drawing.text(end + 8, y + 4.5, size + f", of {figure(idle)}" * (idle < most))
        return drawing

    def loop(self):
        """The bare calls have the colour of the server that uses them. The book is dotted."""
        servers = {server.name.split()[0].split("-")[-1]: server for server in self.servers}
        lines = {}
        for row in self.result.rows("loop"):
            raw, backend = row["loop"] == "raw", row["backend"]
            server = servers.get(backend if raw else row["loop"])
            if not server or not raw and backend not in ("epoll", "kqueue"):
                continue
            for column, book in ("seconds", ""), ("book's_seconds", ", the book (2010)"):
                if row[column]:
                    label = (backend if raw else f"{server.label}, {backend}") + book
                    line = lines.setdefault(label, line_of(server, label, [], bool(book)))
                    line.points.append((number(row["descriptors"]), 10 * number(row[column])))
        return line_chart("Asking who is ready, one of N: no network",
                          "CPU for write, wait, read: microseconds (logarithmic)", lines.values(),
                          "descriptors watched (logarithmic)", (True, True))

    def _lines(self, points):
        """A line for each server that has points."""
        return [line_of(server, server.label, sorted(points[server.name]))
                for server in self.servers if points[server.name]]

    def _rows(self, title, note, values, right, logarithmic, words):
        """A chart with a row for each server, named but empty; and of each its server, its height,
        and the places of its values."""
        found = [server for server in self.servers if server.name in values]
        if not found:
            return None, []
        bottom = 66 + 26 * len(found)
        drawing = Drawing(title, note, bottom + 54)
        axis = Axis([value for server in found for value in values[server.name]], 180, right,
                    logarithmic)
        drawing.frame(axis, words, bottom, 60)
        for i, server in enumerate(found):
            drawing.text(170, 83.5 + 26 * i, server.label, server.colour, "end", bold=True)
        return drawing, [(server, 79 + 26 * i, map(axis.at, values[server.name]))
                         for i, server in enumerate(found)]


def points(rows, x, y):
    """Of each server the points that two columns give."""
    found = defaultdict(list)
    for row in rows:
        if row[y] and not row["trouble"]:
            found[row["server"]].append((number(row[x]), number(row[y])))
    return found


def line_of(server, label, points, dotted=False):
    style = (2, "2 4") if dotted else (server.width, "7 3" if server.peer else "none")
    return SimpleNamespace(server=server, label=[label], points=points, style=style,
                           marked=not dotted)


def line_chart(title, note, lines, words, logarithmic):
    """A chart with nothing but lines; `logarithmic` says of its two axes which are."""
    if not lines:
        return None
    drawing = Drawing(title, note, 470)
    xs, ys = [sorted({point[side] for line in lines for point in line.points}) for side in (0, 1)]
    drawing.curves(lines, Axis(xs, 68, 610, logarithmic[0], xs),
                   Axis(ys, 420, 60, logarithmic[1]), words)
    return drawing


def compared(title, rows):
    """The title of what compares rates or latencies says whether there were neighbours."""
    return title + " (other programs ran: not to be compared)" * any(map(disturbed, rows))


def silence_bars(drawing, lines, limits, left, most, what):
    """The servers beside the most silent connections, in one linear scale."""
    drawing.text(left, 54, f"{what} beside {figure(most)} silent", bold=True)
    drawing.text(left, 72, "linear: the bars are to scale", DIM)
    values = [dict(line.points).get(most, 0) for line in lines]
    axis = Axis(values, left, WIDTH - 80)
    for i, (line, value) in enumerate(zip(lines, values)):
        y = 98 + 43 * i
        drawing.text(left, y, line.server.label)
        if value:
            drawing.bar(left, axis.at(value), y + 11, 12, line.server.colour)
            times = f"{value:.0f} times" if value >= 9.5 else f"{value:.2f}"
            drawing.text(axis.at(value) + 7, y + 15.5, times, bold=True)
        elif line.server.name in limits:
            drawing.text(left, y + 15.5, limits[line.server.name], DIM)


def name_ways(lines, limits, reference):
    """The second line of a label. A line that ends where the reference's does shares its label."""
    for line in lines:
        line.label.append(limits.get(line.server.name) or WAYS.get(line.server.heading, ""))
    for own in [line for line in lines if line.server.name == reference]:
        for line in lines:
            near = abs(line.points[-1][1] / own.points[-1][1] - 1) < 0.1
            if line is not own and line.label[1] == "is told" and near:
                own.label = [f"{own.label[0]}, {line.server.heading}", "are told"]
                line.label = []


def write_charts(result):
    """Writes the charts into the result's directory, and returns them by their names. One that an
    earlier run has left there goes when this result cannot have it."""
    charts = Charts(result)
    texts = {}
    for name in [name for name in vars(Charts) if not name.startswith("_")]:
        drawing = getattr(charts, name)()
        texts[name] = drawing.svg(name) if drawing else ""
        path = result.directory / f"{name}.svg"
        if drawing:
            path.write_text(texts[name], encoding="utf-8")
        elif path.exists():
            path.unlink()
    return texts
