"""Draws axes, lines with labels, marks and bars as SVG.

A colour is a string of two: one for light pages, and one for dark pages. An element has the class
of its colour, and the style says what that is on either page.
"""
import math
from html import escape
from itertools import accumulate

WIDTH = 860
INK, DIM, GRID = "#1f2328 #e6edf3", "#59636e #9198a1", "#d1d9e0 #30363d"
MARKS = ("M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", "M-3.6-3.6h7.2v7.2h-7.2z", "M0-5l4.6 8h-9.2z",
         "M0 5l4.6-8h-9.2z", "M0-5.4l5.4 5.4-5.4 5.4-5.4-5.4z", "M-5-2h10l-5 7z", "M-2-5v10l7-5z")


def ticks(low, high, logarithmic):
    tens = [10.0 ** ten for ten in range(-3, 10)]
    if logarithmic:
        found = [ten * step for ten in tens for step in (1, 2, 3, 5) if low <= ten * step <= high]
        return found if len(found) <= 8 else [ten for ten in found if ten in tens]
    step = next(ten * step for ten in tens for step in (1, 2, 5) if ten * step * 8 > high)
    return [step * i for i in range(8) if step * i <= high]


def apart(places, gap, bottom):
    """Moves sorted places until they are a gap apart, and none is below the bottom."""
    places = accumulate(places, lambda above, place: max(place, above + gap))
    places = accumulate(reversed(list(places)), lambda below, place: min(place, below - gap),
                        initial=bottom + gap)
    return list(places)[:0:-1]


class Axis:
    """From values to places in the drawing: `first` is where it begins, `last` where it ends."""

    def __init__(self, values, first, last, logarithmic=False, marks=None):
        self.first, self.last, self.scale = first, last, math.log if logarithmic else float
        # A logarithmic axis has no 0: it stands at the beginning, left of the first number.
        self.low = min(filter(None, values)) / (4 if 0 in values else 1.2) if logarithmic else 0
        self.high = (max(values) or 1) * (1.2 if logarithmic else 1.05)
        marks = marks or ticks(self.low, self.high, logarithmic)
        self.marks = [(self.at(value), f"{value:,.10g}") for value in marks]

    def at(self, value):
        low, high, value = map(self.scale, (self.low, self.high, max(value, self.low)))
        return self.first + (value - low) / (high - low) * (self.last - self.first)


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

    def bar(self, left, right, y, height, colour):
        self.add("rect", colour, x=f"{left:.1f}", y=f"{y - height / 2:.1f}",
                 width=f"{right - left:.2f}", height=height)

    def frame(self, across, words, bottom, top):
        """The lower axis; `words` is what it says. A mark that would touch the next is left out."""
        after = math.inf
        for x, text in reversed(across.marks):
            if x + 46 < after:
                self.line([(x, bottom), (x, top)], GRID)
                self.text(x, bottom + 20, text, DIM, "middle")
                after = x
        self.line([(across.first, top), (across.first, bottom), (across.last, bottom)], DIM)
        self.text((across.first + across.last) / 2, bottom + 40, words, anchor="middle")

    def curves(self, lines, across, up, words):
        """Lines with their labels at their ends. The widest lies on top."""
        for y, text in up.marks:
            self.line([(across.first, y), (across.last, y)], GRID)
            self.text(across.first - 9, y + 4.5, text, DIM, "end")
        self.frame(across, words, up.first, up.last)
        for line in sorted(lines, key=lambda line: line.server.width):
            places = [(across.at(x), up.at(y)) for x, y in line.points]
            line.x, line.y = places[-1]
            self.line(places, line.server.colour, line.server.width, line.dash)
            for x, y in places:
                self.mark(x, y, line.server.colour, line.server.shape)
        lines = sorted(lines, key=lambda line: line.y)
        right = across.last + 25
        for line, y in zip(lines, apart([line.y for line in lines], 19, up.first + 17)):
            colour = line.server.colour
            self.line([(line.x + 7, line.y), (right - 23, line.y), (right, y)], colour, 0.8, "2 2")
            self.mark(right + 9, y, colour, line.server.shape)
            self.text(right + 18, y + 4.5, line.label, colour, bold=True)

    def svg(self, name):
        """Its rules name the drawing, because several drawings share one HTML page."""
        light, dark = ["".join(f".{name} .c{colour[1:7]}{{color:{colour[its]}}}" for colour in
                               sorted(self.colours)) for its in (slice(7), slice(-7, None))]
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" class="{name}" role="img" aria-label='
            f'"{escape(self.title)}" width="{WIDTH}" height="{self.height}" fill="currentColor" '
            f'viewBox="0 0 {WIDTH} {self.height}" font-family="DejaVu Sans, Verdana, sans-serif">',
            f"<style>{light}@media (prefers-color-scheme: dark){{{dark}}}</style>",
            *self.parts, "</svg>", ""])
