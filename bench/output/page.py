"""The HTML page of a result. Its words, and the order of what is in it, are in page.html."""
import pathlib
import re
from html import escape as escaped

from results import disturbed, number

UNITS = {"": 1, "%": 100, "MiB": 2 ** -20}


def escape(text):
    return escaped(text, quote=False)


def short(value):
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}"


def wide(caption, heads, rows, notes):
    """A table that scrolls by itself; all that it is given is HTML."""
    return "\n".join([
        f'<div class="wide"><table><caption>{caption}</caption>', f"<tr>{heads}</tr>", *rows,
        "</table>", *(f'<p class="note">{note}</p>' for note in notes), "</div>"])


class Page:
    """A comment in a section of page.html says a method's name and, after it, its arguments."""

    def __init__(self, result):
        self.result = result
        template = (pathlib.Path(__file__).parent / "page.html").read_text(encoding="utf-8")
        template = template.replace("@REFERENCE@", escape(result.reference))
        self.template, columns = template.split("\n<!-- columns")
        self.columns = dict(line.split(": ", 1) for line in columns.splitlines()[1:-1])

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
        path = self.result.directory / f"{name}.svg"
        return f"<figure>\n{path.read_text(encoding='utf-8')}<figcaption>{words}</figcaption>" \
            "</figure>" if path.exists() else ""

    def facts(self, _):
        return "\n".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>"
                         for key, value in self.result.newest.facts)

    def earlier(self, table):
        """What a table of another run says of itself and the end of the page does not."""
        facts = [": ".join(fact) for fact in table.facts
                 if fact not in self.result.newest.facts and fact[0] != "random seed"]
        return facts and f'<p class="note">Of an earlier run: {escape("; ".join(facts))}.</p>' or ""

    def table(self, name):
        """Any file but summary.csv, as it is. A column of numbers is set to the right."""
        table = self.result.tables.get(name)
        if not table or not table.rows:
            return ""
        first, *others = table.columns
        numeric = {column for column in others if all(
            re.fullmatch(r"(-?\d+(\.\d*)?)?", row[column]) for row in table.rows)}

        def line(tag, row):
            return "".join(f'<{tag}{"" if column in numeric else left}>{escape(text) or "–"}</{tag}>'
                           for column, text in row.items())
        left = ' class="left"'
        for row in table.rows:
            row.update({column: f"{float(row[column]):,.0f}" for column in numeric
                        if number(row[column]) >= 1000})
        return self.earlier(table) + "\n" + wide(
            escape(table.fact("title")),
            line("th", {column: column.replace("_", " ") for column in table.columns}),
            [f"<tr>{line('td', row)}</tr>" for row in table.rows],
            [escape(value) for key, value in table.notes if key == "note"])

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
        first = {name: number(text) for name, text in rows[0].items()
                 if re.fullmatch(r"\d+(\.\d*)?", text)}
        remarks = ["noise (A/A) {}".format(
            f"{100 * first['noise']:.1f} %" if "noise" in first else "unknown")]
        if "target_rate" in first:
            remarks.append(f"{first['target_rate']:,.0f} a second asked of each")
        if disturbed(rows[0]):
            remarks.append(f"other programs used {first['other_cores']:.1f} cores: "
                           "rates are not compared")
        caption = caption if first["percent"] <= 100 else caption.split(", at ")[0]
        caption = caption.format(s="s" * (first["active"] != 1), others=first["active"] - 1,
                                 **first)
        heads, cells = zip(*(cell.split(" = ") for cell in self.columns[columns].split(" | ")))
        return wide(
            f"{caption} <small>({', '.join(remarks)})</small>",
            f"<th>server</th><th>{'</th><th>'.join(heads)}</th>",
            [self.row(row, cells) for row in rows],
            [f"The load generator itself: {short(number(row['generator_cpu_us']))} µs of CPU for "
             f"one echo, beside {escape(row['server'])}." for row in rows
             if row["server"] == self.result.reference and row["generator_cpu_us"]])

    def row(self, row, cells):
        kind = ' class="reference"' if row["server"] == self.result.reference else ""
        filled = "".join(self.cell(row, *cell.split()) for cell in cells)
        if row["trouble"] or not number(row["slices"]):
            said = escape(row["stderr"].split("|")[-1][:110])
            said = said and f"<br><small>{said}</small>"
            trouble = escape(row["trouble"] or "not measured")
            filled = f'<td class="trouble" colspan="{len(cells)}">{trouble}{said}</td>'
        return f"<tr{kind}><td>{escape(row['server'])}</td>{filled}</tr>"

    def cell(self, row, form, name, unit=""):
        """The reference has no interval, and a ratio that may be 1 is grey."""
        value, low, high = [number(row[name + end]) for end in ("", "_low", "_high")]
        if form in ("ratio", "interval") and (not row[name] or value == low == high == 1):
            return "<td></td>" if form == "interval" else f"<td>{row[name] and 1 or '–'}</td>"
        if not row[name] or form == "compared" and disturbed(row):
            return "<td>–</td>"
        if form == "interval":
            return f'<td class="same">{short(low)} – {short(high)}</td>'
        if form == "ratio":
            same = low <= 1 <= high or abs(value - 1) <= number(row["noise"])
            return f'<td class="{"same" if same else "differs"}">{short(value)}</td>'
        write = short if form in ("short", "compared") else form.format
        return f"<td>{write(value * UNITS[unit])}</td>"
