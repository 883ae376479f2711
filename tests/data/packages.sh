#!/usr/bin/env bash
# Installs the packages of requirements.txt and azure/package-lock.json, exactly those, into a directory of the build; again only when a
# list changed.
set -eu
here=$(cd "$(dirname "$0")" && pwd) dir=$1 python=${PYTHON:-/usr/bin/python3}
mkdir -p "$dir/azure"
if ! [[ -d $dir/site ]] || ! cmp -s "$here/requirements.txt" "$dir/installed.txt"; then
    rm -rf "$dir/installed.txt" "$dir/site"
    "$python" -m pip install --quiet --no-deps --disable-pip-version-check --no-warn-script-location --target "$dir/site" \
        --requirement "$here/requirements.txt" < /dev/null || {
        echo "pip failed: the lines above say why; it needs the package python3-pip and a registry"
        exit 1
    }
    cp "$here/requirements.txt" "$dir/installed.txt"
fi
if ! [[ -d $dir/azure/node_modules ]] || ! cmp -s "$here/azure/package-lock.json" "$dir/azure/installed.json"; then
    rm -f "$dir/azure/installed.json"
    cp "$here/azure/package.json" "$here/azure/package-lock.json" "$dir/azure/"
    # no package needs a program of its own to run while it is installed
    (cd "$dir/azure" && npm ci --ignore-scripts --no-audit --no-fund < /dev/null) || {
        echo "npm ci failed: the lines above say why; it needs node 18 or newer and a registry"
        exit 1
    }
    cp "$here/azure/package-lock.json" "$dir/azure/installed.json"
fi
echo "installed"
