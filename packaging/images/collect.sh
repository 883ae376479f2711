#!/bin/bash
# Makes the root directory of one image: programs of an installed tree, and from the system it runs on exactly the libraries that they
# need, certificates, and what the C library reads. The same script works on a build machine (build.sh --rootfs) and in the first stage
# of the Containerfiles, so both have the same content. Not for people: build.sh calls it.
#   collect.sh service|backend|runtime TREE OUT      TREE: of make install DESTDIR=TREE, with the prefix /usr
set -euo pipefail
die() { echo "collect.sh: $*" >&2; exit 1; }
(($# == 3)) || die "usage: collect.sh service|backend|runtime TREE OUT"
image=$1 tree=$(realpath "$2") out=$3
[[ -x $tree/usr/libexec/osmo/osmo_ctrl ]] || die "$tree is no installed tree: make install DESTDIR=$tree with --prefix=/usr"
mkdir -p "$out"
out=$(realpath "$out")
[[ -z $(ls -A "$out") ]] || die "$out is not empty"
taken=() # files of the system

# Libraries that are opened when they are first used, so that no program names them.
case $image in
service) programs=(usr/bin/osmo-service usr/bin/osmo) opened=(libcurl.so.4 libpq.so.5) ;;
backend) programs=(usr/bin/osmo-backend usr/libexec/osmo/osmo-node-test) opened=(libcurl.so.4) ;;
runtime)
    programs=(usr/libexec/osmo/osmo_{init,ctrl,exec,cli} usr/bin/osmo) opened=(libcurl.so.4)
    [[ ! -x $tree/usr/libexec/osmo/rsync ]] || programs+=(usr/libexec/osmo/rsync)
    ;;
*) die "no image $image: service, backend or runtime" ;;
esac

# Where a library lies in the image: below /usr, whatever link the system reaches it by.
place_of() { # path
    local path=$1
    [[ $path != "$tree"/* ]] || { echo "${path#"$tree"}"; return; }
    case $path in /lib/* | /lib64/* | /lib32/*) path=/usr$path ;; esac
    echo "$path"
}

put() { # file, place
    [[ -e $out$2 ]] && return
    mkdir -p "$out$(dirname "$2")"
    cp -L --preserve=mode "$1" "$out$2"
    [[ $1 == "$tree"/* ]] || taken+=("$1" "$(realpath "$1")" "${1#/usr}")
}

needs_of() { # file -> its libraries and its loader, by path
    local text
    text=$(LD_LIBRARY_PATH=$tree/usr/lib ldd "$1" 2>&1) || { [[ $text == *"not a dynamic executable"* ]] && return; die "ldd $1: $text"; }
    [[ $text != *"not found"* ]] ||
        die "$(basename "$1") needs libraries that are missing here, it was built on another system or they are not installed:" \
            "$(grep 'not found' <<< "$text" | tr -s ' \t\n' ' ')"
    sed -nE 's/^[[:space:]]*([^ ]+ => )?(\/[^ ]+) \(0x.*/\2/p' <<< "$text"
}

put_with_needs() { # file
    local path
    put "$1" "$(place_of "$1")"
    while read -r path; do put "$path" "$(place_of "$path")"; done < <(needs_of "$1")
}

library() { # name -> path
    local path
    path=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p | awk -v name="$1" '$1 == name { print $NF; exit }')
    [[ $path ]] || die "$1 is not installed here"
    echo "$path"
}

put_libraries() {
    local name path
    for name in "${opened[@]}"; do
        path=$(library "$name")
        put_with_needs "$path"
    done
    # the event loop of libwebsockets, which the server uses, is a plugin beside it
    name=$(for path in "${programs[@]}"; do needs_of "$tree/$path"; done | sed -n '/libwebsockets\.so/p' | sort -u)
    [[ $name ]] || return 0
    path=$(dirname "$name")/libwebsockets-evlib_ev.so
    [[ -e $path ]] || die "libwebsockets' plugin for libev is not installed (libwebsockets-evlib-ev)"
    put_with_needs "$path"
}

put_system() {
    local d
    mkdir -p "$out"/{usr/bin,usr/lib,etc/ssl/certs,usr/lib/ssl,tmp,var/lib/osmo,proc,sys,dev,run}
    chmod 1777 "$out/tmp"
    chmod 0770 "$out/var/lib/osmo"
    for d in bin lib; do ln -s "usr/$d" "$out/$d"; done
    [[ ! -d $out/usr/lib64 ]] || ln -s usr/lib64 "$out/lib64"
    put /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
    ln -s /etc/ssl/certs/ca-certificates.crt "$out/usr/lib/ssl/cert.pem" # where OpenSSL looks
    printf 'root:x:0:0:root:/:/nonexistent\nosmo:x:1001:1001:OSMO:/var/lib/osmo:/nonexistent\n' > "$out/etc/passwd"
    printf 'root:x:0:\nosmo:x:1001:\n' > "$out/etc/group"
    printf 'hosts: files dns\npasswd: files\ngroup: files\n' > "$out/etc/nsswitch.conf"
    [[ $EUID != 0 ]] || chown 1001:0 "$out/var/lib/osmo" # group 0: clusters that choose the user id give that group
}

# The client with all it needs in one directory, which the init container copies into each pod. What else uses these files finds them
# by links: hard ones do not survive every image builder, and twice the size would be pulled to each node.
bundle() { # file in the image, name in the bundle
    [[ ! -L $out$1 ]] || return 0
    mv "$out$1" "$out$bundled/$2"
    ln -s "$(realpath -m --relative-to="$out$(dirname "$1")" "$out$bundled/$2")" "$out$1"
}

put_client_bundle() {
    local path loader=
    bundled=/usr/libexec/osmo/osmo_cli.d
    mkdir -p "$out$bundled"
    mv "$out/usr/libexec/osmo/osmo_cli" "$out$bundled/start"
    mv "$out/usr/bin/osmo" "$out$bundled/osmo"
    while read -r path; do
        case $path in */ld-linux*.so.* | */ld64.so.*) loader=$path ;; *) bundle "$(place_of "$path")" "$(basename "$path")" ;; esac
    done < <(needs_of "$tree/usr/bin/osmo"; needs_of "$(library libcurl.so.4)"; library libcurl.so.4)
    [[ $loader ]] || die "the loader of the C library was not found"
    bundle "$(place_of "$loader")" ld.so
    bundle /etc/ssl/certs/ca-certificates.crt certificates.pem
    ln -s ../libexec/osmo/osmo_init "$out/usr/bin/osmo_init" # the name that pods call
    ln -s ../libexec/osmo/osmo_cli.d/start "$out/usr/bin/osmo"
}

# It was built from its source package: version and terms come with it, whoever gives the image away owes that source as well.
put_origin_of_rsync() {
    local name version architecture
    read -r name version architecture < "$tree/usr/share/doc/rsync/origin"
    put "$tree/usr/share/doc/rsync/copyright" /usr/share/doc/rsync/copyright
    printf 'Package: %s\nStatus: install ok installed\nArchitecture: %s\nVersion: %s\nDescription: static, from the source package of this version\n' \
        "$name" "$architecture" "$version" > "$out/var/lib/dpkg/status.d/$name"
}

# What scanners and people look for: which packages of which version are in the image, and under what terms.
put_origins() {
    local package line
    mkdir -p "$out/var/lib/dpkg/status.d" "$out/usr/share/doc"
    while IFS= read -r line; do # "package:architecture[, ...]: file"
        package=${line%%[:,]*}
        [[ -e $out/var/lib/dpkg/status.d/$package ]] && continue
        dpkg-query -s "$package" > "$out/var/lib/dpkg/status.d/$package" 2>/dev/null ||
            { rm -f "$out/var/lib/dpkg/status.d/$package"; continue; }
        [[ ! -e /usr/share/doc/$package/copyright ]] || put "/usr/share/doc/$package/copyright" "/usr/share/doc/$package/copyright"
    done < <(dpkg-query -S "${taken[@]}" 2>/dev/null || true; echo "ca-certificates: certificates") # not all of a list are found
    [[ ! -e $out/usr/libexec/osmo/rsync ]] || put_origin_of_rsync
    [[ ! -e /etc/os-release ]] || cp -L /etc/os-release "$out/etc/os-release"
}

for program in "${programs[@]}"; do put_with_needs "$tree/$program"; done
put_libraries
put_system
[[ $image != runtime ]] || put_client_bundle
[[ $image != backend ]] || ln -s ../libexec/osmo/osmo-node-test "$out/usr/bin/osmo-node-test" # the name that its pods call
put_origins
