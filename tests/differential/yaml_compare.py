"""Loads documents by PyYAML's SafeLoader and by our loader and compares values with their types: the same, or both refuse. Then trees that our
emitter writes are read back by PyYAML and by ourselves.
    yaml_compare.py PROGRAM [--list FILE]
Documents: COUNT (20000) drawn with SEED (1), and a quarter as many trees. Accepted differences stand in yaml_exceptions.txt. Disagreements are
made small and printed; exit 1 when there are any. Run by `./run-tests --differential`."""
import datetime
import json
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import yaml  # noqa: E402
import yaml_corpus  # noqa: E402

ESCAPES = {c: "\\u%04x" % c for c in range(32)} | {ord('"'): "\\u0022", ord("\\"): "\\u005c"}
NODES_MAX = 200000


# ---- PyYAML's answer ----
class TooMany(Exception):
    pass


def typed(value, out, room):
    """The form that yaml_load prints."""
    room[0] -= 1
    if room[0] < 0:
        raise TooMany("too many nodes")
    kind = type(value)
    if kind is str:
        out.append('["str","' + value.translate(ESCAPES) + '"]')
    elif kind is dict or kind in (list, tuple, set):
        out.append('["map"' if kind is dict else '["set"' if kind is set else '["list"')
        for item in value:
            out.append(",")
            typed(item, out, room)
            if kind is dict:
                out.append(",")
                typed(value[item], out, room)
        out.append("]")
    elif value is None:
        out.append('["null","None"]')
    elif kind in (bool, int, float):
        out.append(f'["{kind.__name__}","{value!r}"]')
    elif kind is datetime.date or kind is datetime.datetime:
        out.append(f'["{kind.__name__}","{value.isoformat()}"]')
    elif kind is bytes:
        out.append('["bytes","' + value.decode("utf-8", "surrogateescape").translate(ESCAPES) + '"]')
    else:
        raise TypeError(f"unexpected {kind}")


def load(text, loader=yaml.SafeLoader):
    try:
        value = yaml.load(text, Loader=loader)
        out = []
        typed(value, out, [NODES_MAX])
        return "ok " + "".join(out)
    except RecursionError:
        return "error recursion"
    except Exception as e:  # whatever the loader can raise
        return "error " + " ".join(f"{type(e).__name__}: {e}".split())


def sort_sets(value):
    if isinstance(value, str):
        return value
    items = [value[0]] + [sort_sets(v) for v in value[1:]]
    return [items[0]] + sorted(items[1:], key=json.dumps) if items[0] == "set" else items


def same(theirs, ours):
    if theirs.startswith("error") or ours.startswith("error"):
        return theirs.startswith("error") and ours.startswith("error")
    if theirs == ours:
        return True
    if '["set"' not in theirs:
        return False
    return sort_sets(json.loads(theirs[3:])) == sort_sets(json.loads(ours[3:]))


# ---- our answer ----
def frame(text):
    data = text.encode("utf-8", "surrogatepass")
    return b"%d\n" % len(data) + data


def ask(program, texts):
    """One answer per text; a text that ends the program gets an error of its own."""
    p = subprocess.run([program], input=b"".join(frame(t) for t in texts), stdout=subprocess.PIPE, timeout=120)
    answers = p.stdout.decode("utf-8", "replace").split("\n")[:-1]
    if p.returncode == 0 and len(answers) == len(texts):
        return answers
    if len(texts) == 1:
        return [f"CRASH {p.returncode}"]
    return [a for t in texts for a in ask(program, [t])]


# ---- what counts as agreement ----
class Exceptions:
    """Accepted differences: blocks of `name`, `reason` and patterns that all have to match: yaml (the text), pyyaml and ours (the answers), libyaml
    (the answer of PyYAML's C loader, or "as ours")."""

    def __init__(self, path):
        self.rules, self.counts = [], {}
        for number, line in enumerate(open(path, encoding="utf-8"), 1):
            line = line.rstrip("\n")
            if not line or line.startswith("#"):
                continue
            key, _, value = line.partition(": ")
            if key == "name":
                self.rules.append({"name": value})
            elif not self.rules or key not in ("reason", "yaml", "pyyaml", "ours", "libyaml"):
                raise SystemExit(f"{path}:{number}: expected name, reason, yaml, pyyaml, ours or libyaml")
            else:
                self.rules[-1][key] = value if key == "reason" or value == "as ours" else re.compile(value, re.S)

    def accept(self, text, theirs, ours):
        texts = {"yaml": text, "pyyaml": theirs, "ours": ours, "libyaml": None}
        for rule in self.rules:
            if not all(rule[k].search(texts[k]) for k in ("yaml", "pyyaml", "ours") if k in rule):
                continue
            if "libyaml" in rule:
                texts["libyaml"] = texts["libyaml"] or load(text, yaml.CSafeLoader)
                if not (same(texts["libyaml"], ours) if rule["libyaml"] == "as ours" else rule["libyaml"].search(texts["libyaml"])):
                    continue
            self.counts[rule["name"]] = self.counts.get(rule["name"], 0) + 1
            return rule["name"]
        return None


def signature(theirs, ours):
    def short(answer):
        if answer.startswith("ok"):
            return "a value"
        return re.sub(r"\"[^\"]*\"|'[^']*'|\d+|\*\S+|&\S+", "_", answer)[:110]
    return f"{short(theirs)} / {short(ours)}"


def minimise(text, program, exceptions, cause, tries=500):
    def fails(candidate):
        theirs, ours = load(candidate), ask(program, [candidate])[0]
        return not same(theirs, ours) and signature(theirs, ours) == cause and not exceptions.accept(candidate, theirs, ours)

    for split in (lambda t: re.findall(r"[^\n]*\n|[^\n]+", t), lambda t: re.findall(r"\w+|\s+|.", t), list):
        pieces = split(text)
        size = max(1, len(pieces) // 2)
        while pieces and tries > 0:
            at = 0
            while at < len(pieces) and tries > 0:
                rest = pieces[:at] + pieces[at + size:]
                tries -= 1
                if fails("".join(rest)):
                    pieces = rest
                else:
                    at += size
            if size == 1:
                break
            size = max(1, size // 2)
        text = "".join(pieces)
    return text


def compare_part(job):
    program, seed, first, last, keep = job
    exceptions = Exceptions(os.path.join(HERE, "yaml_exceptions.txt"))
    counts, found, kept = {}, [], {}
    texts = [yaml_corpus.document(seed, i) for i in range(first, last)]
    for number, (text, ours) in enumerate(zip(texts, ask(program, texts)), first):
        theirs = load(text)
        if same(theirs, ours):
            kind = "agree" if theirs.startswith("ok") else "refuse"
        elif not ours.startswith("CRASH") and exceptions.accept(text, theirs, ours):
            kind = "excepted"
        else:
            kind = "differ"
            cause = signature(theirs, ours)
            kept[cause] = kept.get(cause, 0) + 1
            small = minimise(text, program, exceptions, cause) if kept[cause] <= keep else None
            found.append((cause, f"{seed}:{number}", small, load(small) if small else "", ask(program, [small])[0] if small else ""))
        counts[kind] = counts.get(kind, 0) + 1
    return counts, found, exceptions.counts


def emit_part(job):
    """Trees through our emitter: what PyYAML reads is the tree again."""
    program, seed, first, last, _ = job
    found, counts = [], {}
    trees = [yaml_corpus.tree(seed, i) for i in range(first, last)]
    p = subprocess.run([program, "--emit"], input=b"".join(frame(json.dumps(t, ensure_ascii=False)) for t in trees), stdout=subprocess.PIPE, timeout=120)
    rest = p.stdout
    for number, tree in enumerate(trees, first):
        head, _, rest = rest.partition(b"\n")
        if head.isdigit():
            text, rest = rest[:int(head)].decode(), rest[int(head):]
            wanted = []
            typed(tree, wanted, [NODES_MAX])
            got = load(text)
            if got == "ok " + "".join(wanted):
                counts["emitted"] = counts.get("emitted", 0) + 1
                continue
            found.append(("emitted text reads differently", f"emit {seed}:{number}", text, f"{got} for {json.dumps(tree)}", "written by us"))
        else:
            found.append(("we do not read back what we emit", f"emit {seed}:{number}", json.dumps(tree), "", head.decode() or f"CRASH {p.returncode}"))
    return counts, found, {}


def report(found, out):
    groups = {}
    for cause, *rest in found:
        groups.setdefault(cause, []).append(rest)
    for cause in sorted(groups, key=lambda c: -len(groups[c])):
        print(f"\n## {cause}   ({len(groups[cause])} documents)", file=out)
        seen = set()
        for name, small, theirs, ours in sorted((m for m in groups[cause] if m[1]), key=lambda m: len(m[1])):
            key = re.sub(r"\w+", "_", small)
            if key not in seen and len(seen) < 12:
                seen.add(key)
                print(f"{name}  {small!r}\n    pyyaml: {theirs[:500]}\n    ours:   {ours[:500]}", file=out)


def run(job):
    return emit_part(job[1:]) if job[0] else compare_part(job[1:])


def main():
    program = sys.argv[1]
    listing = sys.argv[sys.argv.index("--list") + 1] if "--list" in sys.argv else None
    seed, count, workers = os.environ.get("SEED", "1"), int(os.environ.get("COUNT", "20000")), int(os.environ.get("WORKERS", os.cpu_count() or 1))
    sys.stdout.reconfigure(errors="backslashreplace")
    started, step = time.monotonic(), 250
    jobs = [(False, program, seed, at, min(at + step, count), 2) for at in range(0, count, step)]
    jobs += [(True, program, seed, at, min(at + step, count // 4), 0) for at in range(0, count // 4, step)]
    counts, found, excepted = {}, [], {}
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(workers) as pool:
        for part_counts, part_found, part_excepted in pool.map(run, jobs):
            found += part_found
            for into, more in ((counts, part_counts), (excepted, part_excepted)):
                for k, v in more.items():
                    into[k] = into.get(k, 0) + v
    for name in sorted(excepted):
        print(f"exception used: {name}: {excepted[name]}")
    report(found, sys.stdout)
    summary = (f"{count} documents drawn with seed {seed} by PyYAML {yaml.__version__} and by us in {time.monotonic() - started:.0f} s: {counts.get('agree', 0)} the same "
               f"value, {counts.get('refuse', 0)} refused by both, {counts.get('excepted', 0)} excepted; {counts.get('emitted', 0)} trees emitted and read back; "
               f"{len(found)} disagreements")
    print(summary)
    if listing:
        with open(listing + ".new", "w", encoding="utf-8", errors="backslashreplace") as out:
            print(time.strftime("%H:%M:%S"), summary, file=out)
            report(found, out)
        os.replace(listing + ".new", listing)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
