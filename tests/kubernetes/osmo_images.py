"""The images of this tree in the registry of a test cluster: what packaging/images/build.sh makes of it, without a container engine."""
import os
import shutil
import subprocess
import tempfile

import images

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD_SCRIPT = os.path.join(TOP, "packaging", "images", "build.sh")
ENVIRONMENTS = {"service": ("PATH=/usr/bin", "HOME=/var/lib/osmo"), "backend": ("PATH=/usr/bin", "HOME=/var/lib/osmo"),
                "runtime": ("PATH=/usr/bin",)}
USERS = {"service": "1001:1001", "backend": "1001:1001", "runtime": ""}


def install(build, destdir):
    """make install of a build tree that is there, with the prefix that images have."""
    subprocess.run(["make", "-C", build, "-s", "install", f"DESTDIR={destdir}", "prefix=/usr"], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def root_directories(build, target, which=("service", "backend", "runtime")):
    """target/IMAGE becomes the root directory of each, out of a build tree of any prefix."""
    with tempfile.TemporaryDirectory(prefix="osmo-images.") as scratch:
        install(build, os.path.join(scratch, "tree"))
        subprocess.run([BUILD_SCRIPT, "--destdir", os.path.join(scratch, "tree"), "--rootfs", target, *which], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def push(cluster, target, which=("service", "backend", "runtime"), tag="test"):
    """The root directories of target as images of the cluster's registry; returns the names that pods use, by image."""
    names = {}
    for image in which:
        root = os.path.join(target, image)
        entries = [images.copy(os.path.join(root, name), name) for name in sorted(os.listdir(root))]
        name = images.write(cluster.images, f"osmo/{image}:{tag}", entries, environment=ENVIRONMENTS[image], user=USERS[image],
                            entrypoint=None if image == "runtime" else [f"/usr/bin/osmo-{image}"])
        names[image] = f"{cluster.registry}/{name}"
    return names


def build_and_push(cluster, build, which=("service", "backend", "runtime"), tag="test"):
    """All of it; the root directories are removed."""
    target = tempfile.mkdtemp(prefix="osmo-roots.")
    try:
        root_directories(build, target, which)
        return push(cluster, target, which, tag)
    finally:
        shutil.rmtree(target)
