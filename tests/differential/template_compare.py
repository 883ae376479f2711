"""Renders documents by Jinja2 (sandbox, strict undefined) and by our engine and compares what comes out: the same text, or
both refuse.
    template_compare.py PROGRAM [--list FILE]
Documents: all of templates.txt, then COUNT (10000) drawn with SEED (1), from number FIRST (0) on. Accepted differences
stand in exceptions.txt. Disagreements are made small and printed; exit 1 when there are any. Run by `./run-tests --differential`."""
import json
import multiprocessing
import os
import re
import resource
import select
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import template_corpus  # noqa: E402

SECONDS, MEMORY, TEXT_MAX = 2, 1 << 30, 8 << 20
TOKEN = re.compile(r"\{\{(uuid|workflow_id|output|(?:input|host):[^}]*)\}\}")


class TooLong(BaseException):
    """Not an Exception: Jinja2 would take some of those for its own."""


def on_alarm(signum, frame):
    raise TooLong()


class Jinja:
    """Renders in this process; refuses what takes too long."""

    def __init__(self):
        import jinja2
        import jinja2.sandbox
        warnings.simplefilter("ignore")
        self.jinja2 = jinja2
        signal.signal(signal.SIGALRM, on_alarm)

    def render(self, document):
        env = self.jinja2.sandbox.SandboxedEnvironment(undefined=self.jinja2.StrictUndefined)
        text, variables = document["template"], dict(document["variables"])
        tokens = {}
        if document.get("protect"):  # as upstream keeps its tokens: a variable each, whose value is the token
            text = TOKEN.sub(lambda m: "{{%s}}" % tokens.setdefault(m.group(0), f"protected_token_{len(tokens)}"), text)
            variables.update({name: token for token, name in tokens.items()})
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        stage = "compile "
        try:
            template = env.from_string(text)
            stage = ""
            out = template.render(variables)
            for token, name in tokens.items():  # upstream's would be garbled inside of raw; ours stay
                out = out.replace("{{%s}}" % name, token)
            if len(out) > TEXT_MAX:
                return {"error": "too much text", "code": "limit"}
            out.encode()
            return {"output": out}
        except (TooLong, MemoryError):
            return {"error": "out of time or memory", "code": "limit"}
        except RecursionError:
            return {"error": "recursion", "code": "limit"}
        except Exception as e:  # whatever a template can raise
            return {"error": f"{type(e).__name__}: {e}"[:300], "code": stage + type(e).__name__}
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def jinja_worker(pipe):
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    jinja = Jinja()
    while True:
        try:
            document = pipe.recv()
        except EOFError:
            return
        try:
            answer = jinja.render(document)
        except TooLong:  # rang while the alarm was being switched off
            answer = {"error": "out of time or memory", "code": "limit"}
        pipe.send(answer)


class JinjaProcess:
    """A worker that is killed when it hangs in something that no signal interrupts."""

    def __init__(self):
        self.process = None

    def start(self):
        self.pipe, far = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=jinja_worker, args=(far,), daemon=True)
        self.process.start()
        far.close()

    def render(self, document):
        if self.process is None:
            self.start()
        try:
            self.pipe.send(document)
            if self.pipe.poll(SECONDS * 4):
                return self.pipe.recv()
        except (EOFError, OSError):
            pass
        self.process.kill()
        self.process.join()
        self.process = None
        return {"error": "out of time or memory", "code": "limit"}


class Ours:
    """Our engine, one process for all documents; what ends it is a finding of its own."""

    def __init__(self, program):
        self.program, self.process = program, None

    def render(self, document):
        if self.process is None:
            self.process = subprocess.Popen([self.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = json.dumps(document, ensure_ascii=False)
        try:
            self.process.stdin.write(line.encode("utf-8", "surrogatepass") + b"\n")
            self.process.stdin.flush()
            ready, _, _ = select.select([self.process.stdout], [], [], 20)
            answer = self.process.stdout.readline() if ready else b""
        except OSError:
            answer = b""
        if answer:
            return json.loads(answer)
        self.process.kill()
        code = self.process.wait()
        self.process = None
        return {"error": f"the program ended or hung ({code})", "code": "CRASH"}


# ---- what counts as agreement ----
class Exceptions:
    """Accepted differences: blocks of `name`, `reason`, and patterns (template, jinja, ours) that all have to match."""

    def __init__(self, path):
        self.rules, self.counts = [], {}
        rule = None
        for number, line in enumerate(open(path, encoding="utf-8"), 1):
            line = line.rstrip("\n")
            if not line or line.startswith("#"):
                continue
            key, _, value = line.partition(": ")
            if key == "name":
                rule = {"name": value}
                self.rules.append(rule)
            elif rule is None or key not in ("reason", "template", "jinja", "ours"):
                raise SystemExit(f"{path}:{number}: expected name, reason, template, jinja or ours")
            else:
                rule[key] = value if key == "reason" else re.compile(value, re.S)

    def accept(self, document, theirs, ours):
        for rule in self.rules:
            texts = {"template": document["template"], "jinja": describe(theirs), "ours": describe(ours)}
            if all(rule[k].search(texts[k]) for k in texts if k in rule):
                self.counts[rule["name"]] = self.counts.get(rule["name"], 0) + 1
                return rule["name"]
        return None


def describe(answer):
    return "output " + answer["output"] if "output" in answer else f"error {answer['code']}: {answer['error']}"


def verdict(theirs, ours):
    """agree, refuse (both), limit (one of them gave up for its size), or the kind of disagreement"""
    if ours.get("code") in ("CRASH", "NOMEM", "INTERNAL", "INVALID"):
        return "we-broke"
    if "output" in theirs and "output" in ours:
        return "agree" if theirs["output"] == ours["output"] else "differ"
    if "error" in theirs and "error" in ours:
        return "refuse"
    if "error" in theirs:
        return "limit" if theirs["code"] == "limit" else "they-refuse"
    return "we-refuse"


def message_class(answer):
    """An error without what is particular to one document."""
    if "error" not in answer:
        return "renders"
    text = re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "_", answer["error"])
    return re.sub(r"^line _: ", "", text)[:90]


class Minimiser:
    """Cuts a document down while the two still disagree in the same way."""

    def __init__(self, jinja, ours, exceptions, kind, signature):
        self.jinja, self.ours, self.exceptions = jinja, ours, exceptions
        self.kind, self.signature, self.tries = kind, signature, 0

    def fails(self, document):
        if self.tries <= 0:
            return False
        self.tries -= 1
        theirs, ours = self.jinja.render(document), self.ours.render(document)
        kind = verdict(theirs, ours)
        return kind == self.kind and signature(kind, theirs,
                                               ours) == self.signature and not self.exceptions.accept(document, theirs,
                                                   ours)

    def cut(self, document, pieces, join):
        """ddmin over pieces; returns the pieces that are needed."""
        size = max(1, len(pieces) // 2)
        while True:
            at = 0
            while at < len(pieces):
                rest = pieces[:at] + pieces[at + size:]
                if self.fails({**document, "template": join(rest)}):
                    pieces = rest
                else:
                    at += size
            if size == 1:
                return pieces
            size = max(1, size // 2)

    def run(self, document, tries=1500):
        self.tries = tries
        for pattern in (r"(\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\})", r"(\w+|\s+|.)", r"(.)"):
            for _ in range(2):
                before = document["template"]
                pieces = [p for p in re.split(pattern, before, flags=re.S) if p]
                document = {**document, "template": "".join(self.cut(document, pieces, "".join))}
                if document["template"] == before:
                    break
        for name in list(document["variables"]):
            less = {**document, "variables": {k: v for k, v in document["variables"].items() if k != name}}
            if self.fails(less):
                document = less
        return document


def signature(kind, theirs, ours):
    if kind == "differ":
        return "differ"
    return f"{kind}: {message_class(theirs)} / {message_class(ours)}"


# ---- the run ----
def hand_written(path):
    """templates.txt: documents behind lines of `=== name`, then optional lines that its head explains."""
    documents, lines, name = [], None, None
    escapes = {"\\r": "\r", "\\f": "\f", "\\u2028": "\u2028", "\\0": "\0"}

    def finish():
        if lines is None:
            return
        variables, protect, rest, end = {}, False, list(lines), "\n"
        while rest and re.match(r"VARS |PROTECT$|ESCAPES$|NOEND$", rest[0]):
            line = rest.pop(0)
            if line == "PROTECT":
                protect = True
            elif line == "NOEND":
                end = ""
            elif line == "ESCAPES":
                rest = [re.sub(r"\\(r|f|u2028|0)", lambda m: escapes[m.group(0)], r) for r in rest]
            else:
                variables = json.loads(line[5:])
        documents.append({"template": "\n".join(rest) + end, "variables": variables, "protect": protect, "name": name})

    for line in open(path, encoding="utf-8", newline="\n"):
        if line.startswith("=== "):
            finish()
            lines, name = [], line[4:].strip()
        elif lines is not None:
            lines.append(line.rstrip("\n"))
    finish()
    return documents


def compare_part(job):
    """One worker's share of the documents: counts and disagreements."""
    program, documents, seed, numbers = job
    jinja, ours, exceptions = JinjaProcess(), Ours(program), Exceptions(os.path.join(HERE, "exceptions.txt"))
    counts, found = {}, []
    for name, document in documents + [(f"{seed}:{i}", None) for i in numbers]:
        document = document or template_corpus.document(seed, int(name.split(":")[1]))
        theirs, answer = jinja.render(document), ours.render(document)
        kind = verdict(theirs, answer)
        if kind not in ("agree", "refuse", "limit") and exceptions.accept(document, theirs, answer):
            kind = "excepted"
        counts[kind] = counts.get(kind, 0) + 1
        counts["rendered"] = counts.get("rendered", 0) + ("output" in theirs)
        if kind not in ("agree", "refuse", "limit", "excepted"):
            found.append((signature(kind, theirs, answer), name, document, theirs, answer))
    stop(jinja, ours)
    return counts, found, exceptions.counts


def stop(*renderers):
    for renderer in renderers:
        if renderer.process:
            renderer.process.kill()


def minimise(job):
    program, cause, name, document = job
    jinja, ours, exceptions = JinjaProcess(), Ours(program), Exceptions(os.path.join(HERE, "exceptions.txt"))
    small = Minimiser(jinja, ours, exceptions, cause.split(":")[0], cause).run(document)
    found = (cause, name, small, jinja.render(small), ours.render(small))
    stop(jinja, ours)
    return found


def minimised(program, found, pool):
    """A few of each cause, the shortest first, made small; the others only count."""
    chosen, causes = [], {}
    for entry in sorted(found, key=lambda f: len(f[2]["template"])):
        causes[entry[0]] = causes.get(entry[0], 0) + 1
        if causes[entry[0]] <= (60 if entry[0] == "differ" else 4):
            chosen.append((program,) + entry[:3])
    small = {(f[0], f[1]): f for f in pool.map(minimise, chosen)}
    return [small.get(f[:2], f[:2] + (None, None, None)) for f in found]


def area(text):
    return "filter" if re.search(r"\||\bis\b|\b(range|dict|cycler|joiner|namespace|lipsum)\b|\{%-?\+?\s*filter",
                                 text) else "lang"


def report(found, out):
    """Groups by cause; those that differ in their text by the minimised document."""
    groups = {}
    for cause, name, small, theirs, ours in found:
        groups.setdefault(cause, []).append((name, small, theirs, ours))
    for cause in sorted(groups, key=lambda c: -len(groups[c])):
        members = groups[cause]
        print(f"\n## {cause}   ({len(members)} documents)", file=out)
        seen = set()
        for name, small, theirs, ours in sorted((m for m in members if m[1]), key=lambda m: len(m[1]["template"])):
            key = re.sub(r"\d+|'[^']*'|\"[^\"]*\"", "_", small["template"])
            if key in seen or len(seen) >= 40:
                continue
            seen.add(key)
            print(f"[{area(small['template'])}] {name}  {small['template']!r}" +
                  (f"  with {json.dumps(small['variables'], ensure_ascii=False)}" if small["variables"] else "") +
                  ("  protected" if small.get("protect") else ""), file=out)
            print(f"    jinja: {describe(theirs)[:400]!r}\n    ours:  {describe(ours)[:400]!r}", file=out)


def main():
    program = sys.argv[1]
    listing = sys.argv[sys.argv.index("--list") + 1] if "--list" in sys.argv else None
    seed, count, workers = os.environ.get("SEED", "1"), int(os.environ.get("COUNT",
        "10000")), int(os.environ.get("WORKERS", os.cpu_count() or 1))
    import jinja2
    started = time.monotonic()
    documents = [(d.pop("name"), d) for d in hand_written(os.path.join(HERE, "templates.txt"))]
    written, first, step = len(documents), int(os.environ.get("FIRST", "0")), 250
    parts = [(program, documents, seed, [])]
    parts += [(program, [], seed, range(at, min(at + step, first + count))) for at in range(first, first + count, step)]
    counts, found, excepted = {}, [], {}
    with ProcessPoolExecutor(workers) as pool:  # not a Pool: its workers are daemons, which may have no children
        for part_counts, part_found, part_excepted in pool.map(compare_part, parts):
            found += part_found
            for into, more in ((counts, part_counts), (excepted, part_excepted)):
                for k, v in more.items():
                    into[k] = into.get(k, 0) + v
        found = minimised(program, found, pool)
    total = written + count
    seconds, n = time.monotonic() - started, lambda name: counts.get(name, 0)
    summary = (f"{total} documents ({written} written by hand, {count} drawn with seed {seed}) by Jinja2 {jinja2.__version__} "
               f"and by us in {seconds:.0f} s: {n('rendered')} render; {n('agree')} the same text, {n('refuse')} refused by both, "
               f"{n('excepted')} excepted, {n('limit')} beyond Jinja2's time or memory, {len(found)} disagreements")
    for name in sorted(excepted):
        print(f"exception used: {name}: {excepted[name]}")
    report(found, sys.stdout)
    print(summary)
    if listing:
        with open(listing + ".new", "w", encoding="utf-8") as out:
            print(time.strftime("%H:%M:%S"), summary, file=out)
            report(found, out)
        os.replace(listing + ".new", listing)
    if n("rendered") * 2 < total:
        print("fewer than half of the documents render: such a corpus proves little")
        return 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
