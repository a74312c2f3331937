"""The HTML page of a result. Its words, and the order of what is in it, are in page.html."""
import pathlib
import re
from html import escape

from results import disturbed, number

CELLS = {"short": lambda value: f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}",
         "compared": lambda value: f"{value:.2f}",
         "whole": lambda value: f"{value:,.0f}",
         "percent": lambda value: f"{100 * value:.0f}",
         "tenths": lambda value: f"{100 * value:.1f}",
         "thousandths": lambda value: f"{value:.3f}",
         "MiB": lambda value: f"{value / 2 ** 20:.1f}"}
short, whole = CELLS["short"], CELLS["whole"]


class Page:
    def __init__(self, result, charts):
        self.result, self.charts = result, charts
        template = (pathlib.Path(__file__).parent / "page.html").read_text(encoding="utf-8")
        template = template.replace("@REFERENCE@", escape(result.reference))
        self.template, words = template.split("\n<!-- words")
        self.words = dict(line.split(": ", 1) for line in words.splitlines()[1:-1])

    def text(self):
        return re.sub("<section>.*?</section>\n", self.section, self.template, flags=re.S)

    def section(self, match):
        """Fills a section; one that asks for charts and tables, and gets none, is left out."""
        parts = re.split("<!-- (.*?) -->", match[0])
        for i in range(1, len(parts), 2):
            name, words = parts[i].split(" ", 1)
            parts[i] = getattr(self, name)(*words.split(": ", 1))
        return "".join(parts) if any(parts[1::2]) else ""

    def chart(self, name, words):
        if name not in self.charts:
            return ""
        return f"<figure>\n{self.charts[name]}<figcaption>{words}</figcaption></figure>"

    def facts(self, _):
        return "\n".join("<dt>{}</dt><dd>{}</dd>".format(*escape(note, False).split(": ", 1))
                         for note in self.result.newest.notes
                         if not note.startswith(("title: ", "note: ")))

    def earlier(self, table):
        """What a table of another run has in its provenance that the end of the page does not show."""
        facts = [note for note in table.notes if note not in self.result.newest.notes
                 and not note.startswith(("title: ", "note: ", "random seed: "))]
        return self.words["earlier"].format(escape("; ".join(facts), False)) if facts else ""

    def table(self, name):
        """Any file but summary.csv, as it is. A column of numbers is set to the right."""
        table = self.result.tables.get(name)
        if not table or not table.rows:
            return ""
        kinds = ['class="left"' if i == 0 or any(
            not re.fullmatch(r"-?[0-9.]*", row[column]) for row in table.rows) else ""
                 for i, column in enumerate(table.columns)]

        def cell(kind, text):
            return whole(number(text)) if not kind and number(text) >= 1000 else \
                escape(text, False) or "–"

        def line(tag, texts):
            return "".join(["<tr>", *(f"<{f'{tag} {kind}'.strip()}>{text}</{tag}>"
                                      for kind, text in zip(kinds, texts)), "</tr>"])
        return "\n".join([
            self.earlier(table), f'<div class="wide"><table><caption>{table.fact("title")}</caption>',
            line("th", [escape(column.replace("_", " "), False) for column in table.columns]),
            *(line("td", map(cell, kinds, row.values())) for row in table.rows), "</table>",
            *(f'<p class="note">{escape(note, False)}</p>' for note in table.noted("note")), "</div>"])

    def tables(self, which, caption):
        """The tables of summary.csv that belong to a section, one after the other."""
        place, columns = which.split()
        found = {}
        for row in self.result.summary:
            its = row["mode"] if row["mode"] != "closed" else "idle" if number(row["idle"]) else \
                "active" if number(row["size"]) == 64 else "size"
            if its == place:
                key = row["active"], row["idle"], row["size"], row["percent"]
                found.setdefault(key, []).append(row)
        return "\n".join([self.earlier(self.result.tables["summary"]), *(
            self.measured(rows, columns, caption) for rows in found.values())]) if found else ""

    def measured(self, rows, columns, caption):
        first = {name: number(text) * (100 if name == "noise" else 1)
                 for name, text in rows[0].items() if re.fullmatch("[0-9.]+", text)}
        cells = [cell.partition(" = ") for cell in
                 f"{self.words[columns]} | {self.words['busy']}".split(" | ")]
        load = self.words["load"].format(**first) if first["percent"] <= 100 else ""
        remark = self.words["noise"].format(**first) if "noise" in first else self.words["no noise"]
        if "target_rate" in first:
            remark += self.words["asked"].format(**first)
        if disturbed(rows[0]):
            remark += self.words["neighbours"].format(**first)
        title = caption.format(**first, s="s" * (first["active"] != 1), load=load,
                               others=first["active"] - 1)
        own = [number(row["generator_cpu_us"]) for row in rows
               if row["server"] == self.result.reference and row["generator_cpu_us"]]
        return "\n".join([
            f'<div class="wide"><table><caption>{title} <small>({remark})</small></caption>',
            "".join(["<tr><th>server</th>", *(f"<th>{cell[0]}</th>" for cell in cells), "</tr>"]),
            *(self.row(row, [cell[2] for cell in cells]) for row in rows), "</table>",
            *(self.words["generator"].format(short(cost)) for cost in own), "</div>"])

    def row(self, row, cells):
        kind = ' class="reference"' if row["server"] == self.result.reference else ""
        start = f"<tr{kind}><td>{escape(row['server'])}</td>"
        if not row["trouble"] and number(row["slices"]):
            return start + "".join(self.cell(row, *cell.split()) for cell in cells if cell) + "</tr>"
        said = row["stderr"].split("|")[-1][:110]
        said = f"<br><small>{escape(said, False)}</small>" if said else ""
        trouble = escape(row["trouble"] or self.words["trouble"], False)
        return f'{start}<td class="trouble" colspan="{len(cells)}">{trouble}{said}</td></tr>'

    def cell(self, row, kind, name):
        if kind == "ratio":
            return self.ratio(row, name)
        missing = not row[name] or (kind == "compared" and disturbed(row))
        return f"<td>{'–' if missing else CELLS[kind](number(row[name]))}</td>"

    def ratio(self, row, name):
        """A ratio, coloured when it is a difference, and its interval."""
        value, low, high = (number(row[name + end]) for end in ("", "_low", "_high"))
        if not row[name] or value == low == high == 1:
            return f"<td>{'1' if row[name] else '–'}</td><td></td>"
        same = low <= 1 <= high or abs(value - 1) <= number(row["noise"])
        return f'<td class="{"same" if same else "differs"}">{short(value)}</td>' \
            f'<td class="same">{short(low)} – {short(high)}</td>'
