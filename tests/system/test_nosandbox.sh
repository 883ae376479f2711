# --no-sandbox: plain processes, /osmo and /tmp rewritten into the pod's directory; files elsewhere are refused clearly.
. "$(dirname "$0")/lib.sh"
start_all --no-sandbox || exit 1
out=$("$osmo" workflow submit "$root/examples/hello_world.yaml" --follow 2>&1); check_eq "hello_world" "$?" 0
cat > "$work/plain.yaml" <<'Y'
workflow:
  name: plain
  tasks:
  - name: make
    image: debian
    command: [sh, /tmp/run.sh]
    files:
    - {path: /tmp/run.sh, contents: "echo made > {{output}}/f\nls /tmp/run.sh\n"}
  - name: use
    image: debian
    command: [sh, -c, 'cat {{input:0}}/f']
    inputs: [{task: make}]
Y
out=$("$osmo" workflow submit "$work/plain.yaml" --follow 2>&1); check_eq "data passes" "$?" 0
check_has "the text arrived" "$out" "[use] made"
[[ ! -e /tmp/run.sh ]]; check_eq "nothing was left in /tmp" "$?" 0
cat > "$work/elsewhere.yaml" <<'Y'
workflow:
  name: elsewhere
  tasks:
  - name: t
    image: debian
    command: [cat, /opt/osmo-test/x]
    files: [{path: /opt/osmo-test/x, contents: "x"}]
Y
out=$("$osmo" workflow submit "$work/elsewhere.yaml" --follow 2>&1); check_eq "a file elsewhere is refused" "$?" 20
check_has "and named" "$out" "/opt/osmo-test/x"
