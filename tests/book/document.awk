# Takes a Markdown document apart for tests/book/check, into files under -v out=DIR, each line
# beginning with the line of the document that it comes from:
#
#   links       LINE TARGET          of every [text](target), and of src="..." and href="..."
#   names       LINE TOKEN           everything in backticks
#   quotes      LINE FILE FROM       a ```c block is in FILE; FROM is a path if the line before the
#                                    block says <!-- from: PATH -->, else "-"
#   runnable    LINE SCRIPT EXPECTED a ```sh run block, and the ```text block directly after it
#   shown       LINE NAME TEXT       a ```sh block of one line, "tests/break NAME", and the ```text
#                                    block directly after it
#   traced      LINE TEXT SERVER...  the same of "bench/trace --transcript SERVER..."

function next_file(kind) {
    return out "/" kind "-" ++files
}

function end_of_run() { # a script without an expected output
    if (script != "")
        print script_line, script, "-" > (out "/runnable")
    script = ""
}

function open_fence(info) {
    fence = info
    file = ""
    if (info != "text")
        end_of_run()
    if (info == "c") {
        file = next_file("quote")
        print NR, file, from > (out "/quotes")
    } else if (info == "sh run") {
        file = script = next_file("script")
        script_line = NR
    } else if (info == "text" && script != "") {
        file = next_file("expected")
        print script_line, script, file > (out "/runnable")
        script = ""
    } else if (info == "text" && experiment != "") {
        file = next_file("shown")
        print NR, experiment, file > (out "/shown")
    } else if (info == "text" && traced != "") {
        file = next_file("transcript")
        print NR, file, traced > (out "/traced")
    }
    shell = info == "sh"
    lines = 0
    experiment = traced = ""
    if (file != "")
        printf "" > file
    from = "-"
    in_fence = 1
}

function take_names(line, token) {
    while (match(line, /`[^`]+`/)) {
        token = substr(line, RSTART + 1, RLENGTH - 2)
        print NR, token > (out "/names")
        line = substr(line, RSTART + RLENGTH)
    }
}

function take_links(line, target) {
    gsub(/`[^`]*`/, "", line)
    while (match(line, /\]\([^) ]+( "[^"]*")?\)|(src|href)="[^"]+"/)) {
        target = substr(line, RSTART, RLENGTH)
        line = substr(line, RSTART + RLENGTH)
        sub(/^\]\(|^[a-z]+="/, "", target)
        sub(/( "[^"]*")?\)$|"$/, "", target)
        print NR, target > (out "/links")
    }
}

{ sub(/\r$/, "") }

in_fence {
    if ($0 ~ /^ *```+ *$/) {
        in_fence = 0
        if (file != "")
            close(file)
    } else if (file != "")
        print > file
    else if (shell) {
        experiment = !lines && /^tests\/break [0-9][0-9a-z-]*$/ ? $2 : ""
        traced = !lines++ && sub(/^bench\/trace --transcript /, "") ? $0 : ""
    }
    next
}

/^ *```/ {
    sub(/^ *```+ */, "")
    sub(/ *$/, "")
    open_fence($0)
    next
}

/^<!-- *from: / {
    from = $3
    next
}

NF {
    end_of_run()
    experiment = traced = ""
}
{
    take_names($0)
    take_links($0)
}
END { end_of_run() }
