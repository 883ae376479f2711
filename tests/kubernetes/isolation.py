"""Namespaces for a test cluster: everything that it starts, mounts and configures ends with its first process, whatever kills that.

The cluster gets its own network (nothing leaves it), its own process tree (the kernel ends all of it, containers too, when the first
process ends) and its own mounts (which vanish with the last process). Only control groups outlive that: remove_groups()."""
import ctypes
import os
import signal
import subprocess
import time

CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x20000000, 0x40000000
MS_REC, MS_PRIVATE, PR_SET_PDEATHSIG = 0x4000, 0x40000, 1
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result, what):
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def leave_network_and_processes():
    """Children of this process begin a process tree of their own, and share its new network."""
    _checked(_libc.unshare(CLONE_NEWPID | CLONE_NEWNET), "a network and process namespace of its own (the cluster needs root)")


def mount(source, target, kind, options=""):
    _checked(_libc.mount(source.encode(), target.encode(), kind.encode(), 0, options.encode() or None), f"mounting {kind} on {target}")


def die_with_parent(sig=signal.SIGKILL):
    _checked(_libc.prctl(PR_SET_PDEATHSIG, sig, 0, 0, 0), "prctl")


def private_mounts(state, size):
    """Own mounts: a file system in memory for the state, nothing of what runs on the machine, and what programs are compiled to
    write elsewhere goes into memory too."""
    _checked(_libc.unshare(CLONE_NEWNS), "a mount namespace of its own")
    _checked(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "private mounts")
    os.makedirs(state, mode=0o700, exist_ok=True)
    mount("tmpfs", state, "tmpfs", f"size={size},mode=0700")
    mount("proc", "/proc", "proc")
    mount("tmpfs", "/run", "tmpfs", "mode=0755")
    os.makedirs("/run/netns", exist_ok=True)
    for lower in ("/var/lib", "/var/log"):
        upper, work = (os.path.join(state, part + lower.replace("/", "-")) for part in ("upper", "work"))
        os.makedirs(upper)
        os.makedirs(work)
        mount("overlay", lower, "overlay", f"lowerdir={lower},upperdir={upper},workdir={work}")


def bridge(name, address):
    # Its own hardware address: else it takes one of its ports', and when that pod goes the others send to nobody for half a minute.
    for command in ("ip link set lo up", f"ip link add {name} address 0a:58:0a:cb:00:01 type bridge",
                    f"ip address add {address} dev {name}", f"ip link set {name} up"):
        done = subprocess.run(command.split(), capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stderr.strip()}")


def _hierarchies():
    top = "/sys/fs/cgroup"
    if os.path.exists(os.path.join(top, "cgroup.controllers")):
        return [top]
    return [os.path.join(top, d) for d in os.listdir(top) if os.path.exists(os.path.join(top, d, "cgroup.procs"))]


def make_groups(prefix):
    """A control group in each hierarchy, under which the node keeps its pods; its name, which has this process in it. Those of
    processes that are no more, because they were killed, are removed."""
    name = f"{prefix}{os.getpid()}"
    for top in _hierarchies():
        for old in os.listdir(top):
            if old.startswith(prefix) and not os.path.exists("/proc/" + old[len(prefix):]):
                remove_groups(old, 0)
        path = os.path.join(top, name)
        os.makedirs(path, exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):  # new groups of version 1 have none, and cannot be entered
            target = os.path.join(path, file)
            if os.path.exists(target) and not open(target, encoding="ascii").read().strip():
                with open(os.path.join(top, file), encoding="ascii") as f, open(target, "w", encoding="ascii") as out:
                    out.write(f.read())
    return name


def remove_groups(name, seconds=10):
    """Their processes are ending: the kernel needs a moment for each."""
    until = time.monotonic() + seconds
    for top in _hierarchies():
        for path, _, _ in os.walk(os.path.join(top, name), topdown=False):
            while True:
                try:
                    os.rmdir(path)
                except FileNotFoundError:
                    pass
                except OSError:
                    if time.monotonic() < until:
                        time.sleep(0.05)
                        continue
                break
