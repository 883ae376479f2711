#!/usr/bin/env bash
# fuzz.sh BUILD TARGET SECONDS [LOG]: one run of libFuzzer (a tree configured with --enable-fuzzing) from the committed corpus. What it finds lies
# in BUILD/fuzz/TARGET/found; the grown corpus beside it. Prints the figures of the run, and appends them to LOG.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$1 target=$2 seconds=$3 log=${4-}
work=$build/fuzz/$target
mkdir -p "$work/corpus" "$work/found"
dictionary=()
[[ -f $here/dictionaries/$target.dict ]] && dictionary=(-dict="$here/dictionaries/$target.dict")
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
"$build/tests/fuzz/$target" -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 "${dictionary[@]}" \
    -artifact_prefix="$work/found/" "$work/corpus" "$here/corpus/$target" > "$work/log" 2>&1
code=$?
figures() {
    echo "target      $target"
    echo "date        $(date -u +%F)"
    echo "compiler    $(clang --version 2>/dev/null | head -n 1), AddressSanitizer, UndefinedBehaviorSanitizer, LeakSanitizer"
    echo "seconds     $seconds, one process"
    awk '/stat::number_of_executed_units/ { print "executions  " $2 } /stat::average_exec_per_sec/ { print "per second  " $2 }
         /stat::peak_rss_mb/ { print "peak memory " $2 " MB" }
         / cov: / { for (i = 1; i < NF; i++) { if ($i == "cov:") cov = $(i + 1); if ($i == "ft:") ft = $(i + 1); if ($i == "corp:") corpus = $(i + 1) } }
         END { print "coverage    " cov " edges, " ft " features"; print "corpus      " corpus " (inputs/bytes)" }' "$work/log"
    echo "found       $(find "$work/found" -type f | wc -l)"
    echo "exit        $code"
}
figures | tee -a "${log:-/dev/null}"
((code == 0)) && exit 0
tail -n 60 "$work/log"
# the inputs themselves, for whoever has nothing but this output
find "$work/found" -type f -size -16k -print -exec base64 -w 0 {} \; -exec echo \;
exit 1 # libFuzzer's own code, 77, means something else to others
