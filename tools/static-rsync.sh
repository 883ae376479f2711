#!/usr/bin/env bash
# The program rsync for use inside any image: static, by musl, from Debian's source package; the daemon that users reach with `osmo workflow rsync`.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
. "$here/private-apt.sh"
help="Usage: tools/static-rsync.sh [--arch amd64|arm64] DIR
Make DIR/rsync, DIR/copyright and DIR/origin (the source package and its version) out of the source package rsync of Debian.

Needs the packages musl-tools, dpkg-dev, gcc and make, and gcc-aarch64-linux-gnu for arm64 on another machine. What was made before is taken from
OSMO_RSYNC_CACHE (~/.cache/osmo-rsync), a directory for each version and architecture; without the network the newest of them."

say() { echo "static-rsync: $*" >&2; }
die() { say "$@"; exit 1; }

arch=$(dpkg --print-architecture) out=''
while (($#)); do
    case $1 in
    --arch) (($# > 1)) || die "--arch needs a value"; arch=$2; shift ;;
    --help | -h) echo "$help"; exit 0 ;;
    -*) die "unknown option '$1'; see tools/static-rsync.sh --help" ;;
    *) [[ -z $out ]] || die "one directory only"; out=$1 ;;
    esac
    shift
done
[[ $out ]] || die "name a directory; see tools/static-rsync.sh --help"
case $arch in
amd64) cpu=x86_64 ;;
arm64) cpu=aarch64 ;;
*) die "no architecture $arch: amd64 or arm64" ;;
esac
cache=${OSMO_RSYNC_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/osmo-rsync}

give() { # made directory
    mkdir -p "$out"
    cp "$1"/{rsync,copyright,origin} "$out/"
    say "$(cat "$1/origin"), $(($(stat -c %s "$1/rsync") >> 10)) KiB: $out/rsync"
    exit 0
}
newest() {
    local dir found=
    for dir in "$cache"/*_"$arch"/; do
        [[ ! -x $dir/rsync || ! -s $dir/origin ]] || { [[ $found && $found -nt $dir ]] || found=${dir%/}; }
    done
    [[ $found ]] && echo "$found"
}

# musl's headers and library; of another architecture from its package, unpacked.
musl_of() { # scratch
    if [[ $arch == "$(dpkg --print-architecture)" ]]; then
        root=''
        [[ -e /usr/lib/$cpu-linux-musl/musl-gcc.specs ]] || die "install the package musl-tools"
    else
        root=$1/root
        private_apt_open "$1/apt-$arch" deb "$arch" || die "the package archives do not answer for $arch"
        (cd "$1" && apt-get "${private_apt_options[@]}" download musl-dev > "$1/musl.log" 2>&1 && dpkg-deb -x musl-dev_*.deb "$root") ||
            die "the package musl-dev of $arch could not be fetched"
    fi
    command -v "$cpu-linux-gnu-gcc" > /dev/null || die "install the package gcc-${cpu/_/-}-linux-gnu"
    sed "s|/usr/|$root/usr/|g" "$root/usr/lib/$cpu-linux-musl/musl-gcc.specs" > "$1/specs"
}

# The newest one that can be fetched and brings the libraries it needs along.
unpack_source() { # scratch
    local v
    for v in $(apt-cache "${private_apt_options[@]}" --only-source showsrc rsync 2> /dev/null | sed -n 's/^Version: //p' | sort -rV); do
        [[ ! -x $cache/${v}_$arch/rsync ]] || give "$cache/${v}_$arch"
        mkdir -p "$1/$v"
        (cd "$1/$v" && apt-get "${private_apt_options[@]}" --only-source --download-only source "rsync=$v" > fetch.log 2>&1 &&
            dpkg-source --no-check -x ./rsync_*.dsc source > unpack.log 2>&1) || { say "the source of $v is not to be had"; continue; }
        if [[ -d $1/$v/source/popt && -d $1/$v/source/zlib ]]; then version=$v; return; fi
        say "the source of $v has no popt and zlib of its own"
    done
    die "no source package rsync could be fetched"
}

compile() { # scratch
    local flags="-Os -ffunction-sections -fdata-sections -idirafter $1/kernel"
    mkdir -p "$1/kernel" "$1/build"
    ln -s /usr/include/linux /usr/include/asm-generic "$1/kernel/" # the kernel's, which musl has none of
    ln -s "$(for d in /usr/"$cpu"-linux-gnu/include/asm /usr/include/"$cpu"-linux-gnu/asm; do [[ ! -d $d ]] || { echo "$d"; break; }; done)" "$1/kernel/asm"
    (cd "$1/build" && "../$version/source/configure" --host="$cpu-linux-musl" --disable-openssl --disable-xxhash --disable-zstd --disable-lz4 \
        --disable-acl-support --disable-xattr-support --disable-iconv --disable-iconv-open --disable-md2man --disable-locale \
        --with-included-popt --with-included-zlib CC="$cpu-linux-gnu-gcc -specs $1/specs" CFLAGS="$flags" LDFLAGS="-static -Wl,--gc-sections" &&
        make -j"$(nproc)" rsync && "$cpu-linux-gnu-strip" rsync) > "$1/build.log" 2>&1 || { tail -n 20 "$1/build.log" >&2; die "rsync does not compile"; }
    ! readelf -l "$1/build/rsync" | grep -q INTERP || die "what was linked is not static"
}

mkdir -p "$cache"
exec 9> "$cache/.lock"
flock 9
scratch=$(mktemp -d "$cache/.build.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
began=$SECONDS
if ! private_apt_open "$scratch/apt" deb-src; then
    ! made=$(newest) || { say "the package archives do not answer: the newest that was made before is used"; give "$made"; }
    tail -n 5 "$scratch/apt/update.log" >&2
    die "the package archives of this machine do not answer"
fi
version=''
unpack_source "$scratch"
musl_of "$scratch"
compile "$scratch"
made=$cache/${version}_$arch
rm -rf "$made"
mkdir "$scratch/made"
cp "$scratch/build/rsync" "$scratch/made/"
cp "$scratch/$version/source/debian/copyright" "$scratch/made/"
echo "rsync $version $arch" > "$scratch/made/origin"
mv "$scratch/made" "$made"
say "built in $((SECONDS - began)) s"
give "$made"
