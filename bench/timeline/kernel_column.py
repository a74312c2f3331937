"""What the kernel holds, as far as it follows from the calls: the middle column of a story."""
from timeline import words
from timeline.calls import numbers


class Column:
    def __init__(self, whose):
        self.whose, self.reset = whose, set() # the client of each descriptor; clients that got RST

    def words(self, event, before, state):
        """Returns lines about what has changed with this event: a line is a list of (text, the
        client it is about)."""
        lines, client = [], event.get('client', '')
        if event.get('column') == 'kernel':
            lines.append([(event['note'], '')])
        if 'signal' in event:
            lines.append([(f'delivers {event["signal"]}', '')])
        if 'sends' in event:
            way = 'from' if event.get('side') == 'client' else 'to'
            lines.append([(f'{event["sends"]} {way} ', ''), (client, client)])
            self.reset |= {client} if event['sends'] == 'RST' else set()
        if event.get('lost'):
            lines.append([(f'{words.size(event["lost"])} lost', '')])
        if client not in self.reset:
            lines += self.bytes(before, state)
        if before.get('backlog', []) != state.get('backlog', []):
            lines.append([('backlog: ', ''), *names(state.get('backlog', []))])
        if event.get('call') == 'connect':
            lines += wakes(state)
        return lines + list(self.changes(before, state))

    @staticmethod
    def bytes(before, state):
        for what, text in ('unread', 'unread'), ('unheard', 'on the way to '):
            for client in sorted(set(before.get(what, {})) | set(state.get(what, {}))):
                count, fd = (state.get(its, {}).get(client) for its in (what, 'descriptors'))
                if count == before.get(what, {}).get(client):
                    continue
                if what == 'unread' and fd:
                    yield [(fd, client), (f': {words.size(count or 0)} unread', '')]
                elif count:
                    yield [(f'{words.size(count)} {text}', ''), (client, client)]

    def changes(self, before, state):
        """Says what the first process's epolls watch, and what they would report."""
        for epoll in sorted(set(state.get('registered', {})) | set(before.get('registered', {}))):
            had, has = (its.get('registered', {}).get(epoll, {}) for its in (before, state))
            if '/' not in epoll and has != had:
                yield [('watches ', ''), *words.watched(has, self.whose)]
            then, now = (its.get('ready', {}).get(epoll, '') for its in (before, state))
            if '/' not in epoll and now != then:
                yield [('ready: ', ''), *(words.listed(now, self.whose) or words.NOBODY)]


def begins(event):
    """Says why a call may sleep, where it begins."""
    if event.get('slept') and event['call'] == 'send':
        return [[('no room for all that is for ', ''), (event['client'], event['client'])]]
    if event['call'] == 'pselect' and 'sigmask=[]' in event['strace']:
        return [[('pselect() lets signals in', '')]]
    return []


def wakes(state):
    """Yields how many wait for a listener: each epoll that watches it has a place in its line."""
    sets = [(events, numbers(its)) for watched in state.get('registered', {}).values()
            for events, its in watched.items()]
    listener = numbers(state.get('descriptors', {}).get('listener', ''))
    found = [events for events, its in sets if set(listener) & set(its)]
    if len(found) > 1:
        yield [(f'wakes {"one" if "EXCLUSIVE" in found[0] else "all"} of {len(found)} epolls', '')]


def names(clients):
    return words.spaced([(client, client) for client in clients]) or words.NOBODY
