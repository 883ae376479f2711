# Every example, and with OSMO_TUTORIAL_SPECS=DIR the tutorial specs there, run to COMPLETED; several at a time. Sourced by the tests per database.
# shellcheck shell=bash
names=() ids=() pids=()

launch() { # name file extra...
    local name=$1 file=$2
    shift 2
    ( "$osmo" workflow submit "$file" --follow "$@" > "$work/$name.out" 2>&1; echo "$?" > "$work/$name.code" ) &
    names+=("$name")
    pids+=($!)
}

busybox_rootfs() {
    local dir=$work/rootfs applet
    mkdir -p "$dir"/{bin,proc,dev,tmp,etc,osmo,run,root,home,var/tmp,sys}
    cp "$(command -v busybox)" "$dir/bin/busybox"
    for applet in sh nc echo cat sleep hostname date printf ls mkdir env; do ln -sf busybox "$dir/bin/$applet"; done
    echo "$dir"
}

# $1: in the communication spec of the tutorials the client asks once, whether or not its server listens yet: its line, in some attempts on a
# machine that does nothing else.
communication() {
    local attempt out
    for attempt in 1 2 3 4 5; do
        out=$(timeout 150 "$osmo" workflow submit "$1" --follow 2>&1)
        [[ $out == *"Received from server: hello"* && $out == *"Status: COMPLETED"* ]] && return 0
    done
    echo "$out"
    return 1
}

run_specs() {
    local f base i rootfs
    rootfs=$(busybox_rootfs)
    start_all --image "alpine=$rootfs" || { fail "start"; return; }
    if [[ -d $tutorial_specs ]]; then
        for base in combination_workflow_complex group_tasks verify-hello hello_world parallel_tasks serial_workflow combination_workflow_simple \
            resources_basic template_hello_world token_example; do
            launch "tutorial-$base" "$tutorial_specs/$base.yaml"
        done
    fi
    for f in "$root"/examples/*.yaml; do
        base=$(basename "$f" .yaml)
        [[ $base == fail* ]] && continue
        launch "example-$base" "$f"
    done
    for i in "${!names[@]}"; do
        wait "${pids[i]}"
        if [[ $(< "$work/${names[i]}.code") == 0 && $(tail -n 1 "$work/${names[i]}.out") == "Status: COMPLETED" ]]; then
            pass "${names[i]}"
        else
            fail "${names[i]}"
            tail -n 15 "$work/${names[i]}.out"
        fi
    done
    [[ -d $tutorial_specs ]] && check "tutorial group_tasks_communication" communication "$tutorial_specs/group_tasks_communication.yaml"
    check "the log stays readable" bash -c "'$osmo' workflow list -n hello -c 1 -o desc > /dev/null"
    check "SIGTERM ends the service with 0" stop_all
}
