# Tables of the HTML report; see bench/report. `section` chooses what is printed, `newest` is the file
# whose provenance the page shows at its end, `reference` the server that the others are divided by.

BEGIN {
    while (newest != "" && (getline line < newest) > 0 && line ~ /^#/)
        shown[substr(line, 3)] = 1
}

function html(text) {
    gsub(/&/, "\\&amp;", text)
    gsub(/</, "\\&lt;", text)
    gsub(/>/, "\\&gt;", text)
    return text
}

function grouped(number,    text, out) {
    text = sprintf("%.0f", number)
    while (length(text) > 3) {
        out = "," substr(text, length(text) - 2) out
        text = substr(text, 1, length(text) - 3)
    }
    return text out
}

function short(number) {
    if (number == "")
        return "–"
    if (number + 0 >= 1000)
        return grouped(number)
    return sprintf(number + 0 >= 100 ? "%.0f" : number + 0 >= 10 ? "%.1f" : "%.2f", number)
}

function cell(text) {
    printf "<td>%s</td>", text
}

function place(    mode) {
    mode = get("mode")
    if (mode != "closed")
        return mode
    if (num("idle") > 0)
        return "idle"
    return num("size") == 64 ? "active" : "size"
}

function title(    text, mode) {
    mode = get("mode")
    text = grouped(get("active")) " active connection" (num("active") == 1 ? "" : "s")
    if (num("idle") > 0)
        text = text " beside " grouped(get("idle")) " idle ones"
    if (mode == "fairness")
        text = get("active") - 1 " connections beside one stream"
    text = text ", messages of " grouped(get("size")) " bytes"
    if (mode == "churn")
        text = text ", a new connection for each"
    if (mode == "rate")
        text = text (num("percent") <= 100 ? ", at " get("percent") " % of capacity" : "")
    return text
}

function head(    remark, mode) {
    mode = get("mode")
    remark = "noise (A/A) " (get("noise") == "" ? "unknown" : sprintf("%.1f %%", get("noise") * 100))
    if (get("target_rate") != "")
        remark = remark ", " grouped(get("target_rate")) " a second asked of each"
    if (num("other_cores") > 0.2)
        remark = remark sprintf(", other programs used %.1f cores: rates are not compared",
            get("other_cores"))
    printf "<div class=\"wide\"><table><caption>%s <small>(%s)</small></caption><tr><th>server</th>",
        title(), remark
    if (mode == "fairness")
        printf "<th>p50<br>µs</th><th>p99<br>µs</th><th>p99 ÷<br>%s</th><th>interval</th>" \
            "<th>echoes<br>a second</th><th>stream<br>MB a second</th>", reference
    else if (mode == "rate")
        printf "<th>p50<br>µs</th><th>p99<br>µs</th><th>p50<br>sent</th><th>p99<br>sent</th>" \
            "<th>left late<br>%%</th><th>CPU µs<br>for one echo</th><th>÷<br>%s</th>" \
            "<th>interval</th>", reference
    else
        printf "<th>CPU µs<br>for one echo</th><th>÷<br>%s</th><th>interval</th>" \
            "<th>echoes<br>a second</th><th>rate ÷<br>%s</th><th>p50<br>µs</th>" \
            "<th>p99<br>µs</th><th>context<br>switches</th><th>memory<br>MiB</th>" \
            "<th>bytes for<br>an idle one</th>", reference, reference
    print "<th>busy %<br>server</th><th>busy %<br>generator</th></tr>"
}

# What is of all servers alike, shown for the reference, is kept until the table ends.
function table_end() {
    print "</table>"
    if (own != "")
        printf "<p class=\"note\">The load generator itself: %s µs of CPU for one echo, beside %s.</p>\n",
            short(own), html(reference)
    print "</div>"
    own = ""
}

# A ratio, coloured when it is a difference.
function ratio(name,    value, low, high, same) {
    value = get(name)
    low = get(name "_low")
    high = get(name "_high")
    if (value == "") {
        printf "<td>–</td><td></td>"
        return
    }
    if (value + 0 == 1 && low + 0 == 1 && high + 0 == 1) {
        printf "<td>1</td><td></td>"
        return
    }
    same = (low + 0 <= 1 && high + 0 >= 1) || (value - 1 <= num("noise") && 1 - value <= num("noise"))
    printf "<td class=\"%s\">%s</td><td class=\"same\">%s – %s</td>", same ? "same" : "differs",
        short(value), short(low), short(high)
}

# The files have "|" for a line break.
function last_line(text,    part) {
    return substr(part[split(text, part, "|")], 1, 110)
}

function row(    mode, wide, bold) {
    mode = get("mode")
    wide = mode == "fairness" ? 8 : mode == "rate" ? 10 : 12
    bold = get("server") == reference
    printf "<tr%s><td>%s</td>", bold ? " class=\"reference\"" : "", html(get("server"))
    if (get("trouble") != "" || num("slices") == 0) {
        printf "<td class=\"trouble\" colspan=\"%d\">%s%s</td></tr>\n", wide,
            get("trouble") != "" ? html(get("trouble")) : "not measured",
            get("stderr") != "" ? "<br><small>" html(last_line(get("stderr"))) "</small>" : ""
        return
    }
    if (mode == "fairness") {
        cell(short(get("p50_us")))
        cell(short(get("p99_us")))
        ratio("p99_ratio")
        cell(short(get("rate")))
        cell(short(get("stream_mb_s")))
    } else if (mode == "rate") {
        cell(short(get("p50_us")))
        cell(short(get("p99_us")))
        cell(short(get("sent_p50_us")))
        cell(short(get("sent_p99_us")))
        cell(sprintf("%.1f", get("late_share") * 100))
        cell(short(get("cpu_us")))
        ratio("cpu_ratio")
    } else {
        cell(short(get("cpu_us")))
        ratio("cpu_ratio")
        cell(short(get("rate")))
        cell(num("other_cores") > 0.2 ? "–" : short(get("rate_ratio")))
        cell(short(get("p50_us")))
        cell(short(get("p99_us")))
        cell(get("switches") == "" ? "–" : sprintf("%.3f", get("switches")))
        cell(get("resident_bytes") == "" ? "–" : sprintf("%.1f", get("resident_bytes") / 1048576))
        cell(get("bytes_per_idle") == "" ? "–" : grouped(get("bytes_per_idle")))
    }
    cell(get("server_busy") == "" ? "–" : sprintf("%.0f", get("server_busy") * 100))
    cell(get("generator_busy") == "" ? "–" : sprintf("%.0f", get("generator_busy") * 100))
    print "</tr>"
    if (bold)
        own = get("generator_cpu_us")
}

# A directory may hold tables of several runs: what of this one's provenance the page's end does not
# show.
function other_run(    i, text) {
    for (i = 1; i <= notes; i++) {
        if (note[i] !~ /^(title|note|random seed): / && !(note[i] in shown))
            text = text (text == "" ? "" : "; ") note[i]
    }
    if (text != "")
        printf "<p class=\"note\">Of an earlier run: %s.</p>\n", html(text)
}

function any_head(    i, text) {
    other_run()
    for (i = 1; i <= notes; i++) {
        if (note[i] ~ /^title: /)
            printf "<div class=\"wide\"><table><caption>%s</caption><tr>", html(substr(note[i], 8))
    }
    for (i = 1; i <= columns; i++) {
        text = header[i]
        gsub(/_/, " ", text)
        printf "<th%s>%s</th>", numeric[i] ? "" : " class=\"left\"", html(text)
    }
    print "</tr>"
}

function any_cell(r, i) {
    if (value[r, i] == "")
        return "–"
    return numeric[i] && value[r, i] >= 10000 ? grouped(value[r, i]) : html(value[r, i])
}

# Rows are kept until the end: a column is set right only if all of it are numbers.
section == "any" && have_header && !/^#/ && FNR > notes + 1 {
    rows++
    for (i = 1; i <= columns; i++) {
        value[rows, i] = field[i]
        if (field[i] !~ /^-?[0-9.]*$/)
            words[i] = 1
    }
    next
}

section == "facts" {
    next
}

have_header && FNR > notes + 1 && place() == section {
    key = get("mode") "/" get("active") "/" get("idle") "/" get("size") "/" get("percent")
    if (key != last) {
        if (last != "")
            table_end()
        else
            other_run()
        head()
        last = key
    }
    row()
}

END {
    if (section == "facts") {
        for (i = 1; i <= notes; i++) {
            if (note[i] ~ /^(title|note): /)
                continue
            split(note[i], part, ": ")
            printf "<dt>%s</dt><dd>%s</dd>\n", html(part[1]),
                html(substr(note[i], length(part[1]) + 3))
        }
    }
    if (section == "any" && rows > 0) {
        for (i = 1; i <= columns; i++)
            numeric[i] = i > 1 && !(i in words)
        any_head()
        for (r = 1; r <= rows; r++) {
            printf "<tr>"
            for (i = 1; i <= columns; i++)
                printf "<td%s>%s</td>", numeric[i] ? "" : " class=\"left\"", any_cell(r, i)
            print "</tr>"
        }
        print "</table>"
        for (i = 1; i <= notes; i++) {
            if (note[i] ~ /^note: /)
                printf "<p class=\"note\">%s</p>\n", html(substr(note[i], 7))
        }
        print "</div>"
    } else if (last != "") {
        table_end()
    }
}
