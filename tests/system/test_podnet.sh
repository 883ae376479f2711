# A network for each pod: names and ports of their own, the way out and to the service, nothing else of the machine; and what becomes of it
# when its processes are killed. First as root, then, in an environment made for that, as a user without rights.
. "$(dirname "$0")/lib.sh"
missing() { echo "$1"; exit 77; }
command -v ip > /dev/null && command -v nft > /dev/null && command -v nsenter > /dev/null || missing "needs ip, nft and nsenter"
command -v busybox > /dev/null || missing "needs busybox"
user_part=${1-}
fixture=onet$$ outside=198.18.$((RANDOM % 200 + 20))

# ---- a server elsewhere: in a namespace that the machine reaches by an address of its own ----
made_fixture=
make_fixture() {
    ip netns add "$fixture" 2>/dev/null && made_fixture=1 || return 1
    ip link add "${fixture}h" type veth peer name there netns "$fixture" && ip addr add "$outside.1/24" dev "${fixture}h" &&
        ip link set "${fixture}h" up && ip -n "$fixture" addr add "$outside.2/24" dev there && ip -n "$fixture" link set there up || return 1
    mkdir -p "$work/www" && echo "from outside" > "$work/www/index.html"
    ip netns exec "$fixture" busybox httpd -f -p "$outside.2:8091" -h "$work/www" &
    fixture_pid=$!
}
fixture_pid= other_pid= loopback_pid= followers=()
drop_fixture() {
    local f
    for f in "${followers[@]}" "$other_pid" "$loopback_pid"; do stop_one "$f"; done
    stop_one "$fixture_pid"
    [[ $made_fixture ]] && { ip link del "${fixture}h"; ip netns del "$fixture"; } 2>/dev/null
}
trap 'drop_fixture; finish; exit $?' EXIT
if [[ $user_part ]]; then
    outside=$user_part
elif ((EUID == 0)); then
    make_fixture || missing "no network can be made here: $(ip netns add "$fixture" 2>&1)"
else
    missing "not root: nowhere to make a server that is elsewhere"
fi

# ---- what pods do ----
mkdir -p "$work/here" && echo "of the machine" > "$work/here/index.html"
loopback=$((20000 + RANDOM % 10000))
busybox httpd -f -p "127.0.0.1:$loopback" -h "$work/here" &
loopback_pid=$!
cat > "$work/serve.sh" <<'S'
get() { timeout 5 busybox wget -q -O - "http://$1/" 2>/dev/null || echo none; }
mkdir -p /tmp/www && echo "I am $me" > /tmp/www/index.html
busybox httpd -f -p 0.0.0.0:8080 -h /tmp/www &
busybox httpd -f -p 0.0.0.0:80 -h /tmp/www &
for i in $(seq 200); do
    [[ $(get "$peer:8080") != none && $(get "$own:8080") != none && $(get "$own:80") != none ]] && break
    sleep 0.05
done
echo "peer=$(get "$peer:8080")"
echo "self=$(get "$own:8080")"
echo "low=$(get "$own:80")"
echo "outside=$(get "$outside.2:8091")"
echo "loopback=$(get "127.0.0.1:$loopback")"
exec 9<> "/dev/tcp/127.0.0.1/$port"
printf 'GET /api/version HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n\r\n' "$port" >&9
echo "service=$(head -n 1 <&9 | tr -d '\r')"
echo "address=$POD_IP $(tr -s ' \n' ' ' < /proc/net/tcp | grep -c 1F90)"
echo "six=$(cut -c 1-32 /proc/net/if_inet6 | grep -vc '^0*1$')"
echo "raw=$(busybox arping -c 1 -w 1 "$peer" 2>&1 | head -n 1)"
echo "spoof=$(busybox ip addr add 10.1.2.3/32 dev eth0 2>&1 | head -n 1)"
: > /tmp/ready
while :; do
    echo "again=$(get "$peer:8080") and $(get "$outside.2:8091")"
    sleep "$pause"
done
S
indent() { sed 's/^/          /' "$1"; }
write_pair() { # name
    cat > "$work/$1.yaml" <<Y
workflow:
  name: $1
  groups:
  - name: pair
    tasks:
$(for me in one two; do
        [[ $me == one ]] && peer=two lead=true || peer=one lead=false
        cat <<T
    - name: $me
      lead: $lead
      image: debian
      command: [bash, /tmp/serve.sh]
      environment: {me: $me, own: '{{host:$me}}', peer: '{{host:$peer}}', outside: '$outside', loopback: '$loopback', port: '$port', pause: '0.2'}
      files:
      - path: /tmp/serve.sh
        contents: |
$(indent "$work/serve.sh")
T
    done)
Y
}
follow() { "$osmo" workflow logs "$1" > "$work/$1.log" 2>&1 < /dev/null & followers+=($!); }
value_of() { sed -n "s/^.*\[$2\] $3=//p" "$work/$1.log" | tail -n 1; } # workflow, task, key
count_again() { grep -c "\[$2\] again=$3" "$work/$1.log"; }
has_again() { (($(count_again "$1" "$2" "$3") > ${4:-0})); }
goes_on() { eventually 20 has_again "$1" "$2" "$3" $(($(count_again "$1" "$2" "$3") + 1)); } # twice more from now on
holder() { sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "${1:-$work/backend}/network/state.json" 2>/dev/null; }
name_here() { sed -n 's/.*"name":"\([a-z0-9]*\)".*/\1/p' "${1:-$work/backend}/network/plan.json"; }
ended() { ! [[ -e /proc/$1 ]] || [[ $(cut -d ' ' -f 3 "/proc/$1/stat" 2>/dev/null) == Z ]]; }
log_says() { grep -q "$1" "$work/backend.log"; }
spaces=(-n)
[[ $user_part ]] && spaces=(-U -n --preserve-credentials)
ports() { nsenter -t "$(holder)" "${spaces[@]}" ip -o link show master pods 2>/dev/null | wc -l; }
ports_are() { [[ $(ports) == "$1" ]]; }
supervisor_of() { # workflow, task: by the log of its pod
    local f
    for f in "$work"/backend/pods/*; do
        grep -q "\"osmo.task_name\":\"$2\"" "$f/pod.json" && grep -q "\"osmo.workflow_id\":\"$1\"" "$f/pod.json" && head -n 1 "$f/lock"
    done
}

check_pair() { # workflow, task, peer
    check_eq "$2: its peer answers under its name" "$(value_of "$1" "$2" peer)" "I am $3"
    check_eq "$2: itself on the same port" "$(value_of "$1" "$2" self)" "I am $2"
    check_eq "$2: on port 80 too" "$(value_of "$1" "$2" low)" "I am $2"
    check_eq "$2: the way out" "$(value_of "$1" "$2" outside)" "from outside"
    check_eq "$2: nothing else of the machine's loopback" "$(value_of "$1" "$2" loopback)" none
    check_has "$2: the service" "$(value_of "$1" "$2" service)" "HTTP/1.1 200"
    check_has "$2: an address in the pods' network" "$(value_of "$1" "$2" address)" "10."
    check_eq "$2: no way by IPv6" "$(value_of "$1" "$2" six)" 0
    check_has "$2: no raw packets" "$(value_of "$1" "$2" raw)" "not permitted"
    check_has "$2: no other address" "$(value_of "$1" "$2" spoof)" "not permitted"
}

start_all || exit 1
check "pods get networks" eventually 30 log_says "each pod has a network of its own"
((failures)) && exit 1
shown() { "$osmo" backend show default 2> /dev/null | grep -q "each pod has a network of its own: 10\."; }
check "backend show says so" eventually 20 shown
write_pair first
id=$(submit "$work/first.yaml")
follow "$id"
both_ready() { has_again "$id" one "I am two and from outside" && has_again "$id" two "I am one and from outside"; }
check "both tasks serve and see each other" eventually 40 both_ready
((failures)) && { cat "$work/$id.log"; exit 1; }
check_pair "$id" one two
check_pair "$id" two one
check_eq "two ports at the bridge" "$(ports)" 2

# ---- processes are killed ----
first_holder=$(holder)
stop_one "$backend_pid" KILL
start_backend
check "osmo-backend killed: pods go on" goes_on "$id" one "I am two and from outside"
said_twice() { (($(grep -c "each pod has" "$work/backend.log") == 2)); }
check "its holder is found again" eventually 20 said_twice
check_eq "and is the same" "$(holder)" "$first_holder"

kill -KILL "$(holder)"
check "holder killed: another takes its place" eventually 20 log_says "ended and was replaced"
check "it is another" test "$(holder)" != "$first_holder"
check "pods go on meanwhile" goes_on "$id" two "I am one and from outside"
check_eq "with the ports that were" "$(ports)" 2

if [[ $user_part ]]; then
    : > "$work/backend.log"
    pkill -KILL -P "$(holder)"
    check "helper killed: another takes its place" eventually 20 log_says "ended and was replaced"
    check "and the way out is there again" goes_on "$id" one "I am two and from outside"
fi

stop_one "$backend_pid" KILL
kill -KILL "$(holder)"
check "both killed: the holder is gone" eventually 10 ended "$(holder)"
start_backend
check "pods and the way out are found again" goes_on "$id" one "I am two and from outside"
write_pair second
second=$(submit "$work/second.yaml")
follow "$second"
seconds() { has_again "$second" one "I am two and from outside"; }
check "and new pods join them" eventually 40 seconds
check_eq "at one bridge" "$(ports)" 4

victim=$(supervisor_of "$second" one) # the lead
check "a supervisor is found" test -n "$victim"
kill -KILL "$victim"
is_over() { [[ $(status_of "$second") == FAILED* ]]; }
check "supervisor killed: its workflow fails" eventually 30 is_over
check "and its ports are gone" eventually 20 ports_are 2
check "the others go on" goes_on "$id" two "I am one and from outside"

# ---- another cluster beside it ----
if [[ -z $user_part ]]; then
    mkdir -m 700 "$work/other"
    "$bin/osmo-backend" --service "$url" --name other --cluster local --token-file "$work/data/admin-token" --state-dir "$work/other" \
        --pod-cidr 10.255.0.0/20 2> "$work/other.log" &
    other_pid=$!
    other_up() { grep -q "each pod has a network of its own: 10.255.0.0/20" "$work/other.log" 2> /dev/null; }
    check "another cluster" eventually 30 other_up
    check "has a table of its own" nft list table ip "$(name_here "$work/other")" > "$work/table"
    refused=$("$bin/osmo-backend" --service "$url" --name third --token-file "$work/data/admin-token" --state-dir "$work/third" \
        --network pod --pod-cidr "$outside.0/24" 2>&1); check_eq "a network that is taken: exit code" "$?" 1
    check_has "and is named" "$refused" "--pod-cidr $outside.0/24: this machine has a route there"
    other_name=$(name_here "$work/other")
    stop_one "$other_pid"; other_pid=
    check_eq "it leaves no table" "$(nft list table ip "$other_name" 2>&1 | grep -c "^table")" 0
    check "and the first goes on" goes_on "$id" one "I am two and from outside"
fi

# ---- the end ----
last=$(holder)
"$osmo" workflow cancel "$id" > /dev/null
"$osmo" workflow wait "$id" --timeout 60 > /dev/null 2>&1
check "no pods: no ports" eventually 20 ports_are 0
kill -TERM "$backend_pid"; wait "$backend_pid"; check_eq "osmo-backend ends" "$?" 0
backend_pid=
check "the holder ends with it" eventually 10 ended "$last"
here=$(name_here)
check_eq "no interface is left" "$(ip -o link show "$here" 2>/dev/null)" ""
[[ $user_part ]] || check_eq "no table is left" "$(nft list table ip "$here" 2>&1 | grep -c '^table')" 0
no_process() { ! pgrep -f "$work/backend" > /dev/null; }
check "no process is left" eventually 10 no_process

# ---- the network of the machine ----
if [[ -z $user_part ]]; then # both are killed for good: the last pod sees to the rest
    start_backend
    cat > "$work/last.yaml" <<'Y'
workflow: {name: last, tasks: [{name: t, image: debian, command: [sleep, '987665']}]}
Y
    last=$(submit "$work/last.yaml")
    sleeps() { pgrep -fx 'sleep 987665' > /dev/null; }
    check "the last pod" eventually 30 sleeps
    stop_one "$backend_pid" KILL
    kill -KILL "$(holder)"
    check "its network stays" nft list table ip "$here" > "$work/table"
    kill -QUIT "$(supervisor_of "$last" t)"
    no_table() { ! nft list table ip "$here" > /dev/null 2>&1; }
    check "and goes with it" eventually 20 no_table
    check "with its processes" eventually 10 no_process
fi
: > "$work/backend.log"
start_backend --network host
cat > "$work/host.yaml" <<Y
workflow:
  name: shared
  tasks:
  - {name: t, image: debian, command: [bash, -c, 'echo "loopback=\$(timeout 5 busybox wget -q -O - http://127.0.0.1:$loopback/) at \$POD_IP"']}
Y
shared=$(submit "$work/host.yaml")
"$osmo" workflow wait "$shared" --timeout 60 > /dev/null 2>&1
check_has "--network host" "$("$osmo" workflow logs "$shared")" "loopback=of the machine at 127."
check_eq "has no holder" "$(holder)" ""
stop_one "$backend_pid"; backend_pid=
[[ $user_part ]] && exit

# ---- nft is missing: told, and the machine's network ----
nft=$(command -v nft)
unshare -m bash -c "mount --bind /dev/null '$nft' && exec \"\$@\"" - "$bin/osmo-backend" --service "$url" --name default --cluster local \
    --token-file "$work/data/admin-token" --state-dir "$work/backend" 2>> "$work/backend.log" &
backend_pid=$!
check "without nft" eventually 30 log_says "pods share this machine's network: the program nft is missing: install the package nftables"
shared=$(submit "$work/host.yaml")
"$osmo" workflow wait "$shared" --timeout 60 > /dev/null 2>&1
check_has "pods run all the same" "$("$osmo" workflow logs "$shared")" "loopback=of the machine at 127."
stop_all

# ---- machines that are otherwise: each in a network namespace instead of one ----
machine() { # commands before osmo-backend
    : > "$work/backend.log"
    rm -rf "$work/backend" && mkdir -m 700 "$work/backend"
    unshare -n bash -c "ip link set lo up && echo 0 > /proc/sys/net/ipv4/ip_forward && $1 && exec \"\$@\"" - "$bin/osmo-backend" \
        --service http://127.0.0.1:9 --name default --cluster local --token-file "$work/data/admin-token" --state-dir "$work/backend" \
        2>> "$work/backend.log" &
    backend_pid=$!
    check "a machine: it starts" eventually 20 log_says "each pod has\|pods share"
}
there() { nsenter -t "$backend_pid" -n "$@"; }
machine true
check_eq "forwarding is switched on" "$(there cat /proc/sys/net/ipv4/ip_forward)" 1
check_has "for pods alone" "$(there nft list ruleset)" 'iifname != "osmo*" oifname != "osmo*" drop'
exec 8< "/proc/$backend_pid/ns/net"
stop_one "$backend_pid"; backend_pid=
check_eq "and off again" "$(nsenter --net=/proc/self/fd/8 cat /proc/sys/net/ipv4/ip_forward)" 0
check_eq "with no table" "$(nsenter --net=/proc/self/fd/8 nft list tables)" ""
check_eq "and no interface but lo" "$(nsenter --net=/proc/self/fd/8 ip -o link | grep -c osmo)" 0
exec 8<&-
if command -v slirp4netns > /dev/null && [[ -c /dev/net/tun ]]; then
    machine "nft add table ip filter && nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'"
    check "a firewall that forwards nothing: by a helper" log_says "by slirp4netns"
    check_eq "which leaves forwarding alone" "$(there cat /proc/sys/net/ipv4/ip_forward)" 0
    stop_one "$backend_pid"; backend_pid=
fi

# ---- without rights ----
for helper in slirp4netns pasta; do
    command -v "$helper" > /dev/null || { echo "no $helper here"; continue; }
    [[ -c /dev/net/tun ]] || { echo "no /dev/net/tun here"; break; }
    hidden=/dev/null
    [[ $helper == pasta ]] && hidden=$(command -v slirp4netns)
    mkdir -p "$work/tun" "$work/user" && chmod 777 "$work/user"
    unshare -m bash -c "mount -t tmpfs none '$work/tun' && mknod -m 666 '$work/tun/tun' c 10 200 && mount --bind '$work/tun/tun' /dev/net/tun || exit 1
        [[ '$hidden' == /dev/null || -z '$hidden' ]] || mount --bind /dev/null '$hidden'
        TMPDIR='$work/user' exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all bash '$root/tests/system/test_podnet.sh' $outside" \
        > "$work/$helper.log" 2>&1
    check_eq "everything again without rights, by $helper" "$?" 0
    ((failures)) && cat "$work/$helper.log"
    grep -h "each pod has\|^FAILED" "$work/$helper.log"
done
