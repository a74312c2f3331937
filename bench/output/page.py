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
    """A table; heads and rows are HTML."""
    return "\n".join([
        f'<div class="wide"><table><caption>{caption}</caption>', f"<tr>{heads}</tr>", *rows,
        "</table>", *(f'<p class="note">{note}</p>' for note in notes), "</div>"])


class Page:
    """A comment in page.html names a method, and what it is given."""

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
        its = self.charts[name]
        return its and f"<figure>\n{its}<figcaption>{words}</figcaption></figure>"

    def facts(self, _):
        return "\n".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>"
                         for key, value in self.result.newest.facts)

    def earlier(self, table):
        """What a table of another run says of itself and the end of the page does not."""
        facts = [": ".join(fact) for fact in table.facts
                 if fact not in self.result.newest.facts and fact[0] != "random seed"]
        return self.words["earlier"].format(escape("; ".join(facts))) if facts else ""

    def table(self, name):
        """Any file but summary.csv, as it is. A column of numbers is set to the right."""
        table = self.result.tables.get(name)
        if not table or not table.rows:
            return ""
        numeric = {column: column != table.columns[0] and all(
            re.fullmatch(r"(-?\d+(\.\d*)?)?", row[column]) for row in table.rows)
            for column in table.columns}
        rows = [{column: f"{float(text):,.0f}" if numeric[column] and number(text) >= 1000 else
                 escape(text) or "–" for column, text in row.items()} for row in table.rows]
        heads, *lines = ["".join(
            f"<{tag}>{text}</{tag}>" if numeric[column] else f'<{tag} class="left">{text}</{tag}>'
            for column, text in row.items()) for tag, row in [
                ("th", {column: escape(column.replace("_", " ")) for column in table.columns}),
                *(("td", row) for row in rows)]]
        return self.earlier(table) + "\n" + wide(
            escape(table.fact("title")), heads, [f"<tr>{line}</tr>" for line in lines],
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
        first = {name: number(text) * (100 if name == "noise" else 1)
                 for name, text in rows[0].items() if re.fullmatch(r"\d+(\.\d*)?", text)}
        first.update(s="s" * (first["active"] != 1), others=first["active"] - 1)
        said = [name for name, good in (
            ("noise", "noise" in first), ("no noise", "noise" not in first),
            ("asked", "target_rate" in first), ("neighbours", disturbed(rows[0]))) if good]
        remark = ", ".join(self.words[name].format(**first) for name in said)
        caption = caption if first["percent"] <= 100 else caption.split(", at ")[0]
        heads, cells = zip(*((cell + " = ").split(" = ")[:2] for cell in (
            self.words[columns] + " | " + self.words["busy"]).split(" | ")))
        own = [number(row["generator_cpu_us"]) for row in rows
               if row["server"] == self.result.reference and row["generator_cpu_us"]]
        return wide(f"{caption.format(**first)} <small>({remark})</small>",
                    f"<th>server</th><th>{'</th><th>'.join(heads)}</th>",
                    [self.row(row, cells) for row in rows],
                    [self.words["generator"].format(short(cost)) for cost in own])

    def row(self, row, cells):
        kind = ' class="reference"' if row["server"] == self.result.reference else ""
        if row["trouble"] or not number(row["slices"]):
            said = escape(row["stderr"].split("|")[-1][:110])
            said = said and f"<br><small>{said}</small>"
            trouble = escape(row["trouble"] or self.words["trouble"])
            filled = f'<td class="trouble" colspan="{len(cells)}">{trouble}{said}</td>'
        else:
            filled = "".join(self.cell(row, *cell.split()) for cell in cells if cell)
        return f"<tr{kind}><td>{escape(row['server'])}</td>{filled}</tr>"

    def cell(self, row, form, name, unit=""):
        """A cell, or the two of a ratio and its interval; the ratio is coloured if it is not 1."""
        value = number(row[name])
        if not row[name] or (form == "compared" and disturbed(row)):
            return "<td>–</td>" + "<td></td>" * (form == "ratio")
        if form != "ratio":
            write = short if form in ("short", "compared") else form.format
            return f"<td>{write(value * UNITS[unit])}</td>"
        low, high = number(row[name + "_low"]), number(row[name + "_high"])
        if value == low == high == 1:
            return "<td>1</td><td></td>"
        same = low <= 1 <= high or abs(value - 1) <= number(row["noise"])
        return f'<td class="{"same" if same else "differs"}">{short(value)}</td>' \
            f'<td class="same">{short(low)} – {short(high)}</td>'
