# What is the same each time in a transcript of bench/trace, in the text's as in a new one: so that
# match.awk can compare them. A line for each call: its name, descriptors, numbers, flags, strings,
# and its result. Not so addresses, the ids of threads, the text's comments, and the insides of
# structures, which versions of strace write in different ways. Left out is what the C library does
# to start and end a thread; for a server that polls the calls in vain are one line.

function stable(call, out, token) {
    out = substr(call, 1, index(call, "("))
    call = substr(call, index(call, "(") + 1)
    if (match(call, /^[0-9]+/))
        out = out substr(call, 1, RLENGTH)
    if (out ~ /^getsockopt/) # a structure, as bytes or in words
        sub(/".*/, "", call)
    while (match(call, /"[^"]*"|\[[0-9 ]*\]|fd=[0-9]+|, -?[0-9]+[,)]|[A-Z][A-Z0-9_|]+[A-Z0-9]/)) {
        token = substr(call, RSTART, RLENGTH)
        call = substr(call, RSTART + RLENGTH)
        if (token ~ /^, /) { # the sign after it begins the next one
            call = substr(token, length(token)) call
            token = substr(token, 3, length(token) - 3)
        }
        out = out " " token
    }
    return out ")"
}

{
    sub(/ +# .*/, "")
    sub(/^ +/, "")
}
/^\.\.\. [0-9]+ calls: all of them -1 EAGAIN$/ {
    polls = 1
    next
}
/^\.\.\. [0-9]+ calls: / || /^(rt_sig|mmap|mprotect|munmap|madvise|rseq|set_robust|futex|brk)/ || !NF {
    next
}
$0 == "..." {
    line[++lines] = $0
    next
}
{
    at = match($0, / = -?[0-9]/)
    result = substr($0, at + 3)
    sub(/ \([A-Z][a-z].*/, "", result) # what strerror() says
    if (/^clone3?\(/) {
        sub(/^clone3?/, "clone")
        result = "a thread"
    }
    line[++lines] = stable(substr($0, 1, at)) " = " result
    in_vain[lines] = result == "-1 EAGAIN"
}

END {
    for (i = 1; i <= lines; i++)
        if (!polls || !in_vain[i])
            print line[i]
    if (polls)
        print "calls in vain, all of them -1 EAGAIN"
}
