# Packages of Debian that are not to be installed: their sources, or those of another architecture, by lists in a directory of their own. What
# this machine's apt knows stays as it is. Sourced by static-rsync.sh and cross-build.sh.
# shellcheck shell=bash

# private_apt_open DIR deb|deb-src [ARCHITECTURE]: lists in DIR, of the archives that this machine uses. 1 when they do not answer.
private_apt_open() {
    local dir=$1 type=$2 file
    private_apt_options=(-q -o APT::Architecture="${3:-$(dpkg --print-architecture)}" -o APT::Sandbox::User=root -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
        -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$dir/parts" -o Dir::State::lists="$dir/lists" -o Dir::Cache::archives="$dir/archives")
    [[ -z ${3-} ]] || private_apt_options+=(-o APT::Architectures::="$3" -o Dir::State::status="$dir/status")
    mkdir -p "$dir"/{parts,lists/partial,archives/partial}
    : > "$dir/status" # nothing of that architecture is installed
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [[ -f $file ]] || continue
        sed -nE "s/^[[:space:]]*deb(-src)?[[:space:]]/$type /p" "$file" | sort -u > "$dir/parts/$(basename "$file" .list).list"
    done
    for file in /etc/apt/sources.list.d/*.sources; do
        [[ -f $file ]] || continue
        sed -E "s/^Types:.*/Types: $type/I" "$file" > "$dir/parts/$(basename "$file")"
    done
    apt-get "${private_apt_options[@]}" update > "$dir/update.log" 2>&1 && ! grep -q '^Err' "$dir/update.log"
}
