# The examples (and tutorial specs, see specs.sh) on SQLite.
. "$(dirname "$0")/lib.sh"
. "$root/tests/system/specs.sh"
run_specs
