# The examples (and tutorial specs, see specs.sh) on a private PostgreSQL server.
. "$(dirname "$0")/lib.sh"
. "$root/tests/system/specs.sh"
database=$("$root/tests/pgsql-server" start "$work/pgsql") || { fail "a private PostgreSQL"; exit 1; }
run_specs
"$root/tests/pgsql-server" stop "$work/pgsql"
