"""What follows from the calls: whose each descriptor is, what the kernel was told to watch, what it
will report, and which bytes are on their way. All of it is computed from the calls and from what
clients did; README.md says how far that reaches."""
import collections
import re

from timeline import waits
from timeline.calls import numbers, ranges
from timeline.opens import Client, Interest, Open, arrival, put

# These calls make a descriptor that is neither a client's nor a listener.
MAKERS = {'socket': 'socket', 'openat': 'file', 'open': 'file', 'eventfd': 'eventfd',
          'timerfd_create': 'timerfd', 'signalfd': 'signalfd', 'inotify_init': 'inotify',
          'epoll_create': 'epoll', 'memfd_create': 'file', 'pidfd_open': 'pidfd',
          'io_uring_setup': 'io_uring'}
TAKES = re.compile('recv|read')
GIVES = re.compile('send|write')
OF_DESCRIPTOR = re.compile('accept|bind|close|connect|dup|epoll|f[a-z]|get|ioctl|kevent|listen|'
                           'lseek|recv|read|send|set|shutdown|splice|write')


class State:
    def __init__(self, clients, port, threads, echoes=True):
        self.names, self.port = clients, port # a client's name by its port; the server's port
        self.threads = threads # the number of each by the kernel's
        self.echoes = echoes # so what it has read and not sent, it owes
        self.clients = collections.defaultdict(Client)
        self.pending = collections.defaultdict(list) # clients in the backlog, by the server's port
        self.tables = collections.defaultdict(dict) # of descriptors, by process
        self.process = collections.defaultdict(int) # of each thread
        self.opens = collections.defaultdict(list) # the server's ends, by client
        self.listeners = []
        self.letters = 0
        self.in_scene = True # if not, nobody asks what a wait's kernel watches

    # ---- what clients do -------------------------------------------------------------------------

    def connects(self, client, port=0):
        self.pending[port or self.port].append(client)
        for listener in self.listeners:
            if listener.port == (port or self.port):
                arrival(listener)

    def says(self, client, count):
        self.clients[client].unread += count
        for what in self.opens[client]:
            arrival(what)

    def hears(self, client, count):
        self.clients[client].unheard -= count # below 0 while a send() that sleeps has not returned

    def ends(self, client):
        self.clients[client].ended = True
        for what in self.opens[client]:
            arrival(what)

    def leaves(self, client):
        self.ends(client)
        self.clients[client].unheard = 0

    # ---- what the server does --------------------------------------------------------------------

    def apply(self, call):
        """Takes a call into account. Returns what to say of it: whose it is, what goes in, and what
        comes out."""
        table, told = self.tables[self.process[call.thread]], {}
        if call.descriptor is not None and OF_DESCRIPTOR.match(call.name):
            told['descriptor'] = call.descriptor
            what = table.get(call.descriptor)
            if what and what.client:
                told['client'] = what.client
                if what.kind == 'client':
                    told['side'] = 'client'
        does = getattr(self, 'do_' + call.name, None)
        if does:
            does(call, table, told)
        elif call.name in MAKERS and call.number is not None and call.number >= 0:
            put(table, call.number, Open(MAKERS[call.name]))
        elif TAKES.match(call.name) or GIVES.match(call.name):
            self.transfer(call, table, told)
        return told

    def transfer(self, call, table, told):
        what = table.get(call.descriptor)
        if not what or not what.client or call.number is None:
            return
        its, count = self.clients[what.client], max(0, call.number)
        told['bytes'] = count
        if TAKES.match(call.name) and what.kind == 'client':
            self.hears(what.client, count)
            if call.error == 'ECONNRESET': # the rest never comes
                told['lost'], its.unheard = its.unheard, 0
        elif TAKES.match(call.name):
            its.unread = max(0, its.unread - count)
            its.unsent += count
        elif what.kind == 'client':
            self.says(what.client, count)
        else:
            its.unsent = max(0, its.unsent - count)
            its.unheard += count

    def do_listen(self, call, table, told):
        what = table.get(call.descriptor)
        if what and what.kind != 'listener':
            what.kind = 'listener'
            self.listeners.append(what)

    def do_bind(self, call, table, told):
        port = re.search(r'htons\((\d+)', call.text)
        if port and call.descriptor in table:
            table[call.descriptor].port = int(port[1])

    do_getsockname = do_bind

    def do_connect(self, call, table, told):
        port = re.search(r'htons\((\d+)', call.text)
        ports = {what.port for what in table.values() if what.kind == 'listener'}
        if port and int(port[1]) in ports and (call.number == 0 or call.error == 'EINPROGRESS'):
            name = self.next_name()
            self.clients[name] = Client()
            put(table, call.descriptor, Open('client', name))
            told.update(client=name, side='client')
            self.connects(name, int(port[1]))

    def next_name(self):
        """Returns the next letter after which no open connection is named."""
        used = {what.client for table in self.tables.values() for what in table.values()}
        while True:
            name = chr(ord('A') + self.letters)
            self.letters += 1
            if name not in used:
                return name

    def do_accept(self, call, table, told):
        what, address = table.get(call.descriptor), re.search(r'htons\((\d+)', call.text)
        if call.number is None or call.number < 0:
            return
        waiting = self.pending[what.port or self.port if what else self.port]
        client = self.names.get(int(address[1])) if address else None
        if client is None and waiting:
            client = waiting[0]
        if client in waiting:
            waiting.remove(client)
        client = client or '' # of someone else, we do not know
        what = put(table, call.number, Open('connection', client))
        self.opens[client].append(what)
        told.update(client=client, gets=call.number)

    def do_close(self, call, table, told):
        what = table.pop(call.descriptor, None) if call.number == 0 else None
        if what:
            self.drop(what, told)

    def exits(self, thread):
        """When its first thread has ended, so has a process; its descriptors are closed."""
        if self.process[thread] == thread:
            for what in self.tables.pop(thread, {}).values():
                self.drop(what, {})

    def drop(self, what, told):
        what.descriptors -= 1
        if what.descriptors: # another descriptor stands for it
            return
        for its in what.interests:
            its.epoll.registered.pop(its.descriptor, None)
        if what.kind == 'listener':
            self.listeners.remove(what)
            self.pending.pop(what.port, None)
        its = self.clients[what.client]
        unread = its.unread if what.kind == 'connection' else its.unheard
        if what.kind in ('client', 'connection') and what.client and not its.reset:
            told['sends'] = 'RST' if unread or not what.linger else 'FIN'
        its.reset = its.reset or told.get('sends') == 'RST'
        if what.kind == 'client':
            self.leaves(what.client)
        if what.kind == 'connection':
            self.opens[what.client].remove(what)
            its.unread, its.unsent, its.ended = 0, 0, False

    def do_shutdown(self, call, table, told):
        what = table.get(call.descriptor)
        if what and what.kind == 'client' and 'SHUT_RD' not in call.text.replace('SHUT_RDWR', ''):
            self.ends(what.client)
        if what and what.client:
            told['sends'] = 'FIN'

    def do_setsockopt(self, call, table, told):
        if 'SO_LINGER' in call.text and call.descriptor in table:
            table[call.descriptor].linger = not re.search(r'onoff=1, l?_?linger=0', call.text)

    def do_dup(self, call, table, told):
        if call.number is not None and call.number >= 0 and call.descriptor in table:
            what = table[call.descriptor]
            if call.number in table and table[call.number] is not what: # dup2() closes that one
                self.drop(table.pop(call.number), {})
            put(table, call.number, what)

    do_dup2 = do_dup

    def do_fcntl(self, call, table, told):
        if 'F_DUPFD' in call.text:
            self.do_dup(call, table, told)

    def do_pipe(self, call, table, told):
        if call.number == 0:
            for descriptor in numbers(call.arguments[0].replace('-', ' ')):
                put(table, descriptor, Open('pipe'))

    def do_socketpair(self, call, table, told):
        if call.number == 0:
            for descriptor in numbers(call.arguments[3]):
                put(table, descriptor, Open('socketpair'))

    def do_ioctl(self, call, table, told):
        unread = re.search(r'FIONREAD, \[(\d+)\]', call.text)
        if unread and 'client' in told:
            told['measured'] = {'unread': {told['client']: int(unread[1])}}

    def do_epoll_ctl(self, call, table, told):
        descriptor = re.match(r'\d+', call.arguments[2]) if len(call.arguments) > 2 else None
        epoll = table.get(call.descriptor)
        if not epoll or not descriptor:
            return
        words = call.arguments[1].replace('EPOLL_CTL_', '')
        descriptor, what = int(descriptor[0]), table.get(int(descriptor[0]), Open('file'))
        events, key = waits.events(call.text)[0] if words != 'DEL' else ('', '')
        told.update(change=words, of=descriptor, events=events)
        if what.client:
            told['client'] = what.client
        if call.number != 0:
            return
        old = epoll.registered.pop(descriptor, None)
        if old:
            old.what.interests.remove(old)
        if words != 'DEL':
            its = Interest(what, events, key, self.readable(what), epoll, descriptor)
            epoll.registered[descriptor] = its
            epoll.keys[its.key] = descriptor
            what.interests.append(its)

    # ---- the waits -------------------------------------------------------------------------------

    def do_epoll_wait(self, call, table, told):
        epoll = table.get(call.descriptor) or Open('epoll')
        told['in'] = {'epoll': call.descriptor, 'watches': self.in_scene and watches(epoll)}
        out = {}
        for events, key in waits.events(call.text):
            descriptor = epoll.keys.get(key)
            if descriptor is None: # the program was started with it, or it is not ours to know
                told['unknown'] = told.get('unknown', 0) + 1
            else:
                out.setdefault(events, []).append(descriptor)
                its = epoll.registered.get(descriptor) or Interest(Open('file'), '', '')
                its.edge = False
                if 'ONESHOT' in its.events:
                    its.events = ''
        told['out'] = {events: ranges(its) for events, its in out.items()}

    def do_poll(self, call, table, told):
        told['in'], told['out'] = waits.array(call)

    do_ppoll = do_poll

    def do_select(self, call, table, told):
        told['in'], told['out'] = waits.sets(call)
        told.pop('descriptor', None)

    do_pselect = do_select

    def do_clone(self, call, table, told):
        """A thread shares its parent's descriptors; a process gets a copy of them."""
        told.pop('descriptor', None)
        child = self.threads.get(call.number)
        if child is None:
            return
        told['starts'] = child
        if 'CLONE_THREAD' in call.text:
            self.process[child] = self.process[call.thread]
        else:
            self.process[child] = child
            for descriptor, what in table.items():
                put(self.tables[child], descriptor, what)

    do_fork = do_vfork = do_clone

    def do_kevent(self, call, table, told):
        kqueue = table.setdefault(call.descriptor, Open('kqueue'))
        if kqueue.kind != 'kqueue': # on Linux it is made of an epoll
            kqueue.kind, kqueue.registered = 'kqueue', {}
        changes = waits.changes(call.arguments[1])
        for its in changes:
            self.registered_by_kevent(kqueue, its, table)
        told['in'] = {'kqueue': call.descriptor, 'changes': changes,
                      'watches': self.in_scene and watches(kqueue)}
        told['out'] = {'events': waits.reports(call.arguments[2])}
        for its in told['out']['events']:
            key = (its['ident'], its['filter'])
            if key in kqueue.registered:
                kqueue.registered[key].edge = False
                if 'ONESHOT' in kqueue.registered[key].events:
                    del kqueue.registered[key]

    def registered_by_kevent(self, kqueue, its, table):
        key = (its['ident'], its['filter'])
        if 'DELETE' in its['flags']:
            kqueue.registered.pop(key, None)
        elif 'ADD' in its['flags'] or key in kqueue.registered:
            kinds = [flag for flag in ('CLEAR', 'ONESHOT', 'DISPATCH') if flag in its['flags']]
            events = '' if 'DISABLE' in its['flags'] else '|'.join([its['filter'], *kinds])
            what = table.get(its['ident']) if its['filter'] in ('READ', 'WRITE') else None
            what = what or Open(its['filter'])
            kqueue.registered[key] = Interest(what, events, '', self.readable(what), kqueue, key)
            what.interests.append(kqueue.registered[key])

    # ---- what is so now --------------------------------------------------------------------------

    def readable(self, what):
        its = self.clients.get(what.client) if what.kind == 'connection' else None
        return bool(its and (its.unread or its.ended) or
                    what.kind == 'listener' and self.pending[what.port or self.port])

    def reported(self, its):
        """Would the next wait report this?"""
        if 'IN' not in its.events and 'READ' not in its.events:
            return False
        edges = {'ET', 'CLEAR'} & set(its.events.split('|'))
        return its.edge if edges else self.readable(its.what)

    def snapshot(self):
        """Returns the whole state, for the recording."""
        whose, registered, ready, readable = {}, {}, {}, {}
        for process, table in sorted(self.tables.items()):
            before = f'{process}/' if process else ''
            for descriptor, what in sorted(table.items()):
                name = what.client + "'s end" * (what.kind == 'client') or what.kind
                whose.setdefault(before + name, []).append(descriptor)
                if what.kind in ('epoll', 'kqueue'):
                    registered[f'{before}{descriptor}'] = watches(what)
                    now = sorted({number(key) for key, its in what.registered.items()
                                  if self.reported(its)})
                    if now:
                        ready[f'{before}{descriptor}'] = ranges(now)
                elif self.readable(what):
                    readable.setdefault(before, []).append(descriptor)
        state = {'descriptors': {name: ranges(its) for name, its in whose.items()},
                 'registered': registered, 'ready': ready,
                 'readable': ' '.join(before + ranges(its) for before, its in readable.items())}
        for what in ('unread', 'unsent', 'unheard') if self.echoes else ('unread', 'unheard'):
            state[what] = {name: getattr(its, what) for name, its in sorted(self.clients.items())
                           if getattr(its, what) > 0}
        state['backlog'] = [client for its in self.pending.values() for client in its]
        return {name: its for name, its in state.items() if its}


def number(key): # a kqueue's are (ident, filter)
    return key[0] if isinstance(key, tuple) else key


def watches(epoll):
    """Returns what the kernel was told to watch, by events."""
    return waits.by_events((number(key), its.events or 'nothing')
                           for key, its in sorted(epoll.registered.items()))
