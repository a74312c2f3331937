# Is a quoted piece of code in a source?   awk -f quoted.awk QUOTE SOURCE...
# Its lines have to follow each other in one of the sources, apart from blank lines and from the
# indentation; where the quote says "..." any lines may be left out. Prints the first line that
# cannot be found, and fails.

function plain(line) {
    gsub(/[ \t]+/, " ", line)
    sub(/^ /, "", line)
    sub(/ $/, "", line)
    return line
}

function try(i, j, gap) { # does quote[i..] follow at source[j]?
    for (; i <= quote_lines; i++) {
        if (quote[i] == "...") {
            gap = 1
            continue
        }
        if (gap) {
            for (; j <= lines && source[j] != quote[i]; j++)
                ;
            gap = 0
        }
        if (j > lines || source[j] != quote[i]) {
            if (i > furthest)
                furthest = i
            return 0
        }
        j++
    }
    return 1
}

function look(start) {
    for (start = 1; start <= lines; start++)
        if (try(1, start, 0))
            return 1
    return 0
}

FILENAME == ARGV[1] {
    line = plain($0)
    if (line != "")
        quote[++quote_lines] = line
    next
}
FNR == 1 {
    if (look())
        found = 1
    lines = 0
}
{
    line = plain($0)
    if (line != "")
        source[++lines] = line
}

END {
    if (found || quote_lines == 0 || look())
        exit 0
    print quote[furthest ? furthest : 1]
    exit 1
}
