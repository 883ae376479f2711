"""The certificates, tokens and kubeconfig files of a test cluster: made new for each start, by the openssl program, valid for days."""
import os
import secrets
import subprocess

SUBJECTS = {  # file -> what the API server sees of the holder
    "admin": "/O=system:masters/CN=admin",
    "scheduler": "/CN=system:kube-scheduler",
    "controllers": "/CN=system:kube-controller-manager",
    "kubelet-client": "/O=system:masters/CN=apiserver-to-kubelet",
}


def openssl(*args, directory):
    done = subprocess.run(["openssl", *args], cwd=directory, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"openssl {args[0]} failed: {done.stderr.strip()[-400:]}")


def authority(directory):
    """The one that signs everything, and the key pair of service account tokens."""
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj",
            "/CN=test-cluster-ca", "-keyout", "ca.key", "-out", "ca.crt", directory=directory)
    openssl("genrsa", "-out", "accounts.key", "2048", directory=directory)
    openssl("rsa", "-in", "accounts.key", "-pubout", "-out", "accounts.pub", directory=directory)


def issue(directory, name, subject, names=()):
    """A key and a certificate, for servers too when there are names (as openssl writes them: IP:…, DNS:…)."""
    extensions = os.path.join(directory, name + ".ext")
    with open(extensions, "w", encoding="utf-8") as f:
        f.write("extendedKeyUsage=serverAuth,clientAuth\nkeyUsage=digitalSignature\n")
        if names:
            f.write("subjectAltName=" + ",".join(names) + "\n")
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", subject,
            "-keyout", name + ".key", "-out", name + ".csr", directory=directory)
    openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
            "-extfile", extensions, "-out", name + ".crt", directory=directory)
    os.unlink(extensions)
    os.unlink(os.path.join(directory, name + ".csr"))


def write_private(path, text):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w", encoding="utf-8") as f:
        f.write(text)


def kubeconfig(path, server, ca, user, namespace="default", **credentials):
    """credentials: token=…, or certificate=… and key=… (paths)."""
    lines = ["apiVersion: v1", "kind: Config", "current-context: test", "clusters:", "- name: test", "  cluster:",
             f"    server: {server}", f"    certificate-authority: {ca}", "contexts:", "- name: test", "  context:",
             "    cluster: test", f"    user: {user}", f"    namespace: {namespace}", "users:", f"- name: {user}", "  user:"]
    if "token" in credentials:
        lines.append(f"    token: {credentials['token']}")
    else:
        lines += [f"    client-certificate: {credentials['certificate']}", f"    client-key: {credentials['key']}"]
    write_private(path, "\n".join(lines) + "\n")


def make_all(directory, server, node, server_names):
    """Everything of a new cluster in the directory; returns the tokens by user."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    authority(directory)
    issue(directory, "apiserver", "/CN=apiserver", server_names)
    for name, subject in SUBJECTS.items():
        issue(directory, name, subject)
    issue(directory, "kubelet", f"/O=system:nodes/CN=system:node:{node}")
    tokens = {"admin": secrets.token_hex(16), "operator": secrets.token_hex(16)}
    write_private(os.path.join(directory, "tokens.csv"),
                  f'{tokens["admin"]},admin-by-token,1,"system:masters"\n{tokens["operator"]},osmo-operator,2\n')
    return tokens


def kubeconfigs(directory, target, server, tokens):
    """The files that tests and components use; returns their paths by name."""
    ca = os.path.join(directory, "ca.crt")
    paths = {}
    for name in ("admin", "scheduler", "controllers", "kubelet"):
        paths[name] = os.path.join(target, name + ".kubeconfig")
        kubeconfig(paths[name], server, ca, name, certificate=os.path.join(directory, name + ".crt"),
                   key=os.path.join(directory, name + ".key"))
    for name, user in (("admin-token", "admin"), ("operator", "operator")):
        paths[name] = os.path.join(target, name + ".kubeconfig")
        kubeconfig(paths[name], server, ca, user, token=tokens[user])
    return paths
