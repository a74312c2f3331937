"""What a Markdown document contains: links, names in backticks, headings, blocks."""

import re
import types

HEADING = re.compile(r'#+ +(.*?)(?: +#* *)?$')
FENCE = re.compile(r' *```+ *(.*?) *$')
FROM = re.compile(r'<!-- *from: +(\S+)')
CAPTION = re.compile(r'`([^`\s]+\.[ch])`, (.+?):?$') # `FILE`, whole; `FILE`, `a()` and `b()`
COMMENT = re.compile(r'<!--.*?-->')
ANCHOR = re.compile(r'<a id="([^"]+)">')
LINK = re.compile(r'\]\(([^) ]+)(?: "[^"]*")?\)|(?:src|href)="([^"]+)"')


def lines_of(path):
    """Only "\\n" ends a line: Python itself splits at other signs, too."""
    with open(path, encoding='utf-8', errors='replace', newline='\n') as file:
        lines = file.read().split('\n')
    return lines if lines[-1] else lines[:-1]


class Document:
    """links and names have a line's number and a text. Each of blocks has its number, its lines,
    its kind (the words after its fence), its source (if <!-- from: SOURCE --> or a caption is
    before it), the caption (None, or the words after the file's name), and its output (the text
    block directly after it). prose is what is left without blocks and comments, a line each, those
    of blocks empty."""

    def __init__(self, path):
        self.path = path
        self.links, self.names, self.blocks, self.headings, self.anchors = [], [], [], [], []
        self.prose = []
        block = before = source = caption = None
        for number, line in enumerate(lines_of(path), 1):
            line = line.rstrip('\r')
            fence, origin = FENCE.match(line), FROM.match(line)
            self.prose.append('' if block or fence or origin else COMMENT.sub('', line))
            if block and fence and not fence[1]:
                before, block = block, None
            elif block:
                block.lines.append(line)
            elif fence:
                block = types.SimpleNamespace(number=number, kind=fence[1], lines=[], source=source,
                                              caption=caption, output=None)
                self.blocks.append(block)
                if before and block.kind == 'text':
                    before.output = block
                source = caption = None
            elif origin:
                source = origin[1]
            elif line.strip():
                before = None
                named = CAPTION.match(line)
                source, caption = named.groups() if named else (None, None)
                self.read_prose(number, line)

    def read_prose(self, number, line):
        self.names += [(number, name.strip()) for name in re.findall('`([^`]+)`', line)]
        self.links += [(number, link[1] or link[2])
                       for link in LINK.finditer(re.sub('`[^`]*`', '', line))]
        self.anchors += ANCHOR.findall(line)
        heading = HEADING.match(line)
        if heading: # its anchor, as the usual hosts make it; those of equal headings are numbered
            text = re.sub(r'\]\([^)]*\)', '', heading[1]).lower()
            anchor = re.sub(r'[^\w -]', '', text).replace(' ', '-')
            times = self.headings.count(anchor)
            self.headings.append(anchor)
            self.anchors.append(f'{anchor}-{times}' if times else anchor)

    def shown(self, start):
        """Returns, for each command that begins so and is not run, its rest, and the block of its
        output."""
        return [(block.lines[0][len(start):], block.output) for block in self.blocks
                if block.output and block.kind == 'sh' and len(block.lines) == 1 and
                block.lines[0].startswith(start)]
