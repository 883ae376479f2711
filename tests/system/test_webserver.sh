# osmo workflow webserver: the address, and what comes back from it, over a plain HTTP client.
. "$(dirname "$0")/lib.sh"
start_all || exit 1
cat > "$work/s.yaml" <<'Y'
workflow:
  name: web
  tasks:
  - name: server
    image: debian
    command: [perl, /tmp/serve.pl]
    files:
    - path: /tmp/serve.pl
      contents: |
        use strict; use IO::Socket::INET;
        $SIG{CHLD} = 'IGNORE';
        my $l = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 8080, Listen => 64, ReuseAddr => 1) or die $!;
        $| = 1; print "serves\n";
        while (my $c = $l->accept) {
            next if fork;
            my $head = "";
            while ($head !~ /\r\n\r\n/) { sysread($c, $head, 4096, length $head) or exit }
            my ($length) = $head =~ /Content-Length: (\d+)/i;
            my $body = $head =~ /\r\n\r\n(.*)/s ? $1 : "";
            while (length $body < ($length // 0)) { sysread($c, $body, 65536, length $body) or exit }
            my ($path) = $head =~ /^\S+ (\S+)/;
            my $text = "path $path body " . length($body) . "\n";
            $text = "x" x 5000000 if $path eq "/large";
            print $c "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: " . length($text) . "\r\nConnection: close\r\n\r\n$text";
            exit;
        }
Y
id=$(submit "$work/s.yaml")
running() { [[ $(status_of "$id") == RUNNING ]]; }
check "it runs" eventually 60 running
serves() { timeout 5 "$osmo" workflow logs "$id" 2>&1 | grep -q serves; }
check "it serves" eventually 60 serves
out=$("$osmo" workflow webserver "$id" server --port 8080); check_eq "webserver exits 0" "$?" 0
address=$(head -n 1 <<< "$out")
check "it prints an address ($address)" test "${address#http://webserver-}" != "$address"
host=${address#http://}
host=${host%/}
ask() { # path, method, body
    exec 9<> "/dev/tcp/127.0.0.1/$port" || return 1
    printf '%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' "${2-GET}" "$1" "$host" "${#3}" "${3-}" >&9
    timeout 20 cat <&9
    exec 9>&-
}
got=$(ask "/a%2Fb?c=d" GET "")
check_has "a page, and its path as it was asked for" "$got" "path /a%2Fb?c=d body 0"
check_eq "both cookies" "$(grep -ci '^set-cookie:' <<< "$got")" 2
check_has "a body" "$(ask /post POST "$(printf '%.0sy' {1..20000})")" "path /post body 20000"
check_eq "five megabytes" "$(ask /large GET "" | tail -c +1 | tr -cd x | wc -c)" 5000000
for i in {1..10}; do ask "/$i" GET "" > "$work/page.$i" & pids[i]=$!; done
wait "${pids[@]}"
check_eq "ten at once" "$(cat "$work"/page.* | grep -c '^path')" 10
host=webserver-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.localhost
check "another key opens nothing" grep -q "^HTTP/1.1 4" <<< "$(ask / GET "")"
"$osmo" workflow webserver "$id" server > "$work/out" 2>&1; check_eq "no port" "$?" 2
"$osmo" workflow webserver "$id" nobody --port 1 > "$work/out" 2>&1; check_eq "no such task" "$?" 2
check_has "as JSON" "$("$osmo" workflow webserver "$id" server --port 8080 -t json)" '"url": "http'
"$osmo" workflow cancel "$id" > /dev/null
check_eq "too late" "$("$osmo" workflow webserver "$id" server --port 8080 > /dev/null 2>&1; echo $?)" 2
