#!/usr/bin/env bash
# Every public header compiles alone, as C11 pedantic and as C++17, with all warnings as errors.
cd "${top_srcdir:-$(dirname "$0")/..}" || exit 1
cc=${CC:-cc} cxx=${CXX:-c++} bad=0 n=0
command -v ${cxx%% *} >/dev/null || { echo "a C++ compiler is needed for the header check: install g++"; exit 1; }
for h in libosmo-core/include/osmo/*.h libosmo-backend/include/osmo/*.h libosmo-backend/include/osmo/backend/*.h; do
    inc=${h#*/include/}
    for mode in "$cc -x c -std=c11" "$cxx -x c++ -std=c++17"; do
        echo "#include <$inc>" | $mode -pedantic -Wall -Wextra -Werror -Ilibosmo-core/include -Ilibosmo-backend/include -fsyntax-only - || { echo "$inc: $mode"; bad=1; }
        n=$((n + 1))
    done
done
echo "$n header compilations"
exit $bad
