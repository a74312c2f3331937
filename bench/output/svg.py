"""Draws axes, lines with labels, marks and bars as SVG. A colour is a string of two, one for light
and one for dark pages: an element has its class, and the style says what that is on either page."""
import math
from html import escape

INK, DIM, GRID = "#1f2328 #e6edf3", "#59636e #9198a1", "#d1d9e0 #30363d"
MARKS = ("M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", "M-3.6-3.6h7.2v7.2h-7.2z", "M0-5l4.6 8h-9.2z",
         "M0 5l4.6-8h-9.2z", "M0-5.4l5.4 5.4-5.4 5.4-5.4-5.4z", "M-5-2h10l-5 7z", "M-2-5v10l7-5z")


class Drawing:
    def __init__(self, title, note, height):
        self.title, self.height, self.parts, self.colours = title, height, [], set()
        self.text(10, 22, title, bold=True, size=16)
        self.text(10, 46, note, DIM)

    def add(self, tag, colour, words="", **attributes):
        self.colours.add(colour)
        its = "".join(f' {name.replace("_", "-")}="{its}"' for name, its in attributes.items())
        self.parts.append(f'<{tag} class="c{colour[1:7]}"{its}>{escape(words)}</{tag}>')

    def text(self, x, y, words, colour=INK, anchor="start", bold=False, size=13):
        self.add("text", colour, words, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor,
                 font_size=size, font_weight=600 if bold else 400)

    def line(self, points, colour, width=1, dash="none"):
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self.add("path", colour, d="M" + path, fill="none", stroke="currentColor",
                 stroke_width=width, stroke_dasharray=dash)

    def mark(self, x, y, colour, shape):
        self.add("path", colour, d=MARKS[shape % len(MARKS)],
                 transform=f"translate({x:.1f} {y:.1f})")

    def bars(self, bars, left):
        """A bar has a name above it, parts with their sizes and colours, and words after it."""
        at, _ = axis([sum(size for size, _ in parts) for _, parts, _ in bars], left, 760, False)
        for i, (name, parts, words) in enumerate(bars):
            y, total = 98 + 40 * i, 0
            self.text(left, y, name)
            for size, colour in parts:
                self.add("rect", colour, x=f"{at(total):.1f}", y=y + 5, height=12,
                         width=f"{at(total + size) - at(total):.2f}")
                total += size
            self.text(at(total) + 7 * bool(total), y + 15.5, words, bold=bool(total))

    def curves(self, lines, words, log_x, log_y, left, right, bottom, top):
        """Draws lines with their labels at their ends; the widest line lies on top."""
        points = [point for line in lines for point in line[2]]
        xs = sorted({x for x, _ in points})
        across, _ = axis(xs, left, right, log_x)
        up, ticks = axis([y for _, y in points], bottom, top, log_y)
        for tick in ticks:
            self.line([(left, up(tick)), (right, up(tick))], GRID)
            self.text(left - 9, up(tick) + 4.5, f"{tick:,.10g}", DIM, "end")
        after = math.inf
        for x, text in [(across(tick), f"{tick:,.10g}") for tick in reversed(xs)]:
            if x + 46 < after:  # a number that would touch the next is left out
                self.line([(x, bottom), (x, top)], GRID)
                self.text(x, bottom + 20, text, DIM, "middle")
                after = x
        self.line([(left, top), (left, bottom), (right, bottom)], DIM)
        self.text((left + right) / 2, bottom + 40, words, anchor="middle")
        ends = []  # the height that a label wants, the end of its line, its server, its words
        for server, label, points, dash in sorted(lines, key=lambda line: line[0].width):
            places = [(across(x), up(y)) for x, y in sorted(points)]
            self.line(places, server.colour, server.width, dash)
            for x, y in places:
                self.mark(x, y, server.colour, server.shape)
            ends.append([y, x, y, server, label])
        ends.sort(key=lambda end: end[0])
        for above, below in zip(ends, ends[1:]):
            below[0] = max(below[0], above[0] + 19)
        room = bottom + 17
        for wanted, x, y, server, label in reversed(ends):
            place = min(wanted, room)
            room = place - 19
            self.line([(x + 7, y), (right + 2, y), (right + 25, place)], server.colour, 0.8, "2 2")
            self.mark(right + 34, place, server.colour, server.shape)
            self.text(right + 43, place + 4.5, label, server.colour, bold=True)

    def svg(self, name):
        """Its rules name the drawing, because several drawings share one HTML page."""
        light, dark = ["".join(f".{name} .c{colour[1:7]}{{color:{colour[its]}}}" for colour in
                               sorted(self.colours)) for its in (slice(7), slice(-7, None))]
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" class="{name}" role="img" width="860" '
            f'height="{self.height}" viewBox="0 0 860 {self.height}" fill="currentColor" '
            f'aria-label="{escape(self.title)}" font-family="DejaVu Sans, Verdana, sans-serif">',
            f"<style>{light}@media (prefers-color-scheme: dark){{{dark}}}</style>",
            *self.parts, "</svg>", ""])


def axis(values, first, last, logarithmic):
    """Returns a function from values to places between first and last, and values for ticks."""
    scale = math.log if logarithmic else float
    # A logarithmic axis has no 0: it stands at the beginning, left of the first number.
    low = min(filter(None, values)) / (4 if 0 in values else 1.2) if logarithmic else 0
    high = max(values) * (1.2 if logarithmic else 1.05) or 1
    tens = [10.0 ** ten for ten in range(-3, 10)]
    if logarithmic:
        steps = [ten * step for ten in tens for step in (1, 2, 3, 5, 7)]
        ticks = [step for step in steps if low <= step <= high]
        ticks = ticks if len(ticks) <= 8 else [tick for tick in ticks if tick in tens]
    else:
        step = next(ten * step for ten in tens for step in (1, 2, 5) if ten * step * 8 > high)
        ticks = [step * i for i in range(8) if step * i <= high]

    def at(value):
        part = (scale(max(value, low)) - scale(low)) / (scale(high) - scale(low))
        return first + part * (last - first)
    return at, ticks
