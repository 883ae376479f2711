# osmo data, without a service: over directories as storage. What is done, what is said, what is left; tests/data/ is the same over servers.
. "$(dirname "$0")/lib.sh"
mkdir -p "$work/source/deep/er" "$work/store"
store=file://$work/store
printf one > "$work/source/one.txt"
printf two > "$work/source/deep/two.txt"
printf three > "$work/source/deep/er/three.bin"
: > "$work/source/empty"
tree() { (cd "$1" && find . -type f | LC_ALL=C sort | tr '\n' ' '); }

out=$("$osmo" data --help); check_has "help" "$out" "upload"
out=$("$osmo" data 2>&1); check_eq "a command is needed" "$?" 2
for c in upload download list delete check; do "$osmo" data $c --help > /dev/null; check_eq "help of $c" "$?" 0; done

out=$("$osmo" data upload "$store/all" "$work/source/*" 2>&1); check_eq "upload: $out" "$?" 0
check_has "it is counted" "$out" "Uploaded 4 files, 11 B"
check_eq "what is in the directory" "$(tree "$work/store/all")" "./deep/er/three.bin ./deep/two.txt ./empty ./one.txt "
out=$("$osmo" data upload "$store/named" "$work/source" -x 'source/deep/.*t$' 2>&1); check_eq "the directory, by regex: $out" "$?" 0
check_eq "with its name" "$(tree "$work/store/named")" "./source/deep/two.txt "
out=$("$osmo" data upload "$store/none" "$work/missing" 2>&1); check_eq "a file that is missing" "$?" 2
check_has "is named" "$out" "$work/missing"
out=$("$osmo" data upload "$store/none" "$work/source" -x '(' 2>&1); check_eq "a regex that is none" "$?" 2
out=$("$osmo" data upload nowhere/x "$work/source" 2>&1); check_eq "an address that is none" "$?" 2
check_has "is named" "$out" "nowhere/x"

out=$("$osmo" data download "$store/all" "$work/target" -b "$work/bench" -T 3 -p 2 2>&1); check_eq "download: $out" "$?" 0
check "as it was" diff -r "$work/source" "$work/target"
check_has "the benchmark" "$(cat "$work"/bench/download_objects_*.json)" '"total_number_of_files": 4'
out=$("$osmo" data download "$store/all/deep/two.txt" "$work/single" 2>&1); check_eq "one object" "$(tree "$work/single")" "./two.txt "
out=$("$osmo" data download "$store/not/there" "$work/empty" 2>&1); check_eq "nothing there: $out" "$?" 0
check_has "is said" "$out" "Downloaded 0 files"

out=$("$osmo" data list "$store/all" -r -t json 2>&1); check_eq "list" "$?" 0
check_eq "every one" "$(grep -c '"key"' <<< "$out")" 4
out=$("$osmo" data list "$store/all" --prefix deep/t "$work/list" 2>&1); check_eq "into a file: $out" "$?" 0
check_has "what begins with it" "$(< "$work/list")" "two.txt"
check_eq "nothing else" "$(wc -l < "$work/list")" 1
out=$("$osmo" data list "$store/all" "$work/no/such/dir/list" 2>&1); check_eq "a file that cannot be written: $out" "$?" 2
out=$("$osmo" data list "$store/all" -r > /dev/full 2> /dev/null); check_eq "no room for the list" "$?" 2

check_has "may it be read" "$("$osmo" data check "$store/all")" '"status":"pass"'
out=$("$osmo" data check s3://bucket/x -a WRITE OOPS 2>&1); check_eq "too many words" "$?" 2
out=$(OSMO_SKIP_DATA_AUTH=1 "$osmo" data check s3://bucket/x -a WRITE); check_has "not asked" "$out" pass
out=$(AWS_ACCESS_KEY_ID=half "$osmo" data list s3://bucket 2>&1); check_eq "half a key: $out" "$?" 2
out=$(OSMO_S3_ADDRESSING_STYLE=sideways "$osmo" data list s3://bucket 2>&1); check_eq "a style that is none: $out" "$?" 2
out=$("$osmo" data list s3://bucket -c "$work/no.yaml" 2>&1); check_eq "credentials that are missing: $out" "$?" 2
echo 'auth: {data: {"s3://bucket": {access_key_id: who, access_key: very-secret-key, override_url: "http://127.0.0.1:9"}}}' > "$work/c.yaml"
out=$("$osmo" data list s3://bucket -c "$work/c.yaml" --retry-for 1 2>&1); check_eq "storage that is away: $out" "$?" 10
[[ $out != *very-secret-key* ]]; check_eq "no secret is told" "$?" 0

out=$("$osmo" data delete "$store/all" -x '.*[.]bin$' 2>&1); check_eq "delete: $out" "$?" 0
check_eq "what matches" "$(tree "$work/store/all")" "./deep/two.txt ./empty ./one.txt "
out=$("$osmo" data delete "$store/all" 2>&1); check_eq "everything below: $out" "$?" 0
check_eq "is gone" "$(find "$work/store/all" -type f 2> /dev/null | wc -l)" 0
check_eq "nothing else" "$(tree "$work/store/named")" "./source/deep/two.txt "
