# osmo workflow port-forward: many connections, datagrams, whoever does not take stops whoever sends, and a service that is restarted.
. "$(dirname "$0")/lib.sh"
ports=$bin/tests/system/ports
start_all || exit 1
cat > "$work/s.yaml" <<'Y'
workflow:
  name: ports
  tasks:
  - name: server
    image: debian
    command: [perl, /tmp/serve.pl]
    files:
    - path: /tmp/serve.pl
      contents: |
        use strict; use IO::Socket::INET; use IO::Select;
        $SIG{CHLD} = 'IGNORE'; $SIG{PIPE} = 'IGNORE';
        sub listener { IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $_[0], Listen => 512, ReuseAddr => 1) or die "$_[0]: $!" }
        my ($echo, $deaf) = (listener(7007), listener(7010));
        my $udp = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 7008, Proto => "udp") or die $!;
        my $all = IO::Select->new($echo, $deaf, $udp);
        my @kept;
        $| = 1; print "serves\n";
        while (1) {
            for my $s ($all->can_read) {
                if ($s == $udp) {
                    my $from = $udp->recv(my $data, 65536); $udp->send($data, 0, $from); next;
                }
                my $c = $s->accept or next;
                if ($s == $deaf) { push @kept, $c; next }
                next if fork;
                while (my $n = sysread($c, my $data, 65536)) {
                    for (my $at = 0; $at < $n;) { $at += syswrite($c, $data, $n - $at, $at) // exit }
                }
                exit;
            }
        }
Y
id=$(submit "$work/s.yaml")
running() { [[ $(status_of "$id") == RUNNING ]]; }
check "it runs" eventually 60 running
serves() { timeout 5 "$osmo" workflow logs "$id" 2>&1 | grep -q serves; }
check "it serves" eventually 60 serves

base=$((20000 + RANDOM % 20000 / 8 * 8))
forward() { # name of the log, arguments...
    local log=$1
    shift
    "$osmo" workflow port-forward "$id" server "$@" > "$work/$log.out" 2> "$work/$log.err" &
    forward_pid=$!
}
forward tcp --port "$base-$((base + 1)):7007-7008,$((base + 2)):7010,$((base + 3)):7099"
tcp_pid=$forward_pid
forward udp --udp --port "$((base + 1)):7008"
udp_pid=$forward_pid
check "ports are open" eventually 30 grep -q "$((base + 3)) to port 7099" "$work/tcp.out"
check "a UDP port is open" eventually 30 grep -q UDP "$work/udp.out"

check "one connection, half closed" "$ports" echo "$base" 1 100000
check "100 connections at once, 200 kB each" "$ports" echo "$base" 100 200000
check "one connection, 50 MB" "$ports" echo "$base" 1 50000000
check "datagrams" "$ports" udp "$((base + 1))" 20 1200
check "the largest datagrams" "$ports" udp "$((base + 1))" 3 65507
taken=$("$ports" stuff "$((base + 2))")
check "who takes nothing stops who sends ($taken bytes)" test "$taken" -gt 0 -a "$taken" -lt 200000000
check "and nobody else" "$ports" echo "$base" 10 100000
"$ports" echo "$((base + 3))" 1 10 2> /dev/null; check_eq "a port where nothing listens" "$?" 1
check_has "says so" "$(< "$work/tcp.err")" "A connection to port $((base + 3)) was ended: "
"$osmo" workflow port-forward "$id" server --port "$base:7007" > "$work/out" 2>&1; check_eq "a local port that is taken" "$?" 2
check_has "is named" "$(< "$work/out")" "$base"
"$osmo" workflow port-forward "$id" server --port 9000-9002:1-2 > "$work/out" 2>&1; check_eq "a bad list of ports" "$?" 2
"$osmo" workflow port-forward "$id" nobody --port "$((base + 7)):7007" > "$work/out" 2>&1; check_eq "no such task" "$?" 2

# ---- the service is killed and comes again
stop_one "$service_pid" KILL
check "it is said" eventually 20 grep -q "lost" "$work/tcp.err"
check "the service starts again" start_service
check "there is a session again" eventually 60 grep -q "Port $base: there is a session again" "$work/tcp.err"
check "connections go through again" "$ports" echo "$base" 20 100000
check "and datagrams" "$ports" udp "$((base + 1))" 3 1200

# ---- the end
kill -INT "$udp_pid"; wait "$udp_pid"
"$osmo" workflow cancel "$id" > /dev/null
gone() { ! kill -0 "$tcp_pid" 2> /dev/null; }
check "it ends with the workflow" eventually 60 gone
wait "$tcp_pid"; check_eq "and says so" "$?" 2
