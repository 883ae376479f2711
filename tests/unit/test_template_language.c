/* Statements, scopes, macros, blocks, methods and formatting of templates: what Jinja2 renders for each, and what both refuse. */
#include "template_cases.h"
#include "base/cleanup.h"
#include "model/template.h"

static const char variables[] =
    "{\"n\": 3, \"name\": \"bob\", \"f\": 24.1, \"t\": true, \"none\": null, \"xs\": [1, 2, 3], \"d\": {\"a\": 1."
    "0, \"b\": [true, null, \"it's\"]}, \"empty\": [], \"tree\": [{\"n\": \"a\", \"c\": [{\"n\": \"b\", \"c\": []},"
    " {\"n\": \"c\", \"c\": [{\"n\": \"d\", \"c\": []}]}]}, {\"n\": \"e\", \"c\": []}], \"words\": [\"b\", \"a\", \"c\"]}";

static const struct template_case good[] = {
    { "{{ n }}-{{ name }}", "3-bob" },
    { "{% macro m(a,b=2) %}[{{a}},{{b}}]{% endmacro %}{{ m(1) }}{{ m(1,3) }}{{ m(b=5,a=4) }}{{ m.name }}{{ m.arguments"
      " }}{{ m.catch_kwargs }}{{ m.catch_varargs }}{{ m.caller }}",
      "[1,2][1,3][4,5]m('a', 'b')FalseFalseFalse" },
    { "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1,2,x=3) }}{{ m }}", "(1, 2){'x': 3}<Macro 'm'>" },
    { "{% macro m(x) %}{{ x is defined }}{% endmacro %}{{ m() }}", "False" },
    { "{% macro m(x, y=x) %}{{ x }}{{ y }}{% endmacro %}{{ m(1) }}", "11" },
    { "{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}hi{% endcall %}", "<hi>" },
    { "{% macro m(l) %}{% for x in l %}<{{ caller(x) }}>{% endfor %}{% endmacro %}{% call(i) m([1,2]) %}{{ i*2 }}{% en"
      "dcall %}",
      "<2><4>" },
    { "{% macro m() %}{{ caller }}{{ caller.name }}{{ caller.arguments }}{% endmacro %}{% call(a,b=1) m() %}hi{% endcall %}",
      "<Macro anonymous>None('a', 'b')" },
    { "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}", "False" },
    { "{% macro f(n) %}{{ n }}{% if n %}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(5) }}", "543210" },
    { "{% for x in tree recursive %}{{ x.n }}{{ loop.depth }}{% if x.c %}({{ loop(x.c) }}){% endif %}{% endfor %}",
      "a1(b2c2(d3))e1" },
    { "{% for x in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loo"
      "p.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }}{{ loop.cycle('a','b') }}{{ loop.changed(x//2) }};{%"
      " endfor %}",
      "1032TrueFalse310aTrue;2121FalseFalse310bTrue;3210FalseTrue310aFalse;" },
    { "{% for x in xs %}{{ loop.previtem if not loop.first }}|{{ loop.nextitem if not loop.last }};{% endfor %}", "|2;1|3;2|;" },
    { "{% for x in xs %}{{ loop.previtem is defined }}|{{ loop.nextitem is defined }};{% endfor %}",
      "False|True;True|True;True|False;" },
    { "{% for x in xs if x != 2 %}{{ loop.index }}/{{ loop.length }}{{ loop.last }} {% endfor %}", "1/2False 2/2True " },
    { "{% for x in xs %}{{ loop }}{% endfor %}", "<LoopContext 1/3><LoopContext 2/3><LoopContext 3/3>" },
    { "{% for x in xs %}{% for y in xs %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}", "123112321233" },
    { "{% set x=1 %}{% for i in xs %}{% set x = x+1 %}{{ x }}{% endfor %}{{ x }}", "2221" },
    { "{% set x=1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}", "2" },
    { "{% if false %}{% set n = 2 %}{% endif %}{{ n }}", "3" },
    { "{% for i in xs %}{% if i == 2 %}{% set q = i %}{% endif %}{{ q is defined }}{% endfor %}", "FalseTrueFalse" },
    { "{% for i in xs %}{% if i == 2 %}{% set n = i %}{% endif %}{{ n }}{% endfor %}{{ n }}", "3233" },
    { "{% block a %}A{{ n }}{% endblock %}{{ self.a() }}", "A3A3" },
    { "{% set n = 9 %}{% block a %}A{{ n }}{% endblock %}", "A9" },
    { "{% for i in xs %}{% block a %}A{{ i is defined }}{% endblock %}{% endfor %}", "AFalseAFalseAFalse" },
    { "{% for i in xs %}{% block a scoped %}A{{ i }}{{ loop.index }}{% endblock %}{% endfor %}", "A11A22A33" },
    { "{% block a %}{{ super is defined }}{% endblock %}", "False" },
    { "{% if false %}{% include 'x' %}{% endif %}ok", "ok" },
    { "{% include [] ignore missing %}ok", "ok" },
    { "{% autoescape false %}{{ '<' }}{% endautoescape %}", "<" },
    { "{% print 1, 2 %}", "12" },
    { "{% print %}", "" },
    { "{% with a=1, b=2 %}{{ a }}{{ b }}{% set a=3 %}{{ a }}{% endwith %}{{ a is defined }}", "123False" },
    { "{% with %}{% set z = 1 %}{{ z }}{% endwith %}{{ z is defined }}", "1False" },
    { "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "12" },
    { "{% set (a, (b, c)) = (1, (2, 3)) %}{{ a }}{{ b }}{{ c }}", "123" },
    { "{% set a, b %}xy{% endset %}{{ a }}{{ b }}", "xy" },
    { "{% set a | upper | replace('X','y') %}x{{ n }}{% endset %}{{ a }}", "y3" },
    { "{% set ns = namespace() %}{% set ns.a = 1 %}{{ ns.a }}{{ ns }}", "1<Namespace {'a': 1}>" },
    { "{% set ns = namespace(a=1) %}{% set ns.a %}t{% endset %}{{ ns.a }}", "t" },
    { "{% filter upper | replace('A', 'b') %}a{{ name }}{% endfilter %}", "bBOB" },
    { "{% if n: %}x{% endif %}", "x" },
    { "{% if x is defined %}a{% elif n is defined %}b{% else %}c{% endif %}", "b" },
    { "{{ 'a' if false }}", "" },
    { "{{ ('a' if false) is defined }}", "False" },
    { "{{ '{} {}'.format(1, 'x') }}{{ '{0[a]} {1.x}'.format(d, {'x': 1}) }}{{ '{a!r:>5}'.format(a='q') }}", "1 x1.0 1  'q'" },
    { "{{ '{:08.3f}|{:+d}|{:,}|{:x}|{:#b}|{:^9}|{:<4}|{:e}|{:%}'.format(3.14159, 5, 1234567, 255, 5, 'mid', 1, 12345.6"
      "78, 0.5) }}",
      "0003.142|+5|1,234,567|ff|0b101|   mid   |1   |1.234568e+04|50.000000%" },
    { "{{ '{:010,}|{:_x}|{:.3}|{:.3g}|{:g}|{}|{:.2}|{:10.3}|'.format(1234, 65535, 'abcdef', 3.14159, 1e20, 1e20, 1234."
      "5, 0.00001234) }}",
      "00,001,234|ffff|abc|3.14|1e+20|1e+20|1.2e+03|  1.23e-05|" },
    { "{{ '{a}'.format_map({'a': 5}) }}", "5" },
    { "{{ '{:{w}}|'.format(5, w=6) }}", "     5|" },
    { "{{ ''.__class__ is defined }}", "False" },
    { "{{ {'_x': 1}._x }}{{ {'_x': 1}['_x'] }}{{ {'__class__': 1}['__class__'] }}", "111" },
    { "{{ d.items() }}{{ d.keys() }}{{ d.values() }}{{ d.get('z', 5) }}{{ d.pop('a') }}{{ d }}",
      "dict_items([('a', 1.0), ('b', [True, None, \"it's\"])])dict_keys(['a', 'b'])dict_values([1.0, [True, None, \"it"
      "'s\"]])51.0{'b': [True, None, \"it's\"]}" },
    { "{% set l = [3,1,2] %}{% set _ = l.sort() %}{{ l }}{{ l.index(2) }}{% set _ = l.insert(1, 9) %}{{ l.pop() }}{{ l"
      " }}{% set _ = l.reverse() %}{{ l }}",
      "[1, 2, 3]13[1, 9, 2][2, 9, 1]" },
    { "{{ 'a-b'.split('-') }}{{ ' a  b '.split() }}{{ 'a,b,c'.rsplit(',', 1) }}{{ 'ab'.center(6, '*') }}{{ '5'.zfill(3"
      ") }}{{ 'a\\tb'.expandtabs(4) }}",
      "['a', 'b']['a', 'b']['a,b', 'c']**ab**005a   b" },
    { "{{ 'hello'.find('l') }}{{ 'hello'.rfind('l') }}{{ 'hello'.count('l') }}{{ 'hello'.index('e') }}{{ 'a.b.c'.parti"
      "tion('.') }}{{ 'a.b.c'.rpartition('.') }}",
      "2321('a', '.', 'b.c')('a.b', '.', 'c')" },
    { "{{ 'Hello World'.swapcase() }}{{ \"they're bill's\".title() }}{{ '\303\237'.upper() }}{{ 'abc'.isalpha() }}{{ '"
      "12'.isdigit() }}{{ 'ab'.islower() }}{{ 'Ab'.istitle() }}{{ ' '.isspace() }}",
      "hELLO wORLDThey'Re Bill'SSSTrueTrueTrueTrueTrue" },
    { "{{ 'abc'.translate({97: 'x', 98: none}) }}{{ 'abc'.translate('x'.maketrans('a','z')) }}", "xczbc" },
    { "{{ 'abc'.removeprefix('a') }}{{ 'abc'.removesuffix('c') }}{{ 'a\\nb\\r\\nc'.splitlines() }}{{ 'a\\nb'.splitline"
      "s(true) }}",
      "bcab['a', 'b', 'c']['a\\n', 'b']" },
    { "{{ (5).bit_length() }}{{ 1.5.is_integer() }}{{ (1.5).as_integer_ratio() }}{{ 5 .real }}{{ n.numerator }}",
      "3False(3, 2)53" },
    { "{{ [1,2] + [3] }}{{ (1,) + (2,) }}{{ [1]*3 }}{{ 'a'*3 }}{{ -7 // 2 }}{{ -7 % 3 }}{{ 7.5 // 2 }}{{ -7.5 % 2 }}{{"
      " 2**10 }}{{ 2**-1 }}{{ 10/4 }}{{ 4/2 }}",
      "[1, 2, 3](1, 2)[1, 1, 1]aaa-423.00.510240.52.52.0" },
    { "{{ 1 < 2 < 3 > 2 }}{{ 1 < 3 < 2 }}{{ 1 in xs in [[1,2,3]] }}", "TrueFalseTrue" },
    { "{{ xs[1:] }}{{ xs[::-1] }}{{ xs[-2:] }}{{ name[1:2] }}{{ xs[5:] }}{{ xs[:-1] }}", "[2, 3][3, 2, 1][2, 3]o[][1, 2]" },
    { "{{ 0x1F }}{{ 0b11 }}{{ 0o17 }}{{ 1_000 }}{{ 1e3 }}{{ 1.5e-3 }}{{ 1_0.5 }}", "3131510001000.00.001510.5" },
    { "{{ 'a' 'b' \"c\" }}{{ 'a\\x41\\u00e9\\n\\101' }}", "abcaA\303\251\nA" },
    { "{{ [missing] }}", "[Undefined]" },
    { "{{ missing in [] }}", "False" },
    { "{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(*[1,2]) }}{{ m(**{'a': 1, 'b': 2}) }}{{ m(1, *[2]) }}{{ m(1"
      ", **{'b': 3}) }}",
      "12121213" },
    { "{{ dict(a=1, **{'b': 2}) }}", "{'a': 1, 'b': 2}" },
    { "{% if false %}{{ x|nope }}{% endif %}ok", "ok" },
    { "{{ x|nope if false else 'k' }}", "k" },
    { "{{ range(3) }}{{ range(1,10,3)[1] }}{{ range(10)[2:5] }}{{ range(10)[::2]|list }}",
      "range(0, 3)4range(2, 5)[0, 2, 4, 6, 8]" },
    { "{% set \303\251 = 1 %}{{ \303\251 }}", "1" },
    { "{{ xs['append'] is defined }}", "True" },
    { "{% for k, v in d.items() %}{{ k }}{{ v }}{% endfor %}", "a1.0b[True, None, \"it's\"]" },
    { "{{ d['a','b'] is defined }}{{ {(1,2): 3}[1,2] }}", "False3" },
    { "{% raw %}{{ x }}{% endraw %}{#- c -#} x {%- raw -%} y {%- endraw -%} z", "{{ x }}xyz" },
    { "{{ \"a\" }}   {%- if true -%}  b  {%- endif %}  c", "ab  c" },
    { "{%+ if true +%} x {%+ endif +%}", " x " },
    { "{{ self }}", "<TemplateReference None>" },
    { "{% block b %}{{ self.b is defined }}{{ self.c is defined }}{% endblock %}", "TrueFalse" },
    { "{% macro outer() %}{% set v = 1 %}{% macro inner() %}{{ v }}{% endmacro %}{% set v = 2 %}{{ inner() }}{% endmac"
      "ro %}{{ outer() }}",
      "2" },
    { "{% set v = 1 %}{% macro m() %}{{ v }}{% endmacro %}{% for v in [5] %}{{ m() }}{{ v }}{% endfor %}{% set v = 7 %"
      "}{{ m() }}",
      "157" },
    { "{% macro m() %}{{ n }}{% set n = 5 %}{{ n }}{% endmacro %}{{ m() }}{{ n }}", "353" },
    { "{% macro m() %}{% for x in xs %}{{ x }}{% endfor %}{% endmacro %}{{ m()|upper }}{{ m()|length }}", "1233" },
    { "{% macro m(caller=none) %}{{ caller() }}{% endmacro %}{% call m() %}x{% endcall %}", "x" },
    { "{% for x in xs %}{% for y in xs if loop.first %}{{ y }}{% endfor %}{% endfor %}", "123" },
    { "{% for x in xs %}{% else %}e{% endfor %}{% for x in [] %}{% else %}e{{ x is defined }}{% endfor %}", "eFalse" },
    { "{{ 9999999999 * 2 }}{{ 2**62 }}", "199999999984611686018427387904" },
    { "{{ 1.0 }}{{ 1e100 }}{{ 1e-7 }}{{ 0.1+0.2 }}{{ 1e16 }}{{ 123456789.123456789 }}{{ -0.0 }}",
      "1.01e+1001e-070.300000000000000041e+16123456789.12345679-0.0" },
    { "{{ true + 1 }}{{ none }}{{ [none, true, 'a', 1.0, (1,), {}] }}{{ () }}", "2None[None, True, 'a', 1.0, (1,), {}]()" },
    { "{{ 1 == 1.0 }}{{ 'a' == 'a' }}{{ [1] == [1.0] }}{{ {'a':1} == {'a':1.0} }}{{ 1 == true }}{{ none == false }}",
      "TrueTrueTrueTrueTrueFalse" },
    { "{{ xs | first }}{{ [] | first is defined }}", "1False" },
    { "{{ cycler('a','b').next() }}{% set c = cycler(1,2) %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}"
      "{{ c.current }}",
      "a121None1" },
    { "{% set j = joiner('|') %}{{ j() }}{{ j() }}{{ j() }}", "||" },
    { "{{ namespace(a=1).a }}{{ namespace({'b':2}).b }}", "12" },
    { "{{ lipsum is callable }}{{ dict.fromkeys([1,2], 3) }}", "True{1: 3, 2: 3}" },
    { "{% raw %}", "" },
    { "{{ xs|map('upper')|list }}", "['1', '2', '3']" },
    { "{{ 5 .foo is defined }}", "False" },
    { "{% set x = 5 %}{{ x.5 is defined }}", "False" },
    { "{{ xs.0 }}{{ xs.1 }}{{ tree.0.n }}", "12a" },
    { "{{ ('<'|e) + '>' }}{{ ('<'|e) ~ '>' }}{{ ('<%s>'|safe) % '<' }}{{ ['<'|e] }}{{ ('<'|safe).join(['>', 'a']) }}{{"
      " ('{}'|safe).format('<') }}",
      "&lt;&gt;&lt;><&lt;>[Markup('&lt;')]&gt;<a&lt;" },
    { "{% set s = ('<a>'|safe) %}{{ s.upper() + '<' }}{{ s[1:] + '<' }}{{ s.replace('a', '<') }}{{ s*2 + '<' }}",
      "<A>&lt;a>&lt;<&lt;><a><a>&lt;" },
    { "{% autoescape true %}{{ '<' }}{{ '<'|safe }}{% endautoescape %}{{ '<' }}", "&lt;<<" },
    { "{% autoescape t %}{{ '<' }}<{% endautoescape %}", "<<" },
    { "{% autoescape nope %}{% endautoescape %}", "" },
    { "{% autoescape nope %}{{ 1 }}{% endautoescape %}", "1" },
    { "{% autoescape true %}{% set x %}<{{ '<' }}{% endset %}{{ x }}{% endautoescape %}{{ x is defined }}", "<&lt;False" },
    { "{% autoescape true %}{{ '<' ~ ('>'|safe) }}{{ '<' ~ '>' }}{% endautoescape %}", "&lt;&gt;&lt;&gt;" },
    { "{% macro m(x) %}{{ x }}<{% endmacro %}{% autoescape true %}{{ m('<') }}{% endautoescape %}{{ m('<') }}", "<<<<" },
    { "{% autoescape true %}{% macro m(x) %}{{ x }}<{% endmacro %}{{ m('<') }}{{ m('<')|upper }}{% endautoescape %}",
      "&lt;<&LT;<" },
    { "{% autoescape true %}{% filter upper %}<{{ '<a' }}{% endfilter %}{% endautoescape %}", "<&LT;A" },
    { "{% autoescape true %}{% autoescape false %}{{ '<' }}{% endautoescape %}{{ '<' }}{% endautoescape %}", "<&lt;" },
    { "{% autoescape t %}{% autoescape false %}{{ '<' }}{% endautoescape %}{{ '<' }}{% endautoescape %}", "<<" },
    { "{% autoescape true %}{{ ['<'] }}{{ {'<': 1} }}{{ none }}{{ 1 }}{% endautoescape %}",
      "[&#39;&lt;&#39;]{&#39;&lt;&#39;: 1}None1" },
    { "{% autoescape true %}{% for x in ['<'] recursive %}{{ x }}{% if x == '<' %}{{ loop(['>']) }}{% endif %}{% endfo"
      "r %}{% endautoescape %}",
      "&lt;&gt;" },
    { "{% autoescape true %}{% block b %}{{ '<' }}{% endblock %}{{ self.b() }}{% endautoescape %}", "<<" },
    { "{% autoescape true %}{% set z | upper %}a<{% endset %}{{ z }}{% endautoescape %}", "A<" },
    { "{% autoescape true %}{{ ['<', 'b']|join('<') }}{{ ['<'|safe, '<']|join('<') }}{{ '<a'|replace('a', '<'|safe) }}"
      "{{ '<a'|replace('a', '<') }}{{ {'a': '<'}|xmlattr }}{{ 'http://a.b'|urlize }}{% endautoescape %}",
      "&lt;&lt;b<&lt;&lt;&lt;<&lt;&lt; a=\"&lt;\"http://a.b" },
    { "{% autoescape true %}{{ '<' if false }}{% endautoescape %}", "" },
    { "{% autoescape true %}{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}{{ '<' }}{% endcall %}{% endaut"
      "oescape %}",
      "<&lt;>" },
    { "{% autoescape true %}{{ '<' is defined }}{{ ('<' ~ '>') }}{{ '%s' % '<' }}{{ '<%s>'|format('<') }}{% endautoescape %}",
      "True&lt;&gt;&lt;&lt;&lt;&gt;" },
    { "{% if false %}{% from '' import c with context %}{% import 'a' as b without context %}{% include ['x'] ignore m"
      "issing with context %}{% endif %}k",
      "k" },
    { "{% set l = [1,2,3] %}{% for x in l %}{% if x < 3 and l|length < 6 %}{% set _ = l.append(x+5) %}{% endif %}{{ x "
      "}},{% endfor %}",
      "1,2,3,6,7," },
    { "{% set ns = namespace(last=0) %}{% for x in xs if x != ns.last + 2 %}{{ x }}{% set ns.last = x %}{% endfor %}", "123" },
    { "{% set ns = namespace(seen=[]) %}{% for x in xs if ns.seen.append(x) or true %}{{ loop.last }}{{ ns.seen }};{% "
      "endfor %}",
      "False[1, 2];False[1, 2, 3];True[1, 2, 3];" },
    { "{% macro a() %}{% macro b() %}{{ caller is defined }}{% endmacro %}{{ b() }}{% endmacro %}{{ a() }}", "False" },
    { "{% macro outer(x) %}{% for i in [1,2] %}{% call(y) inner() %}{{ x }}{{ i }}{{ y }}{% endcall %}{% endfor %}{% e"
      "ndmacro %}{% macro inner() %}<{{ caller(9) }}>{% endmacro %}{{ outer('q') }}",
      "<q19><q29>" },
    { "{% for x in tree recursive %}{{ loop.index }}{{ x.n }}{% set z = loop(x.c) %}[{{ z }}]{% endfor %}",
      "1a[1b[]2c[1d[]]]2e[]" },
    { "{% for x in [[1,2],[3]] recursive %}{{ x if x is number else loop(x) }}{% else %}none{% endfor %}", "123" },
    { "{% set x %}{% for i in xs %}{{ i }}{% endfor %}{% endset %}{{ x }}{{ x|length }}", "1233" },
    { "{% if true %}{% macro c() %}in{% endmacro %}{% endif %}{{ c() }}", "in" },
    { "{% with %}{% macro c() %}in{% endmacro %}{% endwith %}{{ c is defined }}", "False" },
    { "{% set a = 1 %}{% with a = a + 1 %}{{ a }}{% with a = a + 1 %}{{ a }}{% endwith %}{% endwith %}{{ a }}", "231" },
    { "{% if n == 1 %}{% set k = 1 %}{% elif n == 3 %}{% set k = 3 %}{% else %}{% set k = 0 %}{% endif %}{{ k }}", "3" },
    { "{% for i in xs %}{% if i == 1 %}{% set n = i %}{% elif i == 2 %}{% set n = 20 %}{% endif %}{{ n }};{% endfor %}",
      "1;20;3;" },
    { "{% block o %}{% set n = 1 %}{% block i %}{{ n }}{% endblock %}{% endblock %}{{ n }}", "33" },
    { "{% set q = 1 %}{% block o scoped %}{% for n in [7] %}{% block i scoped %}{{ n }}{{ q }}{% endblock %}{% endfor "
      "%}{% endblock %}",
      "71" },
    { "{{ super is defined }}{{ caller is defined }}{{ varargs is defined }}", "FalseFalseFalse" },
    { "{{ loop.index if loop is defined else 'no loop' }}", "no loop" },
    { "{% for self in xs %}{{ self }}{% endfor %}", "123" },
    { "{% macro m(kwargs) %}{{ kwargs }}{% endmacro %}{{ m(1) }}", "1" },
    { "{% macro m(varargs=1) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(a=2) }}", "1{'a': 2}" },
    { "{% macro m(x) %}{{ x }}{{ caller() }}{% endmacro %}{% call m(1) %}{% call m(2) %}3{% endcall %}{% endcall %}", "123" },
    { "{{ xs|map('string')|join('-') }}{{ xs|sum }}{{ words|sort }}", "1-2-36['a', 'b', 'c']" },
    { "{{ [1, 2, 3][::2] }}{{ 'abc'[::-1] }}{{ (1,2,3)[-2:] }}{{ 'abc'[5:] }}{{ xs[1:2] == [2] }}", "[1, 3]cba(2, 3)True" },
    { "{{ 1 if n > 2 else 2 if n > 1 else 3 }}{{ (n if n) + 1 }}", "14" },
    { "{{ 'x' if false else 'y' if false }}|{{ [1 if false] }}|{{ ('a' if false) ~ 'b' }}|{% for x in ('a' if false) %"
      "}{% else %}e{% endfor %}|{{ not ('a' if false) }}",
      "|[Undefined]|b|e|True" },
    { "{{ {'a': 1, 'b': {'c': [1, {'d': 2}]}}.b.c[1].d }}", "2" },
    { "{{ xs['__len__'] is defined }}{{ d['_x'] is defined }}", "FalseFalse" },
    { "{{ '{{}}'.format() }}{{ '{:>{}}'.format('a', 5) }}{{ '{!s:>4}'.format(1) }}", "{}    a   1" },
    { "{{ (2**70).bit_length() }}{{ (-5).bit_length() }}{{ (0).bit_length() }}{{ (255).bit_count() }}{{ (2**70).as_int"
      "eger_ratio() }}{{ true.conjugate() }}",
      "71308(1180591620717411303424, 1)1" },
    { "{{ (0.1).as_integer_ratio() }}{{ (1e300).as_integer_ratio() }}{{ (0.5).as_integer_ratio() }}{{ (-2.75).as_integ"
      "er_ratio() }}{{ (0.0).as_integer_ratio() }}{{ (5e-324).as_integer_ratio() }}",
      "(3602879701896397, 36028797018963968)(1000000000000000052504760255204420248704468581108159154915854115511802457"
      "988908195786371375080447864043704443832883878176942523235360430575644792184786706982848387200926575803737830233"
      "794788090059368953234970799945081119038967640880074652742780142494579258788820056842838115669472196386865459400"
      "540160, 1)(1, 2)(-11, 4)(0, 1)(1, 20240225330731061835249534671891730704955664976414211835690135802743033956799"
      "534689196038370143712449518707786431681191138980873738579347686701339994073850992151742427656636136446690774209"
      "321634123976767847274506856200748342469269861810335564915955634081005651235876955233341461523050253218632750864"
      "6006263307707741093494784)" },
    { "{{ 'a' in d.keys() }}{{ 1.0 in d.values() }}{{ ('a',1.0) in d.items() }}", "TrueTrueTrue" },
    { "{{ 'a\\nb'.splitlines(1) }}{{ 'a'.splitlines(keepends=true) }}", "['a\\n', 'b']['a']" },
    { "{% set l = [1,3,2] %}{{ l.sort(reverse=true) }}{{ l }}{% set _ = l.sort(key=none) %}{{ l }}", "None[3, 2, 1][1, 2, 3]" },
    { "{{ '%d' % 2**70 }}{{ '%d' % (2**70) }}{{ '%x' % (2**70) }}{{ 1e30|int }}{{ '9'*30 }}{{ ('9'*30)|int + 1 }}{{ (-"
      "2**80)|abs }}",
      "118059162071741130342411805916207174113034244000000000000000001000000000000000019884624838656999999999999999999"
      "99999999999910000000000000000000000000000001208925819614629174706176" },
    { "{{ d.keys()[0] is defined }}{{ d.items()|length }}{{ d.keys()|list }}{{ d.values()|first }}", "False2['a', 'b']1.0" },
    { "{{ 1.5.hex() }}{{ (0.1).hex() }}{{ (-0.0).hex() }}{{ 5e-324 .hex() }}",
      "0x1.8000000000000p+00x1.999999999999ap-4-0x0.0p+00x0.0000000000001p-1022" },
    { "{{ 9223372036854775807 + 1 }}{{ -9223372036854775808 }}{{ -9223372036854775808 - 1 }}{{ 9223372036854775808 - 1 }}",
      "9223372036854775808-9223372036854775808-92233720368547758099223372036854775807" },
    { "{{ 2**64 }}{{ 2**100 // 3 }}{{ 2**100 % 7 }}{{ -(2**100) // 3 }}{{ -(2**100) % 7 }}{{ 2**100 % -7 }}{{ (2**100)"
      " / 3 }}{{ 2**200 / 2**199 }}",
      "184467440737095516164225502000760764671655677351252-4225502000760764671655677351265-54.2255020007607644e+292.0" },
    { "{{ 10**30 }}{{ 10**30 * 10**30 }}{{ 10**50 // 10**20 }}{{ 10**50 % (10**20+1) }}{{ 10**50 == 10**50 }}{{ 10**50"
      " > 10**49 }}{{ 10**50 < 1e60 }}{{ 10**22 == 1e22 }}",
      "100000000000000000000000000000010000000000000000000000000000000000000000000000000000000000001000000000000000000"
      "00000000000010000000000TrueTrueTrueTrue" },
    { "{{ 123456789012345678901234567890 }}{{ 0xffffffffffffffffffff }}{{ 0b100000000000000000000000000000000000000000"
      "00000000000000000000000000000 }}{{ 1_000_000_000_000_000_000_000 }}",
      "123456789012345678901234567890120892581961462917470617511805916207174113034241000000000000000000000" },
    { "{{ {10**20: 1}[10**20] }}{{ {1e20: 1}[10**20] }}{{ 10**20 in [10**20] }}{{ [10**20] }}", "11True[100000000000000000000]" },
    { "{{ '{:,}'.format(10**20) }}{{ '{:x}'.format(10**20) }}{{ '{:X}'.format(2**70) }}{{ '{:e}'.format(10**20) }}{{ '"
      "{:+}'.format(10**20) }}{{ '{:#o}'.format(10**20) }}{{ '{:b}'.format(-2**70) }}",
      "100,000,000,000,000,000,00056bc75e2d631000004000000000000000001.000000e+20+1000000000000000000000o1265707274265"
      "430400000010000000000000000000000000000000000000000000000000000000000000000000000" },
    { "{{ 10**20 is number }}{{ 10**20 is integer }}{{ 10**20 is odd }}{{ 10**20 is callable }}{{ 10**20 is float }}",
      "1010111" },
    { "{{ 9**9**9 }}", "196627050475552913618075908526912116283103450944214766927315415537966391196809" },
    { "{{ 10**400 / 10**399 }}{{ 10**20 * 1.5 }}{{ 1.5 + 10**20 }}{{ 10**20 ** 0.5 }}{{ (10**20) ** -1 }}{{ -10**20 }}"
      "{{ +10**20 }}",
      "10.01.5e+201e+2010000000000.01e-20100000000000000000000100000000000000000000" },
    { "{{ [1][10**20] is defined }}", "False" },
    { "{{ 7 / 3 }}{{ 9007199254740993 / 3 }}{{ 9223372036854775807 / 7 }}",
      "2.33333333333333353002399751580331.01.3176245766935393e+18" },
    { "{{ 2**63 - 1 }}{{ 2**63 - 2**62 }}{{ -2**63 }}{{ 0 * 10**20 }}{{ 10**20 - 10**20 }}",
      "92233720368547758074611686018427387904-922337203685477580800" },
    { "{{ 10**20 if 10**20 }}{{ not 10**20 }}{{ 10**20 ~ 'x' }}{{ 10**20 }}|{{ (10**20)|string|length }}",
      "100000000000000000000False100000000000000000000x100000000000000000000|21" },
    { "{{ -7.5 // 2 }}{{ 7.5 // -2 }}{{ -7.5 % -2 }}{{ 1e300 * 1e10 }}{{ 5 // 0.3 }}{{ 1 % 0.1 }}{{ -1 % 0.1 }}{{ 0.0 "
      "// 5 }}{{ -0.0 // 5 }}{{ 1e16 // 1 }}",
      "-4.0-4.0-1.5inf16.00.099999999999999955.551115123125783e-170.0-0.01e+16" },
    { "{{ '%d' % 10**3 }}{{ 5 % 3 }}{{ True % 2 }}{{ 3 ** True }}", "1000213" },
};
static const char *const bad[] = {
    "{% macro m(x) %}{{ x }}{% endmacro %}{{ m() }}",
    "{% macro m(x=y, y=1) %}{{ x }}{{ y }}{% endmacro %}{{ m() }}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}",
    "{% block a required %}{% endblock %}",
    "{% block a %}{{ super() }}{% endblock %}",
    "{% block a %}x{% endblock a %}{% block a %}{% endblock %}",
    "{% include 'x' %}",
    "{% import 'x' as y %}",
    "{% from 'x' import y, z as w with context %}",
    "{% extends 'x' %}",
    "{% do 1 %}",
    "{% with a=1, b=a %}{{ b }}{% endwith %}",
    "{% set d.x = 1 %}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ ''.__class__ }}",
    "{{ missing in [1] }}",
    "{{ foo(**{'a': 1}) }}",
    "{{ x|nope }}",
    "{% if false %}{% for i in xs %}{{ x|nope }}{% endfor %}{% endif %}ok",
    "{{ a\342\206\222b }}",
    "{{ loop }}",
    "{% for loop in xs %}{% endfor %}",
    "{% for x in xs %}{% set loop = 1 %}{% endfor %}",
    "{{ xs.foo }}",
    "{% for k, v in [1] %}{% endfor %}",
    "{% for x in 5 %}{% endfor %}",
    "{% for x in none %}{% endfor %}",
    "{{ 1 + none }}",
    "{{ 'x' + 1 }}",
    "{{ 1 if missing else 2 }}",
    "{{ missing.foo }}",
    "{{ missing.foo is defined }}",
    "{{ d.foo is defined }}{{ d.foo.bar is defined }}",
    "{{ 'abc'[0] }}{{ 'abc'[9] is defined }}{{ xs[9] is defined }}{{ xs[9] }}",
    "{{ - 2 ** 2 }}{{ -n|abs }}{{ not true == false }}{{ 'a' ~ 1 + 2 }}{{ 1 + 2 ~ 3 }}",
    "{{ self.x }}",
    "{% call undefinedthing() %}{% endcall %}",
    "{% call name() %}{% endcall %}",
    "{% macro m(caller) %}{{ caller() }}{% endmacro %}{% call m() %}x{% endcall %}",
    "{% macro m(a,a) %}{% endmacro %}",
    "{{ f(a=1,a=2) }}",
    "{% macro m(a=1,b) %}{% endmacro %}",
    "{{ m(1)(2) }}",
    "{% for x in xs recursive %}{{ loop(5) }}{% endfor %}",
    "{% for x in xs %}{{ loop(xs) }}{% endfor %}",
    "{% for x in xs if loop.first %}{% endfor %}",
    "{{ 'a' < 'b' }}{{ [1,2] < [1,3] }}{{ (1,) < (1,2) }}{{ 1 < 'a' }}",
    "{{ {1:2, 'a': [1]} }}{{ {[1]: 2} }}",
    "{{ xs is sequence }}{{ 3 is divisibleby 3 }}{{ 3 is not odd }}{{ 'a' is in ['a'] }}{{ n is gt 2 }}{{ 3 is eq(3) }}{{ 3 is (3) }}",
    "{{ }}",
    "{{",
    "{% if %}{% endif %}",
    "{{ 1 2 }}",
    "{{ (1, 2 }}",
    "{{ [1,, 2] }}",
    "{{ {1} }}",
    "{% endfor %}",
    "{% if 1 %}{% endfor %}",
    "{% for x in xs %}",
    "{{ 'unclosed }}",
    "{# unclosed",
    "{{ 1 is nosuchtest }}",
    "{{ x.y.z }}",
    "{{ 5.foo }}",
    "{{ '%s %d %5.2f %r' % ('a', 3, 2.5, 'q') }}{{ '%(a)s' % {'a': 1} }}{{ '%s' % missing }}",
    "{% for x in xs %}{% extends 'x' %}{% endfor %}",
    "{% filter length %}abc{% endfilter %}",
    "{% set d2 = {'a': 1} %}{% for k in d2 %}{% set _ = d2.update(b=2) %}{% endfor %}",
    "{% for x in [1,2,3] recursive if x > 1 %}{% endfor %}",
    "{{ ('a' if false) + 1 }}",
    "{{ ('a' if false).foo }}",
    "{{ 'a,b' .split(',')[1] }}{{ (1).__class__ }}",
    "{{ xs.__len__() }}",
    "{{ '{0.real}{0.imag}'.format(5) }}{{ '{0[0]}'.format([7]) }}{{ '{[a]}'.format({'a': 1}) }}{{ '{}{}'.format(1) }}",
    "{{ '{a}{0}'.format(1, a=2) }}{{ '{}{0}'.format(1) }}",
    "{{ '{'.format() }}",
    "{{ '}'.format() }}",
    "{{ '{0.foo}'.format(1) }}",
    "{{ '{0!x}'.format(1) }}",
    "{{ '{:d}'.format('a') }}{{ '{:s}'.format(1) }}",
    "{{ '{:5}'.format([1]) }}",
    "{{ [1] in {}.keys() }}",
    "{{ ''.splitlines(none) }}",
    "{{ [1].sort(reverse=[]) }}",
    "{{ 'a'.expandtabs(10**12) }}",
    "{{ 10**5000 }}",
    "{{ 10**400 / 1 }}",
    "{{ 'a' * 10**20 }}",
    "{{ 10**20 // 0 }}",
    "{{ 2 ** 0.5 }}{{ 0 ** 0 }}{{ 0.0 ** -1 }}",
    "{{ 10.0 ** 400 }}",
};

static int render(const char *text, buf_t *out, osmo_error_t *err) { return render_case(variables, text, out, err); }

static void test_good(void) { check_renders(variables, good, ARRAY_SIZE(good)); }

static void test_bad(void) {
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_buf_ buf_t out = BUF_INIT(1 << 20);
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_INT(render(bad[i], &out, &err), OSMO_EUSAGE);
        CHECK_CONTAINS(err.text, "line 1: ");
        CHECK_INT(out.len, 0);
    }
}

/* What would take for ever, or more memory than there is, ends at a limit. */
static void test_bombs(void) {
    static const char *const bombs[] = {
        "{{ 'a' * 10**9 }}",
        "{{ [0] * 10**9 }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:.1000000000f}'.format(1.0) }}",
        "{{ 'x'.rjust(10**9) }}",
        "{{ 'x'.zfill(10**9) }}",
        "{{ 'x'.center(10**18) }}",
        "{{ '\\t'.expandtabs(10**9) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ range(10**9) }}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ 10**5000 }}",
        "{{ 'a'.ljust(10**6).replace('', 'b' * 1000) }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
        "{% block b %}{{ self.b() }}{% endblock %}",
        "{% set l = [] %}{% for i in range(99999) %}{% set _ = l.extend(l) or l.append(1) %}{% endfor %}",
        "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bombs); i++) {
        _cleanup_buf_ buf_t out = BUF_INIT(1 << 20);
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_INT(render(bombs[i], &out, &err), OSMO_EUSAGE);
        CHECK_CONTAINS(err.text, "line 1: ");
    }
}

static void test_nesting(void) {
    static const char *const pieces[] = { "(", "[", "-", "not ", "x[", "x|f(", "{x:", "x if y else ",
                                             "{% if 1 %}", "{% for a in b %}", "{% macro m() %}", "{% call x() %}" };
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        _cleanup_buf_ buf_t text = BUF_INIT(1 << 24), out = BUF_INIT(1 << 20);
        osmo_error_t err = OSMO_ERROR_INIT;
        if (pieces[i][0] != '{' || pieces[i][1] == 'x')
            buf_puts(&text, "{{ ");
        for (int n = 0; n < 100000; n++)
            buf_puts(&text, pieces[i]);
        if (pieces[i][0] != '{' || pieces[i][1] == 'x')
            buf_puts(&text, "x }}");
        CHECK_INT(render(buf_cstr(&text), &out, &err), OSMO_EUSAGE);
        CHECK_CONTAINS(err.text, "nested");
    }
}

static const struct check_test tests[] = { { "renders", test_good },
                                           { "refuses", test_bad },
                                           { "bombs", test_bombs },
                                           { "nesting", test_nesting } };
TEST_MAIN("template_language", tests)
