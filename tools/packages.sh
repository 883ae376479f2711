# The Debian 12 packages this project needs, in one place, and how a tree is built; sourced by quickstart and run-tests.
# shellcheck shell=bash
packages_build=(gcc libc6-dev make autoconf automake libtool pkg-config libcurl4-openssl-dev libjson-c-dev libpq-dev libwebsockets-dev
    libwebsockets-evlib-ev libev-dev libssl-dev libyaml-dev libsqlite3-dev libpcre2-dev libzstd-dev zlib1g-dev)
packages_run=(bubblewrap ca-certificates nftables)
((EUID == 0)) || packages_run+=(passt) # the way out of pods' networks without root
packages_fuzz=(clang libclang-rt-14-dev)
packages_rsync=(musl-tools dpkg-dev) # for the static one of the runtime image, see static-rsync.sh
packages_cross=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross musl-tools dpkg-dev qemu-user-static) # see cross-build.sh
packages_differential=(python3 python3-jinja2 python3-yaml)
packages_chaos=(python3)
# the Kubernetes programs are built from their Debian source, etcd and containerd unpacked, not installed: see tests/kubernetes/build.sh
packages_kubernetes=(python3 python3-yaml openssl iproute2 nftables runc containernetworking-plugins golang-1.19-go rsync jq dpkg-dev
    golang-github-modern-go-reflect2-dev "${packages_rsync[@]}")
packages_interop=(python3 python3-pip chromium-headless-shell)
packages_data=(python3 python3-pip)
packages_oidc=() # node and npm of elsewhere serve as well as Debian's
command -v node > /dev/null 2>&1 || packages_oidc+=(nodejs)
command -v npm > /dev/null 2>&1 || packages_oidc+=(npm)
packages_test=(g++ libcunit1-dev doxygen postgresql valgrind busybox-static procps util-linux xz-utils iproute2 passt slirp4netns rsync)

# Names of the given packages that are not installed.
packages_missing() {
    local name
    for name in "$@"; do
        dpkg-query -W -f='${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || echo "$name"
    done
}

# Debian's PostgreSQL package makes and starts a database server of its own. The tests start private ones: when the package comes because
# of them, it shall not leave a server running. Runs a command with that switched off ($1: the words that become root).
without_database_server() {
    local drop=/etc/postgresql-common/createcluster.d/zz-osmo-tests.conf code
    local -a become=()
    read -ra become <<< "$1"
    shift
    if [[ " $* " != *" postgresql "* || -e $drop ]]; then
        "$@"
        return
    fi
    "${become[@]}" mkdir -p "${drop%/*}"
    echo "create_main_cluster = false" | "${become[@]}" tee "$drop" > /dev/null
    "$@"
    code=$?
    "${become[@]}" rm -f "$drop"
    "${become[@]}" rmdir --ignore-fail-on-non-empty "${drop%/*}"
    return "$code"
}

# Install what is missing of the given packages; says what it does and asks nothing. Returns 1 with a remedy when it cannot.
packages_install() {
    local missing=() become=() apt=(apt-get -q -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
    command -v dpkg-query >/dev/null 2>&1 || {
        echo "This is not a Debian system: install the equivalents of these packages and run again: $*" >&2
        return 1
    }
    mapfile -t missing < <(packages_missing "$@")
    ((${#missing[@]})) || return 0
    if ((EUID != 0)); then
        become=(sudo)
        [[ -t 0 ]] || become=(sudo -n) # nobody is there to type a password
        command -v sudo >/dev/null 2>&1 || {
            echo "These packages are missing and neither root nor sudo is at hand; as root run: apt-get install --no-install-recommends ${missing[*]}" >&2
            return 1
        }
    fi
    echo "==> Installing ${#missing[@]} Debian packages: ${missing[*]}"
    "${become[@]}" "${apt[@]}" update < /dev/null || { echo "apt-get update failed: check the network and /etc/apt/sources.list" >&2; return 1; }
    without_database_server "${become[*]}" "${become[@]}" env DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends \
        "${missing[@]}" < /dev/null || {
        echo "apt-get install failed; the lines above say why" >&2
        return 1
    }
}

# Run make in $1 for the targets that follow: every line in make.log there, a line of progress at each tenth, anything unusual at once.
make_shown() {
    local dir=$1 total
    shift
    total=$(make -C "$dir" -n "$@" 2>/dev/null | grep -cE 'echo "  CC(LD)? ')
    make -C "$dir" -j"$(nproc)" --no-print-directory "$@" 2>&1 | tee "$dir/make.log" | awk -v total="$total" '
        /^  CC(LD)?  / { n++; if (total && int(n * 10 / total) > tenth) { tenth = int(n * 10 / total); printf "    %d of %d\n", n, total; fflush() } next }
        /^(  GEN |make|libtool: )/ { next }
        { print; fflush() }'
    ((PIPESTATUS[0] == 0)) && return 0
    echo "The build failed; 'make -C $dir' shows it again, all of it is in $dir/make.log" >&2
    return 1
}

# Configure and build the tree of $1 in directory $2 with the configure arguments that follow; with "--as-is" a configured tree keeps its
# configuration. Quick when nothing changed; other arguments than last time rebuild everything, for the compiler's flags may differ.
build_tree() {
    local src=$1 dir=$2 before
    local -a args
    shift 2
    mkdir -p "$dir" || return 1
    if [[ ! -x $src/configure || ! -f $src/Makefile.in || $src/configure.ac -nt $src/configure ]]; then
        echo "==> Making ./configure"
        (cd "$src" && ./bootstrap < /dev/null) > "$dir/bootstrap.log" 2>&1 || { tail -n 20 "$dir/bootstrap.log" >&2; return 1; }
    fi
    before=$(cat "$dir/.configured" 2>/dev/null)
    if [[ $* == --as-is ]]; then read -ra args <<< "$before"; else args=("$@"); fi
    if [[ ! -f $dir/Makefile || ! -f $dir/.configured || $src/configure -nt $dir/config.status || $before != "${args[*]}" ]]; then
        echo "==> Configuring in $dir"
        [[ ! -f $dir/Makefile || $before == "${args[*]}" ]] || make -C "$dir" -s clean > "$dir/clean.log" 2>&1
        rm -f "$dir/.configured"
        (cd "$dir" && "$src/configure" "${args[@]}") > "$dir/configure.log" 2>&1 || { tail -n 20 "$dir/configure.log" >&2; return 1; }
        echo "${args[*]}" > "$dir/.configured"
    fi
    echo "==> Building in $dir"
    make_shown "$dir" all
}
