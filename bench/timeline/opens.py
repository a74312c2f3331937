"""What the state is made of: what descriptors stand for, what the kernel was told to watch, and the
clients."""
import dataclasses


@dataclasses.dataclass(eq=False)
class Open:
    """What a descriptor stands for; several descriptors may stand for one."""
    kind: str # 'listener', 'connection': the server's end, 'client': the client's end, ...
    client: str = ''
    port: int = 0 # of a listener
    linger: bool = True # if not, close() sends RST
    descriptors: int = 0 # how many stand for it
    registered: dict = dataclasses.field(default_factory=dict) # an epoll's: descriptor: Interest
    keys: dict = dataclasses.field(default_factory=dict) # and the descriptor by the key
    interests: list = dataclasses.field(default_factory=list) # in it, of all epolls


@dataclasses.dataclass
class Interest:
    what: Open
    events: str # 'IN|ET'
    key: str # what the program gets back with an event
    edge: bool = False # something has happened since the last report
    epoll: Open = None
    descriptor: int = -1


@dataclasses.dataclass
class Client:
    unread: int = 0 # bytes that it has sent, and the server has not received
    unsent: int = 0 # bytes that the server has received and not yet sent
    unheard: int = 0 # bytes that the server has sent, and it has not received
    ended: bool = False # it has sent FIN or RST, and the server does not know
    reset: bool = False # one of the two has sent RST; nothing comes after that


def put(table, descriptor, what):
    if descriptor in table:
        table[descriptor].descriptors -= 1
    table[descriptor] = what
    what.descriptors += 1
    return what


def arrival(what):
    for its in what.interests:
        its.edge = True
