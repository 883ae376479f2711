# The examples and the tutorial specs on SQLite.
. "$(dirname "$0")/lib.sh"
. "$root/tests/system/specs.sh"
run_specs
