"""Reads a result of bench/run: its tables, where they come from, and the list of servers."""
import csv
import pathlib
import re
from collections import defaultdict
from types import SimpleNamespace

WHERE = "{mode}, {active} active, {idle} idle, {size} bytes"  # names a table of summary.csv


class Wrong(Exception):
    """What the user is told before the program ends."""


def number(text):
    """What is missing counts as 0."""
    return float(text or 0)


def disturbed(row):
    return number(row["other_cores"]) > 0.2  # then rates and latencies are not compared


def limit_of(row):
    """The limit of a server that turned clients away, or None."""
    if "turned away" in row["trouble"]:
        said = re.search(r"client (\d+) turned", row["stderr"])
        return int((said or re.search(r"(\d+)", row["trouble"]))[1])


def table(path):
    """A CSV file: lines "# key: value" of notes and provenance, a header, and rows by its names."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    notes = []
    while lines and lines[0].startswith("#"):
        notes.append(tuple(lines.pop(0)[2:].rstrip("\n").split(": ", 1)))
    reader = csv.DictReader(lines, restval="")
    return SimpleNamespace(
        columns=reader.fieldnames, rows=[defaultdict(str, row) for row in reader],
        title=dict(notes).get("title", ""), notes=[text for key, text in notes if key == "note"],
        facts={key: text for key, text in notes if key not in ("title", "note")})


class Result:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        if not self.directory.is_dir():
            raise Wrong(f"there is no directory {directory}")
        # slices.csv is megabytes, and summary.csv says what is in it.
        self.tables = {path.stem: table(path) for path in sorted(self.directory.glob("*.csv"))
                       if path.stem != "slices"}
        # Several runs may have left files here. The date is the one within a file.
        self.facts = max((its.facts for its in self.tables.values() if "date" in its.facts),
                         key=lambda facts: facts["date"], default=None)
        if not self.facts:
            raise Wrong(f"nothing was measured in {directory}")
        self.summary = self.rows("summary")
        listed = self.directory / "servers.list"  # bench/run leaves it beside its tables
        if not listed.is_file():
            raise Wrong(f"there is no list of servers, {listed}")
        rows = csv.DictReader(listed.read_text(encoding="utf-8").lstrip("# ").splitlines(),
                              delimiter="|")
        self.servers = [SimpleNamespace(**{**row, "roles": row["roles"].split(",")})
                        for row in rows]
        self.reference = next(
            server.name for server in self.servers if "reference" in server.roles)

    def rows(self, name):
        return self.tables[name].rows if name in self.tables else []

    def closed(self, server=None, active=None, idle=None):
        """Rows of the closed loop with messages of 64 bytes; None stands for any."""
        return [row for row in self.summary if row["mode"] == "closed" and number(row["size"]) == 64
                and server in (None, row["server"])
                and active in (None, number(row["active"])) and idle in (None, number(row["idle"]))]

    def fullest(self):
        """Of each server, the row of memory.csv with the most silent connections."""
        rows = sorted(self.rows("memory"), key=lambda row: number(row["idle"]))
        return {row["server"]: row for row in rows}

    def against_silence(self):
        """The rows with 64 talking, and as `ratio` the CPU of an echo where the reference with
        nobody silent is 1: in the same rounds, for other tables are of other minutes."""
        rows = [row for row in self.closed(active=64) if row["cpu_ratio"]]
        silence = {row["idle"]: number(row["cpu_ratio"]) for row in rows
                   if row["server"] == self.reference + " (none silent)" and not row["trouble"]}
        silence["0"] = 1
        return [defaultdict(str, row, ratio=number(row["cpu_ratio"]) / silence[row["idle"]])
                for row in rows if row["idle"] in silence]
