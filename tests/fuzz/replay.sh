#!/usr/bin/env bash
# Replays the committed corpus of every fuzz target; a crash, a sanitizer's report or a broken invariant fails.
set -u
failed=0
for corpus in "$top_srcdir"/tests/fuzz/corpus/*; do
    target=$top_builddir/tests/fuzz/${corpus##*/}
    if ! said=$(timeout 120 "$target" "$corpus" 2>&1); then
        echo "FAIL ${corpus##*/}"
        tail -n 30 <<< "$said"
        failed=1
    else
        echo "${corpus##*/}: ${said##*$'\n'}"
    fi
done
exit "$failed"
