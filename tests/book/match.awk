# Does a program's output match what a text says? Used by tests/break and tests/book/check.
#
#   awk -f match.awk EXPECTED GOT
#
# In the expected text <n> stands for any number, <...> for anything within a line, and a line that
# is only "..." for any number of lines. Blanks count only as being there: columns may be wider
# when numbers are longer. Status 0: it matches. 1: it does not, and the first line that
# cannot be found is printed.

function pattern(line, out, i, c) {
    gsub(/[ \t]+/, " ", line)
    sub(/^ /, "", line)
    sub(/ $/, "", line)
    out = ""
    while (line != "") {
        if (substr(line, 1, 3) == "<n>") {
            out = out "[-+]?[0-9][0-9.,]*(e[-+]?[0-9]+)?"
            line = substr(line, 4)
        } else if (substr(line, 1, 5) == "<...>") {
            out = out ".*"
            line = substr(line, 6)
        } else {
            c = substr(line, 1, 1)
            out = out (c ~ /[A-Za-z0-9 ]/ ? c : c == "^" || c == "\\" ? "\\" c : "[" c "]")
            line = substr(line, 2)
        }
    }
    return "^" out "$"
}

function plain(line) {
    gsub(/[ \t]+/, " ", line)
    sub(/^ /, "", line)
    sub(/ $/, "", line)
    return line
}

# Can expected[e..] be found from got[g] on? After "..." a line may be anywhere further down; the
# first place is tried, then the next ones.
function fits(e, g, skip) {
    if (e > furthest)
        furthest = e
    if (e > expected_lines)
        return g > got_lines
    if (expected[e] == "...") {
        for (skip = g; skip <= got_lines + 1; skip++)
            if (fits(e + 1, skip))
                return 1
        return 0
    }
    return g <= got_lines && got[g] ~ pattern(expected[e]) && fits(e + 1, g + 1)
}

FILENAME == ARGV[1] {
    expected[++expected_lines] = plain($0)
    next
}
{ got[++got_lines] = plain($0) }

END {
    if (fits(1, 1))
        exit 0
    if (furthest <= expected_lines)
        print "not found in the output: " expected[furthest]
    else
        print "the output goes on after its expected end"
    exit 1
}
