#!/usr/bin/python3
"""make bench-kubernetes: a control plane of its own (tests/kubernetes/cluster.py, mode control) with nodes that have no kubelet, and the
figures of the driver on it, then those of the whole way to a task's status (kubernetes_status.py). OSMO_KUBERNETES_DIR: use a cluster that
runs already; OSMO_BENCH_DIVIDE: only this part of the pods, for a quick look."""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
CLUSTER = os.path.join(HERE, "..", "kubernetes")
sys.path.insert(0, CLUSTER)
import client  # noqa: E402 pylint: disable=wrong-import-position

RUNS = (("relist", 5000), ("latency", 300), ("create", 1000), ("status", 200))
NODES = 20
DIVIDE = int(os.environ.get("OSMO_BENCH_DIVIDE", "1"))


def row(figure, measured, aim=""):
    """As the program prints its own."""
    print(f"| {figure:<104} | {measured:>22} | {aim:<8} |", flush=True)


def measure(program, directory):
    """Inside of the network of the cluster, the only place from which it can be reached."""
    if os.environ.get("OSMO_BENCH_INSIDE") != "1":
        inside = ["nsenter", f"--net={os.path.join(directory, 'network')}", "--", sys.executable, "-B", __file__, program]
        return subprocess.run(inside, env=dict(os.environ, OSMO_BENCH_INSIDE="1", OSMO_KUBERNETES_DIR=directory), check=False).returncode
    cluster = client.Cluster(directory)
    cluster.fake_nodes(NODES, prefix="bench")
    row("figure", "measured", "aim")
    row("-" * 104, "-" * 22, "-" * 8)
    for run, number in RUNS:
        number = max(10, number // DIVIDE)
        if run == "status":
            import kubernetes_status  # pylint: disable=import-outside-toplevel
            kubernetes_status.bench(cluster, number, row)
            continue
        cluster.namespace("bench-" + run)
        done = subprocess.run([program, cluster.configs["admin"], "bench-" + run, run, str(number)], check=False)
        if done.returncode:
            return done.returncode
    return 0


def main():
    program = os.path.abspath(sys.argv[1])
    directory = os.environ.get("OSMO_KUBERNETES_DIR")
    if directory:
        return measure(program, directory)
    with tempfile.TemporaryDirectory(prefix="osmo-bench-") as own:
        words = [sys.executable, "-B", os.path.join(CLUSTER, "cluster.py"), "up", "--dir", own, "--mode", "control", "--with-parent"]
        with open(os.path.join(own, "up.log"), "w", encoding="utf-8") as log:
            with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True) as up:
                try:
                    if up.stdout.readline().strip() != "READY":
                        print("bench-kubernetes: the cluster did not start", file=sys.stderr)
                        return 1
                    return measure(program, own)
                finally:
                    up.terminate()
                    up.wait()


if __name__ == "__main__":
    sys.exit(main())
