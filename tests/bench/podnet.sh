#!/usr/bin/env bash
# What a network for each pod costs: hello_world with and without, and what goes through in a second between two pods, to a server beyond
# this machine (in a namespace made for that; as root) and to one on its loopback address by the relay, beside the same from the machine.
set -u
runs=${RUNS:-11}
. "$(dirname "$0")/../system/lib.sh"
fixture=bnet$$ outside=198.18.$((RANDOM % 200 + 20)) made= servers=()
drop() {
    local s
    for s in "${servers[@]}"; do stop_one "$s"; done
    [[ $made ]] && { ip link del "${fixture}h"; ip netns del "$fixture"; } 2>/dev/null
    finish
}
trap 'drop; exit $?' EXIT
row() { printf '| %-58s | %12s |\n' "$1" "$2"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
span_ms() {
    local json from to
    json=$("$osmo" workflow query "$1" -t json)
    from=$(sed -n 's/^  "submit_time": "\(.*\)",*$/\1/p' <<< "$json") to=$(sed -n 's/^  "end_time": "\(.*\)",*$/\1/p' <<< "$json")
    awk -v a="$(date -ud "${from}Z" +%s.%6N)" -v b="$(date -ud "${to}Z" +%s.%6N)" 'BEGIN { printf "%.1f\n", (b - a) * 1000 }'
}
hello() { # network
    local i id
    start_backend --network "$1"
    for ((i = 0; i < runs + 1; i++)); do
        id=$(submit "$root/examples/hello_world.yaml")
        timeout 60 "$osmo" workflow wait "$id" --quiet > /dev/null || exit 1
        ((i)) && span_ms "$id"
    done | median
    stop_one "$backend_pid"; backend_pid=
}
cat > "$work/stream.pl" <<'P'
use strict; use IO::Socket::INET; use Time::HiRes "time";
my ($what, $host, $port, $name) = @ARGV;
my $block = "x" x 262144;
if ($what eq "serve") {
    my $l = IO::Socket::INET->new(LocalAddr => $host, LocalPort => $port, Listen => 9, ReuseAddr => 1) or die $!;
    $SIG{CHLD} = "IGNORE";
    while (my $c = $l->accept) { next if fork; 1 while sysread($c, my $data, 262144); syswrite($c, "k"); exit }
}
my ($s, $n) = (undef, 0);
for (1 .. 100) { last if $s = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port); select undef, undef, undef, 0.05 }
my $from = time;
while (time - $from < 2) { $n += syswrite($s, $block) // die $! }
shutdown($s, 1); sysread($s, my $end, 1);
printf "%s=%.0f\n", $name, $n / (time - $from) / 1e6;
P
stream() { perl "$work/stream.pl" "$@"; }
start_service && login || exit 1
hello_host=$(hello host) hello_pod=$(hello pod)
loopback=$((20000 + RANDOM % 10000))
stream serve 127.0.0.1 "$loopback" & servers+=($!)
outside_host=-
if ((EUID == 0)) && ip netns add "$fixture" && made=1; then
    ip link add "${fixture}h" type veth peer name there netns "$fixture" && ip addr add "$outside.1/24" dev "${fixture}h" &&
        ip link set "${fixture}h" up && ip -n "$fixture" addr add "$outside.2/24" dev there && ip -n "$fixture" link set there up
    ip netns exec "$fixture" perl "$work/stream.pl" serve "$outside.2" 8092 & servers+=($!)
    outside_host=$(stream send "$outside.2" 8092 host | cut -d = -f 2)
fi
loopback_host=$(stream send 127.0.0.1 "$loopback" host | cut -d = -f 2)
start_backend --network pod --relay "127.0.0.1:$loopback"
files() { printf '      files:\n      - path: /tmp/stream.pl\n        contents: |\n'; sed 's/^/          /' "$work/stream.pl"; }
cat > "$work/stream.yaml" <<Y
workflow:
  name: stream
  groups:
  - name: g
    tasks:
    - name: one
      lead: true
      image: debian
      command: [sh, -c, 'perl /tmp/stream.pl send {{host:two}} 8093 peer; perl /tmp/stream.pl send 127.0.0.1 $loopback relay${made:+; perl /tmp/stream.pl send $outside.2 8092 outside}']
$(files)
    - name: two
      image: debian
      command: [perl, /tmp/stream.pl, serve, 0.0.0.0, '8093']
$(files)
Y
id=$(submit "$work/stream.yaml")
timeout 60 "$osmo" workflow wait "$id" --quiet > /dev/null
"$osmo" workflow logs "$id" > "$work/stream.log"
of() { sed -n "s/.*\] $1=//p" "$work/stream.log"; }
echo
row "figure" "measured"
row "----------------------------------------------------------" "------------"
row "hello_world, network of the machine (ms)" "$hello_host"
row "hello_world, network of its own (ms)" "$hello_pod"
row "pod to pod (MB/s)" "$(of peer)"
row "pod to a server outside (MB/s)" "$(of outside)"
row "  the machine itself to that server" "$outside_host"
row "pod to a server at loopback by the relay (MB/s)" "$(of relay)"
row "  the machine itself to that server" "$loopback_host"
sed -n 's/.*\(each pod has.*\)/\1/p' "$work/backend.log" | tail -n 1
