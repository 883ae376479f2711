"""Container images without an image builder: directories and files become the blobs of an image, which registry.py serves to the node.

A store is a directory with blobs/DIGEST and tags/REPOSITORY/TAG (which holds the digest of the image's manifest)."""
import hashlib
import json
import os
import subprocess
import tarfile
import tempfile

BUSYBOX = "/bin/busybox"  # Debian's busybox-static
LAYER, CONFIG, MANIFEST = ("application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.container.image.v1+json",
                           "application/vnd.docker.distribution.manifest.v2+json")


def directory(name, mode=0o755):
    """An entry of an image: an empty directory."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    return entry, None


def link(name, target):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    return entry, None


def copy(source, name):
    """What lies at `source` on this machine, directories with all that is in them, owned by root."""
    return name, source


def _owned_by_root(entry):
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def _blob(store, path):
    """Moves a file into the store."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while part := f.read(1 << 20):
            digest.update(part)
    name, size = "sha256:" + digest.hexdigest(), os.path.getsize(path)
    os.replace(path, os.path.join(store, "blobs", name))
    return {"digest": name, "size": size}


def _blob_of(store, text):
    handle, path = tempfile.mkstemp(dir=store)
    with open(handle, "wb") as f:
        f.write(text)
    return _blob(store, path)


def _tag_path(store, name):
    repository, tag = name.rsplit(":", 1)
    return os.path.join(store, "tags", repository, tag)


def _tag(store, name, digest):
    target = _tag_path(store, name)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    handle, path = tempfile.mkstemp(dir=store)
    with open(handle, "w", encoding="ascii") as f:
        f.write(digest)
    os.replace(path, target)


def exists(store, name):
    return os.path.exists(_tag_path(store, name))


def alias(store, old, new):
    """Another name of an image."""
    with open(_tag_path(store, old), encoding="ascii") as f:
        _tag(store, new, f.read())


def write(store, name, entries, command=None, entrypoint=None, environment=("PATH=/usr/local/bin:/usr/bin:/bin",), user=""):
    """An image with one layer under a name such as osmo/init:test; an earlier one of that name is replaced."""
    os.makedirs(os.path.join(store, "blobs"), exist_ok=True)
    handle, path = tempfile.mkstemp(dir=store)
    with open(handle, "wb") as f, tarfile.open(fileobj=f, mode="w") as archive:
        for entry, source in entries:
            if source is None:
                archive.addfile(entry)
            else:
                archive.add(source, entry, filter=_owned_by_root)
    layer = _blob(store, path)
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    config = _blob_of(store, json.dumps({
        "architecture": architecture, "os": "linux",
        "config": {"Env": list(environment), "Cmd": command, "Entrypoint": entrypoint, "User": user},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}, "history": [{"created_by": "tests"}]}).encode())
    manifest = _blob_of(store, json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": {"mediaType": CONFIG, **config},
        "layers": [{"mediaType": LAYER, **layer}]}).encode())
    _tag(store, name, manifest["digest"])
    return name


def userland():
    """The entries of a small system: one program under all its names."""
    names = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    return [*(directory(d) for d in ("bin", "etc", "usr", "usr/bin", "usr/local", "usr/local/bin", "proc", "sys", "dev", "root", "var")),
            directory("tmp", 0o1777), copy(os.path.realpath(BUSYBOX), "bin/busybox"),
            *(link("bin/" + n, "busybox") for n in names if n != "busybox")]


def tree(root):
    """Entries: all that is in a directory."""
    return [copy(os.path.join(root, name), name) for name in sorted(os.listdir(root))]


PACKAGES = ("base-files", "base-passwd", "bash", "coreutils", "dash", "debianutils", "diffutils", "findutils", "grep", "gzip", "hostname",
            "libacl1", "libattr1", "libc-bin", "libc6", "libcrypt1", "libgmp10", "libpcre2-8-0", "libselinux1", "libtinfo6", "mawk",
            "perl-base", "sed", "tar", "zlib1g")
UNNEEDED = ("/usr/share/doc", "/usr/share/man", "/usr/share/locale", "/usr/share/lintian", "/usr/share/bug", "/usr/lib/systemd")


def debian():
    """The entries of a small Debian: files of this machine's own packages, in the layout with everything below /usr."""
    files = set()
    for package in PACKAGES:
        done = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True)  # a release may have another name for a library
        files.update(done.stdout.splitlines() if done.returncode == 0 else ())
    entries = [link(d, "usr/" + d) for d in ("bin", "sbin", "lib", "lib64")]
    entries += [directory(d) for d in ("etc", "usr", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "usr/share", "proc", "sys", "dev",
                                       "root", "run", "var", "var/lib", "home")] + [directory("tmp", 0o1777)]
    made = {e[0].name for e in entries if not isinstance(e[0], str)}
    for path in sorted(files):
        name = path.lstrip("/")
        if name.split("/")[0] in ("bin", "sbin", "lib", "lib64"):
            name = "usr/" + name
        if not name or name == "." or name in made or path.startswith(UNNEEDED) or name.startswith(("var/", "etc/cron")):
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            entries.append(directory(name))
        elif os.path.lexists(path):
            entries.append(copy(path, name))
        made.add(name)
    entries.append(copy(os.path.realpath("/usr/bin/mawk"), "usr/bin/awk"))
    return entries + [link("usr/bin/sh", "dash")] if "usr/bin/sh" not in made else entries


def basic(store):
    """The images that each cluster has: one for pods' namespaces, a small one to run things in, and Debian's under well-known names."""
    write(store, "pause:1", [directory("bin"), copy(os.path.realpath(BUSYBOX), "bin/sleep")], command=["/bin/sleep", "2147483647"])
    entries = userland()
    for name in ("local/busybox:1", "library/busybox:latest", "library/alpine:latest"):
        write(store, name, entries, command=["/bin/sh"])
    write(store, "library/debian:12", debian(), command=["/bin/bash"])
    for name in ("private/debian:12", "library/debian:latest", "library/ubuntu:22.04", "library/ubuntu:24.04", "library/ubuntu:latest"):
        alias(store, "library/debian:12", name)
