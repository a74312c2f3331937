# The anchors of a Markdown document's headings, as the usual hosts make them: lower case, blanks to
# dashes, everything else but letters, digits, _ and - left out, the same ones numbered.
/^ *```/ { fenced = !fenced }
!fenced && /^#+ / {
    sub(/^#+ +/, "")
    sub(/ +#* *$/, "")
    gsub(/\]\([^)]*\)/, "")
    line = tolower($0)
    # Bytes above 127 are letters of some script, or signs; only the middle dot is known to go.
    gsub(/·/, "", line)
    gsub(/[][!-,.\/:-@\\^`{-~]/, "", line)
    gsub(/ /, "-", line)
    print seen[line]++ ? line "-" seen[line] - 1 : line
}
