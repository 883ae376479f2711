# The suites behind ./run-tests. Each test is one name with a log in $logs; the counters feed the closing line.
# shellcheck shell=bash
passed=0 failed=0 skipped=0 failures=()
logs=${OSMO_TEST_LOGS:-$here/build/test-logs}
build=$here/build
sanitizer_env=(ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=86 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:exitcode=86)

# The test that runs now; a signal to this script ends it first (timeout passes the signal on to all of the test's processes).
current=
interrupted() {
    [[ -z $current ]] || { kill -TERM "$current" 2>/dev/null; wait "$current" 2>/dev/null; }
    echo "run-tests: interrupted" >&2
    exit 130
}
trap interrupted INT TERM HUP

# Run one test: name, then the command. Exit 77 means skipped.
run_test() {
    local name=$1 log code start=$SECONDS
    shift
    [[ -z $only || $name == *"$only"* ]] || return 0
    log=$logs/${name//\//_}.log
    timeout --kill-after=10 "${TEST_SECONDS:-900}" "$@" > "$log" 2>&1 < /dev/null &
    current=$!
    wait "$current"
    code=$? current=
    case $code in
    0) passed=$((passed + 1)); printf 'PASS  %-44s %4d s\n' "$name" $((SECONDS - start)) ;;
    77) skipped=$((skipped + 1)); printf 'SKIP  %s: %s\n' "$name" "$(tail -n 1 "$log")" ;;
    *)
        failed=$((failed + 1)); failures+=("$name")
        printf 'FAIL  %-44s %4d s (exit %d), last lines of %s:\n' "$name" $((SECONDS - start)) "$code" "$log"
        tail -n 40 "$log" | sed 's/^/      /'
        ;;
    esac
}

build_or_die() {
    mkdir -p "$logs"
    build_tree "$here" "$@" || { failed=$((failed + 1)) failures+=(build); closing_line; }
}
# Build targets of make after the tree itself; a failure counts as one.
build_more() {
    (($#)) || return 0
    make_shown "$build" "$@" || { failed=$((failed + 1)) failures+=("build of $1 …"); }
}

unit_programs() { make -C "$build" --no-print-directory -s print-unit-tests | tr -s ' ' '\n' | grep '^tests/'; }

run_units() { # prefix, command words before the program
    local prefix=$1 t programs
    shift
    mapfile -t programs < <(unit_programs)
    ((${#programs[@]})) || { echo "run-tests: no unit tests found" >&2; failed=$((failed + 1)) failures+=(units); }
    echo "==> Building ${#programs[@]} unit tests"
    build_more "${programs[@]}"
    for t in "${programs[@]}"; do
        [[ " ${units_except-} " != *" ${t##*/} "* ]] || continue
        [[ -x $build/$t ]] && run_test "$prefix${t##*/}" env srcdir="$here" top_srcdir="$here" top_builddir="$build" "$@" "$build/$t"
    done
}

run_checks() {
    local c
    for c in "$here"/tools/check-*.sh; do
        run_test "$(basename "$c" .sh)" env top_srcdir="$here" top_builddir="$build" bash "$c"
    done
}

run_system() { # prefix, extra environment
    local prefix=$1 t
    shift
    for t in "$here"/tests/system/test_*.sh; do
        run_test "$prefix$(basename "$t" .sh)" env OSMO_BUILD="$build" "$@" bash "$t"
    done
}

suite_default() {
    build_or_die "$build" --enable-werror
    run_checks
    run_units ""
    run_system ""
}

suite_sanitizers() {
    build=$here/build-asan logs=$here/build-asan/test-logs
    build_or_die "$build" --enable-werror --enable-sanitizers
    run_units "asan/" "${sanitizer_env[@]}"
    run_system "asan/" "${sanitizer_env[@]}" OSMO_SANITIZED=1
}

suite_valgrind() {
    build_or_die "$build" --enable-werror
    # Debian 12's valgrind has no pidfd_open(), without which the local driver cannot watch its pods; the sanitizers see that test
    local units_except=test_local
    run_units "valgrind/" CHECK_SECONDS=850 valgrind -q --fair-sched=yes --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite --child-silent-after-fork=yes \
        --suppressions="$here/tests/valgrind.supp"
}

suite_dist() {
    build_or_die "$build" --enable-werror
    run_test distcheck make -C "$build" --no-print-directory -j"$(nproc)" distcheck
}

suite_doc() {
    build_or_die "$build" --enable-werror
    run_test doxygen make -C "$build" --no-print-directory doc
}

# Replays the corpora and runs mutations of them; an input that crashes, leaks or hangs is kept beside the logs.
suite_fuzz() {
    local t targets
    build=$here/build-asan logs=$here/build-asan/test-logs
    build_or_die "$build" --enable-werror --enable-sanitizers
    mapfile -t targets < <(make -C "$build" --no-print-directory -s print-fuzz-targets | tr -s ' ' '\n' | grep '^tests/')
    ((${#targets[@]})) || { echo "run-tests: no fuzz targets found" >&2; failed=$((failed + 1)) failures+=(fuzz); }
    build_more "${targets[@]}"
    mkdir -p "$logs/fuzz"
    for t in "${targets[@]}"; do
        TEST_SECONDS=120 run_test "fuzz/${t##*/}" env "${sanitizer_env[@]}" "$build/$t" --seconds "${OSMO_FUZZ_SECONDS:-15}" --save "$logs/fuzz" \
            "$here/tests/fuzz/corpus/${t##*/}"
    done
}

closing_line() {
    ((${#failures[@]})) && printf 'Failed: %s\n' "${failures[*]}"
    echo "$passed passed, $failed failed, $skipped skipped"
    ((passed + failed > 0 && failed == 0)) && exit 0
    exit 1
}
