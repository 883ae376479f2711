"""Every name in Jinja2's DEFAULT_FILTERS, DEFAULT_TESTS and DEFAULT_NAMESPACE, as the installed package has them, is exercised here or stands on
the list of exceptions with its reason; and both engines give the same text for every document, or both refuse it.
    names.py PROGRAM [-v]
Documents: the tables below, and each call in them applied to each of INPUTS. Exit 1 when a name is missing or the engines disagree. Run by
`./run-tests --differential`."""
import copy
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from template_compare import Jinja, Ours, describe, verdict  # noqa: E402

# What we refuse by name, and why.
EXCEPTIONS = {
    "filter random": "a rendering must be repeatable: the same workflow file has to give the same workflow",
    "global lipsum": "its text is random, and a rendering must be repeatable",
}

# Differences of single documents: name, reason, patterns on the document, on Jinja2's answer and on ours ("output …" or "error CODE: …").
ACCEPTED = [
    ("addresses", "Python prints the address of an object without a text of its own, which is never the same twice", r"", r"", r"^error USAGE: .*cannot be printed"),
    ("long counts", "counts, widths and positions have 64 bits here", r"", r"^output ", r"^error USAGE: .*does not fit 64 bits"),
]

VARIABLES = {
    "text": "Hello World, foo bar-baz qux", "html": "<b>Tom & \"Jerry's\"</b>", "uni": "ärger Straße ΟΔΟΣ ñandú 日本語 İ ǆ ﬁ", "blank": "",
    "lines": "first line\n  second\n\nlast", "n": 42, "neg": -7, "f": 42.55, "t": True, "none_": None, "big": 9007199254740993,
    "xs": [3, 1, 2], "words": ["b", "A", "c", "a", "B"], "empty": [], "d": {"b": 1, "A": 2, "c": None, "x y": "q&a"}, "nested": {"a": {"b": [10, {"c": "deep"}]}},
    "users": [{"name": "Ann", "age": 30, "city": "NY", "on": True, "a": {"b": [1, 2]}}, {"name": "bob", "age": 25, "city": "ny", "on": False, "a": {"b": [3, 4]}},
              {"name": "Cid", "age": 30, "city": "LA", "on": True, "a": {"b": [5, 6]}}],
    "some": [{"k": 1}, {}, {"k": None}],
    "long": "The quick brown-fox jumps over the lazy dog -- well-known, isn't it?-- and Donaudampfschifffahrtsgesellschaft ends  here.\tTab",
    "urls": "see http://example.com/a?b=c, (https://x.org/p_(q)), www.y.de. or me@mail.example.com <mailto:you@b.io> ftp://f.io/x tel:123 foo.com foo.xyz http://1.2.3.4:80/z",
    "deep": {"list": [{"key number %d" % i: ["value"] * 4, "other": {"z": 1, "y": [1.5, None]}} for i in range(3)], "text": "word " * 40},
    "pairs": [["a b", 1], ["c", "d/e"]], "wide": ["x" * 30, "y" * 30, "z" * 30],
}

# Name → calls. A call is applied to every one of INPUTS (as `{{ (INPUT)|call }}` or `{{ (INPUT) is call }}`).
FILTERS = {
    "abs": ["abs"],
    "attr": ["attr('name')", "attr('items')|string|length > 0", "attr('_x') is defined", "attr('a') is defined", "attr(1)", "attr(name='b')", "attr"],
    "batch": ["batch(2)|list", "batch(3, 'x')|list", "batch(0)|list", "batch(-1)|list", "batch(2.0)|list", "batch('a')|list", "batch(linecount=2, fill_with=0)|list",
              "batch(4, fill_with=none)|list", "batch|list"],
    "capitalize": ["capitalize", "capitalize(1)"],
    "center": ["center", "center(30)", "center(9)", "center(width=12)|length", "center('a')", "center(-3)", "center(none)"],
    "count": ["count"],
    "d": ["d", "d('x')", "d('x', true)", "d(default_value=1, boolean=1)", "d(boolean=true)", "d(2, '')", "d(1, 2, 3)"],
    "default": ["default", "default('x')", "default('x', true)", "default(default_value=none)", "default('y', boolean=false)"],
    "dictsort": ["dictsort", "dictsort(true)", "dictsort(false, 'value')", "dictsort(by='key', reverse=true)", "dictsort(by='nope')", "dictsort(reverse='a')",
                 "dictsort(case_sensitive=true, by='value', reverse=1)"],
    "e": ["e", "e|e", "e is escaped"],
    "escape": ["escape", "safe|escape", "escape|upper|e", "escape|list"],
    "filesizeformat": ["filesizeformat", "filesizeformat(true)", "filesizeformat(binary=true)", "float|filesizeformat"],
    "first": ["first", "first is defined"],
    "float": ["float", "float(1.5)", "float(default='x')", "float(none)"],
    "forceescape": ["forceescape", "e|forceescape", "safe|forceescape|forceescape"],
    "format": ["format", "format(1)", "format(1, 2)", "format(a=1)", "format(1, a=2)"],
    "groupby": ["groupby('city')", "groupby('age')|map(attribute='grouper')|list", "groupby('age')|map('last')|list", "groupby(0)", "groupby('nope')",
                "groupby('nope', default='-')", "groupby('city', case_sensitive=true)", "groupby(attribute='a.b.0')|list", "groupby", "groupby('k', default=0)",
                "groupby('k', default='')", "groupby(none)"],
    "indent": ["indent", "indent(2)", "indent(2, true)", "indent(2, true, true)", "indent('> ')", "indent(width='--', first=true, blank=true)", "indent(0)", "indent(-1)",
               "indent(blank=true)", "indent(none)", "safe|indent('<', true)|e", "indent(1.5)"],
    "int": ["int", "int(7)", "int(default=none)", "int(0, 16)", "int(base=2)", "int(0, 0)", "int(1, 99)", "int(1, base='x')", "int('', base=36)", "int(base=8)"],
    "items": ["items|list", "items|first", "items|map('first')|list", "items|length"],
    "join": ["join", "join(',')", "join(', ', 'name')", "join(d='-', attribute='age')", "join(1)", "join(none)", "join('<'|safe) is escaped", "join(attribute=0)",
             "join('-', attribute='a.b.1')"],
    "last": ["last", "last is defined"],
    "length": ["length", "length(1)"],
    "list": ["list", "list|list|length"],
    "lower": ["lower", "lower|e"],
    "map": ["map('upper')|list", "map('default', 'x')|list", "map(attribute='name')|list", "map(attribute='k', default='-')|list", "map(attribute='a.b.0')|list",
            "map(attribute=0)|list", "map('int', default=3)|join('|')", "map|list", "map('nope')|list", "map(attribute='x', y=1)|list", "map('round', method='floor')|list",
            "map('map', 'string')|map('list')|list", "map(attribute=none)|list", "map('first')|first", "map('abs')|first", "map(none)|list", "map('upper') is iterable",
            "map('string')|length", "map('string')|map('length')|sum", "map(attribute='k')|map('default', 'z')|list"],
    "max": ["max", "max(true)", "max(attribute='age')", "max(case_sensitive=true)", "max(attribute='city')", "max is defined", "max(attribute=0)"],
    "min": ["min", "min(true)", "min(attribute='age')", "min(case_sensitive=true)", "min(attribute='city')", "min is defined"],
    "pprint": ["pprint", "pprint|length", "list|pprint", "string|pprint", "e|pprint"],
    "reject": ["reject|list", "reject('odd')|list", "reject('string')|list", "reject('gt', 1)|list", "reject('nope')|list", "reject('in', [1, 'a', 'A'])|list"],
    "rejectattr": ["rejectattr('on')|list", "rejectattr('age', 'gt', 26)|map(attribute='name')|list", "rejectattr|list", "rejectattr('a.b.0', 'odd')|list|length",
                   "rejectattr('k', 'none')|list"],
    "replace": ["replace('o', '0')", "replace('o', '0', 1)", "replace('', '-')", "replace('', '-', 2)", "replace(old='l', new='L', count=2)", "replace(1, 2)", "replace('a')",
                "replace('b', '<'|safe) is escaped", "replace('a', 'b', none)", "replace('a', 'b', 0)", "replace('a', 'b', 'c')"],
    "reverse": ["reverse", "reverse|list", "reverse|first", "reverse is iterable", "reverse is sequence", "reverse|reverse|list", "map('string')|reverse", "reverse|length"],
    "round": ["round", "round(1)", "round(-1)", "round(2, 'floor')", "round(1, 'ceil')", "round(method='ceil')", "round(none)", "round(1.5)", "round(1, 'up')",
              "round(precision=-2, method='floor')", "round(30)", "round(0, 'floor')|int", "round(-2)", "round(true)"],
    "safe": ["safe", "safe is escaped", "safe|list|first is escaped", "safe|pprint", "safe|length"],
    "select": ["select|list", "select('odd')|list", "select('string')|list", "select('==', 'A')|list", "select('divisibleby', 2)|list", "select('>', 1)|list", "select()|length",
               "select('sameas', none)|list", "select('none')|first is defined", "select('test')|list", "select('eq', b=1)|list", "select('divisibleby', num=3)|list",
               "select('undefined')|list", "select(none)|list", "select(undefined_)|list", "select('ge', 1)|select('le', 2)|list"],
    "selectattr": ["selectattr('on')|list|length", "selectattr('age', 'eq', 30)|map(attribute='name')|list", "selectattr('nope', 'defined')|list", "selectattr('nope')|list",
                   "selectattr('k', 'none')|list", "selectattr(0, 'odd')|list", "selectattr|list", "selectattr('name', 'lower')|list"],
    "slice": ["slice(2)|list", "slice(3, 'x')|list", "slice(0)|list", "slice(-2)|list", "slice(slices=4, fill_with=0)|list", "slice(2.5)|list", "slice('a')|list", "slice(true)|list"],
    "sort": ["sort", "sort(true)", "sort(case_sensitive=true)", "sort(reverse=true)", "sort(attribute='age')|map(attribute='name')|list",
             "sort(attribute='age,name', reverse=true)|map(attribute='name')|list", "sort(attribute='city')|map(attribute='name')|list", "sort(attribute=0)", "sort(attribute='nope')",
             "sort(reverse='x')", "sort(attribute='a.b.1')|first", "sort(attribute='age')|sort(attribute='on')|map(attribute='name')|list", "sort(reverse=none)",
             "sort(false, true)|join", "sort(attribute='k')"],
    "string": ["string", "string is string", "e|string is escaped", "string|length"],
    "striptags": ["striptags", "e|striptags", "striptags|e"],
    "sum": ["sum", "sum(start=10)", "sum('age')", "sum(attribute='age', start=0.5)", "sum(start='')", "sum(start=[])", "sum(attribute=0)", "sum(attribute='a.b.0')"],
    "title": ["title", "e|title"],
    "tojson": ["tojson", "tojson(2)", "tojson(indent=0)", "tojson('\t')", "tojson is escaped", "tojson|e", "tojson(none)", "tojson(true)", "tojson(-1)", "tojson(1.5)"],
    "trim": ["trim", "trim('H')", "trim(chars='x ')", "trim(none)", "trim('')", "trim(1)", "safe|trim('<&')|e"],
    "truncate": ["truncate(5)", "truncate(5, true)", "truncate(9, false, '...', 0)", "truncate(length=12, end='>', leeway=1)", "truncate(2)", "truncate(5, leeway=-1)", "truncate",
                 "truncate(4, true, '')", "truncate('a')", "truncate(3, end=1)", "safe|truncate(4, true, '<')|e", "truncate(4, true, '<'|safe, 0)|e", "truncate(11, leeway=none)"],
    "unique": ["unique|list", "unique(true)|list", "unique(attribute='city')|map(attribute='name')|list", "unique(case_sensitive=true)|join", "unique(attribute=0)|list",
               "unique(attribute='nope')|list", "unique|first"],
    "upper": ["upper", "e|upper is escaped"],
    "urlencode": ["urlencode", "e|urlencode"],
    "urlize": ["urlize", "urlize(10)", "urlize(10, true)", "urlize(target='_blank')", "urlize(rel='me x')", "urlize(nofollow=true, target='<')", "urlize(extra_schemes=['tel:', 'ftp://'])",
               "urlize(extra_schemes=['x'])", "urlize(trim_url_limit=0)", "urlize(trim_url_limit=-2)", "urlize('a')", "safe|urlize"],
    "wordcount": ["wordcount"],
    "wordwrap": ["wordwrap(10)", "wordwrap(20, false)", "wordwrap(15, true, '|')", "wordwrap(12, break_on_hyphens=false)", "wordwrap", "wordwrap(0)", "wordwrap(1)",
                 "wordwrap(width=5, break_long_words=false, wrapstring='/', break_on_hyphens=false)", "wordwrap(7)", "wordwrap(30, wrapstring=1)"],
    "xmlattr": ["xmlattr", "xmlattr(false)", "xmlattr(autospace=true)"],
}
TESTS = {
    "boolean": ["boolean"], "callable": ["callable"], "defined": ["defined"], "divisibleby": ["divisibleby 3", "divisibleby(num=2)", "divisibleby 0", "divisibleby 'a'"],
    "eq": ["eq 1", "eq('a')", "eq(1, 2)", "eq(b=1)"], "equalto": ["equalto 42", "equalto none"], "escaped": ["escaped"], "even": ["even"], "false": ["false"],
    "filter": ["filter"], "float": ["float"], "ge": ["ge 1", "ge 'b'"], "gt": ["gt 1", "gt 'B'"], "greaterthan": ["greaterthan 1.5"], "in": ["in [1, 'a', none]", "in 'xay'",
    "in {'a': 1, 2: 3}", "in(seq=(1, 2))", "in 5", "in range(4)"], "integer": ["integer"], "iterable": ["iterable"], "le": ["le 1", "le []"], "lessthan": ["lessthan 50"],
    "lt": ["lt 1", "lt 'b'", "lt [2]"], "lower": ["lower"], "mapping": ["mapping"], "ne": ["ne 1", "ne('a')"], "none": ["none"], "number": ["number"], "odd": ["odd"],
    "sameas": ["sameas none", "sameas true", "sameas false", "sameas(other=1)", "sameas 'a'", "sameas ()"], "sequence": ["sequence"], "string": ["string"], "test": ["test"],
    "true": ["true"], "undefined": ["undefined"], "upper": ["upper"],
}
# Operators are names of tests too, for select and reject.
for name in ("==", "!=", "<", "<=", ">", ">="):
    TESTS[name] = []
    FILTERS["select"].append(f"select('{name}', 2)|list")
    FILTERS["reject"].append(f"reject('{name}', 'a')|list")
GLOBALS = {
    "range": ["{{ range(5) }}", "{{ range(1, 10, 3)|list }} {{ range(1, 10, 3) }}", "{{ range(5, 2) }}{{ range(5, 2)|list }}", "{{ range(10, 0, -3)|list }}", "{{ range(3)|last }}",
              "{{ range(0) is sequence }}", "{{ range() }}", "{{ range('a') }}", "{{ range(1.5) }}", "{{ range(1, 2, 0) }}", "{{ range(100001) }}", "{{ range(100000)|length }}",
              "{{ range(stop=3) }}", "{{ range(true)|list }}", "{{ range(3)|reverse|list }}", "{{ range(4)[1] }}", "{{ 2 in range(3) }}", "{{ range(2)|tojson }}", "{{ range(1, 2, 3, 4) }}",
              "{{ range(3)|join('-') }}", "{{ range(3)|pprint }}", "{{ range(-5, 5, 4)|list }}", "{{ range(none) }}", "{{ range(undefined_) }}", "{{ range(1, 4)|sum }}"],
    "dict": ["{{ dict() }}", "{{ dict(a=1, b='x') }}", "{{ dict({'z': 1}, y=2) }}", "{{ dict([('a', 1), ['b', 2]]) }}", "{{ dict([1]) }}", "{{ dict({}, {}) }}", "{{ dict(['ab', 'cd'])}}",
             "{{ dict(d|items) }}", "{{ dict(5) }}", "{{ dict([('a', 1, 2)]) }}", "{{ dict([([], 1)]) }}", "{{ dict(d, b=3) }}", "{{ dict(none) }}", "{{ dict('') }}", "{{ dict(d) == d }}",
             "{{ dict(d.items()) }}", "{% set x = dict(a=1) %}{{ x.a }}{{ x['a'] }}{{ dict(x|dictsort) }}"],
    "cycler": ["{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.current }}", "{{ cycler() }}", "{{ cycler(a=1) }}",
               "{% set c = cycler(1) %}{{ c.next() }}{{ c.next() }}{{ c.current }}", "{% set c = cycler('x', none) %}{% for i in range(3) %}{{ c.next() }};{% endfor %}",
               "{{ cycler(1) is iterable }}{{ cycler(1) is callable }}", "{{ cycler(1).nope is defined }}"],
    "joiner": ["{% set j = joiner() %}{{ j() }}a{{ j() }}b{{ j() }}", "{% set j = joiner('|') %}{% for i in range(3) %}{{ j() }}{{ i }}{% endfor %}", "{% set j = joiner(sep=none) %}{{ j() }}{{ j() }}",
               "{{ joiner(1, 2) }}", "{{ joiner() is callable }}", "{% set j = joiner(5) %}{{ j() }}{{ j() + 1 }}", "{{ joiner()(1) }}"],
    "namespace": ["{% set ns = namespace(a=1) %}{{ ns.a }}{% set ns.a = 2 %}{{ ns.a }}", "{{ namespace(a=1) }}", "{{ namespace({'x': 1}, y=[2]) }}", "{{ namespace().x }}",
                  "{% set ns = namespace() %}{% set ns.q = 'w' %}{{ ns.q }}{{ ns }}", "{% set ns = namespace(n=0) %}{% for i in range(4) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
                  "{{ namespace(5) }}", "{{ namespace(a=1)|attr('a') }}", "{{ namespace(a=1)|attr('b') is defined }}", "{{ namespace(a=1) is mapping }}{{ namespace() is iterable }}",
                  "{{ namespace(a=1) is callable }}"],
}

# Documents that say more than one call on one input can.
MORE = [
    "{{ users|sort(attribute='city,age')|map(attribute='name')|join(',') }} {{ users|sort(attribute='age', reverse=true)|map(attribute='name')|join(',') }}",
    "{% for g in users|groupby('city') %}{{ g.grouper }}={{ g.list|map(attribute='name')|join('+') }} {{ g[0] }} {{ g|length }};{% endfor %}",
    "{% for k, v in users|groupby('age') %}{{ k }}:{{ v|length }} {% endfor %}", "{{ users|groupby('on') }}", "{{ (users|groupby('city'))[0].nope is defined }}",
    "{{ users|groupby('age')|tojson }}", "{{ users|groupby('age')|pprint }}", "{{ users|groupby('city')|first is sequence }}", "{{ (users|groupby('city')|first) == ('LA', [users[2]]) }}",
    "{% set g = xs|map('string') %}{{ g|join }}{{ g|join }}|{{ g|list }}", "{% set g = xs|select %}{{ g|first }}{{ g|list }}", "{% set g = xs|map('nope') %}fine",
    "{% set g = undefined_|map('upper') %}fine", "{{ undefined_|map('upper')|list }}", "{{ (undefined_|select) is iterable }}", "{% for x in xs|batch(2) %}{{ loop.index }}{{ x }}{{ loop.last }}{% endfor %}",
    "{% for a, b in d|items %}{{ a }}{{ b }}{% endfor %}", "{% for x in xs|reverse %}{{ x }}{{ loop.length }}{{ loop.revindex }}{% endfor %}", "{% if empty|select %}generators are true{% endif %}",
    "{{ 3 in xs|map('int') }} {{ 9 in xs|map('int') }}", "{{ (xs|map('int')) == (xs|map('int')) }}", "{{ xs|map('int') + [1] }}", "{{ (xs|map('int'))[0] is defined }}", "{{ xs|select|tojson }}",
    "{% set a, b, c = xs|map('string') %}{{ b }}", "{{ ['<', '<'|safe, html|e]|join }} {{ ['<', '<'|safe] }} {{ ('<' ~ '<'|safe) is escaped }} {{ '<' + '<'|safe }} {{ ('<'|safe) + '<' }}",
    "{{ ('<%s>'|safe)|format('<') }} {{ ('<%s>'|safe) % '<' }} {{ '%s' % ('<'|safe) }} {{ ('%r %d'|safe)|format('<', 3.9) }} {{ ('%x'|safe)|format(10) }}", "{{ {'a': '<'|safe} }} {{ ['<'|e]|pprint }}",
    "{{ {'b': 1, 'a': [1.0, true, none, 'ü😀\\n\\t\"\\\\<>&\\x7f']}|tojson }}", "{{ {1: 2, 3: {}}|tojson }} {{ {1.5: []}|tojson(3) }} {{ {none: 1}|tojson }} {{ {true: 1}|tojson }}", "{{ {1: 1, 'a': 2}|tojson }}",
    "{{ {(1, 2): 1}|tojson }}", "{{ [namespace()]|tojson }}", "{{ [undefined_]|tojson }}", "{{ [undefined_] }} {{ [undefined_]|pprint }} {{ {'a': undefined_} }}", "{{ [undefined_]|list|length }}",
    "{{ [1, [2, (3,), ()], {'a': (1, 2)}]|tojson(indent=1) }}", "{{ 1e400|tojson }} {{ (-1e400)|tojson }} {{ ('nan'|float)|tojson }} {{ 1e16|tojson }} {{ 0.1|tojson }}",
    "{{ deep|pprint }}", "{{ [deep, deep]|pprint }}", "{{ wide|pprint }}", "{{ [wide, wide|list, {'a': wide, 'b': wide}]|pprint }}", "{{ (wide,)|pprint }}", "{{ ('x' * 50, 'y' * 50)|pprint }}", "{{ ('word ' * 30)|pprint }}",
    "{{ {'k' * 70: 'v' * 30}|pprint }}", "{{ {'k': 'some words here ' * 8, 'l': ['more words ' * 9]}|pprint }}", "{{ ('line\\n' * 30)|pprint }}", "{{ ('x' * 100)|pprint }}", "{{ (('x' * 90) ~ ' y')|pprint }}",
    "{{ {3: 1, 'a': 2, none: 3, 1.5: 4, (1, 2): 5}|pprint }}", "{{ {'b': {'z': 1, 'a': 2}, 'a': 1}|pprint }}", "{{ [{}, [], (), '', 'ü', '\\n']|pprint }}", "{{ ('é' * 79)|pprint }}", "{{ ('é' * 78)|pprint }}", "{{ ('é' * 77)|pprint }}",
    "{{ [('a b ' * 25)]|pprint }}", "{{ [['a b ' * 25]]|pprint }}", "{{ {'x': ('a b ' * 25)}|pprint }}", "{{ ('  lead ' * 20)|pprint }}", "{{ ('a\\'b\"c ' * 20)|pprint }}",
    "{{ '%5d|%-5d|%05d|%+d|% d|%x|%X|%#x|%o|%#o|%e|%.2f|%g|%c|%c|%r|%s|%%'|format(42, 42, 42, 42, 42, 255, 255, 255, 8, 8, 1234.5, 2.675, 1e10, 65, 'z', 'q', none) }}",
    "{{ '%(a)s %(b)05.1f %(a)r'|format(a='x', b=3.14159) }}", "{{ '%(a)s' % d }}", "{{ '%(b)s %(A)d' % d }}", "{{ '%s' % d }}", "{{ '%s %s' % (1,) }}", "{{ '%s' % (1, 2) }}", "{{ 'x' % xs }}", "{{ '%s' % xs }}", "{{ 'x' % 1 }}",
    "{{ '%*d|%-*d|%.*f' % (6, 42, 6, 42, 2, 3.14159) }}", "{{ '%10s|%-10s|%.2s|%10.1r' % ('ä', 'ö', 'üüü', 'x') }}", "{{ '%d' % 'a' }}", "{{ '%d %d' % (true, 3.99) }}", "{{ '%x' % 1.5 }}", "{{ '%f %F %5f %05f' % (1e400, -1e400, 'nan'|float, -1e400) }}",
    "{{ '%c' % 'ab' }}", "{{ '%c%c' % (228, 'ß') }}", "{{ '%q' % 1 }}", "{{ '%' % 1 }}", "{{ '%(a' % {'a': 1} }}", "{{ '%(a)' % {'a': 1} }}", "{{ '%(a(b))s' % {'a(b)': 1} }}", "{{ '%a %a' % ('ü', 'x') }}", "{{ '%ld %hd %Lf' % (1, 2, 3) }}", "{{ '%.0f %.0f %.1f' % (0.5, 1.5, 0.25) }}",
    "{{ '%#.0f %#g %g %G' % (3, 3, 1e-10, 1e100) }}", "{{ '%-05d|%+05d|% 05d|%+.3d|%08.3f|%-8.3f|' % (3, 3, 3, 3, -3.14159, 3.14159) }}", "{{ '%#X|%#08x|%-#8x|%+x|% x' % (255, 255, 255, 255, -255) }}",
    "{{ (1.5, 2.5, 0.5, -0.5, 2.675, 1e300, 1.005)|map('round')|list }} {{ (2.675, 1.005, 0.125, 0.375)|map('round', 2)|list }} {{ (15, 25, -15, 149, 150)|map('round', -1)|list }} {{ (1234.5, 1250.0, 1350.0)|map('round', -2)|list }}",
    "{{ 42.55|round(1, 'floor') }} {{ 42.55|round(1, 'ceil') }} {{ 42|round(2, 'ceil') }} {{ -42.55|round(0, 'ceil') }} {{ 1234|round(-2, 'floor') }} {{ 7|round(-1, 'ceil') }} {{ 1e300|round(2, 'ceil') }}", "{{ ('inf'|float)|round }} {{ ('nan'|float)|round(1) }}",
    "{{ ('inf'|float)|round(0, 'ceil') }}", "{{ ('inf'|float)|int }}", "{{ ('nan'|float)|int(3) }}", "{{ 'inf'|int }}", "{{ '1e3'|int }} {{ '1_000'|int }} {{ '1__0'|int(9) }} {{ ' 12 '|int }} {{ '0x1f'|int(0, 16) }} {{ '0b101'|int(0, 2) }} {{ '0o17'|int(0, 8) }} {{ '0x1f'|int(5, 0) }} {{ '012'|int(5, 0) }} {{ '٣'|int }} {{ '1_e5'|float }} {{ '0x_1f'|int(0, 16) }} {{ '-0b1'|int(0, 0) }} {{ '+5'|int }} {{ '--5'|int }} {{ '5-'|int }} {{ ''|int }} {{ '_1'|int }} {{ '1_'|int }}",
    "{{ ('1_0.5', '1e5', '.5', '5.', 'e5', 'infinity', '-inf', 'nan', '1_000.0_1', '1._5', ' 1.5\\n')|map('float')|list }}", "{{ (0, 1, 999, 1000, 1023, 1024, 1e6, 1e30, -5, '12', 1500.7, 999999, 1e27)|map('filesizeformat')|list }}",
    "{{ (0, 1, 999, 1000, 1023, 1024, 1048576, 1e30, 1023.9, 1048575)|map('filesizeformat', true)|list }}", "{{ 'x'|filesizeformat }}", "{{ none|filesizeformat }}", "{{ 'a b&c=d/e?ü~-._'|urlencode }} {{ pairs|urlencode }} {{ {'a b': 'c/d', 'e': 1}|urlencode }} {{ ['ab']|urlencode }} {{ 1.5|urlencode }} {{ [1]|urlencode }}",
    "{{ {'a b': 1}|xmlattr }}", "{{ {'a': none, 'b': undefined_, 'c': '<', 'd': '<'|safe, 'e<': 1}|xmlattr }}", "{{ {1: 2}|xmlattr }}", "{{ {'a=': none}|xmlattr }}|{{ {}|xmlattr }}|",
    "{{ '<p>a &amp; b &lt;c&gt; &nbsp;x&#33;&#x41;&copy &notit; &unknown; &#0;&#128;&#xd800;&#; &amp</p><!-- no -->  z'|striptags }}", "{{ '<!-- <b> --> a <b\\n>c</b> < d > e'|striptags }}", "{{ 'a <!-- b -->c<!--d'|striptags }}", "{{ '&amp;lt; &AMP &Amp; &aacute &aacut &frac12x &#x110000; &#1; &acE;'|striptags }}",
    "{{ urls|urlize }}", "{{ urls|urlize(12, true, '_top', 'me', ['tel:', 'ftp://']) }}", "{{ '(see www.x.com/a(b)) <http://y.de> http://[::1]/x http://[1:2:3:4:5:6:7:8]:80 https://xn--abc.xn--p1ai/ä x@y z@w.co, a@b.c.d:e mailto:a@b.c mailto:x www.com http://a http://ab.c http://a_b.de http://x.com:99999 http://x.com:123456 HTTP://UP.COM http://x.com, http://x.com. http://x.com) \"http://q.com\" &lt;'|urlize }}",
    "{{ 'foo.com bar.info. a.b.net/x?y#z x.y.zz -.com a.com a1.mil http://x.com/(a)(b)) ((http://x.com/a)) http://e.com/&amp; me@localhost a@-b.de a@b_c.d_e @x.de a@@b.de'|urlize }}",
    "{{ long|wordwrap(20) }}", "{{ long|wordwrap(9) }}", "{{ long|wordwrap(9, false) }}", "{{ long|wordwrap(11, true, '~', false) }}", "{{ lines|wordwrap(6) }}", "{{ 'a-b-c-d e--f --g h- -i jkl-mno p.-q'|wordwrap(4) }}", "{{ 'aa-bb-cc ddd-eee x-1 1-x ab-1c a-b-cd'|wordwrap(3) }}", "{{ 'abc  def   ghi'|wordwrap(4) }}|{{ 'abcd efgh'|wordwrap(4) }}|{{ '   lead'|wordwrap(5) }}|{{ 'x\u00a0y z'|wordwrap(2) }}",
    "{{ 'abc abcdefgh'|wordwrap(4) }}|{{ 'a--b---c----d'|wordwrap(3) }}|{{ 'end-- x --y-- ?--z'|wordwrap(4) }}|{{ 'ünï-cödé-wörd'|wordwrap(5) }}|{{ '----'|wordwrap(2) }}|{{ 'a----------b'|wordwrap(5) }}|{{ 'foo-bar-baz'|wordwrap(5) }}",
    "{{ 'foo bar baz qux'|truncate(9) }} {{ 'foo bar baz qux'|truncate(9, True) }} {{ 'foo bar baz qux'|truncate(11) }} {{ 'foo bar baz qux'|truncate(11, False, '...', 0) }} {{ 'foobarbazqux'|truncate(5) }} {{ 'ü ü ü ü ü ü'|truncate(5, leeway=0) }}", "{{ [1, 2]|truncate(9) }}", "{{ [1, 2]|truncate(0, true, '', 0) }}",
    "{{ 'a\\r\\nb\\rc\\x0bd\\x85e\\u2028f\\x1cg'|indent(1, true) }}", "{{ 'a\\n'|indent }}|{{ 'a\\r'|indent }}|{{ ''|indent(2, true) }}|{{ '\\n\\n'|indent(1, true, true) }}|", "{{ 'it\\'s a-test (of) {title} [case] <now>'|title }} {{ 'ǆ ß ŉ'|title }} {{ 'ǆx'|capitalize }} {{ 'ßx'|capitalize }}",
    "{{ 'ΑΣ ΑΣΑ Σ ΑΣ.'|lower }} {{ 'ß ŉ ﬁ ΐ'|upper }} {{ 'İI'|lower }} {{ 'ǅ'|lower }} {{ 'ǅ'|upper }} {{ 'ǅ' is lower }} {{ 'ǅ' is upper }} {{ 'ª' is lower }} {{ 'Ⅷ' is upper }} {{ '1' is lower }} {{ 'a1' is lower }} {{ '' is upper }}",
    "{{ 'x  y_z 1-2 ü日本 \u0301'|wordcount }}", "{{ '\u00a0 x \u2003'|trim }}| {{ 'xxaxx'|trim('x') }} {{ 'äaä'|trim('ä') }} {{ 'abc'|trim('cba') }}", "{{ [[2, 1], [1]]|map('sort')|list }} {{ [[2, 1], [1], []]|sort }} {{ [none, none]|sort }} {{ [none, 1]|sort }}", "{{ [none]|sort }} {{ [undefined_]|sort|length }}",
    "{{ [1, true, 0, false, 1.0]|sort }} {{ [1, true, 1.0, '1']|unique|list }} {{ ['a', 'A', 'b']|unique|list }} {{ [[1]]|unique|list }}", "{{ ['b', 'A', 'a']|min }} {{ ['b', 'B', 'a']|max }} {{ ['b', 'B']|max(true) }} {{ [1, 'a']|max }}", "{{ []|min is defined }} {{ []|max }}", "{{ [none]|max }} {{ [none, none]|max }}",
    "{{ range(200)|sort(reverse=true)|join(',') }} {{ range(150)|map('string')|sort|join(',') }}", "{% set xs = range(300)|map('string')|list %}{{ xs|sort(attribute=0)|join(',') }} {{ xs|sort(true, attribute=0)|join(',') }} {{ xs|groupby(0)|map('last')|map('length')|list }}",
    "{{ {'b': 1, 'A': 3, 'a': 2}|dictsort }} {{ {'b': 1, 'A': 3, 'a': 2}|dictsort(true) }} {{ {1: 'x', 2: 'X', 3: 'a'}|dictsort(by='value') }} {{ {1: none, 2: none}|dictsort(by='value') }}", "{{ {1: 2, 'a': 3}|dictsort }}", "{{ [0.1] * 3 }} {{ [0.1, 0.2, 0.3]|sum }} {{ [[1], [2]]|sum(start=[]) }} {{ ['a']|sum }} {{ [true, 2]|sum }}",
    "{{ 'a'|e is escaped }} {{ 'a' is escaped }} {{ ('a'|e|list)[0] is escaped }} {{ ('<'|safe|first) is escaped }} {{ ('<'|safe)[0] is escaped }} {{ ('<'|e).upper() is escaped }}", "{{ 'upper' is filter }} {{ 'nope' is filter }} {{ 1 is filter }} {{ 'odd' is test }} {{ '==' is test }} {{ 'lipsum' is test }} {{ 'random' is filter }}", "{{ [] is filter }}", "{{ undefined_ is test }}",
    "{{ 1 is sameas 1.0 }} {{ 1 is sameas true }} {{ xs is sameas xs }} {{ [] is sameas [] }} {{ none is sameas none }} {{ 'a' is sameas 'a' }} {{ undefined_ is sameas none }}", "{{ range is callable }} {{ d.items is callable }} {{ 'a'.upper is callable }} {{ undefined_ is callable }} {{ namespace is callable }} {{ none is callable }}",
    "{{ d.items() is sequence }} {{ d.items() is iterable }} {{ d.keys() is mapping }} {{ xs|map('int') is sequence }} {{ (1,) is sequence }} {{ range(2) is sequence }} {{ 'x' is iterable }}", "{{ undefined_ is iterable }}", "{{ undefined_ is sequence }} {{ undefined_ is mapping }} {{ undefined_ is none }} {{ undefined_ is escaped }} {{ undefined_ is string }}", "{{ undefined_ is eq 1 }}", "{{ undefined_ is lower }}",
    "{{ 3.0 is odd }} {{ 2.5 is even }} {{ -3 is odd }} {{ true is odd }} {{ '%d' is odd }}", "{{ 'a' is odd }}", "{{ 10 is divisibleby 2.5 }} {{ 7 is divisibleby(7) }}", "{{ none|map('upper')|list }} {{ 0|select|list }} {{ ''|reject('odd')|list }}", "{{ 5|map('upper')|list }}",
    "{{ d|map('upper')|list }} {{ 'abc'|map('upper')|join }} {{ 'abc'|reverse }} {{ 'aßc'|reverse }} {{ d|reverse|list }} {{ d|last }} {{ d|first }} {{ ''|first is defined }} {{ d.values()|last }} {{ range(3)|map('string')|last }}", "{{ []|first }}", "{{ []|last is defined }} {{ ''|last is undefined }}",
    "{{ xs|join(attribute='x') }}", "{{ some|map(attribute='k')|list }}", "{{ some|map(attribute='k', default=0)|list }} {{ some|groupby('k', default=0)|length }}", "{{ nested|map(attribute='b')|list }} {{ [nested]|map(attribute='a.b.1.c')|list }} {{ [nested]|map(attribute='a.b.7.c', default='-')|list }}", "{{ [nested]|map(attribute='a.x.y')|list }}",
    "{{ [[1, [2, 3]]]|map(attribute='1.0')|list }} {{ [[1, 2]]|map(attribute='-1')|list }} {{ ['ab']|map(attribute=1)|list }} {{ [d]|map(attribute='items')|first is callable }} {{ [{'items': 5}]|map(attribute='items')|list }}", "{{ xs|map('default', boolean=true)|list }} {{ words|map('replace', 'a', 'x')|list }} {{ words|map('truncate', 1, true, '')|list }} {{ xs|map('abs', 1)|list }}",
    "{{ words|map(name='upper')|list }}", "{{ words|select('in', 'abc')|list }} {{ words|select('lower')|list }} {{ words|select('upper')|join }} {{ words|reject('eq', 'a')|list }} {{ xs|select('gt', 1, 2)|list }}", "{{ xs|select('callable')|list }} {{ xs|select(test='odd')|list }}", "{{ users|selectattr('age', '>', 26)|list|length }} {{ users|selectattr('name', 'in', ['Ann'])|map(attribute='age')|list }} {{ users|selectattr(attribute='on')|list }}",
    "{% filter upper|replace('A', 'x') %}abc{{ xs }}{% endfilter %}", "{% filter indent(2, true) %}a\nb{% endfilter %}", "{% filter tojson %}<a>{% endfilter %}", "{{ 'a\nb'|tojson }} {{ '\u2028\u0000é'|tojson }} {{ 'x'|tojson(indent='>') }} {{ {'a': [1, {'b': []}]}|tojson('->') }}", "{{ (d|tojson)|e }} {{ d|tojson|length }}", "{{ big|tojson }} {{ big|float }} {{ big|string }} {{ -0.0|abs }} {{ big|abs }} {{ neg|abs }} {{ true|abs }} {{ '1'|abs }}",
    "{{ '{:>5}|{!r}'|string }} {{ n|string|length }} {{ [1, 'a']|string }} {{ none|string }} {{ none|upper }} {{ true|lower }} {{ 1.50|title }} {{ xs|capitalize }}", "{{ 1|center(5) }}| {{ 'ab'|center(5) }}| {{ 'abc'|center(6) }}| {{ 'ä'|center(4) }}|", "{{ 'x'|default(missing) }}", "{{ missing|default(missing2) }}", "{{ missing.x|default(1) }}", "{{ d.x|default(1) }} {{ d.x.y|default(1) }}", "{{ missing|d(boolean=true) }}|{{ none|d(1) }} {{ none|d(1, true) }}",
    "{{ undefined_|items|list }} {{ xs|items|list }}", "{{ xs|items }}", "{{ d|attr('keys')()|list }} {{ 'x'|attr('upper')() }} {{ d|attr('b') is defined }}", "{{ ''|attr('__class__') }}", "{{ undefined_|attr('x') }}", "{{ 1|forceescape }} {{ '<'|safe|forceescape }} {{ '<'|e|e|forceescape }} {{ none|e }} {{ xs|e }}", "{{ undefined_|e }}", "{{ undefined_|safe }}", "{{ undefined_|pprint }} {{ [undefined_]|pprint }}",
    "{{ xs|batch(2, undefined_)|list }}", "{{ xs|slice(2, undefined_)|list|length }}", "{{ xs|batch(undefined_)|list }}", "{{ xs|sum(start=undefined_) }}", "{{ []|sum(start=undefined_) }}", "{{ xs|join(undefined_) }}", "{{ []|join(undefined_) }}", "{{ text|indent(undefined_) }}", "{{ text|replace(undefined_, 'x') }}", "{{ text|truncate(undefined_) }}", "{{ xs|sort(reverse=undefined_) }}", "{{ xs|unique(undefined_)|list }}", "{{ n|round(undefined_) }}",
    "{{ '%d %x %#X %o %25d %030d %+d %.30d %e' % (10**20, -10**20, 10**20, 10**20, 10**20, -10**20, 10**20, 10**20, 10**20) }} {{ '%d' % 1e30 }} {{ '%i' % -1e20 }}", "{{ '%f' % 10**400 }}", "{{ '%f' % (10**400) }}", "{{ '%c' % (10**20) }}",
    "{{ 10**30|int }} {{ (10**30)|round(-29) }} {{ (15 * 10**20)|round(-21) }} {{ (25 * 10**20)|round(-21) }} {{ 9223372036854775807|round(-1) }} {{ (-10**30)|abs }} {{ (-9223372036854775807 - 1)|abs }} {{ (10**30)|round(2, 'ceil') }} {{ 1e30|round(none) }} {{ 1e30|int }} {{ (10**30)|float }}",
    "{{ (10**400)|float }}", "{{ (10**400)|filesizeformat }}", "{{ (10**30)|filesizeformat }} {{ [10**30, 1]|tojson }} {{ {10**30: 1}|tojson }} {{ {10**30: 1, 'a': 2}|pprint }} {{ [10**30, 5, 10**31, -10**30]|sort }} {{ [10**30, 10**30, 1e30]|unique|list }} {{ [10**30, 1]|sum }}",
    "{{ 'ffffffffffffffffffff'|int(0, 16) }} {{ '-1_000_000_000_000_000_000_000'|int }} {{ '9223372036854775808'|int }} {{ '-9223372036854775808'|int }} {{ ('1' * 70)|int(0, 2) }} {{ 'zzzzzzzzzzzzzzzzz'|int(base=36) }} {{ ('9' * 4300)|int|string|length }}", "{{ ('9' * 4301)|int }}",
    "{{ (10**30) is integer }} {{ (10**30) is number }} {{ (10**30) is odd }} {{ (10**30) is divisibleby 7 }} {{ (10**30) is callable }} {{ (10**30) is float }} {{ (10**30) is eq 1e30 }} {{ (10**30) is gt 5 }} {{ (10**30)|urlencode }} {{ (10**30)|e }} {{ 'abc'|truncate(10**30) }}",
]

# Values every call is applied to.
INPUTS = ["text", "html", "uni", "blank", "lines", "n", "neg", "f", "t", "none_", "xs", "words", "empty", "d", "users", "some", "undefined_", "(1, 'a', none)", "range(4)",
          "xs|map('string')", "d.items()", "'<i>'|safe", "'12'", "' 3.7 '", "[[1, 2], [1, 'b']]", "0", "1e30", "{'a': [1, {'b': 2}], 'name': 'N'}", "'%s-%s'", "{}", "namespace(a=1, name='x')",
          "'%(a)s'", "[1.5, 2, true]", "big", "long", "'a'", "['x', undefined_]", "(0 if false)", "[(0 if false), 1]", "(-12345678901234567890123)",
          "[10 ** 20, 1, -10 ** 30]", "'123456789012345678901234'"]


def documents():
    for name, calls in FILTERS.items():
        for call in calls:
            for value in INPUTS:
                yield "{{ (%s)|%s }}" % (value, call)
    for name, calls in TESTS.items():
        for call in calls:
            for value in INPUTS:
                yield "{{ (%s) is %s }}" % (value, call)
    for texts in GLOBALS.values():
        yield from texts
    yield from MORE


def missing_names():
    from jinja2.defaults import DEFAULT_FILTERS, DEFAULT_NAMESPACE, DEFAULT_TESTS
    for kind, names, table in (("filter", DEFAULT_FILTERS, FILTERS), ("test", DEFAULT_TESTS, TESTS), ("global", DEFAULT_NAMESPACE, GLOBALS)):
        for name in sorted(names):
            listed = f"{kind} {name}" in EXCEPTIONS
            if listed == (name in table):
                yield f"{kind} '{name}' is " + ("exercised and on the list of exceptions" if listed else "neither exercised nor on the list of exceptions")
            if not listed and kind == "filter" and not all(re.search(r"\b%s\b" % re.escape(name), call) for call in table.get(name, [""])):
                yield f"a case of filter '{name}' does not use it"
        for name in sorted(set(table) - set(names)):
            yield f"Jinja2 has no {kind} '{name}' any more"


def refused(ours):
    """What is on the list of exceptions is refused with its name and the line."""
    for entry in EXCEPTIONS:
        kind, name = entry.split()
        template = "\n" + ("{{ [1]|%s }}" if kind == "filter" else "{{ 1 is %s }}" if kind == "test" else "{{ %s() }}") % name
        answer = ours.render({"template": template, "variables": {}, "protect": False})
        if answer.get("code") != "USAGE" or f"'{name}'" not in answer["error"] or "line 2" not in answer["error"]:
            yield f"{entry}: expected a refusal with name and line, got {describe(answer)}"


def accepted(template, theirs, ours):
    return next((name for name, _, *patterns in ACCEPTED if all(re.search(p, text, re.S) for p, text in zip(patterns, (template, describe(theirs), describe(ours))))), None)


def main():
    jinja, ours = Jinja(), Ours(sys.argv[1])
    problems = list(missing_names()) + list(refused(ours))
    counts = {}
    for template in documents():
        document = {"template": template, "variables": copy.deepcopy(VARIABLES), "protect": False}
        theirs, answer = jinja.render(document), ours.render(document)
        kind = verdict(theirs, answer)
        if kind not in ("agree", "refuse"):
            kind = accepted(template, theirs, answer) or kind
        counts[kind] = counts.get(kind, 0) + 1
        if kind in ("differ", "we-refuse", "they-refuse", "we-broke", "limit"):
            problems.append(f"{kind}: {template!r}\n    jinja: {describe(theirs)[:1000]!r}\n    ours:  {describe(answer)[:1000]!r}")
    for problem in problems[:None if "-v" in sys.argv else 60]:
        print(problem)
    print(f"names: {len(problems)} problems; " + ", ".join(f"{n} {k}" for k, n in sorted(counts.items())))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
