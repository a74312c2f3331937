"""The figures within the documents: a method of Figures for each. In a document <!-- bench NAME
ARGUMENT... --> ... <!-- /bench --> encloses what is replaced by a figure: within a line, or, after
a line break, as lines of their own. A marker right after a backtick is an example and stays."""
import re
import shlex
from itertools import zip_longest
from statistics import median
from results import Wrong, limit_of, number

CONDITIONS = {"1 talking": (1, 0), "64 talking": (64, 0), "1,000 talking": (1000, 0),
              "64, and 1,000 silent": (64, 1000), "64, and 10,000 silent": (64, 10000)}
MISSING = "–"
CELLS = {  # name: its title, how it is printed, its column in summary.csv
    "cpu": ("CPU for an echo, 05-epoll = 1", None, "cpu_ratio"),
    "us": ("CPU for an echo", "{:.1f} us".format, "cpu_us"),
    "switches": ("context switches for an echo", "{:.2f}".format, "switches"),
    "p50": ("half of the echoes took at most", "{:.0f} us".format, "p50_us"),
    "p99": ("99 of 100 took at most", "{:.0f} us".format, "p99_us"),
    "rate": ("echoes a second", "{:,.0f}".format, "rate"),
    "busy": ("of its core", lambda part: f"{100 * part:.0f} %", "server_busy")}


class Figures:
    def __init__(self, result):
        self.result = result

    def ratio(self, server, active, idle):
        """The CPU of an echo against the reference's."""
        for row in self.result.closed(server, int(active), int(idle)):
            if limit_of(row):
                return f"limit: {limit_of(row):,}"
            if row["cpu_ratio"] and not row["trouble"]:
                value = number(row["cpu_ratio"])
                return f"{value:.0f}" if value >= 9.5 else f"{value:.2f}"
        return MISSING

    def cell(self, active, idle, server, column):
        """One figure of a closed loop; the columns are those of CELLS."""
        return self.cells(active, idle, server, [column])[0]

    def cells(self, active, idle, server, columns):
        row = next((row for row in self.result.closed(server, int(active), int(idle))), None)
        if not row or row["trouble"]:
            limit = row and limit_of(row)
            return [f"limit: {limit:,}" if limit else MISSING] * len(columns)
        return [self.ratio(server, active, idle) if column == "cpu" else
                CELLS[column][1](number(row[CELLS[column][2]])) for column in columns]

    def closed(self, servers, *asked):
        """A row for each of SERVER,SERVER and each "ACTIVE IDLE", with the columns named after."""
        loads = [word.split() for word in asked if word not in CELLS]
        columns = [word for word in asked if word in CELLS]
        rows = [[name_of_load(*load), server, *self.cells(*load, server, columns)]
                for load in loads for server in servers.split(",")]
        return table(["clients", "server", *(CELLS[column][0] for column in columns)], *rows)

    def silent(self, server, what):
        """Of a silent client: bytes in the process, KiB with the kernel's stacks, KiB of the
        kernel's records, % of a core."""
        columns, unit = {"bytes": (["user_B"], 1), "KiB": (["user_B", "kernel_stacks_B"], 1024),
                         "records": (["slab_B"], 1024), "busy": (["CPU_ms_a_second"], 10)}[what]
        row = self.result.fullest().get(server)
        return f"{sum(number(row[column]) for column in columns) / unit:.0f}" if row else MISSING

    def clients(self, server):
        """How many clients a server had when it turned others away."""
        troubles = [row["trouble"] for row in self.result.closed(server) if limit_of(row)]
        return f"{int(troubles[-1].split()[0]):,}" if troubles else MISSING

    def scale(self, what):
        """The most threads, or how many times the echoes of one they give (the turns' median)."""
        rates = {1: []}
        for row in self.result.rows("scale"):
            rates.setdefault(int(row["threads"]), []).append(number(row["echoes_a_second"]))
        ratios = [most / one for most, one in zip(rates[max(rates)], rates[1])]
        ratio = f"{median(ratios):.1f}" if ratios else MISSING
        return {"threads": f"{max(rates)}", "ratio": ratio}[what]

    def fact(self, key):
        """A line of the result's provenance; of the date, the day."""
        fact = self.result.facts.get(key) or MISSING
        return fact.split()[0] if key == "date" else fact

    def ratios(self, role="compared"):
        """The CPU of an echo of the servers with a role; libraries stand beside 05 and 07."""
        beside = ["reference", "07-reactor"] if role == "peer" else []
        rows = [[server.title, *(self.ratio(server.name, *its) for its in CONDITIONS.values())]
                for wanted in [*beside, role] for server in self.result.servers
                if wanted in [server.name, *server.roles]
                and self.ratio(server.name, 64, 0) != MISSING]
        noise = [[f"± {number(row['noise']):.2f}" for row in self.result.closed(None, *condition)
                  if row["noise"]] or [MISSING] for condition in CONDITIONS.values()]
        one = self.result.reference
        return table([f"server CPU for one echo, {one} = 1", *CONDITIONS], *rows,
                     [f"noise: {one.split('-')[0]} against itself", *(its[-1] for its in noise)])

    def costs(self, role="compared"):
        """Memory and CPU of a silent client, of the servers with a role."""
        full = self.result.fullest()
        most = max((number(row["idle"]) for row in full.values()), default=0)
        rows = [[row["server"] + f" (of {number(row['idle']):,.0f})" * (number(row["idle"]) < most),
                 f"{row['user_B']} B",
                 f"{row['kernel_stacks_B'] if number(row['kernel_stacks_B']) > 1000 else 0} B",
                 f"{self.silent(row['server'], 'busy')} % of a core"]
                for server in self.result.servers if role in server.roles
                for row in [full.get(server.name)] if row]
        return table(["one idle connection", "in the process", "in the kernel, for its thread",
                      "CPU while nobody talks"], *rows)

    def library(self, server, loop):
        """The cells of one row in 07's table; `loop` is what loop.csv calls the server's loop."""
        alone = {row["descriptors"]: f"{number(row['against_raw_epoll']):.2f}"
                 for row in self.result.rows("loop")
                 if row["loop"] == loop and row["backend"] == "epoll"}
        return " | ".join([
            self.ratio(server, 1, 0), self.ratio(server, 64, 0), self.ratio(server, 64, 10000),
            alone.get("1000", MISSING), alone.get("9900", MISSING), self.silent(server, "bytes")])

    def stall(self):
        """A server that is frozen, measured in three ways."""
        columns = ["p50_us", "p90_us", "p99_us", "p99.9_us"]
        return table(["measured by", *(column[:-3] for column in columns)],
                     *([row["measured_by"], *(f"{number(row[column]):.0f}" for column in columns)]
                       for row in self.result.rows("omission")))


def name_of_load(active, idle):
    silent = f", and {int(idle):,} silent" if int(idle) else ""
    return f"{int(active):,} talking{silent}"


def table(head, *rows):
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def refreshed(result, path):
    """The text of a document with the figures of a result."""
    text = path.read_text(encoding="utf-8")
    markers = list(re.finditer(r"(?<!`)<!-- (/?)bench\b(.*?)-->", text))
    new, copied = "", 0
    for marker, its_end in zip_longest(markers[::2], markers[1::2]):
        try:
            if marker[1] or not its_end or not its_end[1]:
                raise Wrong("this ends nothing" if marker[1] else "this does not end")
            name, *arguments = shlex.split(marker[2]) or [""]
            if name not in vars(Figures) or name.startswith("_"):
                raise Wrong(f"there is no figure '{name}'")
            figure = getattr(Figures(result), name)(*arguments)
            if text[marker.end()] == "\n":
                figure = f"\n{figure}\n"
            elif "\n" in figure:
                raise Wrong(f"'{name}' has several lines, and its marker is within a line")
        except (Wrong, ValueError, TypeError, KeyError) as error:  # of the arguments, too
            line = 1 + text.count("\n", 0, marker.start())
            raise Wrong(f"{path}:{line}: {marker[0]}: {error}. Nothing is changed.")
        new += text[copied:marker.end()] + figure
        copied = its_end.start()
    return new + text[copied:]
