"""Draws YAML documents from the whole grammar: structures written in random styles, with tags, anchors, merge keys and comments, odd
indentation, and mutations of all that. The same seed and number give the same document. For yaml_compare.py."""
import random

WORDS = ["a", "b", "c", "key", "name", "x y", "value", "foo.bar", "http://h:80/p?q", "ubuntu:24.04", "it's", "a#b", "a #b", "-x", "- x", "?x", ":x",
         "x:", "a: b", "@x", "`x", "%x", "&x", "*x", "!x", "|", ">", "[", "]", "{", "}", ",", "a,b", "a]b", "a{b", "{{ x }}", "\u00e9t\u00e9", "\u65e5\u672c",
         "\U0001f600", "a\u00a0b", "a\u2028b", "a\x85b", "\ufeff", "a\tb", "\\n", "\"q\"", "''", "...", "---", "--- x", "a\\", "?", "-", ":", "a?b",
         "a:b", "::", "-:", "?:", "a:,b", "$(x)", "<x>", "<<x", "==", "1 2", "y", "n", "Y", "N", "y\u0131"]
TYPED = ["yes", "Yes", "YES", "no", "No", "true", "True", "TRUE", "tRUE", "false", "False", "on", "On", "ON", "off", "OFF", "oFF", "null", "Null",
         "NULL", "nULL", "~", "", "<<", "=", "0", "-0", "+0", "00", "0_", "010", "-012", "089", "0o17", "0x1F", "0xfg", "-0x_a", "0x", "0x_", "0b101",
         "0b", "0b_", "0b12", "+0b1_0", "1_000", "_1", "1__0_", "1:30", "12:30:45", "-1:00", "1:60", "01:30", "1_0:5", "190:20:30", "1:2:3:4:5:6:7:8:9",
         "20:59:59:59:59:59:59:59:59:59:59:59:59:59", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
         "18446744073709551616", "123456789012345678901234567890", "0xFFFFFFFFFFFFFFFFFFFF", "07777777777777777777777777", "-0b1" + "0" * 70,
         "1" + "0" * 40, "1.", "1.5", "-1.5", "+1.5", ".5", "-.5", "+.5", "._5", "5._", "1_0.2_5", "1e3", "1.0e3", "1.0e+3", "1.0E-3", "1.e+5", ".5e+1",
         "1.5e+400", "1.0e+22", "1.0e-400", "123456789.123456789", "1:30.5", "1:2:3.", "1:60.5", "-1:2.5", "190:20:30.15", ".inf", "-.inf", "+.Inf", ".INF",
         ".iNF", "-.nan", ".nan", ".NaN", ".NAN", "1.2.3", "1..2", "2024-01-02", "2024-1-2", "2024-13-45", "2023-02-29", "2024-02-29", "0000-01-01",
         "9999-12-31", "2001-12-14t21:59:43.10-05:00", "2001-12-14 21:59:43.10 -5", "2001-12-15 2:59:43.10", "2001-12-14T21:59:43Z",
         "2001-12-14 21:59:43 Z", "2001-12-14 21:59:43.", "2001-12-14 21:59:43.1234567", "2001-1-1 1:00:00", "2001-12-14 25:00:00", "2001-12-14 21:60:00",
         "2001-12-14 21:59:43 +24:00", "2001-12-14 21:59:43 +23:59", "2001-12-14 21:59:43 +05:99", "2001-12-14T21:59", "2001-12-14 \t21:59:43",
         "2001-12-14 21:59:43+00:00", "2001-12-14 16:59:43-05:00"]
EXPLICIT = [" 5", "5 ", "+-5", "-+5", "0o17", "0b0b1", "0x0x1f", "0x-1", "1:-2", "1: 2", ":1", "1:", "0B1", "0X1", "1e5", "inf", "nan", "-Infinity", "1 2",
            "yEs", "oFF", "aGVsbG8=", "aGVs bG8", "aGVsbG8", "a", "aGk=x", "=", "====", "YWI==", "/+8=", "aGVsbG8=\naGk=", "\u00e9", "2001-1-1", "1:2:3e1",
            "1.5:2", "\u00a05", "1_e5", "_", "-", "+", "."]
TAGS = ["!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!binary", "!!seq", "!!map", "!!set", "!!omap", "!!pairs", "!!merge", "!!value",
        "!", "!foo", "!!foo", "!!python/none", "!<tag:yaml.org,2002:str>", "!<!x>", "!e!x", "!!st%72", "!<tag:yaml.org,2002:int>", "!!yaml"]
SCALAR_TAGS = ["!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!binary", "!"]
COMMENTS = ["# c", "#", "# a: b", "#\tx", "# '", "# \u00e9"]
JUNK = list("-?:,[]{}#&*!|>'\"%@` \n\t~<=.0a\\_+/;$") + ["\n\n", "\n ", "\n  ", ": ", " #", "- ", "? ", "--- ", "\n---\n", "\n...\n", "<<: ", "!!", "\r\n", "\r",
                                                      "\x85", "\u2028", "\ufeff", "\x00", "\x07", "\x7f", "\ud7ff", "\ufffe", "%YAML 1.1\n", "\u00a0", "''"]


# What a tame document is made of: texts that load unquoted, in brackets too.
TAME_WORDS = ["a", "b", "key", "name", "x y", "value", "foo.bar", "http://h:80/p", "ubuntu:24.04", "it's", "a#b", "-x", "a\"b", "\u00e9t\u00e9", "\u65e5\u672c",
              "\U0001f600", "a\u00a0b", "a\\n", "$(x)", "<x>", "<<x", "==", "1 2", "y", "n", "Y", "a&b", "a*b", "a!b", "a|b", "a>b", "a%b", "a@b", "x=1", "~x", "-1x",
              "a-b", "some longer text of words", "/usr/bin/env", "--flag", "a:b", "::x", "x;y", "\U0010ffff", "\ud7ff", "\ue000", "\ufffd"]
TAME_TYPED = [t for t in TYPED if t not in ("", "<<", "=", "0x_", "0b_", "2024-13-45", "2023-02-29", "0000-01-01", "2001-12-14 25:00:00", "2001-12-14 21:60:00",
                                            "2001-12-14 21:59:43 +24:00", "2001-12-14 \t21:59:43")]
FITTING = {"!!str": TAME_WORDS + TAME_TYPED, "!!int": ["5", "0o17", "0b11", "0x1F", "'+-5'", "' 5'", "'1:-2'", "1_0", "010", "\"5\"", "0x-1", "-0b1", "00", "'5 '"],
           "!!float": ["5", "1.5", "1e5", "inf", "nan", "'-Infinity'", ".inf", "-.nan", "1:2.5", "'1:2:3e1'", "1_0", ".5e3", "5.", "'\u00a05'"],
           "!!bool": ["yEs", "oFF", "'true'", "on", "\"No\""], "!!null": ["x", "~", "''", "1"], "!!timestamp": ["2001-1-1", "'2001-12-14t21:59:43.1Z'", "2001-02-03 4:05:06 -7"],
           "!!binary": ["aGVsbG8=", "'aGVs bG8='", "aGk=x", "''", "\"aGVs\\nbG8=\"", "SGVsbG8sIHdvcmxkIQ=="], "!": ["5", "'yes'", "\"1.5\"", "''", "'~'", "\"12\\n\"", "x"]}


class Writer:
    def __init__(self, rng):
        self.rng, self.anchors, self.number = rng, [], 0
        self.wild = rng.random() < 0.35

    def chance(self, p):
        return self.rng.random() < p

    def pick(self, items):
        return items[int(self.rng.random() * len(items))]

    # ---- scalars ----
    def number_text(self):
        r = self.rng
        form = r.randrange(7)
        n = str(r.randrange(10 ** r.randrange(1, 24)))
        if self.chance(0.2) and len(n) > 2:
            n = n[:2] + "_" + n[2:]
        sign = self.pick(["", "", "-", "+"])
        if form == 0:
            return sign + n
        if form == 1:
            return sign + n + "." + self.pick(["", "5", "25", "0_1", "125e+3", "1e-7", "1e7", "7E+10"])
        if form == 2:
            return sign + self.pick(["0x", "0", "0b", "0o"]) + n
        if form == 3:
            return sign + ":".join(str(r.randrange(70)) for _ in range(r.randrange(2, 5))) + self.pick(["", "", ".5", "."])
        if form == 4:
            return "%04d-%02d-%02d" % (r.randrange(1, 2100), r.randrange(1, 13), r.randrange(1, 32))
        if form == 5:
            return "%04d-%d-%02d%s%d:%02d:%02d%s%s" % (r.randrange(1, 2100), r.randrange(1, 13), r.randrange(1, 31), self.pick(["T", "t", " ", "  "]),
                                                      r.randrange(26), r.randrange(61), r.randrange(60), self.pick(["", ".", ".5", ".123456", ".1234567"]),
                                                      self.pick(["", "", "Z", " Z", "+01:00", "-5", " +10:30", "+0", " -23:59"]))
        return repr(r.random() * 10 ** r.randrange(-8, 20))

    def text(self):
        roll = self.rng.random()
        if not self.wild:
            return self.pick(TAME_WORDS) if roll < 0.6 else self.pick(TAME_TYPED) if roll < 0.93 else repr(self.rng.random() * 10 ** self.rng.randrange(-8, 20))
        if roll < 0.42:
            return self.pick(["a", "b", "key", "name", "value", "some words", "foo.bar", "x1", "path/to"])
        if roll < 0.70:
            return self.pick(TYPED)
        if roll < 0.80:
            return self.number_text()
        if roll < 0.97:
            return self.pick(WORDS)
        return "".join(self.pick(JUNK) for _ in range(self.rng.randrange(1, 6)))

    def fold(self, indent):
        """A line break with indentation, as between the lines of a multi-line scalar."""
        blanks = "" if self.chance(0.75) else self.pick(["\n", "\n\n", "\n  ", " \n"])
        more = 0 if self.chance(0.7) else self.rng.randrange(-2 if self.wild else 0, 4)
        return (" " if self.chance(0.1) else "") + blanks + "\n" + " " * max(0, indent + more)

    def plain(self, indent, folds):
        text = self.text()
        if folds and self.chance(0.06):
            text += self.fold(indent) + self.text()
        return text

    def single(self, indent, folds):
        text = self.text() if self.wild or self.chance(0.5) else self.pick(WORDS + TYPED + EXPLICIT)
        text = (text + (self.pick([" ", "  ", "", self.fold(indent) if folds else " "]) + self.text() if self.chance(0.3) else "")).replace("'", "''")
        return "'" + text + ("" if not self.wild or self.chance(0.99) else "'") + "'"

    def double(self, indent, folds):
        out = []
        for _ in range(self.rng.randrange(1, 4)):
            roll = self.rng.random()
            if roll < 0.5:
                out.append((self.text() if self.wild else self.pick(WORDS + TYPED)).replace("\\", "\\\\").replace('"', '\\"'))
            elif roll < 0.75:
                out.append(self.pick(["\\n", "\\t", "\\\"", "\\\\", "\\/", "\\a", "\\b", "\\e", "\\f", "\\r", "\\v", "\\N", "\\_", "\\L", "\\P", "\\ ", "\\\t",
                                      "\\x41", "\\xe9", "\\u00e9", "\\u2028", "\\ufeff", "\\uFFFE", "\\U0001F600", "\\x7f"] +
                                     ([] if not self.wild or self.chance(0.9) else ["\\U00110000", "\\q", "\\x4", "\\u12", "\\0", "\\'", "\\ud800", "\\1"])))
            elif roll < 0.87:
                out.append(self.fold(indent) if folds else "  ")
            elif folds and roll < 0.93:
                out.append("\\\n" + " " * indent)
            else:
                out.append(self.pick([" ", "  ", "\t"] + ([" \\\n"] if folds else [])))
        return '"' + "".join(out) + '"'

    def block_scalar(self, indent):
        """Header and lines; indent is that of the parent."""
        given = self.rng.randrange(1, 5)
        header = self.pick("|>") + (self.pick("+-") if self.chance(0.4) else "")
        mark = self.chance(0.2)
        if mark:
            header += str(given)
            if self.chance(0.3):
                header = header[0] + str(given) + self.pick(["", "+", "-"])
        header += self.pick(["", " ", " # c"] + (["#c", " x", "\t"] if self.wild else []) if self.chance(0.1) else [""])
        lines = []
        for _ in range(self.rng.randrange(0, 5)):
            roll = self.rng.random()
            if roll < 0.2:
                lines.append(" " * self.rng.randrange(0, indent + given + (2 if self.wild or lines else 1)) if self.chance(0.3) else "")
            else:
                extra = 0 if self.chance(0.8) or not (lines or mark or self.wild) else self.rng.randrange(0, 3)
                lines.append(" " * max(0, indent + given + extra) + self.pick(["text", "a: b", "# no comment", "- x", "\ttab", "two words", "'q'", "a\\", "x  "]))
        return header + "\n" + "\n".join(lines) + self.pick(["\n", "\n", "\n\n", "\n\n\n", ""])

    def typed_text(self):
        return self.pick(EXPLICIT) if self.chance(0.5) else self.text()

    def properties(self, scalar):
        """Tag and anchor; the anchor counts as known behind the node."""
        out, anchor = "", None
        if self.chance(0.08) and (self.wild or not scalar):
            out = ("" if not self.wild and self.chance(0.9) else self.pick(["!!seq", "!!map", "!"]) if not self.wild else self.pick(SCALAR_TAGS) if scalar and self.chance(0.7) else self.pick(TAGS)) + " "
            out = out.lstrip()
        if self.chance(0.12):
            self.number += 1
            anchor = self.pick(self.anchors) if self.anchors and self.chance(0.02) else self.pick(["a%d", "x-%d", "_%d"]) % self.number
            out = out + "&" + anchor + " " if self.chance(0.8) else "&" + anchor + " " + out
        return out, anchor

    def alias(self):
        if self.anchors and self.chance(0.97):
            return "*" + self.pick(self.anchors)
        return self.pick(["*none", "*a1", "*"]) if self.wild and self.chance(0.1) else "a"

    def inline_scalar(self, indent, flow, folds=True):
        prop, anchor = self.properties(True)
        roll = self.rng.random()
        if not self.wild and self.chance(0.08):
            tag = self.pick(SCALAR_TAGS)
            if anchor:
                self.anchors.append(anchor)
            return prop + tag + " " + self.pick(FITTING[tag])
        if "!!" in prop and self.chance(0.7):
            text = self.typed_text()
            text = "'" + text.replace("'", "''") + "'" if self.chance(0.5) else text
        elif roll < 0.62:
            text = self.plain(indent, folds)
        elif roll < 0.8:
            text = self.single(indent, folds)
        else:
            text = self.double(indent, folds)
        if anchor:
            self.anchors.append(anchor)
        return prop + text

    # ---- flow ----
    def gap(self, indent):
        if self.chance(0.86):
            return self.pick(["", " "])
        return self.pick(["  ", "\n" + " " * indent, "\n" + " " * self.rng.randrange(0, indent + 3), " # c\n" + " " * indent] + ["\t"] * self.wild)

    def flow(self, depth, indent):
        roll = self.rng.random()
        if self.anchors and roll < 0.07:
            return self.alias() + " "
        if depth <= 0 or roll < 0.55:
            return self.inline_scalar(indent, True)
        if not self.wild and roll > 0.97:
            return self.special_flow()
        prop, anchor = self.properties(False) if self.wild else ("", None)
        if not prop and self.chance(0.1):
            self.number += 1
            anchor = "f%d" % self.number
            prop = "&" + anchor + " "
        n = self.rng.randrange(0, 4)
        items = []
        is_list = roll < 0.78
        for _ in range(n):
            if is_list and self.chance(0.85):
                item = self.flow(depth - 1, indent)
            else:
                item = self.flow_pair(depth, indent)
            items.append(self.gap(indent) + item + self.gap(indent))
        body = ",".join(items) + ("," + self.gap(indent) if items and self.chance(0.08) else "")
        if anchor:
            self.anchors.append(anchor)
        return prop + ("[" + body + "]" if is_list else "{" + body + "}")

    def special_flow(self):
        """Sets, ordered maps and pairs."""
        names = [self.pick(["a", "b", "1", "1.0", "~", "yes", "'x y'", "2001-01-01", "\"q\""]) for _ in range(self.rng.randrange(0, 5))]
        tag = self.pick(["!!set", "!!omap", "!!pairs"])
        if tag == "!!set":
            return "!!set {" + ", ".join(n + self.pick(["", "", ": x", ": [y]"]) for n in names) + "}"
        return tag + " [" + ", ".join(self.pick(["%s: %s", "{%s: %s}", "? %s : %s"]) % (n, self.pick(["1", "x", "[z]", "{q: r}", "~"])) for n in names) + "]"

    def flow_pair(self, depth, indent):
        roll = self.rng.random()
        if not self.wild and roll < 0.18:
            roll = 0.05 if roll < 0.06 else 0.13
        if roll < 0.06:
            return "<<: " + self.merge_value(depth, indent)
        key = self.flow(depth - 1, indent) if self.wild and roll < 0.1 else self.inline_scalar(indent, True, False)
        if roll < 0.14:
            return "? " + key + self.pick(["", " : " + self.flow(depth - 1, indent)])
        if roll < 0.18:
            return key
        return key + self.pick([": ", ": ", ": ", " : ", ":" if key[-1:] in "'\"" else ": ", ": \n" + " " * indent]) + \
            (self.flow(depth - 1, indent) if self.chance(0.93) else "")

    def merge_value(self, depth, indent):
        maps = [a for a in self.anchors if a.startswith("f")]
        if self.anchors and not self.wild and maps and self.chance(0.2):
            return "*" + self.pick(maps)
        if self.wild and self.anchors and self.chance(0.6):
            return self.alias() if self.chance(0.5) else "[" + ", ".join(self.alias() for _ in range(self.rng.randrange(0, 4))) + "]"
        pairs = ["{" + ", ".join("%s: %s" % (self.pick("abcxyz"), self.pick(["1", "2", "q", "~"])) for _ in range(self.rng.randrange(0, 4))) + "}"
                 for _ in range(self.rng.randrange(1, 4))]
        return pairs[0] if self.chance(0.5) else "[" + ", ".join(pairs) + "]" if not self.wild or self.chance(0.9) else self.flow(depth - 1, indent)

    # ---- block ----
    def comment(self, indent):
        if self.chance(0.93):
            return ""
        return self.pick(["\n", " " * indent + self.pick(COMMENTS) + "\n", self.pick(COMMENTS) + "\n", "  \n"])

    def tail(self):
        return "\n" if self.chance(0.94) else self.pick(["  \n", " # c\n", " #\n", "\r\n", "\n\n", " # c\n\n  # d\n"] + ["\t\n", " \t# c\n"] * self.wild)

    def value(self, depth, indent, parent, behind):
        """What stands behind "- ", ": " or "? " (with the break of its line); parent is the indentation of the collection it is in. `behind`
        are the characters on the line so far: a compact collection is indented by them."""
        roll = self.rng.random()
        if roll < 0.05:
            return self.tail()
        if self.anchors and roll < 0.11:
            return " " + self.alias() + self.tail()
        if depth <= 0 or roll < 0.45:
            return " " + self.inline_scalar(indent, False) + self.tail()
        if roll < 0.55:
            prop, anchor = self.properties(True)
            if anchor:
                self.anchors.append(anchor)
            return " " + prop + self.block_scalar(parent)
        if roll < 0.68:
            return " " + self.flow(depth, indent) + self.tail()
        if behind and roll < 0.8:
            extra = self.rng.randrange(0, 3) if self.chance(0.2) else 0
            return " " * (1 + extra) + self.collection(depth - 1, behind + 1 + extra, False)
        prop, anchor = self.properties(False)
        step = self.rng.randrange(1, 4) if self.chance(0.9) else self.rng.randrange(0, 7)
        is_list = self.chance(0.4)
        at = parent if is_list and not behind and self.chance(0.4) else parent + step
        body = self.collection(depth - 1, at, True, is_list)
        if anchor:
            self.anchors.append(anchor)
        return (" " + prop if prop else "") + self.tail() + body

    def collection(self, depth, indent, indent_first, is_list=None):
        out = []
        is_list = self.chance(0.4) if is_list is None else is_list
        for i in range(self.rng.randrange(1, 5)):
            lead = " " * max(0, indent) if i or indent_first else ""
            if i and self.wild and self.chance(0.015):
                lead += " "
            if i or indent_first:
                out.append(self.comment(indent))
            if is_list:
                out.append(lead + "-" + self.value(depth, indent + 2, indent, indent + 1))
            else:
                out.append(lead + self.block_pair(depth, indent))
        return "".join(out)

    def block_pair(self, depth, indent):
        roll = self.rng.random()
        if roll < 0.08:
            if self.chance(0.7) or not depth:
                return "<<: " + self.merge_value(depth, indent + 1) + self.tail()
            return "<<:" + self.tail() + "".join(" " * (indent + 2) + "%s: %s\n" % (self.pick("abcxyz"), self.pick("12q~")) for _ in range(2))
        if roll < (0.14 if self.wild else 0.1):
            if not self.wild:
                return "? " + self.inline_scalar(indent + 2, False, False) + "\n" + " " * max(0, indent) + ":" + \
                    self.value(depth - 1, indent + 2, indent, indent + 1)
            key = "?" + self.value(depth - 1, indent + 2, indent, indent + 1)
            return key + (" " * max(0, indent) + ":" + self.value(depth - 1, indent + 2, indent, indent + 1) if self.chance(0.8) else "")
        if self.wild and roll < 0.17:
            key = self.flow(1, indent + 1)
        elif self.wild and roll < 0.19:
            key = self.alias() + " "
        elif roll < 0.62:
            key = self.pick(["a", "b", "c", "d", "name", "x y", "'q'", '"w"'])
        else:
            key = self.inline_scalar(indent + 1, False, self.wild and self.chance(0.1))
        return key + (":" if self.chance(0.98) else " :") + self.value(depth, indent + 1, indent, 0)

    def document(self):
        out = []
        if self.chance(0.01):
            out.append("\ufeff")
        if self.chance(0.03):
            out.append(self.pick(["%YAML 1.1\n---", "%YAML 1.2\n---", "%TAG !e! tag:yaml.org,2002:\n--- # c"]) + "\n" if not self.wild else
                       self.pick(["%YAML 1.1\n---", "%YAML 1.2\n---", "%YAML 2.0\n---", "%TAG !e! tag:yaml.org,2002:\n---", "%TAG ! tag:yaml.org,2002:\n---",
                                  "%TAG !! !x\n---", "%FOO bar\n---", "%YAML 1.1\n%YAML 1.1\n---", "%YAML 1.1 # c\n---", "%YAML 1.1\n", "%TAG !e! a\n%TAG !e! b\n---",
                                  "%YAML 1.1\n%TAG !e! tag:yaml.org,2002:\n--- !e!str"]) + self.pick(["\n", " "]))
        elif self.chance(0.1):
            out.append("---" + self.pick(["\n", "\n", " ", " # c\n"]))
        out.append(self.comment(0))
        roll = self.rng.random()
        if roll < 0.12:
            out.append(self.inline_scalar(0, False) + self.tail())
        elif roll < 0.17:
            out.append(self.block_scalar(0))
        elif roll < 0.3:
            out.append(self.flow(3, 0) + self.tail())
        else:
            base = 0 if self.chance(0.95) else self.rng.randrange(1, 4)
            out.append(self.collection(self.rng.randrange(1, 5), base, True))
        if self.chance(0.04 if self.wild else 0.01):
            out.append(self.pick(["...\n", "...", "... # c\n", "---\n", "--- x\n", "...\n---\nx\n", "...\n# c\n", "...\n%YAML 1.1\n", "... x\n"]))
        return "".join(out)

    def mutate(self, text):
        for _ in range(self.rng.randrange(1, 4)):
            at = self.rng.randrange(len(text) + 1)
            roll = self.rng.random()
            if roll < 0.3:
                text = text[:at] + text[at + self.rng.randrange(1, 4):]
            elif roll < 0.65:
                text = text[:at] + self.pick(JUNK) + text[at:]
            elif roll < 0.72:
                text = text[:at]
            elif roll < 0.8:
                end = min(len(text), at + self.rng.randrange(1, 12))
                text = text[:end] + text[at:end] + text[end:]
            else:
                lines = text.split("\n")
                i = self.rng.randrange(len(lines))
                change = self.rng.randrange(5)
                if change == 0:
                    lines[i] = " " + lines[i]
                elif change == 1:
                    lines[i] = lines[i][1:] if lines[i].startswith(" ") else "\t" + lines[i]
                elif change == 2:
                    j = self.rng.randrange(len(lines))
                    lines[i], lines[j] = lines[j], lines[i]
                elif change == 3:
                    del lines[i]
                else:
                    lines[i] += self.pick([" ", " x", ":", " #c", "\t", ","])
                text = "\n".join(lines)
        return text


def document(seed, number):
    rng = random.Random(f"yaml {seed} {number}")
    writer = Writer(rng)
    text = writer.document()
    if rng.random() < (0.4 if writer.wild else 0.12):
        text = writer.mutate(text)
    return text.encode("utf-8", "replace").decode()[:3000]


# ---- JSON trees for the emitter ----
def json_text(rng):
    roll = rng.random()
    if roll < 0.3:
        return rng.choice(TYPED)
    if roll < 0.5:
        return rng.choice(WORDS)
    if roll < 0.6:
        return rng.choice(EXPLICIT)
    pieces = WORDS + JUNK + ["\n", " ", "  ", "\t", "\n\n", "\n ", "\ud7ff", "\x01", "\x1f", "\x7f", "\x85", "\x9f", "\u2029", "\ufffe", "\uffff", "text", "line\n"]
    return "".join(rng.choice(pieces) for _ in range(rng.randrange(0, 7))).replace("\x00", "") * (1 if rng.random() < 0.98 else 90)


def json_tree(rng, depth):
    roll = rng.random()
    if depth and roll < 0.25:
        return [json_tree(rng, depth - 1) for _ in range(rng.randrange(0, 4))]
    if depth and roll < 0.6:
        return {json_text(rng): json_tree(rng, depth - 1) for _ in range(rng.randrange(0, 4))}
    if roll < 0.65:
        return rng.choice([None, True, False])
    if roll < 0.72:
        return rng.choice([0, -1, 7, 8, 2 ** 63 - 1, -2 ** 63, rng.randrange(-10 ** 9, 10 ** 9)])
    if roll < 0.8:
        return rng.choice([0.0, -0.0, 1.5, 1e22, 1e-7, 1e16, -2.5e-300, 1e300, 123456.789, rng.random(), rng.random() * 10 ** rng.randrange(-20, 20)])
    return json_text(rng)


def tree(seed, number):
    rng = random.Random(f"emit {seed} {number}")
    return json_tree(rng, rng.randrange(1, 5))
