# Reading the comparison's CSV files (RFC 4180). To be loaded before another awk program:
#   awk -f bench/csv.awk -f another.awk FILE
# Lines that begin with '#' are provenance and are kept in note[]; the header fills column[name];
# every other record is split into field[], and get("name") is its value.

function csv_split(line, into,    n, i, c, text, quoted, length_of_line) {
    n = 1
    text = ""
    quoted = 0
    length_of_line = length(line)
    for (i = 1; i <= length_of_line; i++) {
        c = substr(line, i, 1)
        if (quoted && c == "\"" && substr(line, i + 1, 1) == "\"") {
            text = text c
            i++
        } else if (c == "\"") {
            quoted = !quoted
        } else if (c == "," && !quoted) {
            into[n++] = text
            text = ""
        } else {
            text = text c
        }
    }
    into[n] = text
    return n
}

function get(name) {
    return name in column ? field[column[name]] : ""
}

# To be compared as a number; what get() returns compares as text.
function num(name) {
    return get(name) + 0
}

FNR == 1 {
    have_header = 0
    split("", column)
}

/^#/ && !have_header {
    note[++notes] = substr($0, 3)
    next
}

!have_header {
    columns = csv_split($0, header)
    for (i = 1; i <= columns; i++)
        column[header[i]] = i
    have_header = 1
    next
}

{
    fields = csv_split($0, field)
}
