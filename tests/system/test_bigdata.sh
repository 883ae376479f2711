# What tasks hand on: 10,000 small files and one of 200 MB arrive unchanged; strange names too; a symlink is followed inside the task's data only.
. "$(dirname "$0")/lib.sh"
start_all || exit 1
run() { # spec name
    local id
    id=$(submit "$work/$1.yaml")
    "$osmo" workflow wait "$id" --timeout 400 --quiet > "$work/wait.out"
    check_eq "$1 ends" "$(tail -n 1 "$work/wait.out")" "Status: COMPLETED"
    "$osmo" workflow logs "$id" > "$work/$1.log"
}
sum_of() { sed -n "s/^.*\[$2\] sum \([0-9a-f]*\) .*$/\1/p" "$work/$1.log"; }

cat > "$work/many.yaml" <<'Y'
workflow:
  name: many
  tasks:
  - name: maker
    image: debian
    command: [sh, -c, 'cd {{output}} && for d in 0 1 2 3 4 5 6 7 8 9; do mkdir d$d; done && seq 1 10000 | awk ''{ f = "d" $1 % 10 "/file" $1; print $1 > f; close(f) }'' &&
      head -c 200000000 /dev/urandom > big && echo files $(find . -type f | wc -l) &&
      echo sum $(find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum)']
  - name: taker
    image: debian
    command: [sh, -c, 'cd {{input:0}} && echo files $(find . -type f | wc -l) && echo sum $(find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum)']
    inputs: [{task: maker}]
Y
run many
check_has "10,001 files were made" "$(< "$work/many.log")" "[maker] files 10001"
check_has "10,001 files arrived" "$(< "$work/many.log")" "[taker] files 10001"
check_eq "unchanged" "$(sum_of many taker)" "$(sum_of many maker)"
check "checksums were printed" test -n "$(sum_of many maker)"

cat > "$work/names.yaml" <<'Y'
workflow:
  name: names
  tasks:
  - name: maker
    image: debian
    command: [bash, -c, 'cd {{output}} && umask 022 && long=$(printf "%255s" "" | tr " " n) && mkdir -p "a dir/%41" .hidden &&
      for f in "with space" "100%" "%2F" "ü-ö-€-😀" "quote''s\"" "back\\slash" "a?b#c&d=e+f" "x" "x.osmo-part" "-dash" ".hidden/.file" "a dir/%41/deep" "$long" "*"; do echo "content of $f" > "$f"; done && : > empty && printf "#!/bin/sh\necho ran\n" > run.sh &&
      chmod 755 run.sh && ln -s x link-inside && ln -s {{output}}/x link-absolute && ln -s /etc/hostname link-outside && ln -s nowhere link-dangling &&
      echo sum $(find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum -- | sha256sum)']
  - name: taker
    image: debian
    command: [bash, -c, 'cd {{input:0}} && echo $(cat link-inside) / $(cat link-absolute) / $(./run.sh); ls; rm -f link-inside link-absolute;
      echo sum $(find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum -- | sha256sum)']
    inputs: [{task: maker}]
Y
run names
check_eq "strange names arrive unchanged" "$(sum_of names taker)" "$(sum_of names maker)"
check "checksums were printed" test -n "$(sum_of names maker)"
check_has "links inside the output are followed" "$(< "$work/names.log")" "content of x / content of x / ran"
check_has "a link that leads elsewhere is left out and named" "$(< "$work/names.log")" "link-outside"
check_eq "and does not arrive" "$(grep -c '\[taker\] link-outside' "$work/names.log")" 0
