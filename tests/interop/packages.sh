#!/usr/bin/env bash
# Installs the packages of requirements.txt, exactly those, into a directory of the build; again only when the list changed.
set -eu
here=$(cd "$(dirname "$0")" && pwd) dir=$1 python=${PYTHON:-/usr/bin/python3}
mkdir -p "$dir"
if [[ -d $dir/site ]] && cmp -s "$here/requirements.txt" "$dir/installed.txt"; then
    echo "installed already"
    exit 0
fi
rm -rf "$dir/installed.txt" "$dir/site"
"$python" -m pip install --quiet --no-deps --disable-pip-version-check --no-warn-script-location --target "$dir/site" \
    --requirement "$here/requirements.txt" < /dev/null || {
    echo "pip failed: the lines above say why; it needs the package python3-pip and a registry"
    exit 1
}
cp "$here/requirements.txt" "$dir/installed.txt"
