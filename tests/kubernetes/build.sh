#!/usr/bin/env bash
# Makes the programs of the real Kubernetes cluster that the tests run, once for each version of Debian's source package: etcd and
# containerd out of their Debian packages (unpacked, never installed: their installation would start services on this machine), and the
# Kubernetes programs out of the Debian source. Prints the directory that has them as its last line; everything else goes to stderr.
#   OSMO_KUBERNETES_CACHE   where the directories of the versions lie (default: ~/.cache/osmo-kubernetes)
#   OSMO_KUBECTL=1          kubectl as well: for people, no test uses it
# Run by run-tests --kubernetes, which installs packages_kubernetes of tools/packages.sh before.
set -euo pipefail
cache=${OSMO_KUBERNETES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/osmo-kubernetes}
go_bin=/usr/lib/go-1.19/bin # the Go of this Debian, whatever else is first on PATH
reflect2=/usr/share/gocode/src/github.com/modern-go/reflect2
programs=(kube-apiserver kube-controller-manager kubelet kube-scheduler)
[[ ${OSMO_KUBECTL-} != 1 ]] || programs+=(kubectl)

say() { echo "kubernetes: $*" >&2; }
die() { echo "kubernetes: $*" >&2; exit 1; }

# The sources of this machine, as sources of source packages, in a directory of their own: the machine's lists stay as they are.
private_sources() { # directory
    local file
    mkdir -p "$1/parts" "$1/lists/partial"
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [[ -f $file ]] || continue
        sed -nE 's/^[[:space:]]*deb(-src)?[[:space:]]/deb-src /p' "$file" | sort -u > "$1/parts/$(basename "$file" .list).list"
    done
    for file in /etc/apt/sources.list.d/*.sources; do
        [[ -f $file ]] || continue
        sed -E 's/^Types:.*/Types: deb-src/I' "$file" > "$1/parts/$(basename "$file")"
    done
}
apt_private() { # directory, program, arguments
    local dir=$1 program=$2
    shift 2
    "$program" -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$dir/parts" -o Dir::State::lists="$dir/lists" \
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root "$@"
}

complete() { # directory
    local p
    for p in etcd containerd containerd-shim-runc-v2 ctr "${programs[@]}"; do [[ -x $1/$p ]] || return 1; done
}

# The version of the source that this machine's own lists know, without asking anybody: a binary package of it says so.
known_version() {
    apt-cache show --no-all-versions kubernetes-client 2>/dev/null |
        sed -nE 's/^Version: (.*)/\1/p; s/^Source: kubernetes \((.*)\)/\1/p' | sort | head -n 1
}
directory_of() { echo "$cache/${1//[^A-Za-z0-9.+~-]/_}"; }

# Without the network the newest one that is there will do.
newest_complete() {
    local dir newest=
    for dir in "$cache"/*/; do
        if complete "${dir%/}" && [[ -z $newest || $dir -nt $newest ]]; then newest=${dir%/}; fi
    done
    [[ -n $newest ]] && echo "$newest"
}

# The programs of a Debian package that is not to be installed.
unpack_programs() { # scratch, out, package, programs
    local scratch=$1 out=$2 package=$3 p
    shift 3
    mkdir -p "$scratch/deb-$package"
    (cd "$scratch/deb-$package" && apt-get -q -o APT::Sandbox::User=root download "$package" >&2 && dpkg-deb -x ./*.deb .) ||
        die "the package $package could not be fetched; 'apt-get update' and the network may help"
    for p in "$@"; do cp "$scratch/deb-$package/usr/bin/$p" "$out/$p"; done
}

# The source in a GOPATH, as its makefile wants it; reflect2 of the vendored tree crashes under this Go, Debian's own copy of it does not.
unpack_source() { # scratch, version
    local scratch=$1 tree
    say "fetching the source package kubernetes $2"
    (cd "$scratch" && apt_private "$scratch/apt" apt-get --only-source --download-only source "kubernetes=$2" >&2 &&
        dpkg-source --no-check -x ./kubernetes_*.dsc source > unpack.log 2>&1) || die "the source package could not be fetched or unpacked"
    tree=$scratch/source
    rm -f "$tree"/vendor/github.com/modern-go/reflect2/*.{go,s}
    cp "$reflect2"/*.go "$reflect2"/*.s "$tree/vendor/github.com/modern-go/reflect2/"
    mkdir -p "$scratch/go/src/k8s.io"
    mv "$tree" "$scratch/go/src/k8s.io/kubernetes"
}

compile() { # scratch, out, program
    local scratch=$1 out=$2 program=$3 began=$SECONDS
    # the cloud providers are a third of the work and of the memory, and no test has a cloud
    (cd "$scratch/go/src/k8s.io/kubernetes" && env -u GOROOT -u GOBIN PATH="$go_bin:$PATH" GOPATH="$scratch/go" GOCACHE="$scratch/gocache" \
        GO111MODULE= GOPROXY=off GOSUMDB=off GOTOOLCHAIN=local GOFLAGS=-tags=providerless CGO_ENABLED=0 KUBE_VERBOSE=1 \
        KUBE_GIT_VERSION=v1.20.2 KUBE_GIT_COMMIT=0 KUBE_GIT_TREE_STATE=archive KUBE_GIT_MAJOR=1 KUBE_GIT_MINOR=20 \
        nice -n 5 make WHAT="cmd/$program") > "$scratch/$program.log" 2>&1 || {
        tail -n 30 "$scratch/$program.log" >&2
        die "$program does not compile"
    }
    cp "$scratch/go/src/k8s.io/kubernetes/_output/local/go/bin/$program" "$out/$program"
    say "$program built in $((SECONDS - began)) s ($(($(stat -c %s "$out/$program") >> 20)) MB)"
}

main() {
    local version dir p began=$SECONDS
    version=$(known_version)
    dir=$(directory_of "$version")
    if [[ -n $version ]] && complete "$dir"; then echo "$dir"; return 0; fi
    mkdir -p "$cache"
    exec 9> "$cache/.lock"
    flock -n 9 || { say "another build is under way: waiting for it"; flock 9; }
    scratch=$(mktemp -d "$cache/.build.XXXXXX")
    trap 'chmod -R u+w "$scratch" 2>/dev/null; rm -rf "$scratch"' EXIT
    trap 'exit 130' INT TERM HUP
    private_sources "$scratch/apt"
    version=
    if apt_private "$scratch/apt" apt-get update > "$scratch/apt/update.log" 2>&1; then
        version=$(apt_private "$scratch/apt" apt-cache --only-source showsrc kubernetes 2>/dev/null |
            sed -n 's/^Version: //p' | sort -V | tail -n 1)
    fi
    if [[ -z $version ]]; then
        newest_complete && { say "the package sources do not answer: the newest that was built before is used"; return 0; }
        tail -n 5 "$scratch/apt/update.log" >&2
        die "the package sources of this machine have no source package kubernetes, and none was built before"
    fi
    dir=$(directory_of "$version")
    complete "$dir" && { echo "$dir"; return 0; }
    [[ -x $go_bin/go ]] || die "$go_bin/go is missing: install the packages packages_kubernetes of tools/packages.sh"
    [[ -d $reflect2 ]] || die "$reflect2 is missing: install golang-github-modern-go-reflect2-dev"
    say "building Kubernetes $version into $dir: about seven minutes on two processors, once"
    mkdir "$scratch/out"
    [[ ! -d $dir ]] || cp -a "$dir/." "$scratch/out/"
    unpack_programs "$scratch" "$scratch/out" etcd-server etcd
    unpack_programs "$scratch" "$scratch/out" containerd containerd containerd-shim-runc-v2 ctr
    unpack_source "$scratch" "$version"
    for p in "${programs[@]}"; do [[ -x $scratch/out/$p ]] || compile "$scratch" "$scratch/out" "$p"; done
    [[ ! -d $dir ]] || mv "$dir" "$scratch/before"
    mv "$scratch/out" "$dir"
    say "everything built in $((SECONDS - began)) s"
    echo "$dir"
}
main
