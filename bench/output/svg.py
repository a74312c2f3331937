"""A small drawing part: lines, marks, bars, and labels that keep apart, as SVG.

A drawing follows the page, light or dark: an element has the class of its colour, and the style
says what that is on either page. Its rules name the drawing: several share one HTML page.
"""
import math
from html import escape

WIDTH = 860
PAGES = ("#ffffff", "#000000"), ("#0d1117", "#ffffff")  # light and dark: the page, its opposite
INKS = {"ink": ("#1f2328", "#e6edf3"), "dim": ("#59636e", "#9198a1"),
        "grid": ("#d1d9e0", "#30363d")}
MARKS = ("M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", "M-3.6-3.6h7.2v7.2h-7.2z", "M0-5l4.6 8h-9.2z",
         "M0 5l4.6-8h-9.2z", "M0-5.4l5.4 5.4-5.4 5.4-5.4-5.4z", "M-5-2h10l-5 7z", "M-2-5v10l7-5z")


def figure(value):
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def channels(colour):
    return [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]


def contrast(*colours):
    """The contrast of WCAG 2: text needs 4.5, a line 3."""
    lights = [0.05 + sum(
        weight * (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
        for weight, c in zip((0.2126, 0.7152, 0.0722), channels(colour))) for colour in colours]
    return max(lights) / min(lights)


def shade(colour, page, end):
    """The colour, mixed with black or white until text in it can be read on the page."""
    mixtures = ("#" + "".join(f"{round(255 * (a + (b - a) * part / 50)):02x}" for a, b in
                              zip(channels(colour), channels(end))) for part in range(51))
    return next(mixture for mixture in mixtures if contrast(mixture, page) >= 4.5)


def apart(wanted, heights, bottom):
    """The middles of labels: near where they are wanted, above the bottom, none over another."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = list(wanted)
    for above, below in zip(order, order[1:]):
        placed[below] = max(placed[below], placed[above] + (heights[above] + heights[below]) / 2)
    for i in reversed(order):
        placed[i] = min(placed[i], bottom - heights[i] / 2)
        bottom = placed[i] - heights[i] / 2
    return placed


class Axis:
    """From values to places in the drawing: `first` is where it begins, `last` where it ends."""

    def __init__(self, values, first, last, logarithmic=False, marks=None):
        self.first, self.last, self.turned = first, last, math.log if logarithmic else float
        self.low = min(values) / 1.2 if logarithmic else 0
        self.high = (max(values) or 1) * (1.2 if logarithmic else 1.05)
        tens = [10.0 ** ten for ten in range(-3, 10)]
        choices = [[ten * step for ten in tens for step in steps] for steps in (
            (1, 3), (1, 2, 5), (1, 2, 3, 5, 7), (1,))] if logarithmic else \
            [[ten * step * i for i in range(20)] for ten in tens for step in (1, 2, 5)]
        choices = [[value for value in some if self.low <= value <= self.high] for some in choices]
        best = min(choices, key=lambda some: abs(len(some) - 6))
        self.marks = marks or {value: figure(value) for value in best}

    def at(self, value):
        low, high, value = map(self.turned, (self.low, self.high, value))
        return self.first + (value - low) / (high - low) * (self.last - self.first)

    def ticks(self):
        """Places and words. Where there is no room for all of them, powers of ten come first."""
        taken = []
        for value, words in sorted(self.marks.items(), key=lambda mark: mark[1].strip("0,") > "1"):
            place, room = self.at(value), 4.5 * (len(words) + 2)
            if all(abs(place - other) > max(17, room + its) for other, its in taken):
                taken.append((place, room))
                yield place, words


class Drawing:
    def __init__(self, name, title, note, height):
        self.name, self.title, self.height, self.parts, self.colours = name, title, height, [], {}
        self.text(10, 22, title, bold=True, size=16)
        self.text(10, 46, note, "dim")

    def add(self, tag, rest, colour):
        kind = "c" + colour.lstrip("#")
        self.colours[kind] = INKS.get(colour) or [shade(colour, *page) for page in PAGES]
        self.parts.append(f'<{tag} class="{kind}" {rest}')

    def text(self, x, y, words, colour="ink", anchor="start", bold=False, size=13):
        self.add("text", f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
                 f'font-weight="{600 if bold else 400}">{escape(words)}</text>', colour)

    def line(self, points, colour, width=1, dash="none"):
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self.add("path", f'd="M{path}" fill="none" stroke="currentColor" stroke-width="{width}" '
                 f'stroke-dasharray="{dash}" stroke-linejoin="round"/>', colour)

    def mark(self, x, y, shape, colour, hollow=False):
        fill = 'fill="none" stroke="currentColor" ' if hollow else ""
        self.add("path", f'd="{MARKS[shape % len(MARKS)]}" {fill}'
                 f'transform="translate({x:.1f} {y:.1f})"/>', colour)

    def bar(self, left, right, y, height, colour):
        self.add("rect", f'x="{left:.1f}" y="{y - height / 2:.1f}" width="{right - left:.2f}" '
                 f'height="{height}"/>', colour)

    def __str__(self):
        light, dark = ["".join(f".{self.name} .{kind}{{color:{pair[page]}}}" for kind, pair in
                               sorted(self.colours.items())) for page in (0, 1)]
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" class="{self.name}" role="img" aria-label='
            f'"{escape(self.title)}" width="{WIDTH}" height="{self.height}" fill="currentColor" '
            f'viewBox="0 0 {WIDTH} {self.height}" font-family="DejaVu Sans, Verdana, sans-serif">',
            f"<style>{light}@media (prefers-color-scheme: dark){{{dark}}}</style>",
            *self.parts, "</svg>", ""])
