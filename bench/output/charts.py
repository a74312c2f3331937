"""The charts of a result: a method of Charts for each; svg.py draws."""
import re

from results import disturbed, limit_of, number
from svg import DIM, Axis, Drawing

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
        lines = [line for line in self._lines(self.result.against_silence(), "idle", "ratio")
                 if line[0].roles != "peer"]
        most = max((points[-1][0] for _, _, points, _ in lines), default=0)
        if not most:
            return None
        drawing = Drawing("What a silent connection costs", "", 120 + 43 * max(7, len(lines)))
        one = self.reference.split("-")[0]
        drawing.text(10, 54, f"CPU for one echo; {one} with nobody silent = 1", bold=True)
        drawing.text(10, 72, "both axes are logarithmic: each step multiplies", DIM)
        drawing.curves(lines, "silent connections, beside 64 that talk", (True, True),
                       46, 400, 365, 88)
        drawing.text(610, 54, f"The same beside {most:,.0f} silent", bold=True)
        drawing.text(610, 72, "linear: the bars are to scale", DIM)
        limits = {row["server"]: f"limit: {limit_of(row):,}"
                  for row in self.result.closed(active=64) if limit_of(row)}
        axis = Axis([dict(points).get(most, 0) for _, _, points, _ in lines], 610, 780, False)
        for i, (server, label, points, _) in enumerate(lines):
            ways = [f": {way}" for way, chapters in WAYS.items() if server.heading in chapters]
            drawing.text(610, 98 + 43 * i, "".join([label, *ways]))
            silent, ratio = points[-1]
            if silent == most:
                drawing.bar(610, axis.at(ratio), 109 + 43 * i, 12, server.colour)
                times = f"{ratio:.0f} times" if ratio >= 9.5 else f"{ratio:.2f}"
                drawing.text(axis.at(ratio) + 7, 113.5 + 43 * i, times, bold=True)
            else:
                drawing.text(610, 113.5 + 43 * i, limits.get(server.name, ""), DIM)
        return drawing

    def throughput(self):
        rows = self.result.closed(idle=0)
        return self._curves(
            "Throughput, everybody talking" + self._neighbours(rows), "echoes a second, one core",
            "connections that talk (logarithmic)", self._lines(rows, "active", "rate"),
            (True, False))

    def rate(self):
        rows = [row for row in self.result.summary
                if row["mode"] == "rate" and number(row["percent"]) <= 100]
        return self._curves(
            "Latency as clients feel it: open loop" + self._neighbours(rows),
            "nine in ten requests take less: microseconds (logarithmic)",
            f"requests a second, per cent of what {self.reference} can do",
            self._lines(rows, "percent", "p90_us"), (False, True))

    def latency(self):
        rows = [row for row in self.result.closed(active=64, idle=0)
                if row["p50_us"] and not row["trouble"]]
        drawing, found = self._rows(
            "Latency, 64 talking, closed loop" + self._neighbours(rows),
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
            values[name] = [user, user + stacks + tables]
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
                    line = server, label, [], "2 4" if book else server.dash
                    lines.setdefault(label, line)[2].append(
                        (number(row["descriptors"]), 10 * number(row[column])))
        return self._curves(
            "Asking who is ready, one of N: no network",
            "CPU for write, wait, read: microseconds (logarithmic)",
            "descriptors watched (logarithmic)", list(lines.values()), (True, True))

    def _neighbours(self, rows):
        return " (other programs ran: not to be compared)" * any(map(disturbed, rows))

    def _lines(self, rows, x, y):
        """For each server that has any, its line of the points that two columns give."""
        lines = [(server, server.label, sorted(
            (number(row[x]), number(row[y])) for row in rows
            if row["server"] == server.name and row[y] and not row["trouble"]), server.dash)
            for server in self.servers]
        return [line for line in lines if line[2]]

    def _curves(self, title, note, words, lines, logarithmic):
        if lines:
            drawing = Drawing(title, note, 470)
            drawing.curves(lines, words, logarithmic, 68, 610, 420, 60)
            return drawing

    def _rows(self, title, note, words, values, logarithmic):
        """A chart with a row for each server, named but empty; and of each row its server, its
        height, and the places of its values."""
        servers = [server for server in self.servers if server.name in values]
        if not servers:
            return None, []
        drawing = Drawing(title, note, 120 + 26 * len(servers))
        axis = Axis(sum((values[server.name] for server in servers), []), 180, 730, logarithmic)
        drawing.frame(axis, axis.ticks(), words, 66 + 26 * len(servers), 60)
        for i, server in enumerate(servers):
            drawing.text(170, 83.5 + 26 * i, server.label, server.colour, "end", bold=True)
        return drawing, [(server, 79 + 26 * i, map(axis.at, values[server.name]))
                         for i, server in enumerate(servers)]


def write_charts(result):
    """A chart that an earlier run has left there goes when this result cannot have it."""
    for name in [name for name in vars(Charts) if not name.startswith("_")]:
        path = result.directory / f"{name}.svg"
        drawing = getattr(Charts(result), name)()
        if drawing:
            path.write_text(drawing.svg(name), encoding="utf-8")
        elif path.exists():
            path.unlink()
