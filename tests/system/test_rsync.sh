# osmo workflow rsync: a thousand files there and back, a change afterwards, what is refused, and the daemon.
. "$(dirname "$0")/lib.sh"
cat > "$work/service.yaml" <<'Y'
workflow:
  plugins_config:
    rsync:
      enabled: true
      client_upload_rate_limit: 0
      read_bandwidth_limit: 0
      write_bandwidth_limit: 0
      daemon_debounce_delay: 0.5
      daemon_poll_interval: 2
      daemon_reconcile_interval: 600
      allowed_paths:
        readable: {path: /etc, writable: false}
Y
start_service --config "$work/service.yaml" && login && start_backend || exit 1
cat > "$work/s.yaml" <<'Y'
workflow:
  name: files
  tasks: [{name: t, image: debian, command: [sh, -c, 'exec sleep 600']}]
Y
id=$(submit "$work/s.yaml")
rsync() { timeout 60 "$osmo" workflow rsync "$@" > "$work/out" 2>&1; }
rsync upload "$id" t /etc/hostname:/osmo/run/workspace/; code=$?
check "too early, or not" test "$code" = 0 -o "$code" = 2
running() { [[ $(status_of "$id") == RUNNING ]]; }
check "it runs" eventually 60 running

mkdir "$work/there" "$work/back"
for ((i = 0; i < 1000; i++)); do
    ((i % 100)) || mkdir "$work/there/d$((i / 100))"
    printf '%s %0*d\n' "$i" "$((i % 500 + 1))" "$RANDOM" > "$work/there/d$((i / 100))/file $i"
done
head -c 3000000 /dev/urandom > "$work/there/large: one"
chmod 750 "$work/there/d3"
ready() { rsync upload "$id" t "$work/there:/osmo/run/workspace"; }
check "1000 files there" eventually 30 ready
check "and back, by the lead task" rsync download "$id" "/osmo/run/workspace/there/:$work/back"
((failures)) && cat "$work/out"
check "they are the same" diff -r "$work/there" "$work/back"
check_eq "modes are kept" "$(stat -c %a "$work/back/d3")" 750
check_eq "the task has them" "$("$osmo" workflow exec "$id" t --entry "sh -c 'ls /osmo/run/workspace/there | wc -l'" < /dev/null)" 11
echo changed > "$work/there/d5/file 555"
rm "$work/there/d0/file 0"
rsync upload "$id" t "$work/there/:/osmo/run/workspace/there/"; check_eq "a change" "$?" 0
check_has "only the change goes" "$(< "$work/out")" "file 555"
check "nothing else does" test "$(grep -c 'd[0-9]/file' "$work/out")" = 1
check_eq "the task has it" "$("$osmo" workflow exec "$id" t --entry "cat '/osmo/run/workspace/there/d5/file 555'" < /dev/null)" changed
check "a file by a colon in its name" rsync download "$id" t "/osmo/run/workspace/there/large\\: one:$work/one"
check "is the same" cmp -s "$work/one" "$work/there/large: one"

# ---- what is refused
rsync upload "$id" t "$work/there:/usr/lib"; check_eq "a path that is not allowed" "$?" 2
check_has "is named" "$(< "$work/out")" "/usr/lib"
rsync upload "$id" t "$work/there:/etc/x"; check_eq "a path that may be read only" "$?" 2
rsync download "$id" t "/etc/hostname:$work/hostname"; check_eq "may be read" "$?" 0
rsync download "$id" t "/osmo/run/workspace/nothing:$work/x"; check_eq "what is not there" "$?" 2
rsync upload "$id" t "$work/nothing:/osmo/run/workspace"; check_eq "what is not here" "$?" 2
rsync upload "$id" t "$work/there:/osmo/run/workspace/../../x"; check_eq "a way out" "$?" 2
rsync upload "$id" t; check_eq "no paths" "$?" 2
rsync_missing() { env PATH=/nonexistent "$osmo" workflow rsync upload "$id" t "$work/there:/osmo/run/workspace" > "$work/out" 2>&1; }
rsync_missing; check_eq "no rsync(1)" "$?" 2
check_has "says where it comes from" "$(< "$work/out")" "apt-get install rsync"

# ---- the daemon
mkdir "$work/live"
echo one > "$work/live/a"
rsync upload "$id" t "$work/live:/osmo/run/workspace" --daemon --debounce-delay 1; check_eq "the daemon starts" "$?" 0
has() { [[ $("$osmo" workflow exec "$id" t --entry "cat /osmo/run/workspace/live/$1" < /dev/null 2> /dev/null) == "$2" ]]; }
check "it transfers at first" eventually 20 has a one
mkdir -p "$work/live/new/deeper"
echo two > "$work/live/new/deeper/b"
check "and what is new" eventually 20 has new/deeper/b two
echo three > "$work/live/new/deeper/b"
check "and changes below what is new" eventually 20 has new/deeper/b three
rsync upload "$id" t "$work/live:/osmo/run/workspace" --daemon; check_eq "a second daemon of the task is refused" "$?" 2
check_has "status knows it" "$("$osmo" workflow rsync status)" "$id"
check_has "no is no" "$(echo n | "$osmo" workflow rsync stop "$id")" "Nothing"
check_has "stop" "$("$osmo" workflow rsync stop "$id" --task t --yes)" "was stopped"
check_has "and it is gone" "$("$osmo" workflow rsync status)" "No rsync daemon"
rsync upload "$id" t "$work/live:/osmo/run/workspace" --daemon; check_eq "another" "$?" 0
"$osmo" workflow cancel "$id" > /dev/null
gone() { [[ $("$osmo" workflow rsync status) == "No rsync daemon"* ]]; }
check "ends with its task" eventually 30 gone

# ---- from the submission on
out=$("$osmo" workflow submit "$work/s.yaml" --rsync "$work/live:/osmo/run/workspace"); check_eq "submit --rsync" "$?" 0
id=$(sed -n 's/^Workflow ID *- //p' <<< "$out")
check "files follow once it runs" eventually 40 has a one
"$osmo" workflow rsync stop --yes > /dev/null
"$osmo" workflow cancel "$id" > /dev/null
