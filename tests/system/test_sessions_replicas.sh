# Interactive sessions where three services share a database and a relay stands in front of them: the client reaches one service, its session is
# carried by another, and the task's osmo_ctrl is connected to the third. Then the service that carries sessions is killed (-9), and so is the one
# that the task is connected to, while a command waits in its mailbox.
. "$(dirname "$0")/lib.sh"
database=$("$root/tests/pgsql-server" start "$work/pgsql") || { fail "a private PostgreSQL"; exit 1; }
"$bin/tests/system/relay" "$work/front.port" "$work/front.targets" 2>> "$work/relay.log" &
front_pid=$!
check "the relay listens" eventually 10 test -s "$work/front.port"
front=http://127.0.0.1:$(< "$work/front.port")
declare -A replica_pid replica_url
mkdir -m 700 "$work/storage"

replica_start() { # number
    local key=()
    [[ -s $work/master-key.yaml ]] && key=(--master-key "$work/master-key.yaml") # the one that the first of them made
    mkdir -p -m 700 "$work/replica$1" "$work/config$1"
    rm -f "$work/port$1"
    "$bin/osmo-service" --listen 127.0.0.1:0 --data-dir "$work/replica$1" --storage "$work/storage" --database "$database" --workers 12 \
        --base-url "$front" --port-file "$work/port$1" "${key[@]}" 2>> "$work/service$1.log" &
    replica_pid[$1]=$!
    eventually 60 test -s "$work/port$1" || { tail -n 20 "$work/service$1.log"; fail "replica $1 starts"; exit 1; }
    [[ -s $work/master-key.yaml ]] || cp "$work/replica$1/master-key.yaml" "$work/master-key.yaml" || exit 1
    replica_url[$1]=http://127.0.0.1:$(< "$work/port$1")
    [[ -s $work/data/admin-token ]] || cp "$work/replica$1/admin-token" "$work/data/admin-token" || exit 1
    OSMO_CONFIG_FILE_DIR=$work/config$1 "$osmo" login "${replica_url[$1]}" --method token --token-file "$work/data/admin-token" > "$work/login.log" 2>&1 ||
        { cat "$work/login.log"; fail "log in to replica $1"; }
}
at() { local n=$1; shift; OSMO_CONFIG_FILE_DIR=$work/config$n timeout 60 "$osmo" "$@"; } # through one replica
targets() { local n; for n in "$@"; do echo "${replica_url[$n]##*:}"; done > "$work/front.new" && mv "$work/front.new" "$work/front.targets"; }
stop_everything() {
    local n
    stop_one "$backend_pid"; backend_pid=
    for n in "${!replica_pid[@]}"; do stop_one "${replica_pid[$n]}"; done
    stop_one "$front_pid"
    "$root/tests/pgsql-server" stop "$work/pgsql"
    ((failures)) && for n in 1 2 3; do [[ -f $work/service$n.log ]] && { echo "--- service$n.log"; tail -n 40 "$work/service$n.log"; }; done
}
trap 'stop_everything; finish; exit $?' EXIT

replica_start 1
replica_start 2
replica_start 3
targets 3
url=${replica_url[3]} start_backend --relay "127.0.0.1:${front##*:}"
cat > "$work/s.yaml" <<'Y'
workflow:
  name: many
  tasks:
  - name: server
    image: debian
    command: [perl, /tmp/serve.pl]
    files:
    - path: /tmp/serve.pl
      contents: |
        use strict; use IO::Socket::INET;
        $SIG{CHLD} = 'IGNORE'; $SIG{PIPE} = 'IGNORE';
        my $web = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 7080, Listen => 64, ReuseAddr => 1) or die $!;
        $| = 1; print "serves\n";
        while (my $c = $web->accept) {
            if (!fork) {
                my $for = "";
                while (my $line = <$c>) { $for = $1 if $line =~ /^X-Forwarded-For: (\S+)/; last if $line =~ /^\r?\n/ }
                print $c "HTTP/1.0 200 OK\r\n\r\nfrom-a-task $for\n";
                exit;
            }
            close $c;
        }
Y
id=$(at 1 workflow submit "$work/s.yaml" -t json | sed -n 's/^ *"name": "\(.*\)",*$/\1/p' | head -n 1)
serves() { grep -q serves <(OSMO_CONFIG_FILE_DIR=$work/config1 timeout 2 "$osmo" workflow logs "$id" -n 5 < /dev/null 2> /dev/null); }
check "the task serves, connected to service 3" eventually 60 serves

# Asked for at 1, which carries it; client and task reach 2.
targets 2
out=$(at 1 workflow exec "$id" server --entry 'sh -c "echo by-exec; exit 7"' < /dev/null 2>&1); code=$?
check_has "exec: what it says" "$out" by-exec
check_eq "exec: how it ends" "$code" 7
check "exec: service 1 carried it" eventually 10 grep -q '"session":"closed"' "$work/replica1/audit.jsonl"
check_eq "exec: not service 2, where its ends had come" "$(grep -c '"session"' "$work/replica2/audit.jsonl")" 0

answer() { # port, host: what the web server answers
    exec 9<> "/dev/tcp/127.0.0.1/$1" || return 1
    printf 'GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$2" >&9
    timeout 20 cat <&9
    exec 9>&-
}
local_port=$((20000 + RANDOM % 10000))
OSMO_CONFIG_FILE_DIR=$work/config1 "$osmo" workflow port-forward "$id" server --port "$local_port:7080" > "$work/forward.log" 2>&1 &
forward=$!
forwards() { [[ $(answer "$local_port" here 2> /dev/null) == *from-a-task* ]]; }
check "port-forward: a connection" eventually 20 forwards
good=0
for ((i = 0; i < 10; i++)); do forwards && good=$((good + 1)); done
check_eq "port-forward: ten connections" "$good" 10
stop_one "$forward"

token=$(sed -n 's/^ *id_token: *//p' "$work/config1/login.yaml")
port=${replica_url[1]##*:}
key=$(http_request POST "/api/workflow/$id/webserver/server?task_port=7080" '' "Authorization: Bearer $token" | sed -n 's/.*"key":"\([^"]*\)".*/\1/p')
check "web server: a key" test -n "$key"
shows() { [[ $(answer "$1" "$key.osmo.test") == *from-a-task* ]]; }
for n in 1 2 3; do check "web server: through service $n" eventually 20 shows "${replica_url[$n]##*:}"; done
from() { # port, host, address of the client
    timeout 20 perl -MIO::Socket::INET -e 'my $c = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $ARGV[0], LocalAddr => $ARGV[2]) or die $!;
        print $c "GET / HTTP/1.1\r\nHost: $ARGV[1]\r\nConnection: close\r\n\r\n"; print while <$c>' "$@"
}
check_has "web server: it learns who its client is" "$(from "${replica_url[2]##*:}" "$key.osmo.test" 127.0.0.9)" "from-a-task 127.0.0.9"

# The service that carries it dies.
kill -KILL "${replica_pid[1]}"; wait "${replica_pid[1]}" 2> /dev/null
unset 'replica_pid[1]'
gone() { local line; line=$(answer "${replica_url[2]##*:}" "$key.osmo.test" | head -n 1); [[ $line == *" 404 "* || $line == *" 502 "* ]]; }
check "web server: gone with its service" eventually 30 gone
works() { [[ $(at 2 workflow exec "$id" server --entry "echo $1" "${@:2}" < /dev/null 2>&1) == *"$1"* ]]; }
check "exec: goes on through another service" eventually 20 works after-that

# So does the one that the task is connected to; what it is asked for meanwhile waits in its mailbox until it has found another.
kill -KILL "${replica_pid[3]}"; wait "${replica_pid[3]}" 2> /dev/null
unset 'replica_pid[3]'
check "exec: told when it is connected again" works found-later --connect-timeout 60
