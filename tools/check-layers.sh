#!/usr/bin/env bash
# Who may include whom (ARCHITECTURE.md): a file includes its own folder and lower strata, never upward, and one file alone
# names each foreign library. Exit 1 with a line per violation.
cd "${top_srcdir:-$(dirname "$0")/..}" || exit 1
declare -A may=(
    [base]="base" [model]="base model" [data]="base model data" [store]="base model store"
    [engine]="base model data store engine" [api]="base model data store engine api" [server]="base model data store engine api server"
    [client]="base model client" [backend]="base model cluster operator" [runtime]="base model data runtime"
)
bad=0
complain() { echo "$1"; bad=1; }
stratum() {
    case $1 in
    libosmo-core/include/*) echo public ;;
    libosmo-core/*) local rest=${1#libosmo-core/}; echo "${rest%%/*}" ;;
    libosmo-backend/include/*) echo public ;;
    libosmo-backend/*) echo backend ;;
    daemons/osmo-ctrl/* | daemons/osmo-exec/* | daemons/osmo-init/* | daemons/osmo-pod-supervisor/*) echo runtime ;;
    *) echo "" ;;
    esac
}
while IFS= read -r file; do
    layer=$(stratum "$file")
    [[ -n $layer && $layer != public ]] || continue
    while IFS= read -r inc; do
        dir=${inc%%/*}
        [[ $inc == */* && -n ${may[$dir]+x} || $dir == cluster || $dir == operator ]] || continue
        [[ " ${may[$layer]} " == *" $dir "* ]] || complain "$file: $layer/ may not include $inc"
    done < <(sed -n 's/^[[:space:]]*#[[:space:]]*include "\([^"]*\)".*/\1/p' "$file")
done < <(find libosmo-core libosmo-backend daemons -name '*.[ch]' | sort)

only() { # header pattern, files allowed (regex)
    local hits
    hits=$(grep -rlE "#[[:space:]]*include <($1)" libosmo-core libosmo-backend daemons cli --include='*.[ch]' | grep -vE "^($2)$")
    [[ -z $hits ]] || complain "only $2 may include <$1>: $hits"
}
only 'json-c/|json\.h' 'libosmo-core/base/json\.c'
only 'yaml\.h' 'libosmo-core/base/yaml\.c'
only 'pcre2\.h' 'libosmo-core/base/re\.c'
only 'openssl/' 'libosmo-core/base/crypto(_seal|_jwk|_tls|_digest)?\.c'
only 'curl/' 'libosmo-core/base/http[a-z_]*\.c'
only 'sqlite3\.h' 'libosmo-core/store/sqlite\.c'
only 'zstd\.h' 'libosmo-core/store/compress\.c'
only 'libpq-fe\.h' 'libosmo-core/store/pgsql\.c'
only 'libwebsockets\.h' 'libosmo-core/(server/net[a-z_]*\.[ch]|base/ws_client_loop\.[ch])'
# model/ is pure: no clock, thread, socket, file or randomness headers
hits=$(grep -nE '#[[:space:]]*include <(pthread|sys/socket|netinet/.*|fcntl|sys/stat|unistd|time|sys/time|sys/random)\.h>' libosmo-core/model/*.[ch])
[[ -z $hits ]] || complain "model/ is pure: $hits"
hits=$(grep -nE '\b(clock_now_us|clock_mono_us|crypto_random[a-z0-9_]*|file_read|fopen|rand|time)\(' libosmo-core/model/*.[ch] | grep -vE '^[^:]+:[0-9]+: ?\*|/\*')
[[ -z $hits ]] || complain "model/ is pure: $hits"
exit $bad
