#!/usr/bin/env bash
# Builds the container images service, backend and runtime of this source tree, or their root directories without any container engine.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
source_tree=$(realpath "$here/../..")
help="Usage: packaging/images/build.sh [OPTION]... [IMAGE]... [-- ENGINE OPTION...]
Build container images of OSMO: service, backend and runtime, or those that are named.

  --name NAME        what stands before their names, with a registry or without (osmo: osmo/service, osmo/backend, osmo/runtime)
  --tag TAG          their tag (the version of this tree)
  --base IMAGE       where the libraries come from; the distribution and release of this machine (debian:12-slim)
  --engine PROGRAM   podman, docker or buildah (the first of them that is there)
  --rootfs DIR       no images: DIR/IMAGE becomes the root directory of each, with the libraries of this machine
  --build DIR        where this tree is compiled (build-images in it)
  --rsync DIR        the static rsync of the runtime image, as tools/static-rsync.sh makes it (it is made, which needs musl-tools and the network);
                     'none' for an image without: workflows with the plugin rsync then need one in their own images
  --destdir DIR      compile nothing: what 'make install DESTDIR=DIR' with --prefix=/usr has put there
  --help

What follows -- goes to the engine's build command, for example -- --network=host. Images are not pushed."

die() { echo "build.sh: $*" >&2; exit 1; }
usage() { echo "build.sh: $*; see packaging/images/build.sh --help" >&2; exit 2; }

name=osmo tag='' base=debian:12-slim engine='' rootfs='' build=$source_tree/build-images destdir='' rsync='' images=() more=()
while (($#)); do
    case $1 in
    --name | --tag | --base | --engine | --rootfs | --build | --rsync | --destdir)
        (($# > 1)) || usage "$1 needs a value"
        declare "${1#--}=$2"
        shift
        ;;
    --help | -h) echo "$help"; exit 0 ;;
    --) shift; more=("$@"); break ;;
    service | backend | runtime) images+=("$1") ;;
    *) usage "unknown argument '$1'" ;;
    esac
    shift
done
((${#images[@]})) || images=(service backend runtime)
[[ $tag ]] || tag=$(sed -nE 's/^AC_INIT\(\[[^]]*\], \[([^]]*)\].*/\1/p' "$source_tree/configure.ac")
scratch=$(mktemp -d "${TMPDIR:-/tmp}/osmo-images.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

find_engine() {
    local e
    if [[ $engine ]]; then
        command -v "$engine" > /dev/null || die "there is no $engine here"
        return
    fi
    for e in podman docker buildah; do
        if command -v $e > /dev/null && $e version > /dev/null 2>&1; then engine=$e; return; fi
    done
    die "no podman, docker or buildah that works: install one, or make root directories with --rootfs DIR"
}

# An installed tree without what no image needs.
make_tree() {
    if [[ $destdir ]]; then
        [[ -d $destdir/usr ]] || die "$destdir has no usr: make install DESTDIR=$destdir with --prefix=/usr"
        cp -a "$destdir" "$scratch/tree"
    else
        # shellcheck source=tools/packages.sh
        . "$source_tree/tools/packages.sh"
        build_tree "$source_tree" "$build" --prefix=/usr >&2 || die "the source tree does not build"
        make -C "$build" -s install DESTDIR="$scratch/tree" > "$build/install.log" 2>&1 ||
            { tail -n 20 "$build/install.log" >&2; die "make install failed, all of it is in $build/install.log"; }
    fi
    rm -rf "$scratch/tree/usr"/{include,share,lib/pkgconfig} "$scratch/tree/usr/lib"/*.{la,a}
    [[ " ${images[*]} " != *" runtime "* || $rsync == none ]] || put_rsync
    find "$scratch/tree/usr" -type f -perm -u+x -exec strip --strip-unneeded {} + 2> /dev/null || true # scripts are left alone
    find "$scratch/tree/usr/lib" -type f -name '*.so.*' -exec strip --strip-unneeded {} +
}

# Where collect.sh looks for it.
put_rsync() {
    [[ $rsync ]] || { rsync=$scratch/rsync && "$source_tree/tools/static-rsync.sh" "$rsync"; } || die "there is no static rsync: --rsync DIR, or --rsync none"
    [[ -x $rsync/rsync && -s $rsync/copyright && -s $rsync/origin ]] || die "$rsync is no directory of tools/static-rsync.sh"
    mkdir -p "$scratch/tree/usr/share/doc/rsync"
    cp "$rsync/rsync" "$scratch/tree/usr/libexec/osmo/rsync"
    cp "$rsync"/{copyright,origin} "$scratch/tree/usr/share/doc/rsync/"
}

root_directory() { # image, out
    rm -rf "$2"
    "$here/collect.sh" "$1" "$scratch/tree" "$2"
}

# The packages of the libraries are asked of this machine, so that their names need not be kept here for each release.
build_image() { # image
    local packages build_command=(build)
    root_directory "$1" "$scratch/root"
    packages=$(ls "$scratch/root/var/lib/dpkg/status.d" | grep -vx rsync) # that one is ours
    [[ $packages ]] || die "this machine has no dpkg that knows its libraries: use --rootfs DIR here, or build on Debian"
    echo "$packages" > "$scratch/packages.$1"
    rm -rf "$scratch/root"
    cp "$here/collect.sh" "$here/Containerfile.$1" "$scratch/"
    [[ $engine != buildah ]] || build_command=(bud)
    "$engine" "${build_command[@]}" --build-arg BASE="$base" --build-arg VERSION="$tag" -t "$name/$1:$tag" "${more[@]}" \
        -f "$scratch/Containerfile.$1" "$scratch" >&2
    echo "$name/$1:$tag"
}

[[ $rootfs ]] || find_engine
make_tree
for image in "${images[@]}"; do
    if [[ $rootfs ]]; then
        mkdir -p "$rootfs"
        root_directory "$image" "$rootfs/$image"
        echo "$rootfs/$image"
    else
        build_image "$image"
    fi
done
