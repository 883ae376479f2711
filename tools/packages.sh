# The Debian 12 packages this project needs, in one place; sourced by quickstart and run-tests.
# shellcheck shell=bash
packages_build=(gcc libc6-dev make autoconf automake libtool pkg-config libcurl4-openssl-dev libjson-c-dev libpq-dev libwebsockets-dev
    libwebsockets-evlib-ev libev-dev libssl-dev libyaml-dev libsqlite3-dev libpcre2-dev zlib1g-dev)
packages_run=(bubblewrap ca-certificates)
packages_test=(g++ libcunit1-dev doxygen postgresql valgrind busybox-static procps util-linux)

# Names of the given packages that are not installed.
packages_missing() {
    local name
    for name in "$@"; do
        dpkg-query -W -f='${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || echo "$name"
    done
}

# Install what is missing of the given packages; says what it does. Returns 1 with a remedy when it cannot.
packages_install() {
    local missing=() become=()
    command -v dpkg-query >/dev/null 2>&1 || {
        echo "This is not a Debian system: install the equivalents of these packages and run again: $*" >&2
        return 1
    }
    mapfile -t missing < <(packages_missing "$@")
    ((${#missing[@]})) || return 0
    if ((EUID != 0)); then
        command -v sudo >/dev/null 2>&1 || {
            echo "These packages are missing and neither root nor sudo is at hand: apt-get install ${missing[*]}" >&2
            return 1
        }
        become=(sudo)
    fi
    echo "==> Installing ${#missing[@]} Debian packages: ${missing[*]}"
    "${become[@]}" apt-get update -q || { echo "apt-get update failed: check the network and /etc/apt/sources.list" >&2; return 1; }
    "${become[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" || {
        echo "apt-get install failed; the lines above say why" >&2
        return 1
    }
}

# Configure and build the tree of $1 in directory $2 with the configure arguments that follow; with "--as-is" a configured tree keeps its
# configuration. Quick when nothing changed.
build_tree() {
    local src=$1 dir=$2
    shift 2
    mkdir -p "$dir"
    if [[ ! -x $src/configure || $src/configure.ac -nt $src/configure ]]; then
        echo "==> Making ./configure"
        (cd "$src" && ./bootstrap) > "$dir/bootstrap.log" 2>&1 || { tail -n 20 "$dir/bootstrap.log" >&2; return 1; }
    fi
    if [[ ! -f $dir/Makefile || $src/configure -nt $dir/config.status || ($* != --as-is && $(cat "$dir/.configured" 2>/dev/null) != "$*") ]]; then
        [[ $* != --as-is ]] || set --
        echo "==> Configuring in $dir"
        (cd "$dir" && "$src/configure" "$@") > "$dir/configure.log" 2>&1 || { tail -n 20 "$dir/configure.log" >&2; return 1; }
        echo "$*" > "$dir/.configured"
    fi
    echo "==> Building"
    make -C "$dir" -j"$(nproc)" --no-print-directory
}
