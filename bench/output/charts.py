"""The charts of a result: a method of Charts for each; svg.py draws."""
import re
from collections import defaultdict
from types import SimpleNamespace

from results import disturbed, limit_of, number
from svg import DIM, WIDTH, Axis, Drawing

WAYS = {"is told": ("01", "05", "06", "07"), "asks everyone": ("02", "03", "04")}


class Charts:
    """A method draws the chart of its name, or returns None when the result has not what it shows.
    The colours are those of the list in meson.build; a server without one is in no chart."""

    def __init__(self, result):
        self.result, self.reference = result, result.reference
        self.servers = [server for server in result.servers() if server.colour]
        for shape, server in enumerate(self.servers):
            server.shape, server.dash = shape, "7 3" if server.roles == "peer" else "none"
            server.width = 3.5 if server.name == self.reference else 2

    def idle(self):
        lines = [line for line in self._lines(self.result.against_silence())
                 if line.server.roles != "peer"]
        silent, ratios = [sorted({point[side] for line in lines for point in line.points})
                          for side in (0, 1)]
        if not any(silent):
            return None
        drawing = Drawing("What a silent connection costs", "", 120 + 43 * max(7, len(lines)))
        one = self.reference.split("-")[0]
        drawing.text(10, 54, f"CPU for one echo; {one} with nobody silent = 1", bold=True)
        drawing.text(10, 72, "both axes are logarithmic: each step multiplies", DIM)
        drawing.curves(lines, Axis(silent, 46, 400, True, silent), Axis(ratios, 365, 88, True),
                       "silent connections, beside 64 that talk")
        drawing.text(610, 54, f"The same beside {silent[-1]:,.0f} silent", bold=True)
        drawing.text(610, 72, "linear: the bars are to scale", DIM)
        axis = Axis([y for line in lines for x, y in line.points if x == silent[-1]], 610, 780)
        limits = {row["server"]: f"limit: {limit_of(row):,}"
                  for row in self.result.closed(active=64) if limit_of(row)}
        for i, line in enumerate(lines):
            server, y = line.server, 98 + 43 * i
            ways = [f": {way}" for way, chapters in WAYS.items() if server.heading in chapters]
            drawing.text(610, y, "".join([server.label, *ways]))
            x, ratio = line.points[-1]
            if x == silent[-1]:
                drawing.bar(610, axis.at(ratio), y + 11, 12, server.colour)
                times = f"{ratio:.0f} times" if ratio >= 9.5 else f"{ratio:.2f}"
                drawing.text(axis.at(ratio) + 7, y + 15.5, times, bold=True)
            else:
                drawing.text(610, y + 15.5, limits.get(server.name, ""), DIM)
        return drawing

    def throughput(self):
        rows = self.result.closed(idle=0)
        return line_chart(
            "Throughput, everybody talking" + note_of(rows), "echoes a second, one core",
            "connections that talk (logarithmic)",
            self._lines(points(rows, "active", "rate")), (True, False))

    def rate(self):
        rows = [row for row in self.result.summary
                if row["mode"] == "rate" and number(row["percent"]) <= 100]
        return line_chart(
            "Latency as clients feel it: open loop" + note_of(rows),
            "nine in ten requests take less: microseconds (logarithmic)",
            f"requests a second, per cent of what {self.reference} can do",
            self._lines(points(rows, "percent", "p90_us")), (False, True))

    def latency(self):
        rows = [row for row in self.result.closed(active=64, idle=0)
                if row["p50_us"] and not row["trouble"]]
        drawing, found = self._rows(
            "Latency, 64 talking, closed loop" + note_of(rows),
            "dot: half of the echoes are faster; bar: nine in ten; triangle: 99 in a hundred",
            "microseconds (logarithmic)",
            {row["server"]: [number(row[name]) for name in ("p50_us", "p90_us", "p99_us")]
             for row in rows}, True)
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
            "KiB; sockets left out, which every server has", values, False)
        most = max((number(row["idle"]) for row in rows.values()), default=0)
        for server, y, (middle, end) in found:
            drawing.bar(180, middle, y, 16, server.colour)
            drawing.bar(middle, end, y, 16, DIM)
            total, idle = values[server.name][1], number(rows[server.name]["idle"])
            size = f"{total:.1f} KiB" if total >= 10 else f"{1024 * total:,.0f} B"
            drawing.text(end + 8, y + 4.5, size + f", of {idle:,.0f}" * (idle < most))
        return drawing

    def loop(self):
        """The bare calls have the colour of the server that uses them. The book is dotted."""
        servers = {re.match(r"(\d\d-)?(\w+)", server.name)[2]: server for server in self.servers}
        lines = {}
        for row in self.result.rows("loop"):
            raw, backend = row["loop"] == "raw", row["backend"]
            server = servers.get(backend if raw else row["loop"])
            for column, book in ("seconds", ""), ("book's_seconds", ", the book (2010)"):
                if server and row[column] and (raw or backend in ("epoll", "kqueue")):
                    label = (backend if raw else f"{server.label}, {backend}") + book
                    line = lines.setdefault(label, line_of(
                        server, label, [], "2 4" if book else server.dash))
                    line.points.append((number(row["descriptors"]), 10 * number(row[column])))
        return line_chart(
            "Asking who is ready, one of N: no network",
            "CPU for write, wait, read: microseconds (logarithmic)",
            "descriptors watched (logarithmic)", lines.values(), (True, True))

    def _lines(self, points):
        """A line for each server that has points."""
        return [line_of(server, server.label, sorted(points[server.name]), server.dash)
                for server in self.servers if points[server.name]]

    def _rows(self, title, note, words, values, logarithmic):
        """A chart with a row for each server, named but empty; and of each row its server, its
        height, and the places of its values."""
        servers = [server for server in self.servers if server.name in values]
        if not servers:
            return None, []
        drawing = Drawing(title, note, 120 + 26 * len(servers))
        axis = Axis(sum((list(values[server.name]) for server in servers), []), 180, 730,
                    logarithmic)
        drawing.frame(axis, words, 66 + 26 * len(servers), 60)
        rows = [(server, 79 + 26 * i, map(axis.at, values[server.name]))
                for i, server in enumerate(servers)]
        for server, y, _ in rows:
            drawing.text(170, y + 4.5, server.label, server.colour, "end", bold=True)
        return drawing, rows


def points(rows, x, y):
    """Of each server the points that two columns give."""
    found = defaultdict(list)
    for row in rows:
        if row[y] and not row["trouble"]:
            found[row["server"]].append((number(row[x]), number(row[y])))
    return found


def line_of(server, label, points, dash):
    return SimpleNamespace(server=server, label=label, points=points, dash=dash)


def line_chart(title, note, words, lines, logarithmic):
    """A chart with nothing but lines; `logarithmic` says of its two axes which are."""
    if not lines:
        return None
    drawing = Drawing(title, note, 470)
    xs, ys = [sorted({point[side] for line in lines for point in line.points}) for side in (0, 1)]
    drawing.curves(lines, Axis(xs, 68, 610, logarithmic[0], xs),
                   Axis(ys, 420, 60, logarithmic[1]), words)
    return drawing


def note_of(rows):
    """The title of what compares rates or latencies says whether there were neighbours."""
    return " (other programs ran: not to be compared)" * any(map(disturbed, rows))


def write_charts(result):
    """Writes the charts into the result's directory, and returns them by their names. One that an
    earlier run has left there goes when this result cannot have it."""
    charts, texts = Charts(result), {}
    for name in [name for name in vars(Charts) if not name.startswith("_")]:
        drawing = getattr(charts, name)()
        texts[name] = drawing.svg(name) if drawing else ""
        path = result.directory / f"{name}.svg"
        if drawing:
            path.write_text(texts[name], encoding="utf-8")
        elif path.exists():
            path.unlink()
    return texts
