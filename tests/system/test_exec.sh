# osmo workflow exec: at a terminal and between pipes, how it ends, and what the terminal is like afterwards.
. "$(dirname "$0")/lib.sh"
pty=$bin/tests/system/pty
start_all || exit 1
cat > "$work/s.yaml" <<'Y'
workflow:
  name: inter
  groups:
  - name: g
    tasks:
    - {name: one, lead: true, image: debian, command: [sh, -c, 'exec sleep 600']}
    - {name: two, image: debian, command: [sh, -c, 'exec sleep 600']}
Y
id=$(submit "$work/s.yaml")
check "too early: it says so" grep -qi "run" <<< "$("$osmo" workflow exec "$id" one --entry true 2>&1 < /dev/null)"
running() { [[ $(status_of "$id") == RUNNING ]]; }
check "it runs" eventually 60 running

# ---- between pipes
check_eq "a pipe there and back" "$(echo word | "$osmo" workflow exec "$id" one --entry cat)" word
"$osmo" workflow exec "$id" --entry "sh -c 'echo out; echo err >&2; exit 7'" < /dev/null > "$work/out" 2> "$work/err"
check_eq "the status of the command, in the lead task" "$?" 7
check_eq "its stdout" "$(< "$work/out")" out
check_eq "its stderr" "$(< "$work/err")" err
"$osmo" workflow exec "$id" one --entry "sh -c 'kill -9 \$\$'" < /dev/null > /dev/null 2>&1
check_eq "a command that was killed" "$?" 137
"$osmo" workflow exec "$id" one --entry "no-such-program" < /dev/null > "$work/out" 2>&1
check_eq "a program that is not there" "$?" 127
head -c 20000000 /dev/urandom > "$work/bytes"
"$osmo" workflow exec "$id" one --entry cat < "$work/bytes" > "$work/back"
check "20 MB from a file to a file" cmp -s "$work/bytes" "$work/back"
check_eq "a reader that stops early" "$("$osmo" workflow exec "$id" one --entry "cat /dev/zero" < /dev/null | head -c 100000 | wc -c)" 100000
"$osmo" workflow exec "$id" one --entry "sh -c 'trap \"exit 9\" INT; echo ready; while :; do sleep 0.1; done'" < /dev/null > "$work/out" 2>&1 &
pid=$!
check "the command is ready" eventually 20 grep -q ready "$work/out"
kill -INT $pid
wait $pid
check_eq "SIGINT is the command's" "$?" 9

# ---- refusals
"$osmo" workflow exec "$id" nobody --entry true < /dev/null > "$work/out" 2>&1
check_eq "no such task" "$?" 2
"$osmo" workflow exec "$id" --group g < /dev/null > "$work/out" 2>&1
check_eq "a shell for a group" "$?" 2
check_has "says what to do" "$(< "$work/out")" "interactive"
"$osmo" workflow exec "$id" --group g --entry "sh -c 'echo hello; exit 3'" < /dev/null > "$work/out" 2>&1
check_eq "a group: the status" "$?" 3
check_eq "a group: each line has its task" "$(sort "$work/out" | tr '\n' ,)" "[one] hello,[two] hello,"

# ---- at a terminal
play() { # what, options of exec..., lines on stdin
    local what=$1
    shift
    timeout 60 "$pty" "$osmo" workflow exec "$id" one "$@" > "$work/screen" 2>&1
    check_eq "$what" "$?" 0
}
shell=(--entry "bash --norc")
play "a shell: raw, its size, ^C, its status" "${shell[@]}" <<'P'
raw
send stty size\n
expect 24 80
size 41 123
send sleep 0.2; stty size\n
expect 41 123
send sh -c 'echo go $((40+3)); exec sleep 1000'\n
expect go 43
send \x03
send echo after $((40+2))\n
expect after 42
send exit 5\n
end 5
same
P
play "every byte goes there and comes back" --entry "sh -c 'stty raw -echo; echo ready; head -c 6 | od -An -tx1'" <<'P'
raw
expect ready
send \x03\x1a\x1c\x04\x11\xff
expect 03 1a 1c 04 11 ff
end 0
same
P
for number in 15 1 2 3 6; do
    play "signal $number gives the terminal back" "${shell[@]}" <<P
raw
send echo \$((40+2))\n
expect 42
kill $number
end $((number == 2 ? 3 : 128 + number))
same
P
done
play "stopped and continued" "${shell[@]}" <<'P'
raw
send echo $((40+2))\n
expect 42
kill 20
stopped
same
continue
raw
send echo $((41+2))\n
expect 43
send exit\n
end 0
same
P
# the service is killed under it
timeout 60 "$pty" "$osmo" workflow exec "$id" one "${shell[@]}" > "$work/screen" 2>&1 <<'P' &
raw
send echo $((40+2))\n
expect 42
expect lost
end 10
same
P
pid=$!
check "the shell is there" eventually 20 grep -q 42 "$work/screen"
stop_one "$service_pid" KILL
wait "$pid"
check_eq "the service is killed: said, and the terminal is itself" "$?" 0
check "the service starts again" start_service
again() { "$osmo" workflow exec "$id" one --entry "echo back" < /dev/null 2> /dev/null | grep -q back; }
check "and a new session works" eventually 30 again
