"""Draws template documents from the grammar of sandboxed string templates: every statement, expression form, filter and test,
typed so that most of them render. Document `index` of a `seed` is always the same. Used by template_compare.py; alone
it prints documents."""
import json
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from template_tables import (ANY, FAMILY, FILTERS, KEYS, NAMES, SPECIAL, STR_METHODS,  # noqa: E402
                             STR_RETURN, TESTS, WORDS)


def py_string(rng, text):
    """A string literal of the template language, in one of the ways to write it."""
    out, quote = [], rng.choice("'\"")
    for c in text:
        if c == quote or c == "\\":
            out.append("\\" + c)
        elif c in "\n\r\t" or (ord(c) < 32):
            out.append({"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(c, "\\x%02x" % ord(c)))
        elif rng.random() < 0.02:
            out.append("\\u%04x" % ord(c) if ord(c) < 0x10000 else "\\U%08x" % ord(c))
        else:
            out.append(c)
    return quote + "".join(out) + quote


class Document:
    """One document: its variables, and the generator of its text."""

    def __init__(self, seed, index):
        self.rng = random.Random(f"{seed}:{index}")
        self.wild = self.rng.choice([0, 0, 0, 0, 0.005, 0.02, 0.06])  # how often a type is ignored
        self.depth_left = self.rng.randint(2, 6)
        self.protect = self.rng.random() < 0.15
        self.variables, self.scopes, self.macros, self.blocks = {}, [{}], [], 0
        self.in_loop, self.in_macro, self.macros_made = 0, 0, 0
        self.make_variables()
        self.text = self.body(self.depth_left, self.rng.randint(1, 7))

    # ---- variables ----
    def value(self, kind, depth=0):
        r = self.rng
        if kind == "int":
            return r.choice([0, 1, 2, 3, 5, 7, 10, -1, -3, 42, 100, 1000, 65536, r.randint(-50, 50),
                             r.randint(-10**12, 10**12)])
        if kind == "float":
            return r.choice([0.0, 1.0, 0.5, 2.5, -1.5, 24.1, 1e-5, 1e16, 1e22, 3.14159, -0.0, 123456.789, 0.1,
                             r.uniform(-100, 100), round(r.uniform(-9, 9), 2)])
        if kind == "bool":
            return r.random() < 0.5
        if kind == "none":
            return None
        if kind == "str":
            return r.choice(WORDS)
        if kind == "ints":
            return [self.value("int") for _ in range(r.randint(0, 5))]
        if kind == "strs":
            return [self.value("str") for _ in range(r.randint(0, 4))]
        if kind == "rows":
            return [{"name": r.choice(WORDS[:9]), "size": r.randint(0, 9), "on": r.random() < 0.5,
                     "tags": self.value("strs")} for _ in range(r.randint(0, 4))]
        if kind == "dict":
            return {k: self.value(r.choice(ANY[:7] if depth > 1 else ANY[:13]), depth + 1) for k in r.sample(KEYS,
                r.randint(0, 4))}
        return [self.value(r.choice(ANY[:7] if depth > 1 else ANY[:13]), depth + 1) for _ in range(r.randint(0, 4))]

    def make_variables(self):
        for name, kind in [("n", "int"), ("m", "int"), ("f", "float"), ("g", "float"), ("b", "bool"), ("nul", "none"),
                           ("s", "str"), ("t", "str"),
                           ("xs", "ints"), ("ws", "strs"), ("mix", "list"), ("d", "dict"), ("rows", "rows")]:
            if self.rng.random() < 0.99:
                self.variables[name] = self.value(kind) or self.value(kind)  # seldom empty
                self.scopes[0][name] = kind
        if self.protect:
            self.variables["output"] = "not the token"

    def known(self, kind):
        wanted = FAMILY.get(kind, (kind,))
        seen, out = set(), []
        for scope in reversed(self.scopes):
            for name, t in scope.items():
                if name not in seen:
                    seen.add(name)
                    if wanted is None or t in wanted:
                        out.append(name)
        return sorted(out)

    # ---- expressions ----
    def pick(self, table):
        """table: (weight, function) pairs"""
        return self.rng.choices([f for _, f in table], [w for w, _ in table])[0]()

    def arg(self, code, depth):
        """One argument by its letter; anything longer is text in which no letter is replaced but the one behind `=`."""
        r = self.rng
        if "=" in code:
            name, code = code.split("=", 1)
            return name + r.choice(["=", " = "]) + self.arg(code, depth)
        simple = {"s": "str", "i": "int", "f": "float", "b": "bool", "n": "num", "a": "any", "l": "list", "N": "none",
                  "Ls": "strs"}
        if code in simple:
            if code == "i" and r.random() < 0.8:
                return str(r.randint(-2, 12))
            return self.expr(simple[code], min(depth, 1))
        if code == "p":
            return str(r.randint(1, 9))
        if code == "c":
            return py_string(r, r.choice([",", " ", "-", ".", "*", "a", "é", "_"]))
        if code == "T":
            return "(" + ", ".join(self.string() for _ in range(r.randint(2, 3))) + ")"
        if code in "kK":
            return py_string(r, r.choice(["name", "size", "on", "tags", "tags.0", "missing", 0 and "x" or "name"]))
        if code == "C":
            return r.choice(["none", "true", "false"])
        if code == "M":
            return r.choice(["'upper'", "'lower'", "'length'", "'replace', 'a', 'b'", "'title'", "'trim'", "'string'",
                             "'int', 0", "'nosuch'", "'default', 'x'", "'center', 9"])
        if code == "P":
            return r.choice(["'odd'", "'even'", "'gt', 2", "'divisibleby', 3", "'eq', 1", "'in', [1, 2]", "'defined'",
                             "'==', 5", "'nosuch'", "'number'", "'lessthan', 4"])
        if code == "Q":
            return r.choice(["'string'", "'number'", "'none'", "'defined'", "'mapping'", "'sequence'", "'iterable'",
                             "'true'", "'sameas', none", "'in', (1, 'x')"])
        return code

    def args(self, alternatives, depth):
        """Arguments out of "a,b|c": one of the alternatives."""
        chosen = self.rng.choice(alternatives.split("|"))
        if not chosen or chosen.startswith(("'", "attribute='", "true,", "false,")):
            return ", ".join([chosen] if chosen else [])
        return ", ".join(self.arg(code, depth) for code in chosen.split(","))

    def expr(self, kind, depth):
        r = self.rng
        if r.random() < self.wild:
            kind = r.choice(ANY + ["undef", "iter"])
        if kind == "any":
            kind = r.choice(ANY)
        if kind == "undef":
            return self.pick(self.expr_undef(max(depth, 1)) if depth > 0 else [(1, lambda: self.literal(kind))])
        names = self.known(kind)
        if names and r.random() < (0.35 if depth > 0 else 0.6):
            return r.choice(names)
        if depth <= 0:
            return self.literal(kind)
        generic = [(3, lambda: self.literal(kind)), (1, lambda: f"({self.expr(kind, depth - 1)})"),
                   (1.5, lambda: self.conditional(kind, depth)),
                   (1, lambda: self.logical(kind, depth)), (1, lambda: self.pick_item(kind, depth)),
                   (2.5, lambda: self.filtered(kind, depth)),
                   (0.4, lambda: self.macro_call(depth))]
        own = getattr(self, "expr_" + kind, None)
        return self.pick(generic + (own(depth) if own else []))

    def operand(self, kind, depth):
        text = self.expr(kind, depth - 1)
        often = 0.99 if " if " in text else 0.6
        return f"({text})" if " " in text and self.rng.random() < often else text

    def primary(self, kind, depth):
        """What a postfix can be put behind: parenthesised unless it is surely one token or call."""
        text = self.expr(kind, depth - 1)
        bare = text.isidentifier() or (text[:1] in "'\"[{(" and text.count(text[:1]) == (2 if text[
            :1] in "'\"" else 1) and
                                       text[-1:] in "'\"]})" and " " not in text)
        return text if bare or (self.rng.random() < 0.02 and text.isascii()) else f"({text})"

    def space(self):
        return self.rng.choice(["", " ", " ", " ", " ", "  ", "\n", "\t"])

    def binary(self, op, a, b):
        gap = " " if op.isalpha() or " " in op else self.rng.choice([" ", " ", " ", "", "\n "])
        return f"{a}{gap}{op}{gap}{b}"

    def expr_int(self, d):
        r = self.rng
        num = lambda op: self.binary(op, self.operand("int", d), self.operand("int", d))
        return [(6, lambda: num(r.choice(["+", "-", "*", "+", "-"]))), (2, lambda: num(r.choice(["//", "%"]))),
                (1, lambda: self.binary("**", self.operand("int", d), r.choice(["0", "2", "3", "2 ** 2"]))),
                (1, lambda: "-" + self.operand("int", d)),
                (0.5, lambda: "+" + self.operand("int", d)), (2, lambda: self.method("str", d, "int")),
                (1, lambda: self.primary("list", d) + f".count({self.expr('any', 0)})"),
                (1, lambda: self.loop_attribute("int")),
                (0.5, lambda: self.primary("int", d) + r.choice([".bit_length()", ".real", ".numerator", ".conjugate()",
                    ".imag", ".denominator", ".bit_count()"])),
                (0.2, lambda: self.arg("s", d) + "|length")]

    def expr_float(self, d):
        r = self.rng
        num = lambda op: self.binary(op, self.operand("num", d), self.operand("float", d))
        return [(3, lambda: num(r.choice(["+", "-", "*"]))),
                (1.5, lambda: self.binary("/", self.operand("num", d), self.operand("num", d))),
                (1, lambda: num(r.choice(["//", "%"]))),
                (0.7, lambda: self.binary("**", self.operand("float", d), r.choice(["2", "0.5", "-1", "0"]))),
                (0.5, lambda: "-" + self.operand("float", d)),
                (0.4, lambda: self.primary("float", d) + r.choice([".real", ".imag", ".conjugate()"]))]

    def expr_num(self, d):
        return [(5, lambda: self.expr("int", d)), (3, lambda: self.expr("float", d)),
                (1, lambda: self.binary(self.rng.choice("+-*"), self.operand("bool", d), self.operand("num", d)))]

    def expr_bool(self, d):
        r = self.rng
        def compare():
            kind = r.choice(["int", "num", "str", "ints", "num", "tuple" if r.random() < 0.3 else "str"])
            op = r.choice(["==", "!=", "<", "<=", ">", ">="])
            return self.binary(op, self.operand(kind, d), self.operand(kind, d))
        def chain():
            parts = [self.operand("int", d)]
            for _ in range(r.randint(2, 3)):
                parts += [r.choice(["<", "<=", "==", "!=", ">", ">="]), self.operand("int", d)]
            return " ".join(parts)
        def contains():
            pair = r.choice([("str", "str"), ("any", "list"), ("str", "dict"), ("int", "range")])
            return self.binary(r.choice(["in", "not in"]), self.operand(pair[0], d), self.operand(pair[1], d))
        return [(4, compare), (1.5, chain), (3, contains), (2, lambda: "not " + self.operand("any", d)),
                (4, lambda: self.test(d)),
                (1, lambda: self.binary("==", self.operand("any", d), self.operand("any", d))),
                (1.5, lambda: self.method("str", d, "bool")),
                (1, lambda: self.loop_attribute("bool")), (0.3, lambda: self.primary("float", d) + ".is_integer()")]

    def expr_str(self, d):
        r = self.rng
        return [(3, lambda: self.binary("~", self.operand("any", d), self.operand("any", d))),
                (2, lambda: self.binary("+", self.operand("str", d), self.operand("str", d))),
                (5, lambda: self.method("str", d, "str")),
                (1, lambda: self.binary("*", self.operand("str", d), str(r.randint(-1, 4)))),
                (1, lambda: self.primary("str", d) + self.slice()),
                (1, lambda: self.primary("str", d) + f"[{r.randint(-2, 3)}]"), (1.5, lambda: self.percent(d)),
                (1.5, lambda: self.str_format(d)), (0.5,
                                                    lambda: self.binary("~", self.operand("str", d),
                                                        self.binary("~", self.operand("int", d),
                                                            self.operand("float", d))))]

    def expr_list(self, d):
        r = self.rng
        return [(2, lambda: self.primary("list", d) + self.slice()),
                (2, lambda: self.binary("+", self.operand("ints", d), self.operand("strs", d))),
                (1, lambda: self.binary("*", self.operand("ints", d), str(r.randint(-1, 3)))),
                (1, lambda: self.primary("dict", d) + r.choice([".items()", ".keys()", ".values()"]) + r.choice(["",
                    "|list"])),
                (0.7, lambda: self.primary("list", d) + ".copy()"),
                (1, lambda: "[" + ", ".join(self.expr("any", d - 1) for _ in range(r.randint(0, 3))) + "]")]

    def expr_ints(self, d):
        r = self.rng
        return [(2, lambda: "[" + ", ".join(self.expr("int", d - 1) for _ in range(r.randint(0, 4))) + r.choice(["",
            ","] if 0 else [""]) + "]"),
                (1, lambda: self.primary("ints", d) + self.slice()),
                (1, lambda: self.binary("+", self.operand("ints", d), self.operand("ints", d))),
                (2, lambda: self.expr("range", d) + "|list")]

    def expr_strs(self, d):
        return [(3, lambda: self.method("str", d, "strs")), (1, lambda: self.primary("strs", d) + self.slice()),
                (1, lambda: "[" + ", ".join(self.expr("str", d - 1) for _ in range(self.rng.randint(0, 3))) + "]")]

    def expr_dict(self, d):
        r = self.rng
        return [(2, lambda: "{" + ", ".join(
            f"{r.choice([py_string(r, r.choice(KEYS)), str(r.randint(0, 3)), 'true', 'none', '1.0', '(1, 2)'])}: {self.expr('any', d - 1)}"
                                            for _ in range(r.randint(0, 3))) + "}"),
                (
                    1,
                    lambda: f"dict({', '.join(k + '=' + self.expr('any', d - 1) for k in r.sample(['a', 'b', 'name', 'size'], r.randint(0, 3)))})"),
                (0.5, lambda: f"dict({self.expr('dict', d - 1)}, extra={self.expr('int', 0)})"),
                (0.5, lambda: self.primary("dict", d) + ".copy()"),
                (0.5, lambda: f"dict([('a', {self.expr('any', d - 1)}), ['b', 2]])"),
                (0.3, lambda: f"dict(**{self.expr('dict', 0)})")]

    def expr_tuple(self, d):
        return [(3, lambda: self.literal("tuple")), (1, lambda: self.primary("tuple", d) + self.slice()),
                (2, lambda: self.method("str", d, "tuple")),
                (1, lambda: self.binary("+", self.operand("tuple", d), self.operand("tuple", d)))]

    def expr_iter(self, d):
        return [(8, lambda: self.filtered("iter", d))]

    def expr_undef(self, d):
        r = self.rng
        return [(2, lambda: r.choice(["nope", "missing_", "undefined_name"])),
                (2, lambda: self.primary("dict", d) + r.choice([".nope", "['nope']"])),
                (1, lambda: self.primary("list", d) + "[99]"), (1, lambda: f"({self.expr('any', d - 1)} if false)"),
                (0.5, lambda: self.primary("str", d) + ".nope")]

    def string(self):
        text = py_string(self.rng, self.rng.choice(WORDS))
        if self.rng.random() < 0.03:
            text += " " + py_string(self.rng, self.rng.choice(WORDS))
        return text

    def literal(self, kind):
        r = self.rng
        if kind == "int":
            return r.choice(["0", "1", "2", "3", "7", "10", "42", "-1", "-5", "0x1F", "0b101", "0o17", "1_000", "100",
                             str(r.randint(0, 99)), "0XfF", "9223372036854775807"] +
                            (["9223372036854775808", "12345678901234567890123"] if r.random() < 0.05 else []))
        if kind == "float":
            return r.choice(["0.0", "1.5", "2.0", "0.1", "1e3", "1.5e-7", "2E+5", "3.14159", "1_0.5", "123456789.125",
                             "1e16", "1e15", "0.0001", "1e-05", "-2.5", "1e100", "5e-324"])
        if kind == "bool":
            return r.choice(["true", "false", "True", "False"])
        if kind == "none":
            return r.choice(["none", "None"])
        if kind == "str":
            return self.string()
        if kind == "num":
            return self.literal(r.choice(["int", "int", "float"]))
        if kind == "ints":
            return r.choice(["[3, 1, 2]", "[]", "[1]", "[5, -2, 5,]", "[1, 2, 3, 4, 5, 6, 7]", "[10, 9, 8]"])
        if kind == "strs":
            return "[" + ", ".join(self.string() for _ in range(r.randint(0, 3))) + "]"
        if kind == "rows":
            return "[" + ", ".join("{'name': %s, 'size': %d, 'on': %s}" % (self.string(), r.randint(0, 5),
                r.choice(["true", "false"])) for _ in range(r.randint(0, 3))) + "]"
        if kind == "counts":
            return r.choice(["{'b': 1, 'A': 2, 'a': 3}", "{}", "{'x': 2.5, 'y': -1}"])
        if kind == "dict":
            return r.choice(["{}", "{'a': 1}", "{'b': 'x', 'a': none}", "{1: 'one', 'two': 2}",
                             "{'name': 'n', 'size': 3, 'tags': ['p', 'q']}", "{'a': {'b': {'c': 1.5}}}",
                             "{true: 1, 1.5: 2, none: 3, (1, 2): 4}", "{'k': [1, (2, 3)], }"])
        if kind == "tuple":
            return r.choice(["()", "(1,)", "(1, 'a')", "(1, 2, 3)", "('x', (1.5, none))", "(true, [1])"])
        if kind == "range":
            return r.choice([f"range({r.randint(0, 6)})", f"range({r.randint(-2, 3)}, {r.randint(0, 8)})",
                             f"range({r.randint(0, 9)}, {r.randint(-3, 9)}, {r.choice([-2, -1, 1, 2, 3])})"])
        if kind == "iter":
            return r.choice(["[1, 2, 3]|map('string')", "rows|map(attribute='name')", "[1, 2, 3]|select('odd')",
                             "'abc'|batch(2)", "[3, 1]|reverse", "[1, 2, 1]|unique", "{'a': 1}|items"])
        if kind == "undef":
            return r.choice(["nope", "d.nope", "xs[99]", "missing_name", "(1 if false)", "{}.a"])
        if kind == "fmt1":
            return r.choice(["'%s'", "'%r!'", "'<%5s>'", "'%-8s|'"])
        if kind == "names":
            return py_string(r, r.choice(["upper", "nosuch", "odd", "defined", "tojson", "divisibleby"]))
        return self.string()

    def slice(self):
        r = self.rng
        part = lambda: r.choice(["", "", str(r.randint(-4, 5)), "none", str(r.randint(0, 3))])
        text = f"[{part()}:{part()}"
        if r.random() < 0.4:
            text += ":" + r.choice(["", "1", "2", "-1", "-2", "none"] + (["0"] if r.random() < 0.1 else []))
        return text + "]"

    def conditional(self, kind, d):
        text = f"{self.operand(kind, d)} if {self.operand('bool', d)}"
        return text + f" else {self.operand(kind, d)}" if self.rng.random() < 0.93 else text

    def logical(self, kind, d):
        return self.binary(self.rng.choice(["and", "or"]), self.operand(kind, d), self.operand(kind, d))

    def pick_item(self, kind, d):
        r = self.rng
        if kind == "none":
            return f"d.get({py_string(r, r.choice(KEYS))})"
        if kind == "str":
            return r.choice(["rows[0].name", "rows[0]['name']", "(rows|first).name", "ws[0]", "ws[-1]",
                             self.primary("strs", d) + "[0]", "d.get('a', 'x')|string"])
        if kind == "int":
            return r.choice(["rows[0].size", "xs[0]", "xs[-1]", "xs.0",
                             self.primary("ints", d) + f"[{r.randint(-1, 1)}]", "d.get('count', 3)|int"])
        if kind == "bool":
            return r.choice(["rows[0].on", "'a' in d", "b"])
        if r.random() < 0.05:
            return f"d.get({py_string(r, r.choice(KEYS))}, {self.expr(kind, d - 1)})"
        return r.choice([f"{{}}.get('a', {self.expr(kind, d - 1)})", f"[{self.expr(kind, d - 1)}][0]",
                         f"{{'k': {self.expr(kind, d - 1)}}}.k", f"{{'k': {self.expr(kind, d - 1)}}}['k']",
                         f"({self.expr(kind, d - 1)},)[0]"])

    def filtered(self, kind, d):
        wanted = FAMILY.get(kind, (kind,)) or ANY
        if self.rng.random() < 0.2:
            return self.chosen(kind, d)
        rows = [f for f in FILTERS if f[3] in wanted] or ([f for f in FILTERS if f[3] == "any"] if self.rng.random(
            ) < 0.05 else [])
        if not rows:
            return self.chosen(kind, d)
        name, source, args, _ = self.rng.choice(rows)
        given = self.args(args, d)
        text = self.primary(source, d) + self.rng.choice(["|", "|",
                                                          " | "]) + name + (f"({given})" if given else self.rng.choice([
                                                              "", "", "()"]))
        if self.rng.random() < 0.001:
            text += "|nosuchfilter"
        return text

    def chosen(self, kind, d):
        """A value of the kind through a filter that gives what it was given."""
        r = self.rng
        return r.choice([f"{self.expr('undef', d - 1)}|{r.choice(['default', 'd'])}({self.expr(kind, d - 1)})",
                         f"[{self.expr(kind, d - 1)}]|{r.choice(['first', 'last'])}",
                         f"{self.primary(kind, d)}|default({self.expr('any', 0)})",
                         f"{{'k': {self.expr(kind, d - 1)}}}|attr('k')|default({self.expr(kind, 0)})",
                         f"({self.expr('any', d - 1)}, {self.expr(kind, d - 1)})|last"])

    def test(self, d):
        r = self.rng
        name, source, args = r.choice(TESTS)
        given = self.args(args, d) if args else ""
        if name in ("==", ">"):
            return self.primary(source, d) + f"|select('{name}', {given})|list" if r.random(
                ) < 0.5 else f"[{self.expr(source, 0)}]|select('{name}', {given})|list"
        bare = given and r.random() < 0.3 and "," not in given and " " not in given and given[0] not in "-+("
        return self.operand(source, d) + r.choice([" is ", " is ",
                                                   " is not "]) + name + (
                                                       f" {given}" if bare else f"({given})" if given else "")

    def method(self, owner, d, kind):
        rows = [m for m in STR_METHODS if STR_RETURN.get(m[0], "bool" if m[0].startswith("is") else "str") == kind]
        name, args = self.rng.choice(rows)
        if name in ("index", "rindex"):
            return f"({self.expr('any', d - 1)} ~ ', - .*aé_').{name}({self.args(args, d)})"
        return self.primary(owner, d) + f".{name}({self.args(args, d)})"

    def percent(self, d):
        r = self.rng
        spec = r.choice(["%d", "%5d", "%-5d|", "%05d", "%+d", "%x", "%X", "%#x", "%o", "%i", "% d"])
        fspec = r.choice(["%f", "%.2f", "%8.3f", "%e", "%g", "%.0f", "%G", "%+.1f", "%.3g", "%E"])
        sspec = r.choice(["%s", "%r", "%10s", "%-10s|", "%.2s", "%a"])
        one = r.choice([("'%s'" % spec, "int"), ("'%s'" % fspec, "num"), ("'%s'" % sspec, "str"),
                        ("'%s'" % sspec, "any"), ("'%d%%%%'", "int"), ("'%c'", "int")])
        if one[0] == "'%c'":
            return f"'%c' % {r.choice(['65', '233', '128512', repr('x'), repr('é')])}"
        if r.random() < 0.4:
            values = [self.expr('str', d - 1), self.expr('int', d - 1), self.expr('num', d - 1)]
            return f"'{sspec} {spec} {fspec}' % ({', '.join(values)})"
        if r.random() < 0.2:
            return f"'%(a)s-%(b)d' % {{'a': {self.expr('any', d - 1)}, 'b': {self.expr('int', d - 1)}}}"
        if r.random() < 0.2:
            return f"{one[0]}|format({self.expr(one[1], d - 1)})"
        return f"{one[0]} % {self.primary(one[1], d)}"

    def dict_with_a(self, d):
        return f"{{'a': {self.expr('any', d - 1)}}}" if self.rng.random() < 0.95 else self.literal("dict")

    def str_format(self, d):
        r = self.rng
        field = r.choice(["{}", "{0}", "{!r}", "{0!s}", "{:>8}", "{:<8}|", "{:^9}", "{:*^9}", "{{}}{}", "{!r:>10}",
                          "{:s}", "{:.2}", "{0}{0}"])
        ifield = r.choice(["{:d}", "{:5}", "{:05d}", "{:+}", "{:,}", "{:x}", "{:#x}", "{:b}", "{:o}", "{:_}", "{:>6d}",
                           "{:X}", "{:c}", "{:n}", "{:%}", "{: d}", "{:=+6}"])
        ffield = r.choice(["{:.2f}", "{:8.3f}", "{:e}", "{:g}", "{:.1%}", "{:,.2f}", "{:+.1f}", "{:010.3f}", "{:.3}",
                           "{:G}"])
        pair = r.choice([(field, "str"), (ifield, "int"), (ffield, "num"), ("{}", "any"), ("{!r}", "any")])
        if r.random() < 0.25:
            a, b, c = self.expr('any', d - 1), self.expr('ints', d - 1), self.expr('str', d - 1)
            return f"'{{a}}:{{b[0]}}:{{c}}'.format(a={a}, b={b}, c={c})"
        if r.random() < 0.15:
            return f"'{{0[a]}} {{1:{{2}}}}'.format({self.dict_with_a(d)}, {self.expr('int', d - 1)}, {r.randint(1, 9)})"
        if r.random() < 0.1:
            return f"'{{a}}'.format(**{self.dict_with_a(d)})"
        if r.random() < 0.1:
            return f"'{{}} {{}}'.format(*{self.literal('tuple')})"
        if r.random() < 0.1:
            return f"'{{a}}'.format_map({self.dict_with_a(d)})"
        return f"'{pair[0]}'.format({self.expr(pair[1], d - 1)})"

    def loop_attribute(self, kind):
        r = self.rng
        if not self.in_loop:
            return self.literal(kind)
        if kind == "bool":
            return r.choice(["loop.first", "loop.last", f"loop.changed({self.expr('any', 0)})",
                             "loop.previtem is defined", "loop.nextitem is defined"])
        return r.choice(["loop.index", "loop.index0", "loop.revindex", "loop.revindex0", "loop.length", "loop.depth",
                         "loop.depth0"])

    def macro_call(self, d):
        r = self.rng
        if not self.macros:
            return self.literal("str")
        name, params = r.choice(self.macros)
        given = [self.expr("any", d - 1) for _ in range(r.choice([params, params, params,
            r.randint(0, params)] + [params + 1] * (r.random() < 0.05)))]
        if r.random() < 0.1 and (params or r.random() < 0.1):
            given = r.choice([["p0=1"], ["*[1]"], ["**{'p0': 1}"], ["*()"], ["*xs[:1]", "**{}"],
                              given + [f"extra={self.expr('any', 0)}"], given + ["**d"], given + ["p0=2"]])
        return f"{name}({', '.join(given)})"

    # ---- statements ----
    def open_tag(self, word):
        r = self.rng
        return "{%" + r.choice(["", "", "", "", "-", "+"]) + r.choice([" ", " ", "", "\n",
            "  "]) + word + r.choice([" ", " ", "", "\n"]) + r.choice(["", "", "", "-"]) + "%}"

    def data(self):
        r = self.rng
        return r.choice(["\n", " ", "  \n  ", "text ", "a: b\n", "- item\n", "{", "}", "%", "#", "{ {", "} }", "%}",
                         "}}", "#}", "\t", "\r\n", "é日本\n", "$X ${Y}", "\n\n", "'", '"',
                         "\\", "x{y}z", "{ % if %}", "", "trailing \n", "\r", "\u2028", "{-", "<a href='x'>&</a>"])

    def output(self, d):
        r = self.rng
        text = self.expr("any", d)
        if r.random() < 0.05:
            text += ", " + self.expr("any", 1)
        if text[:1] in "-+" or text[-1:] in "-+}":
            text = f" {text} "
        if text[:1] == "{" or text[:1] == "%" or text[:1] == "#":
            text = " " + text
        if r.random() < 0.02:
            return self.open_tag("print " + text)
        return "{{" + r.choice(["", "", "", "-", "+"]) + r.choice([" ", " ", " ", "", "\n"]) + text + r.choice([" ",
            " ", " ", "", "\n"]) + r.choice(["", "", "", "-"]) + "}}"

    def body(self, d, count=None):
        r = self.rng
        self.scopes.append({})
        macros, out = len(self.macros), []
        for _ in range(count if count is not None else r.randint(1, 3)):
            if r.random() < 0.7:
                out.append(self.data())
            out.append(self.statement(d))
        if r.random() < 0.6:
            out.append(self.data())
        self.scopes.pop()
        del self.macros[macros:]
        text = ""
        for piece in out:  # a brace of the data shall seldom become half of a tag
            text += (" " if text.endswith("{") and piece[:1] in "{%#" and r.random() < 0.995 else "") + piece
        return text + (" " if text.endswith("{") and r.random() < 0.995 else "")

    def statement(self, d):
        table = [(9, lambda: self.output(min(d, 3))), (0.7, self.comment), (0.6, self.raw),
                 (2.5, lambda: self.assign(d))]
        if self.protect:
            table.append((4, lambda: self.rng.choice(SPECIAL)))
        if d > 0:
            table += [(3, lambda: self.branch(d)), (3.5, lambda: self.loop(d)), (0.7, lambda: self.set_block(d)),
                      (1, lambda: self.with_block(d)), (1, lambda: self.macro(d)),
                      (0.6, lambda: self.call_block(d)), (0.7, lambda: self.filter_block(d)),
                      (0.4, lambda: self.block(d)), (0.3, lambda: self.autoescape(d)),
                      (0.5, lambda: self.namespace(d)), (0.4, lambda: self.mutate(d)), (0.3, lambda: self.helpers(d)),
                      (0.07, lambda: self.bad(d))]
        return self.pick(table)

    def fresh(self):
        return self.rng.choice(NAMES)

    def comment(self):
        r = self.rng
        return "{#" + r.choice(["", "-", "+"]) + r.choice([" note ", "", " {{ x }} {% if %} ", "\n two lines\n",
                                                           " é # } "]) + r.choice(["", "-"]) + "#}"

    def raw(self):
        r = self.rng
        return self.open_tag("raw") + r.choice(["{{ x }}", "{% if %}", "", " plain\n", "{# c #}", "{{host:worker_",
                                                "\n  y\n"]) + self.open_tag("endraw")

    def parenthesised(self, text):
        """For places where the grammar has no inline if without parentheses."""
        return f"({text})" if " if " in text and self.rng.random() < 0.99 else text

    def condition(self, kind):
        return self.parenthesised(self.expr(kind, 2))

    def branch(self, d):
        out = self.open_tag("if " + self.condition(self.rng.choice(["bool", "bool", "any"]))) + self.body(d - 1)
        for _ in range(self.rng.choice([0, 0, 0, 1, 2])):
            out += self.open_tag("elif " + self.condition("bool")) + self.body(d - 1)
        if self.rng.random() < 0.5:
            out += self.open_tag("else") + self.body(d - 1)
        return out + self.open_tag("endif")

    def loop(self, d):
        r = self.rng
        shape = r.choice(["list", "range", "range", "ints", "strs", "rows", "items", "pairs", "str", "dict", "iter",
                          "tree"])
        bound = {}
        if shape == "items":
            target, source = "key, value", self.primary("dict", 1) + ".items()"
            bound = {"key": "str", "value": "other"}
        elif shape == "pairs":
            target, source = r.choice(["i, j", "(i, j)", "i, (j)"]), r.choice(["[(1, 2), (3, 4)]",
                "[['a', 1], ('b', 2)]", "d|dictsort", "{'a': 1}.items()", "['ab', 'cd']"])
        elif shape == "tree":
            name = self.fresh()
            tree = r.choice([
                "[{'n': 1, 'c': [{'n': 2, 'c': []}]}, {'n': 3, 'c': [{'n': 4, 'c': [{'n': 5, 'c': []}]}]}]",
                "[{'n': 'x', 'c': []}]"])
            return (self.open_tag(f"for {name} in {tree} recursive") + self.data().rstrip("{") + "{{ " +
                    r.choice([f"{name}.n", f"loop.depth ~ {name}.n", f"loop.index0 ~ '/' ~ loop.length"]) +
                    " }}" + r.choice([f"({{{{ loop({name}.c) }}}})",
                                      f"{{% if {name}.c %}}<{{{{- loop({name}.c) -}}}}>{{% endif %}}"]) +
                                      self.open_tag("endfor"))
        else:
            target = self.fresh()
            source = self.parenthesised(self.expr(shape, 2))
            bound = {target: {"ints": "int", "range": "int", "strs": "str", "rows": "dict", "str": "str",
                              "dict": "str"}.get(shape, "other")}
        self.scopes.append(bound)
        condition = f" if {self.parenthesised(self.expr('bool', 1))}" if r.random() < 0.2 else ""
        recursive = " recursive" if r.random() < 0.04 else ""
        self.in_loop += 1
        text = self.open_tag(f"for {target} in {source}{condition}{recursive}") + self.body(d - 1)
        if r.random() < 0.15:
            text += "{{ loop.cycle('a', 'b', 3) }}"
        self.in_loop -= 1
        self.scopes.pop()
        if r.random() < 0.25:
            text += self.open_tag("else") + self.body(d - 1)
        return text + self.open_tag("endfor")

    def bind(self, name, kind):
        self.scopes[-1][name] = kind

    def assign(self, d):
        r = self.rng
        if r.random() < 0.12:
            names = r.sample(NAMES, 2)
            values = [r.choice(ANY), r.choice(ANY)]
            text = f"set {names[0]}, {names[1]} = {self.expr(values[0], 1)}, {self.expr(values[1], 1)}"
            for name, kind in zip(names, values):
                self.bind(name, kind)
            return self.open_tag(text)
        kind, name = r.choice(ANY), self.fresh()
        text = f"set {name}{r.choice([' = ', '=', ' = '])}{self.expr(kind, min(d, 3))}"
        self.bind(name, kind)
        return self.open_tag(text)

    def set_block(self, d):
        name = self.fresh()
        text = self.open_tag(f"set {name}" + self.rng.choice(["", "", " | upper", "|trim|title",
            " | replace('a', 'b')"])) + self.body(d - 1) + self.open_tag("endset")
        self.bind(name, "str")
        return text

    def with_block(self, d):
        r = self.rng
        names = r.sample(NAMES, r.randint(0, 2))
        kinds = [r.choice(ANY) for _ in names]
        head = ", ".join(f"{n} = {self.expr(k, 2)}" for n, k in zip(names, kinds))
        self.scopes.append(dict(zip(names, kinds)))
        text = self.open_tag(f"with {head}") + self.body(d - 1) + self.open_tag("endwith")
        self.scopes.pop()
        return text

    def macro_name(self):
        self.macros_made += 1
        return f"m{self.macros_made}"

    def macro(self, d):
        r = self.rng
        name, params = self.macro_name(), r.randint(0, 3)
        signature = [f"p{i}" + (f"={self.expr('any', 1)}" if i >= params - r.randint(0,
            2) else "") for i in range(params)]
        seen_default = False
        for i, p in enumerate(signature):  # no parameter without a default behind one that has it
            seen_default |= "=" in p
            if seen_default and "=" not in p:
                signature[i] = p + "=none"
        self.scopes.append({f"p{i}": "other" for i in range(params)})
        outer, self.in_loop, self.in_macro = self.in_loop, 0, self.in_macro + 1
        content = self.body(d - 1)
        if r.random() < 0.3:
            content += r.choice(["{{ varargs }}", "{{ kwargs }}", "{{ varargs|length }}{{ kwargs|length }}",
                                 "{{ caller() if caller is defined else 'none' }}"])
        self.in_loop, self.in_macro = outer, self.in_macro - 1
        self.scopes.pop()
        text = self.open_tag(f"macro {name}({', '.join(signature)})") + content + self.open_tag("endmacro")
        self.macros.append((name, params))
        if r.random() < 0.15:
            text += "{{ %s.%s }}" % (name, r.choice(["name", "arguments", "catch_kwargs", "catch_varargs", "caller"]))
        return text + ("{{ " + self.macro_call(1) + " }}" if r.random() < 0.6 else "")

    def call_block(self, d):
        r = self.rng
        name = self.macro_name()
        if r.random() < 0.97:
            head = "{% macro " + name + "(t='-') %}" + r.choice(["<{{ t }}{{ caller() }}>", "[{{ caller('a', 2) }}]",
                "{% for q in [1, 2] %}{{ caller(q) }}{% endfor %}",
                "{{ t }}{{ caller is defined }}"]) + "{% endmacro %}"
            self.macros.append((name, 1))
            params = "(u, w=3)" if "caller('a'" in head else "(u)" if "caller(q)" in head else r.choice(["", "", "()"])
            if r.random() < 0.03:
                params = r.choice(["(u)", "", "(u, w)"])
            if "caller(" in head:  # not to be called by others, who have no caller
                self.macros.pop()
            self.scopes.append({"u": "other"} if "u" in params else {})
            text = head + self.open_tag(f"call{params} {name}({r.choice(['', self.expr('any', 1)])})") + self.body(
                d - 1) + self.open_tag("endcall")
            self.scopes.pop()
            return text
        return self.open_tag("call " + (self.macro_call(1) if self.macros else "nope()")) + self.body(
            d - 1) + self.open_tag("endcall")

    def filter_block(self, d):
        name = self.rng.choice(["upper", "lower", "trim", "indent(2)", "replace('a', 'o')", "title", "upper|trim",
                                "escape", "reverse", "wordwrap(9)", "truncate(12)", "string", "length|string",
                                "list|join('.')"] + ["length", "list"] * (self.rng.random() < 0.1))
        return self.open_tag("filter " + name) + self.body(d - 1) + self.open_tag("endfilter")

    def block(self, d):
        self.blocks += 1
        name, outer = f"blk{self.blocks}", self.in_loop
        self.in_loop = 0
        text = self.open_tag(f"block {name}{self.rng.choice(['', '', ' scoped'])}") + self.body(d - 1) + self.open_tag(
            self.rng.choice(["endblock", f"endblock {name}"]))
        self.in_loop = outer
        return text + ("{{ self.%s() }}" % name if self.rng.random() < 0.1 else "")

    def autoescape(self, d):
        return self.open_tag("autoescape " + self.rng.choice(["true", "true", "false",
            "b"])) + self.body(d - 1) + self.open_tag("endautoescape")

    def namespace(self, d):
        r = self.rng
        start = r.choice(["total=0", "total=0, name='x'", "total=1, items=[]", "**{'total': 2}"])
        inner = r.choice(["{% set ns.total = ns.total + 1 %}", "{% set ns.total = ns.total + loop.index %}",
                          "{% set ns.fresh = item %}", "{% set ns.total = ns.total * 2 %}{{ ns.total }}"])
        return self.open_tag(f"set ns = namespace({start})") + "{% for item in " + self.parenthesised(self.expr("range",
            1)) + " %}" + inner + "{% endfor %}" + "{{ ns.total }}" + r.choice(["", "{{ ns.fresh|default('-') }}",
                "{{ ns.fresh is defined }}"] + ["{{ ns.nope }}"] * (r.random() < 0.1))

    def mutate(self, d):
        r = self.rng
        kind = r.choice(["list", "dict"])
        if kind == "list":
            call = r.choice([f"append({self.expr('any', 1)})", f"extend({self.expr('list', 1)})",
                             f"insert({r.randint(-2, 3)}, {self.expr('any', 0)})", "pop()", "pop(0)", "reverse()",
                             "sort()", "clear()",
                             "count(3)", "sort(reverse=true)", "copy()"])
            return "{% set q = " + self.literal("ints") + " %}{{ q." + call + " }}{{ q }}"
        call = r.choice([f"update({self.expr('dict', 1)})", "update(z=1)", "pop('a', none)", "pop('a', 0)", "popitem()",
                         f"setdefault('a', {self.expr('any', 0)})", "clear()", "get('a')", "copy()",
                         "fromkeys([1, 2])"])
        return "{% set q = " + self.literal("dict") + " %}{{ q." + call + " }}{{ q }}"

    def helpers(self, d):
        return self.rng.choice([
            "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.next() }}",
                                "{% set j = joiner('; ') %}{% for q in [1, 2, 3] %}{{ j() }}{{ q }}{% endfor %}",
                                "{{ cycler(1, 2).next() }}", "{{ dict(a=1).a }}",
                                "{{ range(3)|list }}{{ range(3) }}", "{{ namespace(a=1).a }}",
                                "{% set j = joiner() %}{{ j() }}{{ j() }}", "{{ range(2000)|length }}",
                                "{% for a, b in dict(x=1)|dictsort %}{{ a }}{{ b }}{% endfor %}"])

    def bad(self, d):
        r = self.rng
        return r.choice(["{% nosuch %}", "{% endif %}", "{% if %}", "{{ }}", "{{ 1 + }}", "{% for x %}{% endfor %}",
                         "{% include 'x' %}", "{% extends 'x' %}", "{% import 'x' as y %}", "{% from 'x' import y %}",
                         "{% if false %}{% include 'x' %}{% endif %}", "{% include 'x' ignore missing %}",
                         "{{ ''.__class__ }}", "{{ x.y.z }}", "{% set %}", "{{ 'open }}", "{% do 1 %}", "{% break %}",
                         "{{ a b }}",
                         "{% if x = 1 %}{% endif %}", "{{ (1 }}", "{% raw %}", "{# open", "{% macro %}", "{{ 1 | }}",
                         "{{ x is }}", "{{ 'a' 1 }}", "{% block blk1 %}{% endblock %}", "{{ super() }}", "{{ self }}",
                         "{% for loop in [1] %}{{ loop }}{% endfor %}", "{{ caller() }}", "{% set x.y = 1 %}",
                         "{% call x %}{% endcall %}", "{{ 1 / 0 }}", "{{ [1][5] }}", "{{ {}['a'] }}", "{{ none + 1 }}",
                         "{{ not }}",
                         "{{ xs[1:2:3:4] }}", "{% else %}", "{{ lipsum is defined }}", "{{ foo.bar is defined }}",
                         "{{ '%d' % 'x' }}", "{% for a, b in [1] %}{% endfor %}", "{{ {1: 2 }}", "{{ [1, 2 }}",
                         "{{ 1..real }}",
                         "{{ {[]: 1} }}", "{{ 5 is divisibleby 0 }}", "{{ x!y }}", "{% filter nosuch %}{% endfilter %}",
                         "{{ 1 if }}", "{{ loop.index }}", "{{ 0777 }}", "{{ 1__0 }}", "{{ '\\N{BULLET}' }}",
                         "{% trans %}{% endtrans %}", "{% debug %}", "{% continue %}", "{{ ().append(1) }}",
                         "{{ [].append }}", "{{ 'a'.format }}", "{{ '{0.__class__}'.format(1) }}", "{{ namespace }}",
                         "{{ range }}"])


def document(seed, index):
    d = Document(seed, index)
    return {"template": d.text, "variables": d.variables, "protect": d.protect}


if __name__ == "__main__":
    start, count = (int(a) for a in (sys.argv[2:4] or ["0", "10"]))
    for number in range(start, start + count):
        print(json.dumps(document(sys.argv[1] if len(sys.argv) > 1 else "1", number), ensure_ascii=False))
