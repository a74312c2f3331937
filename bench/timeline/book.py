"""The pictures of the book: the conversation of each chapter, the failures that the chapters tell,
and what a wait costs beside silent clients. bench/trace --book makes them all."""
import dataclasses
import json
import sys

from timeline import conversation, draw, record, recording, strip

NOTE = 'Time runs down, a line for each call and each thing a client does; pauses are shortened.'
STORY = 'What the kernel holds is worked out from the calls.'
HIDDEN = ('poll', 'kill', 'clock_nanosleep') # by which an experiment waits for its moment


@dataclasses.dataclass
class Story:
    file: str # in the book
    experiment: str # in tests/experiments
    title: str
    scenes: tuple # of the experiment, in the order in which they are drawn
    note: str = ''


STORIES = [
    Story('01-blocking-threads/reset.svg', '00-close-with-unread-input',
          'A reset overtakes the echo', ('one byte was left unread', 'nothing left unread')),
    Story('03-select/slow-reader.svg', '03-one-slow-reader', 'One slow reader stops everyone',
          ('send() that blocks', 'send() that does not block, and the rest is kept')),
    Story('03-select/signal.svg', '03-signal-before-select', 'A signal just before select()',
          ('select()', 'pselect()'), 'Here select() has a timeout of 200 ms, in place of forever.'),
    Story('05-epoll/emfile.svg', '05-emfile-spin', 'Out of descriptors, the loop spins',
          ('the listener stays watched', 'the listener is put aside')),
    Story('05-epoll/lost-edge.svg', '05-lost-edge', 'The lost edge',
          ('edge-triggered', 'level-triggered'),
          'An edge is an arrival. The server receives 1,024 bytes for each report.'),
    Story('05-epoll/herd.svg', '05-thundering-herd', 'One client wakes the whole herd',
          ('one listener, many epolls', 'EPOLLEXCLUSIVE'),
          'Each process pauses for 50 ms before accept(), so that all are seen to wake.'),
    Story('07-reactor/stale-event.svg', '07-stale-event', 'A stale event hits the wrong player',
          ('a naive loop', 'the reactor'),
          'A and B play, C and D wait. When one is lost the game is over, and the next two play.')]
STRIP = 'docs/waits.svg'
BESIDE = (3, 10, 10000) # clients, of whom one speaks
SETS_MAX = 1024 # FD_SETSIZE: select() takes no descriptor from here on


def experiments():
    """Returns what to build."""
    return [f'experiment-{story.experiment}' for story in STORIES]


def draw_all(build, out, keep, only):
    """keep: put the recordings beside the pictures. only: these files, if any are named."""
    rows = [row.split('|') for row in (build / 'servers.list').read_text().splitlines()]
    chapters = [row[4] for row in rows if 'chapter' in row[8].split(',')]
    makers = {path.split('/')[0] + '/trace.svg': lambda path=path: trace(build / path)
              for path in chapters}
    makers.update((story.file, lambda story=story: tell(build, story)) for story in STORIES)
    makers[STRIP] = lambda: (strip.draw(moments(build, chapters)), None)
    for file in only or makers:
        if file not in makers:
            sys.exit(f"bench/trace: the book has no picture '{file}'; it has {' '.join(makers)}")
        svg, told = makers[file]()
        write(out / file, svg, told if keep else None)


def trace(path):
    told = told_by([str(path)], conversation.THREE_CLIENTS, path.name + ': three clients')
    return draw.Picture(told['title'], NOTE, told['scenes']).svg, told


def tell(build, story):
    command = [str(build / 'tests' / 'experiments' / f'experiment-{story.experiment}')]
    told = plain(recording.record_of(story.title, record.experiment(command)))
    return story_of(story, told).svg, told


def story_of(story, told):
    scenes = {scene['name']: scene for scene in told['scenes']}
    return draw.Picture(story.title, ' '.join([STORY, story.note]).strip(),
                        [scenes[name] for name in story.scenes], True, HIDDEN)


def moments(build, chapters):
    """Returns for each of four chapters the wait in which one client of many is ready."""
    return {path.split('/')[1]: {clients: moment(build / path, clients) for clients in BESIDE}
            for path in chapters if path[:2] in ('03', '04', '05', '06')}


def moment(path, clients):
    if path.name.startswith('03') and clients >= SETS_MAX:
        return None
    told = told_by([str(path)], conversation.ONE_SPEAKS, path.name, clients - 1, False)
    events = told['scenes'][0]['events']
    said = next(i for i, event in enumerate(events) if event.get('does') == 'says "again"')
    for event in events[said:]:
        if 'in' in event and event.get('out'):
            return event
    sys.exit(f'bench/trace: {path} was not told of the client that spoke')


def told_by(command, script, title, silent=0, functions=True):
    seen = record.conversation_with(command, script, silent, functions)
    return plain(recording.record_of(title, seen))


def plain(told): # exactly what a file of it would say
    return json.loads(json.dumps(told))


def write(path, svg, told=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(svg) + '\n', encoding='utf-8')
    if told:
        path.with_suffix('.json').write_text('\n'.join(recording.lines(told)) + '\n',
                                             encoding='utf-8')
    print(path, flush=True)
