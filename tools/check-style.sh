#!/usr/bin/env bash
# Limits that keep the code readable: 800 lines a file, 80 lines a function (60 is the aim), 140 columns (120 is the aim), no tabs in C,
# banned functions, no machine paths. Exit 1 with a line per violation.
cd "${top_srcdir:-$(dirname "$0")/..}" || exit 1
bad=0
complain() { echo "$1"; bad=1; }
mapfile -t files < <(find libosmo-core libosmo-backend daemons cli tests -name '*.[ch]' | sort)
for f in "${files[@]}"; do
    lines=$(wc -l < "$f")
    ((lines <= 800)) || complain "$f: $lines lines (limit 800)"
    awk -v f="$f" 'length($0) > 140 { printf "%s:%d: %d columns (limit 140)\n", f, NR, length($0); bad = 1 }
         /\t/ { printf "%s:%d: tab\n", f, NR; bad = 1 }
         /^[a-z].*\) \{$/ { start = NR; name = $0 }
         /^}/ { if (start && NR - start > 80) { printf "%s:%d: function of %d lines (limit 80): %s\n", f, start, NR - start, name; bad = 1 } start = 0 }
         END { exit bad }' "$f" || bad=1
done
hits=$(grep -nE '\b(strcat|sprintf|vsprintf|gets|strtok|tmpnam|mktemp|system|popen|alloca|usleep|sleep)\(' "${files[@]}" | grep -vE '^tests/|/\* ok: ')
[[ -z $hits ]] || complain "banned function: $hits"
hits=$(grep -nE 'TODO|FIXME|XXX[^X]' "${files[@]}" | grep -v XXXXXX)
[[ -z $hits ]] || complain "unfinished: $hits"
exit $bad
