#!/usr/bin/env bash
# Installs the packages of package-lock.json, exactly those, into a directory of the build; again only when the list changed.
set -eu
here=$(cd "$(dirname "$0")" && pwd) dir=$1
mkdir -p "$dir"
if [[ -d $dir/node_modules ]] && cmp -s "$here/package-lock.json" "$dir/installed.json"; then
    echo "installed already"
    exit 0
fi
rm -f "$dir/installed.json"
cp "$here/package.json" "$here/package-lock.json" "$dir/"
# no package needs a program of its own to run while it is installed
(cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund < /dev/null) || {
    echo "npm ci failed: the lines above say why; it needs node 18 or newer and a registry"
    exit 1
}
cp "$here/package-lock.json" "$dir/installed.json"
