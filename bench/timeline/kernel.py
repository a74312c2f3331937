"""Asks the kernel, by /proc, what it tells of a server's sockets: whose each descriptor is, what
each epoll instance was told to watch, and how many bytes wait."""
import os
import re

from timeline.calls import ranges

EVENTS = ((0x1, 'IN'), (0x4, 'OUT'), (0x2000, 'RDHUP'), (0x10000000, 'EXCLUSIVE'),
          (0x40000000, 'ONESHOT'), (0x80000000, 'ET')) # ERR and HUP are always watched


class Watcher:
    def __init__(self, port):
        self.port, self.processes = port, None

    def look(self, clients):
        """Returns what is so now; clients are names by port."""
        sockets = self.sockets(clients)
        if self.processes is None:
            listeners = {inode for inode, (name, _, _) in sockets.items() if name == 'listener'}
            self.processes = [pid for pid in map(int, filter(str.isdigit, os.listdir('/proc')))
                              if listeners & {inode for _, inode in descriptors(pid)}]
        seen = {'descriptors': {}, 'registered': {}, 'unread': {}, 'unacknowledged': {}}
        for pid in sorted(self.processes):
            self.look_at(pid, pid == min(self.processes), sockets, seen)
        for name, unread, unsent in sockets.values():
            if name != 'listener':
                for what, count in ('unread', unread), ('unacknowledged', unsent):
                    if count:
                        seen[what][name] = seen[what].get(name, 0) + count
        return {what: its for what, its in seen.items() if its}

    def look_at(self, pid, first, sockets, seen):
        before, whose = '' if first else f'{pid}/', {}
        for descriptor, inode in descriptors(pid):
            if inode in sockets:
                whose.setdefault(before + sockets[inode][0], []).append(descriptor)
            elif inode == 'anon_inode:[eventpoll]':
                whose.setdefault(before + 'epoll', []).append(descriptor)
                seen['registered'][f'{before}{descriptor}'] = registered(pid, descriptor)
        seen['descriptors'].update((name, ranges(its)) for name, its in whose.items())

    def sockets(self, clients):
        """Returns (whose it is, bytes unread, bytes unacknowledged) by inode."""
        found = {}
        for name in 'tcp', 'tcp6':
            with open('/proc/net/' + name, encoding='ascii') as lines:
                for words in map(str.split, list(lines)[1:]):
                    port, peer = (int(word.split(':')[1], 16) for word in words[1:3])
                    unsent, unread = (int(word, 16) for word in words[4].split(':'))
                    if port == self.port and words[3] == '0A': # LISTEN: unread counts clients
                        found[words[9]] = 'listener', 0, 0
                    elif port == self.port and peer in clients:
                        found[words[9]] = clients[peer], unread, unsent
        return found


def descriptors(pid):
    """Yields (descriptor, inode of its socket, or what it is), in order."""
    try:
        for descriptor in sorted(map(int, os.listdir(f'/proc/{pid}/fd'))):
            target = os.readlink(f'/proc/{pid}/fd/{descriptor}')
            yield descriptor, re.sub(r'^socket:\[(\d+)\]$', r'\1', target)
    except OSError:
        return # it is over, or another user's


def registered(pid, epoll):
    sets = {}
    with open(f'/proc/{pid}/fdinfo/{epoll}', encoding='ascii') as lines:
        for descriptor, mask in re.findall(r'tfd: +(\d+) events: +([0-9a-f]+)', lines.read()):
            events = '|'.join(name for bit, name in EVENTS if int(mask, 16) & bit) or 'nothing'
            sets.setdefault(events, []).append(int(descriptor))
    return {events: ranges(sorted(its)) for events, its in sets.items()}
