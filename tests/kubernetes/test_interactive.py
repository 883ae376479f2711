#!/usr/bin/python3
"""What users do with a running task on a real cluster: shells, forwarded ports, files, a web server, its log over restarts of everything."""
import concurrent.futures
import hashlib
import http.client
import os
import pty
import re
import select
import signal
import socket
import subprocess
import tempfile
import termios
import time
import unittest

import osmo_site
import workflow_case

SERVER = r"""
use strict; use IO::Socket::INET; use IO::Select;
$SIG{CHLD} = 'IGNORE'; $| = 1;
sub listener { IO::Socket::INET->new(LocalAddr => $_[0], LocalPort => $_[1], Proto => 'tcp', Listen => 200, ReuseAddr => 1) or die "$_[1]: $!" }
my $echo = listener('127.0.0.1', 7007);
my $web = listener('0.0.0.0', 8080);
my $udp = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 7008, Proto => 'udp') or die $!;
my $all = IO::Select->new($echo, $web, $udp);
print "$ENV{NAME} serves\n";
while (1) {
    for my $s ($all->can_read) {
        if ($s == $udp) { my $d; my $a = $s->recv($d, 65536); $s->send($d, 0, $a); next }
        my $c = $s->accept or next;
        next if fork;
        if ($s == $echo) { my $d; while (sysread($c, $d, 65536)) { my $n = 0; while ($n < length $d) { $n += syswrite($c, $d, length($d) - $n, $n) // exit } } exit }
        my $head = ''; while ($head !~ /\r\n\r\n/ && sysread($c, my $d, 4096)) { $head .= $d }
        my ($path) = $head =~ /^GET (\S+)/; my $text = "$ENV{NAME} got $path\n";
        print $c "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " . length($text) . "\r\n\r\n$text"; close $c; exit;
    }
}
"""


def spec():
    text = "".join("        " + line + "\n" for line in SERVER.splitlines())
    tasks = ""
    for name, lead in (("one", "true"), ("two", "false")):
        tasks += (f"    - name: {name}\n      lead: {lead}\n      image: debian:12\n      command: [perl, /tmp/server.pl]\n"
                  f"      environment: {{NAME: {name}, OTHER: '{{{{host:{'two' if name == 'one' else 'one'}}}}}'}}\n"
                  f"      files:\n      - path: /tmp/server.pl\n        contents: |\n" + text.replace("\n        ", "\n          ").replace("        ", "          ", 1))
    return ("workflow:\n  name: talk\n  resources:\n    default: {cpu: 1, memory: 64Mi, storage: 64Mi}\n  groups:\n  - name: servers\n"
            "    ignoreNonleadStatus: false\n    tasks:\n" + tasks)


def echo(port, size):
    """What goes in comes out."""
    data = os.urandom(size)
    with socket.create_connection(("127.0.0.1", port), 60) as s:
        sent, got = 0, b""
        s.setblocking(False)
        until = time.monotonic() + 60
        while len(got) < size and time.monotonic() < until:
            ready = select.select([s], [s] if sent < size else [], [], 1)
            if ready[1]:
                sent += s.send(data[sent:sent + 60000])
            if ready[0]:
                piece = s.recv(65536)
                if not piece:
                    break
                got += piece
    return hashlib.sha256(got).digest() == hashlib.sha256(data).digest()


class Terminal:
    """The client on a terminal of its own."""

    def __init__(self, site, words):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(site.outside[0], [*site.outside, os.path.join(osmo_site.BUILD, "osmo"), *words], dict(site.environment, TERM="xterm"))
        self.seen = b""

    def write(self, text):
        os.write(self.fd, text.encode())

    def until(self, text, seconds=60):
        end = time.monotonic() + seconds
        while text.encode() not in self.seen:
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"waited in vain for {text!r}: {self.seen[-1500:]!r}")
            try:
                self.seen += os.read(self.fd, 65536)
            except OSError:
                raise AssertionError(f"it ended without {text!r}: {self.seen[-1500:]!r}")
        self.seen = self.seen.split(text.encode(), 1)[1]

    def resize(self, rows, columns):
        termios.tcsetwinsize(self.fd, (rows, columns)) if hasattr(termios, "tcsetwinsize") else \
            subprocess.run(["stty", "rows", str(rows), "cols", str(columns)], stdin=self.fd, check=True)

    def end(self):
        while True:
            try:
                if not os.read(self.fd, 65536):
                    break
            except OSError:
                break
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class Interactive(workflow_case.Workflows):
    @classmethod
    def start(cls):
        config = osmo_site.CONFIG.replace("workflow:\n", "workflow:\n  plugins_config: {{rsync: {{enabled: true}}}}\n", 1)
        with open(os.path.join(cls.site.work, "osmo.yaml"), "w", encoding="utf-8") as f:
            f.write(config.format(registry=cls.cluster.registry, workflows=osmo_site.WORKFLOWS))
        super().start()
        cls.name = cls.site.submit(spec())
        cls.site.running(cls.name)
        for task in ("one", "two"):
            cls.site.wait(lambda t=task: cls.site.logged(cls.name, t + " serves"), task + " serves")

    def client(self, *words):
        """The client, as long as the test runs."""
        child = subprocess.Popen([*self.site.outside, os.path.join(osmo_site.BUILD, "osmo"), *words], env=self.site.environment,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.addCleanup(lambda: (child.send_signal(signal.SIGINT), child.wait(30)))
        return child

    def outside(self, function, *args):
        """Calls it where the client is."""
        with open(f"/proc/{self.site.holder.pid}/ns/net", "rb") as there, open("/proc/self/ns/net", "rb") as here:
            def run():
                osmo_site._libc.setns(there.fileno(), 0)
                try:
                    return function(*args)
                finally:
                    osmo_site._libc.setns(here.fileno(), 0)
            with concurrent.futures.ThreadPoolExecutor(1) as one:
                return one.submit(run).result()

    @staticmethod
    def serves():
        with socket.socket() as s:
            return s.connect_ex((osmo_site.SERVICE, osmo_site.PORT)) == 0

    def test_shell(self):
        """A terminal with its size, ^C, and how it ended."""
        t = Terminal(self.site, ["workflow", "exec", self.name, "one", "--entry", "/bin/bash --norc"])
        t.write("echo $((40 + 2)); stty size\n")
        t.until("42")
        t.resize(41, 123)
        t.write("sleep 0.5; stty size\n")
        t.until("41 123")
        t.write("sh -c 'echo run''ning; exec sleep 1000'\n")
        t.until("running")  # in the foreground, then
        t.write("\x03")
        t.write("echo after $((1 + 1)); kill -9 $$\n")
        t.until("after 2")
        self.assertEqual(t.end(), 137)

    def test_command(self):
        """Without a terminal: pipes, and the exit status."""
        words = [*self.site.outside, os.path.join(osmo_site.BUILD, "osmo"), "workflow", "exec", self.name, "two", "--entry"]
        data = os.urandom(300000)
        done = subprocess.run([*words, "cat"], input=data, capture_output=True, env=self.site.environment, timeout=60)
        self.assertEqual((done.stdout == data, done.returncode), (True, 0), done.stderr)
        done = subprocess.run([*words, "sh -c 'echo out; echo err >&2; exit 7'"], input=b"", capture_output=True, env=self.site.environment,
                              timeout=60)
        self.assertEqual((done.stdout, b"err" in done.stderr, done.returncode), (b"out\n", True, 7))

    def test_ports(self):
        """A hundred connections at once, and datagrams."""
        self.client("workflow", "port-forward", self.name, "one", "--port", "17007:7007")
        self.client("workflow", "port-forward", self.name, "one", "--port", "17008:7008", "--udp")

        def connections():
            with open(f"/proc/{self.site.holder.pid}/ns/net", "rb") as there, \
                    concurrent.futures.ThreadPoolExecutor(100, initializer=lambda: osmo_site._libc.setns(there.fileno(), 0)) as crowd:
                return list(crowd.map(lambda _: echo(17007, 100000), range(100)))

        def listens():
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", 17007)) == 0

        def ask():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.settimeout(1)
                s.connect(("127.0.0.1", 17008))
                try:
                    s.send(b"a datagram")
                    return s.recv(100)
                except OSError:
                    return b""

        self.site.wait(lambda: self.outside(listens), "the client listens")
        self.assertEqual(connections(), [True] * 100)
        self.assertEqual(self.site.wait(lambda: self.outside(ask), "an answer to a datagram"), b"a datagram")

    def test_files(self):
        """rsync there and back."""
        there, back = os.path.join(self.site.work, "there"), os.path.join(self.site.work, "back")
        os.mkdir(there)
        for i in range(200):
            with open(os.path.join(there, f"file {i}"), "wb") as f:
                f.write(os.urandom(1000 + i))
        self.site.osmo("workflow", "rsync", "upload", self.name, "one", there + ":/osmo/run/workspace/")
        self.site.osmo("workflow", "rsync", "download", self.name, "one", "/osmo/run/workspace/there:" + back)
        done = subprocess.run(["diff", "-r", there, os.path.join(back, "there") if os.path.isdir(os.path.join(back, "there")) else back],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout[-500:])

    def test_web(self):
        """By the router's host name, and each task by its own name in the group."""
        text = self.site.osmo("workflow", "webserver", self.name, "two", "--port", "8080")
        host = re.search(r"https?://([^/:\s]+)", text).group(1)

        def get():
            c = http.client.HTTPConnection(osmo_site.SERVICE, osmo_site.PORT, timeout=60)
            c.request("GET", "/a%2Fb?c=d", headers={"Host": host})
            return c.getresponse().read()

        self.assertEqual(self.outside(get), b"two got /a%2Fb?c=d\n")
        asks = ("use IO::Socket::INET; my $c = IO::Socket::INET->new(PeerAddr => $ENV{OTHER}, PeerPort => 8080) or die $!; "
                "print $c \"GET /x HTTP/1.0\\r\\n\\r\\n\"; print <$c>")
        for task, other in (("one", "two"), ("two", "one")):
            self.assertIn(f"{other} got /x", self.site.osmo("workflow", "exec", self.name, task, "--entry", f"perl -e '{asks}'"))

    def test_log(self):
        """Followed over kills of the service and of the operator: every line once, in order."""
        script = "i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); sleep 0.05; done"
        name = self.site.submit(workflow_case.one_task("numbers", script))
        self.site.running(name)
        out = tempfile.TemporaryFile()
        child = subprocess.Popen([*self.site.outside, os.path.join(osmo_site.BUILD, "osmo"), "workflow", "logs", name, "--follow"],
                                 env=self.site.environment, stdin=subprocess.DEVNULL, stdout=out)
        for program in ("service", "backend-my-cluster", "service"):
            time.sleep(3)
            self.site.programs[program].stop(signal.SIGKILL)
            self.site.programs[program].start()
        self.site.wait(lambda: self.outside(self.serves), "the service serves again")
        self.check(name, "COMPLETED")
        child.wait(60)
        out.seek(0)
        self.assertEqual(re.findall(r"\] line (\d+)$", out.read().decode(), re.M), [str(i) for i in range(400)])


if __name__ == "__main__":
    unittest.main(verbosity=2)
