#!/usr/bin/env bash
# Files to and from storage, against curl and (where it is installed) rclone: one run, the same server, the same files, medians of RUNS rounds in
# turn. The server (storage_peer) checks nothing and keeps objects in memory (/dev/shm): what is measured is the clients. curl computes no
# checksums; -Z is its own loop over many connections in one thread. rclone and we sign and sum what is sent.
set -u
bin=${OSMO_BUILD:?} rounds=${OSMO_BENCH_ROUNDS:-5} size=${OSMO_BENCH_MIB:-512} files=${OSMO_BENCH_FILES:-2000}
rclone=${RCLONE:-rclone}
work=$(mktemp -d) store=$(mktemp -d -p /dev/shm)
coproc peer { exec "$bin/tests/bench/storage_peer" "$store"; }
trap 'exec {peer[1]}>&-; rm -rf "$work" "$store"' EXIT
read -r port <&"${peer[0]}"
url=http://127.0.0.1:$port
mkdir -p "$work"/{large,small,out}
head -c "$((size << 20))" /dev/urandom > "$work/large/file"
for ((i = 0; i < files; i++)); do head -c 16384 /dev/urandom > "$work/small/f$i"; done
for ((i = 0; i < files; i++)); do printf 'next\nurl = %s/bucket/small/f%d\noutput = %s/out/f%d\nsilent\n' "$url" "$i" "$work" "$i"; done | sed 1d > "$work/get"
for ((i = 0; i < files; i++)); do printf 'next\nurl = %s/bucket/curl/f%d\nupload-file = %s/small/f%d\noutput = /dev/null\nsilent\n' "$url" "$i" "$work" "$i"; done | sed 1d > "$work/put"
export RCLONE_CONFIG=/dev/null RCLONE_CONFIG_P_TYPE=s3 RCLONE_CONFIG_P_PROVIDER=Other RCLONE_CONFIG_P_ENDPOINT=$url RCLONE_CONFIG_P_ACCESS_KEY_ID=bench \
    RCLONE_CONFIG_P_SECRET_ACCESS_KEY=bench RCLONE_S3_CHUNK_SIZE=16M RCLONE_S3_UPLOAD_CUTOFF=64M RCLONE_S3_UPLOAD_CONCURRENCY=16 \
    RCLONE_TRANSFERS=16 RCLONE_CHECKERS=16 RCLONE_S3_NO_CHECK_BUCKET=true RCLONE_MULTI_THREAD_STREAMS=16 RCLONE_LOG_LEVEL=ERROR
unset AWS_CA_BUNDLE # which it cannot use
have_rclone=
command -v "$rclone" > /dev/null 2>&1 && have_rclone=1
# seconds, processor seconds, peak memory in kB of a command
timed() { local t; t=$( { /usr/bin/env time -f '%e %U %S %M' "$@" > /dev/null; } 2>&1 | tail -n 1); awk '{ printf "%s %.2f %s\n", $1, $2 + $3, $4 }' <<< "$t"; }
ours() { "$bin/tests/bench/transfer" "$@"; }
fresh() { rm -rf "$work/out"; mkdir "$work/out"; }
declare -A results
note() { results[$1]+="$2"$'\n'; }
median() { awk '{ print $'"$2"' }' <<< "${results[$1]%$'\n'}" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
for ((round = 0; round < rounds; round++)); do
    note large-up-ours "$(ours up "$url" s3://bucket/large "$work/large/*")"
    note large-up-curl "$(timed curl -sf -T "$work/large/file" "$url/bucket/curl/file")"
    [[ -z $have_rclone ]] || note large-up-rclone "$(timed "$rclone" copy --no-check-dest "$work/large" P:bucket/rclone)"
    fresh; note large-down-ours "$(ours down "$url" s3://bucket/large "$work/out")"
    fresh; note large-down-curl "$(timed curl -sf -o "$work/out/file" "$url/bucket/large/file")"
    [[ -z $have_rclone ]] || { fresh; note large-down-rclone "$(timed "$rclone" copy P:bucket/large "$work/out")"; }
    note small-up-ours "$(ours up "$url" s3://bucket/small "$work/small/*")"
    note small-up-curl "$(timed curl -Z --parallel-max 16 -K "$work/put")"
    [[ -z $have_rclone ]] || note small-up-rclone "$(timed "$rclone" copy --no-check-dest "$work/small" P:bucket/rclone-small)"
    fresh; note small-down-ours "$(ours down "$url" s3://bucket/small "$work/out")"
    fresh; note small-down-curl "$(timed curl -Z --parallel-max 16 -K "$work/get")"
    [[ -z $have_rclone ]] || { fresh; note small-down-rclone "$(timed "$rclone" copy P:bucket/small "$work/out")"; }
    cmp -s "$store/bucket!large!file" "$work/large/file" || { echo "the upload is damaged"; exit 1; }
done
printf '%-36s %-8s %10s %10s %10s %12s\n' "" client seconds cpu "memory MB" "ours faster"
for what in large-up large-down small-up small-down; do
    case $what in large*) words="1 x $size MiB" ;; *) words="$files x 16 KiB" ;; esac
    base=$(median "$what-ours" 1)
    for client in ours curl rclone; do
        [[ -n ${results[$what-$client]-} ]] || continue
        seconds=$(median "$what-$client" 1)
        printf '%-36s %-8s %10s %10s %10s %11sx\n' "${what#*-}load $words" "$client" "$seconds" "$(median "$what-$client" 2)" \
            "$(awk -v k="$(median "$what-$client" 3)" 'BEGIN { printf "%.0f", k / 1024 }')" "$(awk -v a="$seconds" -v b="$base" 'BEGIN { printf "%.2f", a / b }')"
    done
done
