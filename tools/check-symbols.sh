#!/usr/bin/env bash
# The libraries export only what their version script names, every exported name is declared in a public header, and no global name
# of ours is also a name of a library we use (the dynamic linker would let ours replace theirs).
src=${top_srcdir:-$(dirname "$0")/..} build=${top_builddir:-.} bad=0
complain() { echo "$1"; bad=1; }
for lib in core backend; do
    so=$build/.libs/libosmo-$lib.so
    [[ -e $so ]] || { echo "$so is missing: run make first"; exit 1; }
    while read -r name; do
        name=${name%%@*}
        [[ $name == osmo_* ]] || { complain "libosmo-$lib exports $name"; continue; }
        grep -qwr "$name" "$src"/libosmo-core/include "$src"/libosmo-backend/include || complain "$name is exported by libosmo-$lib but not declared in a public header"
    done < <(nm -D --defined-only "$so" | awk '$2 ~ /[TDBRV]/ { print $3 }')
done
ours=$(nm --defined-only "$build"/.libs/libbase.a "$build"/.libs/libmodel.a 2>/dev/null | awk 'NF == 3 && $2 ~ /[TDBR]/ { print $3 }' | sort -u)
theirs=$(ldd "$build/.libs/libosmo-core.so" | awk '/=> \// { print $3 }' | grep -vE 'libasan|libubsan|libtsan' | xargs nm -D --defined-only 2>/dev/null | awk 'NF == 3 { sub(/@.*/, "", $3); print $3 }' | sort -u)
both=$(comm -12 <(echo "$ours") <(echo "$theirs"))
[[ -z $both ]] || complain "names also exported by a library we use: $both"
exit $bad
