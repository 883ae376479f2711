# What requests cost: an open route against protected ones, 64 connections to one port of one service.
. "$(dirname "$0")/../system/lib.sh"
seconds=${OSMO_BENCH_SECONDS:-3} connections=${OSMO_BENCH_CONNECTIONS:-64}
start_service && login || exit 1
token=$(sed -n 's/^ *id_token: *//p' "$OSMO_CONFIG_FILE_DIR/login.yaml")
row() { printf '%-44s %s\n' "$1" "$("$bin/tests/bench/http" "$port" "$2" "$seconds" "$connections" ${3+"$3"})"; }
row "open: /api/version" /api/version
row "protected: /api/plugins/configs" /api/plugins/configs "$token"
row "protected, reads the store: /api/pool" /api/pool "$token"
