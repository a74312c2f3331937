"""Each term of the book is explained at its first use, in bold, or is a link to the glossary."""

import pathlib
import re
import sys
from functools import lru_cache

sys.dont_write_bytecode = True
from document import Document, lines_of  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
GLOSSARY = ROOT / 'docs' / 'glossary.md'
# Known to those who know C, or words of every day, too: nothing can be said about their first use.
KNOWN = {
    'address space', 'async', 'await', 'batch', 'callback', 'echo', 'event', 'filter', 'frame',
    'handler', 'kernel', 'noise', 'polling', 'port', 'race', 'signal', 'stack', 'stream',
    'system call', 'thread', 'turn', 'user space', 'blocking', 'to park', 'a/a', 'peer', 'framing',
    'backend'}


@lru_cache(maxsize=None)
def terms():
    """The terms of the glossary, in English, in lower case."""
    rows = [re.match(r'\| *(?:<a id="[^"]*"></a>)? *([^|]+?) *\|', line)
            for line in lines_of(GLOSSARY)]
    names = [name.strip() for row in rows if row
             for name in re.sub(r'\([^)]*\)|`|, of chapter.*', '', row[1]).lower().split(',')]
    return [name for name in names if re.search('[a-z]', name) and name not in KNOWN]


def use_of(term):
    words = re.escape(term).replace(r'\ ', r'[\s-]+')
    return re.compile(rf'(?<![\w-]){words}(?:s|es)?(?![\w-])', re.I)


@lru_cache(maxsize=None)
def read(path):
    """Returns the text that is looked at, and where something in it is explained."""
    prose = [re.sub(r'`[^`]*`|^#.*|!\[[^]]*\]', 'x', line) for line in Document(path).prose]
    text = '\n'.join(prose)
    spans = [match.span() for match in
             re.finditer(r'\*\*.+?\*\*|\[[^]]*\]\([^)]*glossary\.md[^)]*\)', text, re.S)]
    return text, spans


def explained(path, term):
    """Whether a page explains a term, and where it first uses it; None if nowhere."""
    text, spans = read(path)
    uses = [match.start() for match in use_of(term).finditer(text)]
    inside = [use for use in uses if any(low <= use < high for low, high in spans)]
    first = uses[0] if uses else None
    return bool(inside) and inside[0] == first, first


def order():
    """The pages in the order in which they are read."""
    chapters = sorted(ROOT.glob('0[1-7]-*/README.md'))
    return [ROOT / 'docs' / 'sockets.md', *chapters]


def check_terms(document):
    path, pages = document.path.resolve(), order()
    if path not in pages:
        return
    earlier = pages[:pages.index(path)]
    for term in terms():
        good, first = explained(path, term)
        if first is not None and not good and \
                not any(explained(page, term)[1] is not None for page in earlier):
            number = 1 + read(path)[0].count('\n', 0, first)
            yield number, f'"{term}" is not explained here: **{term}**, or a link to the glossary'
