#!/usr/bin/env bash
# Programs of this tree for another architecture, by Debian's cross compiler and against its packages of that architecture, which are unpacked
# into a directory and not installed.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
source_tree=$(dirname "$here")
. "$here/private-apt.sh"
help="Usage: tools/cross-build.sh arm64 DIR [TARGET]...
Build programs for arm64 in DIR/build (those that run in pods, and the client: osmo_exec osmo_cli osmo_ctrl osmo_init osmo), stripped copies of
them in DIR/bin, with the libraries of that architecture in DIR/root. DIR is used again the next time.

Needs the packages packages_cross of tools/packages.sh. Programs run here by 'qemu-aarch64-static -L DIR/root DIR/bin/osmo_ctrl'."

say() { echo "cross-build: $*" >&2; }
die() { say "$@"; exit 1; }
[[ ${1-} != --help && ${1-} != -h ]] || { echo "$help"; exit 0; }
(($# >= 2)) || die "name an architecture and a directory; see tools/cross-build.sh --help"
[[ $1 == arm64 ]] || die "no architecture $1: arm64"
arch=$1 triple=aarch64-linux-gnu
mkdir -p "$2"
dir=$(realpath "$2")
shift 2
targets=("$@")
((${#targets[@]})) || targets=(osmo_exec osmo_cli osmo_ctrl osmo_init osmo)
command -v $triple-gcc > /dev/null || die "install the packages gcc-$triple and libc6-dev-$arch-cross"
root=$dir/root

# What configure asks for, and all libraries that these need when they run.
dev_packages=(libcurl4-openssl-dev libjson-c-dev libpq-dev libwebsockets-dev libev-dev libssl-dev libyaml-dev libsqlite3-dev libpcre2-dev
    libcap-dev libzstd-dev zlib1g-dev)
fetch() {
    local runtime closure
    private_apt_open "$dir/apt" deb "$arch" || { tail -n 5 "$dir/apt/update.log" >&2; die "the package archives of this machine do not answer for $arch"; }
    # the libraries that the development packages are of, and theirs
    mapfile -t runtime < <(apt-cache "${private_apt_options[@]}" depends "${dev_packages[@]}" | sed -nE 's/^  Depends: (lib[^:]*[0-9])(:.*)?$/\1/p' | grep -v -e -dev | sort -u)
    mapfile -t closure < <(apt-get "${private_apt_options[@]}" -s --no-install-recommends install "${runtime[@]}" libwebsockets-evlib-ev 2> "$dir/closure.log" |
        sed -nE 's/^Inst ([^ ]+) .*/\1/p' | sort -u)
    ((${#closure[@]})) || { cat "$dir/closure.log" >&2; die "the libraries of $arch are not to be had"; }
    mkdir -p "$dir/packages"
    (cd "$dir/packages" && apt-get "${private_apt_options[@]}" download "${dev_packages[@]}" "${closure[@]}") > "$dir/fetch.log" 2>&1 ||
        { tail -n 5 "$dir/fetch.log" >&2; die "packages of $arch could not be fetched"; }
}

unpack() {
    local deb link to
    rm -rf "$root"
    mkdir -p "$root"
    for deb in "$dir"/packages/*.deb; do dpkg-deb -x "$deb" "$root"; done
    while read -r link; do # those of the whole system are meant from its root
        to=$(readlink "$link")
        ln -sf "$(realpath -m --relative-to="$(dirname "$link")" "$root$to")" "$link"
    done < <(find "$root" -type l -lname '/*')
    touch "$root/.complete"
}

configure_tree() {
    local flags="-isystem $root/usr/include -isystem $root/usr/include/$triple" libs="$root/usr/lib/$triple"
    mkdir -p "$dir/build"
    cd "$dir/build"
    [[ ! -f Makefile || $source_tree/configure -nt config.status ]] || return 0
    PKG_CONFIG_LIBDIR=$libs/pkgconfig:$root/usr/share/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root "$source_tree/configure" --host=$triple --prefix=/usr \
        CC="${CROSS_CC:-$triple-gcc}" CFLAGS="-Os -g" CPPFLAGS="$flags" \
        LDFLAGS="-L$libs -Wl,-rpath-link,$libs:$root/lib/$triple -Wl,--allow-shlib-undefined" > configure.log 2>&1 ||
        { tail -n 20 configure.log >&2; die "configure fails for $arch"; }
}

began=$SECONDS
[[ -e $root/.complete ]] || { fetch; unpack; }
fetched=$((SECONDS - began))
configure_tree
make -C "$dir/build" -j"$(nproc)" --no-print-directory "${targets[@]}" > "$dir/make.log" 2>&1 || { grep -E 'error|Error' "$dir/make.log" | head -n 20 >&2; die "the build fails; all of it is in $dir/make.log"; }
mkdir -p "$dir/bin"
for target in "${targets[@]}"; do
    built=$dir/build/.libs/$target
    [[ -x $built ]] || built=$dir/build/$target
    [[ -x $built ]] || continue # not a program
    $triple-strip -o "$dir/bin/$target" "$built"
    printf '%-10s %7d bytes  %s\n' "$target" "$(stat -c %s "$dir/bin/$target")" "$(readelf -l "$dir/bin/$target" | grep -q INTERP && echo dynamic || echo static)"
done
say "libraries $fetched s, build $((SECONDS - began - fetched)) s"
