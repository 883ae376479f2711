# The suites behind ./run-tests. Each test is one name with a log in $logs; the counters feed the closing line.
# shellcheck shell=bash
passed=0 failed=0 skipped=0 failures=()
build=${OSMO_TEST_BUILD:-$here/build}
logs=${OSMO_TEST_LOGS:-$build/test-logs}
sanitizer_env=(ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=86 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:exitcode=86)

# The tests that run now: process ids, and what belongs to each. A signal to this script ends them first (timeout passes it on to all of a
# test's processes).
running=()
declare -A name_of=() started_at=()
interrupted() {
    ((${#running[@]})) && { kill -TERM "${running[@]}" 2>/dev/null; wait "${running[@]}" 2>/dev/null; }
    echo "run-tests: interrupted" >&2
    exit 130
}
trap interrupted INT TERM HUP

start_test() { # name, then the command
    local name=$1
    shift
    timeout --kill-after=10 "${TEST_SECONDS:-900}" "$@" > "$logs/${name//\//_}.log" 2>&1 < /dev/null &
    running+=("$!") name_of[$!]=$name started_at[$!]=$SECONDS
}

# Wait for one of the tests that run and say how it ended. Exit 77 means skipped.
finish_test() {
    local pid='' other rest=() name log code
    while [[ ! $pid ]]; do
        for other in "${running[@]}"; do kill -0 "$other" 2> /dev/null || pid=$other; done
        if [[ $pid ]]; then wait "$pid"; else wait -n -p pid "${running[@]}" 2> /dev/null; fi # which overlooks those that ended before
        code=$?
    done
    for other in "${running[@]}"; do [[ $other == "$pid" ]] || rest+=("$other"); done
    running=("${rest[@]}")
    name=${name_of[$pid]} log=$logs/${name//\//_}.log
    case $code in
    0) passed=$((passed + 1)); printf 'PASS  %-44s %4d s\n' "$name" $((SECONDS - started_at[$pid])) ;;
    77) skipped=$((skipped + 1)); printf 'SKIP  %s: %s\n' "$name" "$(tail -n 1 "$log")" ;;
    *)
        failed=$((failed + 1)); failures+=("$name")
        printf 'FAIL  %-44s %4d s (exit %d), last lines of %s:\n' "$name" $((SECONDS - started_at[$pid])) "$code" "$log"
        tail -n 40 "$log" | sed 's/^/      /'
        ;;
    esac
}

# Run one test, or with run_beside two at a time; finish_all waits for the rest.
run_test() {
    [[ -z $only || $1 == *"$only"* ]] || return 0
    finish_all
    start_test "$@"
    finish_test
}
run_beside() {
    [[ -z $only || $1 == *"$only"* ]] || return 0
    ((${#running[@]} < 2)) || finish_test
    start_test "$@"
}
finish_all() { while ((${#running[@]})); do finish_test; done; }

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

# All but $units_except, and but $units_later unless ALL is set.
run_units() { # prefix, command words before the program
    local prefix=$1 t programs=()
    shift
    for t in $(unit_programs); do
        [[ " ${units_except-} " != *" ${t##*/} "* ]] || continue
        [[ ${ALL-} || " ${units_later-} " != *" ${t##*/} "* ]] || continue
        [[ -z $only || $prefix${t##*/} == *"$only"* ]] && programs+=("$t")
    done
    [[ $only ]] || ((${#programs[@]})) || { echo "run-tests: no unit tests found" >&2; failed=$((failed + 1)) failures+=(units); }
    echo "==> Building ${#programs[@]} unit tests"
    build_more "${programs[@]}"
    for t in "${programs[@]}"; do
        [[ -x $build/$t ]] && run_beside "$prefix${t##*/}" env srcdir="$here" top_srcdir="$here" top_builddir="$build" "$@" "$build/$t"
    done
    finish_all
}

run_checks() {
    local c
    for c in "$here"/tools/check-*.sh; do
        run_test "$(basename "$c" .sh)" env top_srcdir="$here" top_builddir="$build" bash "$c"
    done
}

# The committed inputs of the fuzz targets, once each.
run_replay() { # prefix, extra environment
    local prefix=$1
    shift
    local targets
    mapfile -t targets < <(make -C "$build" --no-print-directory -s print-fuzz-targets | tr -s ' ' '\n' | grep '^tests/')
    build_more "${targets[@]}"
    run_test "${prefix}fuzz-corpus" env top_srcdir="$here" top_builddir="$build" "$@" bash "$here/tests/fuzz/replay.sh"
}

run_system() { # prefix, extra environment
    local prefix=$1 t
    shift
    for t in "$here"/tests/system/test_*.sh; do
        [[ " ${system_except-} " != *" $(basename "$t" .sh) "* ]] || continue
        run_beside "${prefix}system/$(basename "$t" .sh)" env OSMO_BUILD="$build" "$@" bash "$t"
    done
    finish_all
}

suite_default() {
    build_or_die "$build" --enable-werror
    run_checks
    run_units ""
    run_replay ""
    run_system ""
}

suite_sanitizers() {
    build=$here/build-asan logs=$here/build-asan/test-logs
    local system_except="test_packaging" # images are made of plain builds
    build_or_die "$build" --enable-sanitizers CFLAGS="-g1 -O1 -Wno-format-truncation"
    run_units "asan/" "${sanitizer_env[@]}"
    run_replay "asan/" "${sanitizer_env[@]}"
    run_system "asan/" "${sanitizer_env[@]}" OSMO_SANITIZED=1
}

suite_valgrind() {
    build_or_die "$build" --enable-werror
    # Debian 12's valgrind has no pidfd_open(), by which the local driver watches its pods and plugins of kubeconfigs are followed. The
    # exploration of all states and histories is the same code millions of times over, and what is about time and threads has other tools:
    # the sanitizers see all of these.
    local units_except="test_local test_kube_config test_sm_explore test_schedule_incremental test_replicas test_replicas_dead \
        test_keys_replicas test_logs_replicas test_router_replicas test_logstore_segments test_reconcile test_matrix test_paths \
        test_engine test_retry"
    # Minutes each: whole services, request after request, of which test_api, test_submit, test_backends and test_logs stay, and much of the
    # same.
    local units_later="test_access test_api_backends test_api_config test_api_credentials test_api_list test_api_users test_archive test_audit \
        test_backend_tokens test_config_replicas test_crypto test_data_transfer test_escalation test_explain_api test_identity \
        test_identity_peers test_interop_agent test_interop_jobs test_interop_operator test_interop_upgrade test_invalid test_invalid_tasks \
        test_keys test_limits test_logs_lines test_logs_masks test_logstore test_policy test_providers test_queues test_replica_channel \
        test_repo test_repo_auth test_router test_router_access test_router_api test_router_rsync test_server_join \
        test_submit_credentials test_task_io test_upkeep"
    run_units "valgrind/" CHECK_SECONDS=850 valgrind -q --fair-sched=yes --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite --child-silent-after-fork=yes \
        --suppressions="$here/tests/valgrind.supp"
}

# The tarball is built whole, its tests too, and installed. Of these run those that need other files of the tree; the rest are, from the same
# sources, what the default suite runs. Warnings are that one's as well: which there are depends on how much is optimized.
suite_dist() {
    local t tests='$(check_SCRIPTS)'
    for t in golden pods_specs invalid repo_lease pgsql_tls pod_status spec_form; do tests+=" tests/unit/test_$t"; done
    build_or_die "$build" --enable-werror
    run_test distcheck make -C "$build" --no-print-directory -j"$(nproc)" distcheck TESTS="$tests" \
        DISTCHECK_CONFIGURE_FLAGS="CFLAGS=-O0"
}

suite_doc() {
    build_or_die "$build" --enable-werror
    run_test doxygen make -C "$build" --no-print-directory doc
}

# libFuzzer on every target, two at a time: OSMO_FUZZ_SECONDS each for the readers of what users write, a quarter of that for the others.
# An input that crashes, leaks or hangs is kept in build-fuzz/fuzz/TARGET/found.
suite_fuzz() {
    local t seconds targets long=" fuzz_yaml fuzz_template fuzz_spec fuzz_units fuzz_pods fuzz_jwt fuzz_jwk fuzz_seal fuzz_policy fuzz_headers fuzz_url \
        fuzz_logs fuzz_router fuzz_actions fuzz_session_input "
    build=$here/build-fuzz logs=$here/build-fuzz/test-logs
    build_or_die "$build" --enable-werror --enable-fuzzing CC=clang
    mapfile -t targets < <(make -C "$build" --no-print-directory -s print-fuzz-targets | tr -s ' ' '\n' | grep '^tests/')
    ((${#targets[@]})) || { echo "run-tests: no fuzz targets found" >&2; failed=$((failed + 1)) failures+=(fuzz); }
    build_more "${targets[@]}"
    for t in "${targets[@]##*/}"; do
        seconds=${OSMO_FUZZ_SECONDS:-60}
        [[ $long == *" $t "* ]] || seconds=$((seconds / 4))
        run_beside "fuzz/$t" bash "$here/tests/fuzz/fuzz.sh" "$build" "$t" "$seconds"
    done
    finish_all
}

# Both engines on the same documents; Debian's Python, for its packages are the peers.
suite_differential() {
    local python=${PYTHON:-/usr/bin/python3} dir=$here/tests/differential programs
    build_or_die "$build" --enable-werror
    mapfile -t programs < <(make -C "$build" --no-print-directory -s print-differential-programs | tr -s ' ' '\n' | grep '^tests/')
    build_more "${programs[@]}"
    run_test differential/names "$python" "$dir/names.py" "$build/tests/differential/render"
    run_test differential/templates "$python" "$dir/template_compare.py" "$build/tests/differential/render"
    run_test differential/yaml "$python" "$dir/yaml_compare.py" "$build/tests/differential/yaml_load"
}

# ThreadSanitizer on everything that has threads. The pure tests and the ones of single functions would show nothing.
suite_tsan() {
    build=$here/build-tsan logs=$here/build-tsan/test-logs
    local options="halt_on_error=0:exitcode=66:second_deadlock_stack=1:suppressions=$here/tests/tsan.supp"
    local units_except="test_base test_crypto test_explain test_golden test_invalid test_invalid_tasks test_json test_logline \
        test_messages test_pod_status test_pods test_pods_specs test_reconcile test_schedule test_schedule_incremental test_settings \
        test_sm test_sm_explore test_spec test_spec_form test_spec_public test_spec_rules test_spec_values test_status test_submission \
        test_template test_template_filters test_template_language test_template_public test_validate test_yaml"
    # The same threads of the engine and the service as in test_engine, test_api, test_logs and test_router, at work on other requests.
    local units_later="test_access test_account test_api_backends test_api_config test_api_credentials test_api_list test_api_users \
        test_archive test_backend_tokens test_backends test_escalation test_explain_api test_identity test_identity_peers \
        test_interop_agent test_interop_jobs test_keys test_logs_lines test_logs_masks test_matrix test_paths test_policy \
        test_policy_public test_providers test_repo test_repo_auth test_retry test_router_api test_router_rsync test_submit \
        test_submit_credentials test_upkeep test_vault"
    build_or_die "$build" --enable-tsan CFLAGS="-g1 -O1 -Wno-format-truncation"
    run_units "tsan/" "TSAN_OPTIONS=$options" OSMO_TSAN=1
    run_test tsan/test_failing env OSMO_BUILD="$build" OSMO_SANITIZED=1 "TSAN_OPTIONS=$options" bash "$here/tests/system/test_failing.sh"
    local chaos_prefix=tsan/
    export TSAN_OPTIONS=$options
    chaos_build_programs
    chaos local-replicas --kills 8
    chaos sqlite --kills 10 --rate 3
    unset TSAN_OPTIONS
}

chaos_build_programs() {
    local programs
    mapfile -t programs < <(make -C "$build" --no-print-directory -s print-chaos-programs | tr -s ' ' '\n' | grep '^tests/')
    build_more "${programs[@]}"
}
chaos() { # mode, arguments
    local mode=$1 name=${chaos_prefix-}chaos/$1
    shift
    run_test "$name" "${PYTHON:-/usr/bin/python3}" "$here/tests/chaos/chaos.py" --bin "$build" --mode "$mode" "$@"
    [[ -n $only && $name != *"$only"* ]] || grep -aE '^mode |kills in' "$logs/${name//\//_}.log" | sed 's/^/      /'
}

# Kills by the number: SEED= replays, KILLS= is for each of the modes. What failed is kept in the directory that it names.
suite_chaos() {
    build_or_die "$build" --enable-werror
    chaos_build_programs
    chaos sqlite --kills "${KILLS:-90}"
    chaos pgsql --kills "${KILLS:-60}"
    chaos replicas --kills "${KILLS:-60}"
    chaos wiped --kills "${KILLS:-30}"
    chaos local --kills "${KILLS:-40}"
    chaos local-replicas --kills "${KILLS:-30}"
    log_loss local
    log_loss local-replicas
}

# A million numbered lines, or as many as it is told; SEED= replays.
log_loss() { # mode, arguments
    local mode=$1 name=chaos/logs-$1
    shift
    run_test "$name" "${PYTHON:-/usr/bin/python3}" -B "$here/tests/chaos/logloss.py" --bin "$build" --mode "$mode" "$@"
    [[ -n $only && $name != *"$only"* ]] || grep -aE '^mode |kills in' "$logs/${name//\//_}.log" | sed 's/^/      /'
}

# An hour, the modes one after another.
suite_soak() {
    local mode TEST_SECONDS=2400
    build_or_die "$build" --enable-werror
    chaos_build_programs
    for mode in sqlite pgsql replicas wiped local local-replicas; do chaos "$mode" --soak "${SOAK_SECONDS:-600}"; done
    run_test system/cross env OSMO_BUILD="$build" bash "$here/tests/system/cross.sh"
    log_loss local --tasks 200 --lines 50000 --seconds 240 --gap 3 --limit 2200
    [[ -z $only || kubernetes/faults == *"$only"* ]] || return
    if "$here/tests/kubernetes/build.sh" > /dev/null && kubernetes_up full; then
        run_test kubernetes/faults env OSMO_BUILD="$build" OSMO_SOURCE="$here" OSMO_KUBERNETES_DIR="$cluster_dir" nsenter \
            --net="$cluster_dir/network" -- "$python" -B "$here/tests/kubernetes/faults.py" --soak "${SOAK_SECONDS:-600}" --verbose
        kubernetes_down
    else
        failed=$((failed + 1)) failures+=("the cluster")
    fi
}

# What OSMO 6.4's agent speaks WebSocket with: by pip into the build directory, as requirements.txt says.
suite_interop() {
    local python=${PYTHON:-/usr/bin/python3}
    build_or_die "$build" --enable-werror
    run_test interop/packages bash "$here/tests/interop/packages.sh" "$build/interop"
    run_test interop/agent "$python" -B "$here/tests/interop/test_agent.py" --bin "$build" --site "$build/interop/site"
    run_test interop/interactive "$python" -B "$here/tests/interop/test_interactive.py" --bin "$build" --site "$build/interop/site"
    run_test interop/browser "$python" -B "$here/tests/interop/test_browser.py" --bin "$build"
}

# Logging in through an OpenID provider of others: it and what it needs come by npm into the build directory, as package-lock.json says.
suite_oidc() {
    build_or_die "$build" --enable-werror
    run_test oidc/packages bash "$here/tests/oidc/packages.sh" "$build/oidc"
    run_test oidc/login env OSMO_BUILD="$build" bash "$here/tests/oidc/test_oidc.sh"
}

# Object storage: the server comes by pip into the build directory, as requirements.txt says. Each test has a server of its own.
suite_data() {
    local python=${PYTHON:-/usr/bin/python3} t
    build_or_die "$build" --enable-werror
    run_test data/packages bash "$here/tests/data/packages.sh" "$build/data-tests"
    for t in "$here"/tests/data/test_*.py; do
        run_test "data/$(basename "$t" .py)" "$python" -B "$t" --bin "$build" --site "$build/data-tests/site"
    done
}

# Every tests/kubernetes/test_*.py over one cluster. A line "# Cluster: control" in a test wants the cluster that has no node, whose
# pods are what the test writes.
suite_kubernetes() {
    local dir=$here/tests/kubernetes mode t tests programs
    build_or_die "$build" --enable-werror
    read -ra programs < <(make -C "$build" --no-print-directory -s print-kubernetes-programs)
    build_more "${programs[@]}"
    chaos_build_programs
    "$dir/build.sh" > /dev/null || { failed=$((failed + 1)) failures+=("build of Kubernetes"); return; }
    # here, because the cluster's namespace has no way out
    "$here/tools/static-rsync.sh" "$build/test-rsync" || { failed=$((failed + 1)) failures+=("build of the static rsync"); return; }
    for mode in full control; do
        tests=()
        for t in "$dir"/test_*.py; do
            [[ -z $only || kubernetes/$(basename "$t" .py) == *"$only"* ]] || continue
            [[ $(sed -n 's/^# Cluster: //p' "$t") == "$([[ $mode == control ]] && echo control)" ]] && tests+=("$t")
        done
        ((${#tests[@]})) || continue
        kubernetes_up "$mode" || { failed=$((failed + 1)) failures+=("the $mode cluster"); continue; }
        for t in "${tests[@]}"; do
            run_test "kubernetes/$(basename "$t" .py)" env OSMO_BUILD="$build" OSMO_SOURCE="$here" OSMO_KUBERNETES_DIR="$cluster_dir" \
                nsenter --net="$cluster_dir/network" -- "$python" -B "$t"
        done
        kubernetes_down
    done
}
# A cluster as a child of this script, which ends with it, whatever ends this.
kubernetes_up() { # mode
    local ready
    python=${PYTHON:-/usr/bin/python3} cluster_dir=$(mktemp -d "${TMPDIR:-/tmp}/osmo-cluster.XXXXXX")
    exec {ready}< <(exec "$python" -B "$here/tests/kubernetes/cluster.py" up --dir "$cluster_dir" --mode "$1" --with-parent \
        2> "$logs/kubernetes-$1.log")
    cluster_pid=$!
    if [[ $(head -n 1 <&"$ready") != READY ]]; then
        echo "run-tests: the $1 cluster did not start:" >&2
        tail -n 30 "$logs/kubernetes-$1.log" >&2
        kubernetes_down
        return 1
    fi
    exec {ready}<&-
}
kubernetes_down() {
    kill -TERM "$cluster_pid" 2> /dev/null
    tail --pid="$cluster_pid" -f /dev/null
    rm -rf "$logs/kubernetes-programs"
    mv "$cluster_dir/logs" "$logs/kubernetes-programs" 2> /dev/null
    rm -rf "$cluster_dir"
}

closing_line() {
    ((${#failures[@]})) && printf 'Failed: %s\n' "${failures[*]}"
    echo "$passed passed, $failed failed, $skipped skipped"
    ((passed + failed > 0 && failed == 0)) && exit 0
    exit 1
}
