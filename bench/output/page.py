"""The HTML page of a result. Its words, and the order of what is in it, are in page.html."""
import pathlib
import re
from html import escape
from results import disturbed, number


def short(value):
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}"


FORMS = {  # page.html calls the ways in which numbers are written by these names
    "short": short, "compared": short, "bytes": "{:,.0f}".format, "thousandths": "{:.3f}".format,
    "percent": lambda share: f"{100 * share:.0f}", "tenths": lambda share: f"{100 * share:.1f}",
    "MiB": lambda size: f"{size / 2 ** 20:.1f}"}


class Page:
    """A comment in a section of page.html says a method's name and, after it, its arguments."""
    def __init__(self, result):
        self.result = result
        template = (pathlib.Path(__file__).parent / "page.html").read_text(encoding="utf-8")
        template = template.replace("@REFERENCE@", escape(result.reference))
        self.template, columns = template.split("\n<!-- columns")
        self.columns = dict(line.split(": ", 1) for line in columns.splitlines()[1:-1])

    def text(self):
        return re.sub("<section>.*?</section>", self.section, self.template, flags=re.S)

    def section(self, found):
        """A section that asks for charts and tables, and gets none, is left out."""
        parts = re.split("<!-- (.*?) -->", found[0])
        for i in range(1, len(parts), 2):
            name, words = parts[i].split(" ", 1)
            parts[i] = getattr(self, name)(*words.split(": ", 1)) or ""
        return "".join(parts) if any(parts[1::2]) else ""

    def chart(self, name, words):
        path = self.result.directory / f"{name}.svg"
        if path.exists():
            drawing = path.read_text(encoding="utf-8")
            return f"<figure>\n{drawing}<figcaption>{words}</figcaption></figure>"

    def facts(self, _):
        return "\n".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>"
                         for key, value in self.result.facts.items())

    def table(self, name):
        """Shows any file but summary.csv as it is. Columns of numbers are set to the right."""
        table = self.result.tables.get(name)
        if not table or not table.rows:
            return None
        columns = [(escape(column.replace("_", " ")), "count" if i and all(
            re.fullmatch(r"(-?\d+(\.\d*)?)?", row[column]) for row in table.rows) else "left",
            column) for i, column in enumerate(table.columns)]
        return self.earlier(table) + self.wide(
            escape(table.title), columns, table.rows, table.notes)

    def tables(self, which, caption):
        """Shows the tables of summary.csv that belong to a section."""
        place, columns = which.split()
        found = {}
        for row in self.result.summary:
            its = row["mode"] if row["mode"] != "closed" else "idle" if number(row["idle"]) else \
                "active" if number(row["size"]) == 64 else "size"
            if its == place:
                key = row["active"], row["idle"], row["size"], row["percent"]
                found.setdefault(key, []).append(row)
        columns = [re.fullmatch("(.*) = (.*) (.*)", column).groups()
                   for column in self.columns[columns].split(" | ")]
        tables = [self.wide(self.caption(rows[0], caption), columns, rows, [
            f"The load generator itself: {short(number(row['generator_cpu_us']))} µs of CPU for "
            f"one echo, beside {row['server']}." for row in rows
            if row["server"] == self.result.reference and row["generator_cpu_us"]])
            for rows in found.values()]
        return tables and self.earlier(self.result.tables["summary"]) + "".join(tables)

    def caption(self, row, text):
        its = {name: number(value) for name, value in row.items()
               if re.fullmatch(r"\d+(\.\d*)?", value)}
        text = text if its["percent"] <= 100 else text.split(", at ")[0]
        text = text.format(s="s" * (its["active"] != 1), others=its["active"] - 1, **its)
        noise = f"{100 * its['noise']:.1f} %" if "noise" in its else "unknown"
        return "".join([
            f"{text} <small>(noise (A/A) {noise}",
            f", {its['target_rate']:,.0f} a second asked of each" if "target_rate" in its else "",
            ", other programs used {other_cores:.1f} cores: rates are not compared, "
            "threads and busy polling look worse".format(**its)
            if disturbed(row) else "", ")</small>"])

    def earlier(self, table):
        """Says of a table of another run what the facts at the end of the page do not."""
        facts = [f"{key}: {text}" for key, text in table.facts.items()
                 if text != self.result.facts.get(key) and key != "random seed"]
        return facts and f'<p class="note">Of an earlier run: {escape("; ".join(facts))}.</p>' or ""

    def wide(self, caption, columns, rows, notes):
        """A column is a heading, the form of its cells, and the name of its figure."""
        heads = [f'<th class="{form}">{heading}</th>' for heading, form, _ in columns]
        lines = [f"<tr>{''.join(heads)}</tr>"]
        for row in rows:
            first, *cells = [self.cell(row, form, name) for _, form, name in columns]
            if row["mode"] and (row["trouble"] or not number(row["slices"])):
                said = row["stderr"].split("|")[-1][:110]
                cells = [f'<td class="trouble" colspan="{len(cells)}">',
                         escape(row["trouble"] or "not measured"),
                         f"<br><small>{escape(said)}</small>" * bool(said), "</td>"]
            kind = ' class="reference"' * (row["server"] == self.result.reference)
            lines.append(f"<tr{kind}>{first}{''.join(cells)}</tr>")
        return "\n".join([f'\n<div class="wide"><table><caption>{caption}</caption>', *lines,
                          "</table>", *(f'<p class="note">{escape(note)}</p>' for note in notes),
                          "</div>"])

    def cell(self, row, form, name):
        """A ratio that may be 1 is grey; the reference's is 1, and has no interval."""
        text, kind = row[name], form
        if not text or form == "compared" and disturbed(row):
            text = "" if form == "interval" else "–"
        elif form == "count" and number(text) >= 1000:
            text = f"{number(text):,.0f}"
        elif form in FORMS:
            text = FORMS[form](number(text))
        elif form in ("ratio", "interval"):
            value, low, high = [number(row[name + end]) for end in ("", "_low", "_high")]
            if value == low == high == 1:
                text = "1" if form == "ratio" else ""
            else:
                text = short(value) if form == "ratio" else f"{short(low)} – {short(high)}"
            if low <= 1 <= high or abs(value - 1) <= number(row["noise"]):
                kind = "same"
        return f'<td class="{kind}">{escape(text)}</td>'
