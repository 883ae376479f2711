# TLS from end to end: client, backend and pods believe in one authority and in nobody else; certificates are swapped while it runs.
. "$(dirname "$0")/lib.sh"
command -v openssl > /dev/null || { echo "openssl is not installed"; trap - EXIT; rm -rf "$work"; exit 77; }
pki=$work/pki
mkdir -m 711 "$pki"
key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
authority() { openssl req -x509 "${key[@]}" -keyout "$pki/$1.key" -out "$pki/$1.pem" -days 30 -subj "/CN=$1" 2> /dev/null; }
certificate() { # name serial names [days, or a validity of the past]
    openssl req "${key[@]}" -keyout "$pki/$1.key" -out "$pki/$1.csr" -subj "/CN=$1" 2> /dev/null || return 1
    echo "subjectAltName=$3" > "$pki/$1.ext"
    : > "$pki/index.txt"
    echo "$2" > "$pki/serial"
    printf '[ca]\ndefault_ca=d\n[d]\ndatabase=%s/index.txt\nserial=%s/serial\nnew_certs_dir=%s\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n' \
        "$pki" "$pki" "$pki" > "$pki/ca.cnf"
    local -a when=(-days 30)
    [[ ${4-} != past ]] || when=(-startdate 20200101000000Z -enddate 20200201000000Z)
    openssl ca -batch -notext -config "$pki/ca.cnf" -cert "$pki/ca.pem" -keyfile "$pki/ca.key" "${when[@]}" -extfile "$pki/$1.ext" \
        -in "$pki/$1.csr" -out "$pki/$1.pem" 2> /dev/null
}
install_pair() { cp "$pki/$1.pem" "$pki/live.pem"; cp "$pki/$1.key" "$pki/live.key"; }
authority ca && authority other && certificate one 1001 "DNS:localhost,IP:127.0.0.1" && certificate two 2002 "DNS:localhost,IP:127.0.0.1" &&
    certificate elsewhere 3003 "DNS:osmo.example.com" && certificate old 4004 "DNS:localhost,IP:127.0.0.1" past || { echo "no certificates"; exit 1; }
shown() { openssl s_client -connect "127.0.0.1:$port" -CAfile "$pki/ca.pem" "$@" < /dev/null 2>&1; }
serial() { shown | openssl x509 -noout -serial 2>&1; }

install_pair one
start_service --tls-cert "$pki/live.pem" --tls-key "$pki/live.key" || exit 1
url=https://127.0.0.1:$port
check_has "the service says where it is" "$(< "$work/service.log")" "serving $url"

# ---- what is spoken ----
check_eq "the certificate" "$(serial)" "serial=1001"
check_has "it is verified" "$(shown)" "Verify return code: 0 (ok)"
check_has "TLS 1.3" "$(shown)" "TLSv1.3"
check_has "TLS 1.2" "$(shown -tls1_2)" "ECDHE"
check_has "nothing older" "$(shown -tls1_1 -cipher 'ALL:@SECLEVEL=0')" "alert"
check_has "no cipher without forward secrecy" "$(shown -tls1_2 -cipher AES128-GCM-SHA256)" "alert handshake failure"
check_eq "plain HTTP is not answered" "$(http_request GET /health "" 2> /dev/null | head -c 4)" ""
get_health() { # s_client ends with its input, which must not end before the answer is there
    coproc S { openssl s_client -quiet -noservername -CAfile "$pki/ca.pem" -verify_return_error -verify_quiet -connect "127.0.0.1:$port" 2> /dev/null; }
    local out=${S[0]}
    printf 'GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&"${S[1]}"
    cat <&"$out"
    wait
}
answer=$(get_health)
check_has "health" "$answer" '{"status":"OK"}'
check_has "browsers are told to stay with TLS" "$answer" "Strict-Transport-Security: max-age="

# ---- who is believed ----
say() { "$osmo" login "$1" --method token --token-file "$work/data/admin-token" 2>&1; }
check_has "the system's authorities do not know it" "$(say "$url")" "is not believed to be itself"
check_has "another authority neither" "$(SSL_CERT_FILE=$pki/other.pem say "$url")" "is not believed to be itself"
check_has "and the remedy is named" "$(SSL_CERT_FILE=$pki/other.pem say "$url")" "SSL_CERT_FILE"
check_has "a file that is not there" "$(SSL_CERT_FILE=$pki/none.pem say "$url")" "$pki/none.pem cannot be read"
check_has "plain HTTP to this port" "$(say "http://127.0.0.1:$port")" "if it speaks TLS, write https://"
export SSL_CERT_FILE=$pki/ca.pem
check "login by address" login
url=https://localhost:$port
check "login by name" login

# ---- a workflow, with its backend and pods ----
spec=$work/hello.yaml
cat > "$spec" <<'YAML'
workflow:
  name: over-tls
  tasks:
  - name: hello
    image: ubuntu:22.04
    command: [bash, -c, "echo hello over TLS; echo data > {{output}}/file"]
  - name: reader
    image: ubuntu:22.04
    command: [bash, -c, "cat {{input:0}}/file && echo read over TLS"]
    inputs:
    - task: hello
YAML
start_backend
id=$(submit "$spec")
completed() { [[ $(status_of "$1") == COMPLETED ]]; }
check "a workflow completes" eventually 60 completed "$id"
check_has "with its log" "$("$osmo" workflow logs "$id" 2>&1)" "hello over TLS"
check_has "and its data" "$("$osmo" workflow logs "$id" 2>&1)" "read over TLS"
stop_one "$backend_pid"; backend_pid=
SSL_CERT_FILE=$pki/other.pem start_backend
distrusts() { grep -q "TLS with .* failed: \|is not believed to be itself" "$work/backend.log"; }
check "a backend that believes somebody else does not connect" eventually 20 distrusts
stop_one "$backend_pid"; backend_pid=

# ---- another certificate, without a pause ----
"$osmo" workflow logs "$id" > /dev/null
follow=$work/follow.log
sed 's/echo hello.*/sleep 6; echo after the swap"]/' "$spec" | sed '/- name: reader/,$d' > "$work/slow.yaml"
start_backend
slow=$(submit "$work/slow.yaml")
running() { [[ $(status_of "$1") == RUNNING ]]; }
check "a slow one runs" eventually 60 running "$slow"
"$osmo" workflow logs "$slow" > "$follow" 2>&1 &
follow_pid=$!
install_pair two
kill -HUP "$service_pid"
renewed() { [[ $(serial) == "serial=2002" ]]; }
check "SIGHUP serves the new certificate" eventually 10 renewed
check "the workflow goes on" eventually 60 completed "$slow"
wait "$follow_pid"
check_has "and so does who followed it" "$(< "$follow")" "after the swap"
check_eq "over the connections that were open" "$(cat "$work/backend.log" "$follow" | grep -c "connection .*lost\|cannot connect")" 0
cp "$pki/one.pem" "$pki/live.pem" # a key of another certificate
kill -HUP "$service_pid"
told() { grep -q "$1" "$work/service.log"; }
check "a bad pair is an error line" eventually 10 told "certificate was not reloaded, the old one stays: the key in .* is not the one of the certificate"
check_eq "and the old one stays" "$(serial)" "serial=2002"
install_pair old
kill -HUP "$service_pid"
check "one that has expired too" eventually 10 told "has expired"
check_eq "and the old one stays again" "$(serial)" "serial=2002"
install_pair elsewhere
kill -HUP "$service_pid"
elsewhere() { [[ $(serial) == "serial=3003" ]]; }
check "a certificate of another host is served" eventually 10 elsewhere
check_has "and refused by clients" "$(say "$url")" "is not believed to be itself"
stop_all

# ---- from the start ----
install_pair old
start_service --tls-cert "$pki/live.pem" --tls-key "$pki/live.key" || exit 1
check_has "an expired certificate is an error line" "$(< "$work/service.log")" "has expired: no client accepts it"
url=https://127.0.0.1:$port
check_has "and refused by clients" "$(say "$url")" "expired"
stop_all
certificate six 6006 "IP:::1" && install_pair six
if start_service --listen "[::1]:0" --tls-cert "$pki/live.pem" --tls-key "$pki/live.key"; then # the last --listen counts
    url=https://[::1]:$port
    check "login by an address in brackets" login
    connections() { grep -c "backend default has " "$work/service.log"; }
    connected() { [[ $(connections) -gt $1 ]]; }
    before=$(connections)
    start_backend
    check "and a backend" eventually 20 connected "$before"
    stop_all
fi
wrong() { "$bin/osmo-service" --listen 127.0.0.1:0 --data-dir "$work/data" "$@" 2>&1; }
check_has "a certificate without a key" "$(wrong --tls-cert "$pki/one.pem")" "--tls-cert and --tls-key belong together"
check_has "a key of another one" "$(wrong --tls-cert "$pki/one.pem" --tls-key "$pki/two.key")" "is not the one of the certificate"
check_has "no file" "$(wrong --tls-cert "$pki/none.pem" --tls-key "$pki/two.key")" "the certificate cannot be read"
check_has "no key in it" "$(wrong --tls-cert "$pki/one.pem" --tls-key "$pki/one.pem")" "there is no PEM private key in"
