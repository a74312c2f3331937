"""The charts of a result: a method of Charts for each; svg.py draws."""
import re
from collections import defaultdict

from results import disturbed, limit_of, number
from svg import DIM, Drawing

WAYS = dict.fromkeys(("01", "05", "06", "07"), ": is told")
WAYS.update(dict.fromkeys(("02", "03", "04"), ": asks everyone"))


class Charts:
    """A method draws the chart of its name, or returns None when the result has not what it shows.
    The colours are those of the list in meson.build; a server without one is in no chart."""
    def __init__(self, result):
        self.result, self.reference = result, result.reference
        self.servers = [server for server in result.servers if server.colour]
        for shape, server in enumerate(self.servers):
            server.shape, server.dash = shape, "7 3" if "peer" in server.roles else "none"
            server.width = 3.5 if server.name == self.reference else 2

    def idle(self):
        lines = [(server, label + WAYS.get(server.heading, ""), points, dash) for
                 server, label, points, dash in self._lines(
                     self.result.against_silence(), "idle", "ratio") if "peer" not in server.roles]
        most = max((x for _, _, points, _ in lines for x, _ in points), default=0)
        if not most:
            return None
        drawing = Drawing("What a silent connection costs" + " (other programs ran)" * any(
            map(disturbed, self.result.closed(active=64))), "", max(420, 90 + 40 * len(lines)))
        what = f"CPU for one echo; {self.reference.split('-')[0]} with nobody silent = 1"
        drawing.text(10, 54, what, bold=True)
        drawing.text(10, 72, "both axes are logarithmic: each step multiplies", DIM)
        drawing.curves(lines, "silent connections, beside 64 that talk", True, True,
                       46, 325, 365, 88)
        drawing.text(640, 54, f"Beside {most:,.0f} silent", bold=True)
        drawing.text(640, 72, "linear: the bars are to scale", DIM)
        bars, limits = [], {row["server"]: f"limit: {limit_of(row):,}"
                            for row in self.result.closed(active=64) if limit_of(row)}
        for server, label, points, _ in lines:
            ratio = dict(points).get(most, 0)
            times = f"{ratio:.0f} times" if ratio >= 9.5 else f"{ratio:.2f}"
            bars.append((server.label, [(ratio, server.colour)],
                         times if ratio else limits.get(server.name, "")))
        drawing.bars(bars, 640)
        return drawing

    def throughput(self):
        return self._curves(
            "Throughput, everybody talking", "echoes a second, one core",
            "connections that talk (logarithmic)",
            self.result.closed(idle=0), "active", "rate", (True, False))

    def rate(self):
        return self._curves(
            "Latency as clients feel it: open loop",
            "nine in ten requests take less: microseconds (logarithmic)",
            f"requests a second, per cent of what {self.reference} can do",
            [row for row in self.result.summary if row["mode"] == "rate"
             and number(row["percent"]) <= 100], "percent", "p90_us", (False, True))

    def latency(self):
        return self._curves(
            "Latency, 64 talking, closed loop", "microseconds (logarithmic)",
            "one echo in 2, 10, 100 takes at least this long",
            [defaultdict(str, row, one_in=one_in, us=row[column])
             for row in self.result.closed(active=64, idle=0)
             for one_in, column in ((2, "p50_us"), (10, "p90_us"), (100, "p99_us"))],
            "one_in", "us", (True, True))

    def memory(self):
        full, bars = self.result.fullest(), []
        most = max((number(row["idle"]) for row in full.values()), default=0)
        for server in [server for server in self.servers if server.name in full]:
            row = full[server.name]
            user, *kernel = [max(0, number(row[column])) for column in (
                "user_B", "kernel_stacks_B", "page_tables_B")]
            size, idle = user + sum(kernel), number(row["idle"])
            words = f"{size / 1024:.1f} KiB" if size >= 10240 else f"{size:,.0f} B"
            bars.append((server.label, [(user, server.colour), (sum(kernel), DIM)],
                         words + f", of {idle:,.0f}" * (idle < most)))
        if not bars:
            return None
        drawing = Drawing("Memory of one idle connection",
                          "coloured: the process; grey: the kernel, for stacks and page tables; "
                          "every server has sockets besides", 90 + 40 * len(bars))
        drawing.bars(bars, 10)
        return drawing

    def loop(self):
        """The bare calls have the colour of the server that uses them. The book is dotted."""
        names = {re.match(r"(\d\d-)?(\w+)", server.name)[2]: server for server in self.servers}
        rows = []
        for row in self.result.rows("loop"):
            raw, backend = row["loop"] == "raw", row["backend"]
            server = names.get(backend if raw else row["loop"])
            if server and (raw or backend in ("epoll", "kqueue")):
                label = backend if raw else f"{server.label}, {backend}"
                for column, book in ("seconds", ""), ("book's_seconds", ", the book (2010)"):
                    rows.append(defaultdict(str, row, server=server.name, label=label + book,
                                            us=10 * number(row[column]), dash=book and "2 4"))
        return self._curves(
            "Asking who is ready, one of N: no network",
            "CPU for write, wait, read: microseconds (logarithmic)",
            "descriptors watched (logarithmic)", rows, "descriptors", "us", (True, True))

    def _lines(self, rows, x, y):
        """A line is a server, a label, points, and dashes. Two columns give its points."""
        lines = {}
        for server in self.servers:
            for row in rows:
                if row["server"] == server.name and row[y] and not row["trouble"]:
                    label = row["label"] or server.label
                    line = server, label, [], row["dash"] or server.dash
                    lines.setdefault(label, line)[2].append((number(row[x]), number(row[y])))
        return list(lines.values())

    def _curves(self, title, note, words, rows, x, y, logarithmic):
        lines = self._lines(rows, x, y)
        if lines:
            neighbours = " (other programs ran: not to be compared)" * any(map(disturbed, rows))
            drawing = Drawing(title + neighbours, note, 470)
            drawing.curves(lines, words, *logarithmic, 68, 610, 420, 60)
            return drawing


def write_charts(result):
    """Writes all charts; a chart that an earlier run has left goes if this result has none."""
    for name in [name for name in vars(Charts) if not name.startswith("_")]:
        path = result.directory / f"{name}.svg"
        drawing = getattr(Charts(result), name)()
        path.write_text(drawing.svg(name) if drawing else "", encoding="utf-8")
        if not drawing:
            path.unlink()
