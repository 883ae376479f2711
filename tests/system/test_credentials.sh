# Credentials from the command line to a task: as variables and as files, by value only where they are needed. Values are compared by their
# hashes; none of them is in the database, the logs, the events, the specification, the history or the audit log.
. "$(dirname "$0")/lib.sh"
secret=v4lue-$RANDOM$RANDOM-of-a-credential
file_secret="line one $RANDOM$RANDOM
line two $RANDOM$RANDOM
"
hash_of() { printf %s "$1" | sha256sum | cut -d' ' -f1; }
# the storage of these is nowhere
echo 'workflow: {credential_config: {disable_data_validation: [s3]}}' > "$work/osmo.yaml"
start_service --config "$work/osmo.yaml" && login && start_backend || exit 1
"$osmo" credential set --help > /dev/null; check_eq "help" "$?" 0

# ---- set: on the line, from the input, from a file
out=$("$osmo" credential set api --payload "user=alice" "pass=$secret" 2>&1); check_eq "set a generic one: $out" "$?" 0
printf %s "$file_secret" > "$work/value"
out=$(printf '%s\n' "typed-$secret" | "$osmo" credential set keys --payload typed --payload-file "whole=$work/value" 2>&1)
check_eq "set from input and file: $out" "$?" 0
out=$("$osmo" credential set lab --type DATA --payload endpoint=s3://lab/ access_key_id=me "access_key=data-$secret" region=eu 2>&1)
check_eq "set one for storage: $out" "$?" 0
check_eq "its copy is private" "$(stat -c %a "$OSMO_CONFIG_FILE_DIR/config.yaml")" 600
check_has "its copy has the key" "$(< "$OSMO_CONFIG_FILE_DIR/config.yaml")" "access_key: data-$secret"
out=$("$osmo" credential set bad --type DATA --payload endpoint=s3://x 2>&1); check_eq "one without its keys is refused" "$?" 2
check_has "and told" "$out" "access_key_id"
out=$("$osmo" credential set bad --type REGISTRY --payload auth=x pass=y 2>&1); check_eq "an unknown key is refused" "$?" 2
out=$("$osmo" credential set 1bad --payload a=b 2>&1); check_eq "a bad name is refused" "$?" 2
out=$("$osmo" credential set reg --type REGISTRY --payload registry=localhost:1 "auth=reg-$secret" 2>&1)
check_eq "a registry that does not answer is refused" "$?" 2
check_has "and told" "$out" "registry localhost:1"

# ---- list
out=$("$osmo" credential list)
check_has "list: storage" "$out" "lab    DATA      s3://lab   Yes"
check_has "list: generic" "$out" "api    GENERIC   -          N/A"
out=$("$osmo" credential -t json list); check_has "list as JSON" "$out" '"cred_name": "lab"'

# ---- use
cat > "$work/use.yaml" <<'SPEC'
workflow:
  name: use
  tasks:
  - name: t
    image: ubuntu:24.04
    command: [sh, -c]
    args:
    - |
      h() { sha256sum | cut -d' ' -f1; }
      echo "env $(printf %s "$API_PASS" | h) $API_USER"
      echo "typed $(h < /secrets/typed) whole $(h < /secrets/whole) $(ls /secrets | tr '\n' ' ')"
      echo "printed: $API_PASS"
      echo "encoded: $(printf %s "$API_PASS" | base64 -w0)"
      cat /secrets/whole
      test -w /secrets/whole && echo writable
      echo "error: $API_PASS" >&2
      exit 3
    credentials: {api: {API_PASS: pass, API_USER: user}, keys: /secrets}
SPEC
id=$(submit "$work/use.yaml")
"$osmo" workflow wait "$id" > /dev/null 2>&1
check_eq "it ran and failed as it was told" "$(status_of "$id")" FAILED
log=$("$osmo" workflow logs "$id")
check_has "as a variable" "$log" "env $(hash_of "$secret") alice"
check_has "as files" "$log" "typed $(hash_of "typed-$secret") whole $(hash_of "$file_secret") typed whole"
check_has "what is printed is masked" "$log" "printed: [MASKED]"
check_has "in base64 too" "$log" "encoded: [MASKED]"

# ---- what nobody has: a task that names it is refused, before and after
sed 's/API_PASS: pass/API_PASS: nothing/' "$work/use.yaml" > "$work/key.yaml"
out=$("$osmo" workflow submit "$work/key.yaml" 2>&1); check_eq "an unknown key is refused" "$?" 1
check_has "and named" "$out" "nothing"
sed 's/keys: /other: /' "$work/use.yaml" > "$work/name.yaml"
out=$("$osmo" workflow submit "$work/name.yaml" 2>&1); check_eq "an unknown credential is refused" "$?" 1
check_has "with the remedy" "$out" "osmo credential set other"

sed 's|ubuntu:24.04|localhost:1/nobody/answers|' "$work/use.yaml" > "$work/image.yaml"
out=$("$osmo" workflow validate "$work/image.yaml" 2>&1); check_eq "no registry is asked for a backend that pulls nothing" "$?" 0
check_eq "without a word" "$(grep -c WARNING <<< "$out")" 0

# ---- replaced and deleted
"$osmo" credential set api --payload "user=bob" "pass=new-$secret" > /dev/null
id2=$(submit "$work/use.yaml")
"$osmo" workflow wait "$id2" > /dev/null 2>&1
check_has "the new value counts" "$("$osmo" workflow logs "$id2")" "env $(hash_of "new-$secret") bob"
"$osmo" credential delete lab > /dev/null; check_eq "delete" "$?" 0
[[ $(< "$OSMO_CONFIG_FILE_DIR/config.yaml") != *data-* ]]; check_eq "its copy is gone" "$?" 0
"$osmo" credential delete lab > /dev/null 2>&1; check_eq "delete it again" "$?" 2

# ---- nowhere in the clear
{
    echo "$log"
    "$osmo" workflow spec "$id"; "$osmo" workflow query "$id" -t json; "$osmo" workflow events "$id"; "$osmo" workflow explain "$id"
    "$osmo" workflow logs "$id" --error; "$osmo" workflow logs "$id" -t t; "$osmo" workflow list -t json; "$osmo" task list -a -t json
    api GET /api/credentials
} > "$work/told" 2>&1
cleaned() { ! grep -raqF -e "$secret" "$work/backend"; }
check "nor has the backend, once the groups are cleaned up" eventually 60 cleaned
stop_all
for needle in "$secret" "line one ${file_secret:9:6}" "$(printf %s "$secret" | base64 -w0)"; do
    found=$(grep -raFl -e "$needle" "$work/data" "$work/service.log" "$work/backend.log" "$work/told" "$work/login.log")
    check_eq "a value is in no file of the service: ${needle:0:4}…" "$found" ""
done
