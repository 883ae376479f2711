#!/usr/bin/env bash
# The programs of pods for arm64: cross compiled, and run here by qemu. The osmo_exec of that build passes the test of its protocol, the others
# start with the libraries that were fetched for them. Needs the network and two minutes: a part of ./run-tests --soak.
. "$(dirname "$0")/lib.sh"
trap 'rm -rf "$work"' EXIT
for program in aarch64-linux-gnu-gcc qemu-aarch64-static; do
    command -v $program > /dev/null || { echo "there is no $program here: packages_cross of tools/packages.sh"; exit 77; }
done
cross=$bin/cross-arm64
check "arm64 is built" "$root/tools/cross-build.sh" arm64 "$cross"
version=$(sed -nE 's/^AC_INIT\(\[[^]]*\], \[([^]]*)\].*/\1/p' "$root/configure.ac")
run() { qemu-aarch64-static -L "$cross/root" "$@" 2>&1; }
check_has "osmo_exec runs" "$(run "$cross/bin/osmo_exec")" "-commands and -socketPath are needed"
check_has "osmo_ctrl runs" "$(run "$cross/bin/osmo_ctrl")" "-workflow, -logSource and -socketPath are needed"
check_has "the client runs" "$(run "$cross/bin/osmo" --version)" "osmo $version"
check "osmo_init runs" run "$cross/bin/osmo_init" --data_location "$work/d" --login_location "$work/l" --user_bin_location "$work/u" --run_location \
    "$work/r" --binaries_location "$work/b" --secrets_location "$work"
check "it lays out" cmp "$cross/bin/osmo_exec" "$work/b/osmo/osmo_exec"
mkdir "$work/wrapped"
printf '#!/bin/sh\nexec qemu-aarch64-static "%s/bin/osmo_exec" "$@"\n' "$cross" > "$work/wrapped/osmo_exec"
chmod +x "$work/wrapped/osmo_exec"
make -s -C "$bin" tests/unit/test_exec > "$work/make.log" 2>&1 || cat "$work/make.log"
check "osmo_exec speaks its protocol" env top_builddir="$work/wrapped" "$bin/tests/unit/test_exec"
check "osmo_exec is smaller than 1 MB" test "$(stat -c %s "$cross/bin/osmo_exec")" -lt 1000000
check "osmo_ctrl is smaller than 6 MB" test "$(stat -c %s "$cross/bin/osmo_ctrl")" -lt 6000000
((failures == 0))
