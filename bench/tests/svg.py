"""Takes the pictures that bench/trace draws apart again."""
import re
import xml.etree.ElementTree

SVG = '{http://www.w3.org/2000/svg}'
CHARACTER, NARROW = 6.6, 6.2 # the widths of a character of class c, and of others
CONTRAST_MIN = 4.5


class Picture:
    """A picture, taken apart again."""

    def __init__(self, lines):
        self.svg = '\n'.join(lines)
        self.root = xml.etree.ElementTree.fromstring(self.svg)
        self.texts = [Text(element) for element in self.root.iter(SVG + 'text')]
        self.boxes = [Box(element) for element in self.root.findall(SVG + 'rect')]
        self.arrows = re.findall(r'd="M\d+ (\d+)L\d+ (\d+)".*marker-end="url\(#(\w+)\)"', self.svg)

    def of(self, *kinds):
        """Returns the texts that have all of these classes and no others."""
        return [text.words for text in self.texts if set(text.kinds) == set(kinds)]

    def line(self, words):
        """Returns what stands in the line in which this text is, from left to right."""
        own = [text.y for text in self.texts if text.words == words][:1]
        return [text.words for text in sorted(self.texts, key=lambda text: text.left)
                if own and abs(text.y - own[0]) < 3]

    def calls(self):
        """Returns the lines of the calls, as 'left | right'."""
        lines = {}
        for text in sorted(self.texts, key=lambda text: text.left):
            if text.words and text.kinds and self.box(text):
                lines.setdefault(text.y, []).append(text.words)
        return [' | '.join(lines[y]) for y in sorted(lines)]

    def beside(self, y):
        """Returns the first words of the line at which an arrow begins or ends."""
        return next(text.words for text in sorted(self.texts, key=lambda text: text.left)
                    if abs(text.y - int(y)) < 7 and text.kinds != ['c', 'i', 'e'])

    def box(self, text):
        """Returns the box of a call or a deed in which this text is."""
        boxes = [box for box in self.boxes if box.holds(text) and 'card' not in box.kinds]
        return boxes[-1] if boxes else None


class Text:
    def __init__(self, element):
        self.element, self.words = element, ''.join(element.itertext())
        self.kinds = element.get('class').split()
        self.x, self.y = float(element.get('x')), float(element.get('y'))
        width = len(self.words) * (CHARACTER if 'c' in self.kinds else NARROW)
        self.left = self.x - width * ('e' in self.kinds)
        self.right = self.left + width

    def parts(self):
        """Yields each part's words and classes."""
        yield self.element.text, self.kinds
        for part in self.element:
            yield part.text, self.kinds + part.get('class').split()
            yield part.tail, self.kinds


class Box:
    def __init__(self, element):
        self.kinds = element.get('class').split()
        self.x, self.y, self.width, self.height = (
            float(element.get(name)) for name in ('x', 'y', 'width', 'height'))

    def holds(self, text):
        return self.x <= text.left + 1 <= self.x + self.width and \
            self.y <= text.y - 4 <= self.y + self.height


# ---- what is wrong with one ----------------------------------------------------------------------

def outside(picture):
    width, height = float(picture.root.get('width')), float(picture.root.get('height'))
    return [text.words for text in picture.texts
            if not (0 <= text.left and text.right <= width and 10 <= text.y <= height - 4)]


def overlapping(picture):
    texts = [text for text in picture.texts if text.words]
    return [(one.words, two.words) for i, one in enumerate(texts) for two in texts[i + 1:]
            if abs(one.y - two.y) < 10 and one.left < two.right and two.left < one.right]


def colours(css):
    """Returns the colours of a style sheet: (class, property): colour."""
    return {(name, what): its for name, rules in re.findall(r'([\w.]+){([^}]*)}', css)
            for what, its in re.findall(r'(fill|stroke):(#\w{6})', rules)}


def light(colour):
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
                        for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, two):
    brighter, darker = sorted((light(one), light(two)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def faint(picture, css):
    """Returns the parts of texts that are hard to read on what is behind them."""
    its, found = colours(css), set()
    for text in picture.texts:
        box = picture.box(text)
        behind = box.kinds[:1] if box else ['card']
        if box and 'sleep' in box.kinds:
            behind = ['s0', 's1'] # it is striped
        for words, kinds in text.parts():
            inks = [its[f'.{kind}', 'fill'] for kind in kinds[::-1] if (f'.{kind}', 'fill') in its]
            ink = (inks or [its['text', 'fill']])[0]
            found.update((' '.join(kinds), fill) for fill in behind
                         if words and contrast(ink, its['.' + fill, 'fill']) < CONTRAST_MIN)
    return sorted(found)
