"""The charts of a result, one function for each; svg.py draws.

A chart is a Drawing, or None when the result has not what it shows. Colours are those of the list
in meson.build; a server without one is in no chart.
"""
import re
from types import SimpleNamespace

import svg
from results import disturbed, number, turned_away
from svg import Axis, Drawing, figure

# What the servers of the chapters do, and what the end of a line on the cover says of it.
WAYS = {"02": "asks everyone", "03": "asks everyone", "04": "asks everyone",
        "01": "is told", "05": "is told", "06": "is told", "07": "is told"}


def points_of(rows, x, y, unit=1):
    """A function that gives the points of a server."""
    return lambda name: [(number(row[x]), number(row[y]) / unit) for row in rows
                         if row["server"] == name and row[y] and not row["trouble"]]


def lines_of(result, points, peers=True):
    """A line for each server that has points; those of libraries are dashed, with hollow marks."""
    lines = []
    for mark, server in enumerate(server for server in result.servers() if server.colour):
        peer = "peer" in server.roles
        found = sorted(points(server.name)) if peers or not peer else []
        if found:
            lines.append(SimpleNamespace(
                server=server, label=[server.label], points=found, colour=server.colour, mark=mark,
                hollow=peer, dash="7 3" if peer else "none",
                width=1.4 if peer else 3.5 if server.name == result.reference else 2))
    return lines


def frame(drawing, across, up, words):
    """Draws two axes; `words` is what the lower one says. `up` may be just its two ends."""
    for y, text in up.ticks() if isinstance(up, Axis) else []:
        drawing.line([(across.first, y), (across.last, y)], "grid")
        drawing.text(across.first - 7, y + 4.5, text, "dim", "end")
    for x, text in across.ticks():
        drawing.line([(x, up.first), (x, up.first + 5)], "dim")
        drawing.text(x, up.first + 20, text, "dim", "middle")
    drawing.line([(across.first, up.last), (across.first, up.first), (across.last, up.first)], "dim")
    drawing.text((across.first + across.last) / 2, up.first + 40, words, anchor="middle")


def curves(drawing, lines, across, up, words):
    """Lines with their names at their ends. The widest is the reference's, which lies on top."""
    frame(drawing, across, up, words)
    lines = sorted(lines, key=lambda line: line.width)
    for line in lines:
        line.places = [(across.at(x), up.at(y)) for x, y in line.points]
        drawing.line(line.places, line.colour, line.width, line.dash)
        for x, y in line.places if line.mark is not None else []:
            drawing.mark(x, y, line.mark, line.colour, line.hollow)
    named = [line for line in lines if line.label]
    tops = svg.apart([line.places[-1][1] for line in named],
                     [19 * len(line.label) - 2 for line in named], up.first + 25)
    beside = across.last + 34
    for line, y in zip(named, tops):
        y -= 8.5 * (len(line.label) - 1)
        x, end = line.places[-1]
        drawing.line([(x + 7, end), (across.last + 2, end), (beside - 9, y)], line.colour, 0.8, "2 2")
        if line.mark is not None:
            drawing.mark(beside, y, line.mark, line.colour, line.hollow)
        for i, text in enumerate(line.label):
            drawing.text(beside + 9, y + 4.5 + 17 * i, text, "dim" if i else line.colour, bold=not i)


def line_chart(name, title, note, lines, words, logarithmic, right=670):
    """A chart with nothing but lines; `logarithmic` says of its two axes which are."""
    if not lines:
        return None
    drawing = Drawing(name, title, note, 470)
    xs, ys = [sorted({point[side] for line in lines for point in line.points}) for side in (0, 1)]
    curves(drawing, lines, Axis(xs, 60, right, logarithmic[0], {x: figure(x) for x in xs}),
           Axis(ys, 420, 60, logarithmic[1]), words)
    return drawing


def rows_chart(name, title, note, servers, across, words):
    """A chart with a row for each server: all but what is in the rows, whose heights it gives."""
    drawing = Drawing(name, title, note, 120 + 26 * len(servers))
    up = SimpleNamespace(first=66 + 26 * len(servers), last=60)
    for x, _ in across.ticks():
        drawing.line([(x, up.last), (x, up.first)], "grid")
    frame(drawing, across, up, words)
    for i, server in enumerate(servers):
        drawing.text(across.first - 10, 83.5 + 26 * i, server.label, server.colour, "end", bold=True)
    return drawing, [79 + 26 * i for i in range(len(servers))]


def title(words, rows):
    """The title of what compares rates or latencies says whether there were neighbours."""
    return words + " (other programs ran: not to be compared)" * any(map(disturbed, rows))


def name_by_way(lines, limits, reference):
    """The second line of a label. A line that ends where the reference does shares its label."""
    its = next((line for line in lines if line.server.name == reference), None)
    for line in lines:
        limit = limits.get(line.server.name)
        way = f"limit: {figure(limit)}" if limit else WAYS.get(line.server.heading)
        line.label += [way] if way else []
        if its and line is not its and way == "is told" and \
                abs(line.points[-1][1] / its.points[-1][1] - 1) < 0.1:
            its.label = [f"{its.label[0]}, {line.server.heading}", "are told"]
            line.label = []


def silence_bars(drawing, lines, limits, left, most):
    """The servers beside the most silent connections, in one linear scale."""
    drawing.text(left, 54, f"The same beside {figure(most)} silent", bold=True)
    drawing.text(left, 72, "linear: a bar is as long as its number", "dim")
    values = [dict(line.points).get(most, 0) for line in lines]
    across = Axis(values, left, svg.WIDTH - 80)
    for i, (line, value) in enumerate(zip(lines, values)):
        y = 98 + 43 * i
        drawing.text(left, y, line.server.label)
        if value:
            drawing.bar(left, across.at(value), y + 11, 12, line.colour)
            drawing.text(across.at(value) + 7, y + 15.5,
                         f"{value:.0f} times" if value >= 9.5 else f"{value:.2f}", bold=True)
        elif line.server.name in limits:
            drawing.text(left, y + 15.5, f"limit: {figure(limits[line.server.name])}", "dim")


def idle(result):
    ratios = result.against_silence()
    limits = {row["server"]: turned_away(row) for row in result.closed(active=64)
              if turned_away(row)}
    lines = lines_of(result, lambda name: ratios.get(name, {}).items(), peers=False)
    silent = sorted({x for line in lines for x, y in line.points})
    if not silent or not silent[-1]:
        return None
    drawing = Drawing("idle", "What a silent connection costs", "", 120 + 43 * max(7, len(lines)))
    silence_bars(drawing, lines, limits, 590 if len(silent) > 1 else 10, silent[-1])
    if len(silent) > 1:
        one = result.reference.split("-")[0]
        drawing.text(10, 54, f"CPU for one echo; {one} with nobody silent = 1", bold=True)
        drawing.text(10, 72, "both axes are logarithmic: each step multiplies", "dim")
        name_by_way(lines, limits, result.reference)
        # A logarithmic axis has no 0: it stands to the left of the first number.
        places = {x: x or next(filter(None, silent)) / 3.3 for x in silent}
        for line in lines:
            line.points = [(places[x], y) for x, y in line.points]
        marks = {place: figure(x) for x, place in places.items()}
        curves(drawing, lines, Axis(marks, 46, 400, True, marks),
               Axis([y for line in lines for x, y in line.points], 365, 88, True),
               "silent connections, beside 64 that talk")
    return drawing


def throughput(result):
    rows = result.closed(idle=0)
    return line_chart("throughput", title("Throughput, everybody talking", rows),
                      "thousand echoes a second, one core",
                      lines_of(result, points_of(rows, "active", "rate", 1000)),
                      "connections that talk (logarithmic)", (True, False))


def rate(result):
    rows = [row for row in result.summary if row["mode"] == "rate" and number(row["percent"]) <= 100]
    return line_chart("rate", title("Latency as clients feel it: open loop", rows),
                      "nine in ten requests take less: microseconds (logarithmic)",
                      lines_of(result, points_of(rows, "percent", "p90_us")),
                      f"requests a second, per cent of what {result.reference} can do", (False, True))


def latency(result):
    rows = result.closed(active=64, idle=0)
    percentiles = [points_of(rows, "active", name) for name in ("p50_us", "p90_us", "p99_us")]
    lines = lines_of(result, lambda name: [point for points in percentiles for point in points(name)])
    if not lines:
        return None
    across = Axis([y for line in lines for x, y in line.points], 180, 850, True)
    drawing, heights = rows_chart(
        "latency", title("Latency, 64 talking, closed loop", rows),
        "dot: half of the echoes are faster; bar: nine in ten are; triangle: 99 in a hundred are",
        [line.server for line in lines], across, "microseconds (logarithmic)")
    for line, y in zip(lines, heights):
        half, nine, most = [across.at(value) for x, value in line.points]
        drawing.line([(half, y), (most, y)], line.colour, 2.5)
        drawing.mark(half, y, 0, line.colour)
        drawing.bar(nine - 1.5, nine + 1.5, y, 12, line.colour)
        drawing.mark(most, y, 2, line.colour)
    return drawing


def memory(result):
    rows = result.fullest()
    servers = [server for server in result.servers() if server.colour and server.name in rows]
    sizes = [[max(0, sum(number(rows[server.name][name]) for name in names)) for names in
              (["user_B"], ["kernel_stacks_B", "page_tables_B"])] for server in servers]
    if not servers:
        return None
    across = Axis([max(map(sum, sizes)) / 1024], 180, 730)
    drawing, heights = rows_chart(
        "memory", "Memory of one idle connection",
        "coloured: the process; grey: the kernel, for its threads' stacks and its page tables",
        servers, across, "KiB; sockets left out, which every server has")
    idle_ones = [number(rows[server.name]["idle"]) for server in servers]
    for server, (user, kernel), y, count in zip(servers, sizes, heights, idle_ones):
        middle, end = across.at(user / 1024), across.at((user + kernel) / 1024)
        drawing.bar(across.first, middle, y, 16, server.colour)
        drawing.bar(middle, end, y, 16, "dim")
        total = user + kernel
        text = f"{total / 1024:.1f} KiB" if total >= 10240 else f"{total:,.0f} B"
        drawing.text(end + 8, y + 4.5, text + f", of {figure(count)}" * (count < max(idle_ones)))
    return drawing


def loop(result):
    """The bare calls have the colour of the server that uses them. The book's figures are dotted."""
    lines = []
    for server in result.servers() if "loop" in result.tables else []:
        calls = re.match(r"\d\d-(epoll|kqueue|poll|select)($| )", server.name)
        name = "raw" if calls else server.name.split("-")[-1]
        for backend in [calls[1]] if calls else ["epoll", "kqueue"]:
            for column, book in ("seconds", ""), ("book's_seconds", ", the book (2010)"):
                points = [(number(row["descriptors"]), 10 * number(row[column]))
                          for row in result.rows("loop") if server.colour and row[column]
                          and row["loop"] == name and row["backend"] == backend]
                lines += [SimpleNamespace(
                    label=[(backend if calls else f"{server.label}, {backend}") + book],
                    points=points, colour=server.colour, mark=None if book else len(lines),
                    hollow="peer" in server.roles, dash="2 4" if book else "none",
                    width=2 if book or server.name != result.reference else 3.5)] if points else []
    return line_chart("loop", "Asking who is ready, one of N: no network",
                      "CPU for write, wait, read: microseconds (logarithmic)", lines,
                      "descriptors watched (logarithmic)", (True, True), right=610)


def draw(result):
    """Writes the charts into the result's directory, and returns them by their names. One that an
    earlier run has left there goes when this result cannot have it."""
    charts = {}
    for chart in (idle, throughput, rate, latency, memory, loop):
        path = result.directory / f"{chart.__name__}.svg"
        drawing = chart(result)
        if drawing:
            charts[chart.__name__] = str(drawing)
            path.write_text(str(drawing), encoding="utf-8")
        elif path.exists():
            path.unlink()
    return charts
