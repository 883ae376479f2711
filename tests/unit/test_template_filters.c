/* Filters, tests and global functions of templates: tables of templates with the text Jinja2 3.1 gives for them, and of
 * refusals with what their one line says. tests/differential compares many more with Jinja2 itself. */
#include "template_cases.h"
#include "base/cleanup.h"
#include "model/template.h"

static const char variables[] =
    "{\"text\": \"Hello World, foo bar-baz\", \"n\": 42, \"f\": 42.55, \"xs\": [3, 1, 2], \"words\": [\"b\", \"A\","
    " \"c\", \"a\"], \"d\": {\"b\": 1, \"A\": 2, \"c\": null, \"x y\": \"q&a\"}, \"users\": [{\"name\": \"Ann\", \""
    "age\": 30, \"city\": \"NY\", \"on\": true}, {\"name\": \"bob\", \"age\": 25, \"city\": \"ny\", \"on\": false},"
    " {\"name\": \"Cid\", \"age\": 30, \"city\": \"LA\", \"on\": true}], \"some\": [{\"k\": 1}, {}, {\"k\": null}]}";

static const struct template_case good[] = {
    { "{{ -7|abs }} {{ 1.5|abs }} {{ true|abs }}",
      "7 1.5 1" },
    { "{{ d|attr('b') is defined }} {{ 'x'|attr('upper')() }}",
      "False X" },
    { "{{ xs|batch(2)|list }} {{ xs|batch(2, 'z')|list }} {{ xs|batch(0)|list }} {{ xs|batch(linecount=5, fill_with"
      "=0)|list }}",
      "[[3, 1], [2]] [[3, 1], [2, 'z']] [[], [3, 1, 2]] [[3, 1, 2, 0, 0]]" },
    { "{{ 'hELLO wORLD'|capitalize }} {{ 'ßx'|capitalize }} {{ 1|capitalize }}",
      "Hello world Ssx 1" },
    { "{{ 'ab'|center(5) }}|{{ 'ä'|center(4) }}|{{ 'abc'|center(6) }}|{{ 'x'|center|length }}",
      "  ab | ä  | abc  |80" },
    { "{{ missing|d('x') }} {{ ''|default('y', true) }} {{ none|d(1) }} {{ d.zz|default(default_value=3) }}",
      "x y None 3" },
    { "{{ {'b': 1, 'A': 3, 'a': 2}|dictsort }} {{ {'b': 1, 'A': 3}|dictsort(true, 'value', reverse=true) }}",
      "[('A', 3), ('a', 2), ('b', 1)] [('A', 3), ('b', 1)]" },
    { "{{ '<a href=\"x\">&\\'</a>'|e }} {{ '<'|safe|e }} {{ '<'|e|e }} {{ '<'|e|forceescape }}",
      "&lt;a href=&#34;x&#34;&gt;&amp;&#39;&lt;/a&gt; < &lt; &amp;lt;" },
    { "{{ (1, 999, 1000, 1500000, 1e27)|map('filesizeformat')|join(', ') }} {{ 1024|filesizeformat(true) }}",
      "1 Byte, 999 Bytes, 1.0 kB, 1.5 MB, 1000.0 YB 1.0 KiB" },
    { "{{ xs|first }} {{ xs|last }} {{ []|first is defined }} {{ d|last }} {{ 'äb'|first }}",
      "3 2 False x y ä" },
    { "{{ '1_0.5'|float }} {{ 'x'|float(2) }} {{ 'inf'|float }} {{ 3|float }}",
      "10.5 2 inf 3.0" },
    { "{{ '%s-%05.1f-%x'|format('a', 3.14159, 255) }} {{ '%(a)s %(a)r'|format(a='x') }} {{ '%-4d|%+d|%%'|format(3, "
      "4) }}",
      "a-003.1-ff x 'x' 3   |+4|%" },
    { "{{ users|groupby('city')|list|length }} {{ [{'k': 1}, {}]|groupby('k', default=0) }}",
      "2 [(0, [{}]), (1, [{'k': 1}])]" },
    { "{{ 'a\\n\\nb'|indent }}|{{ 'a\\nb'|indent('> ', true) }}|{{ 'a\\n\\nb'|indent(1, blank=true) }}",
      "a\n\n    b|> a\n> b|a\n \n b" },
    { "{{ '0x1f'|int(0, 16) }} {{ '42.7'|int }} {{ 'x'|int(5) }} {{ '0b11'|int(base=0) }} {{ 1e3|int }} {{ '٣'|int "
      "}} {{ none|int }}",
      "31 42 5 3 1000 3 0" },
    { "{{ d|items|list }} {{ missing|items|list }}",
      "[('b', 1), ('A', 2), ('c', None), ('x y', 'q&a')] []" },
    { "{{ xs|join('-') }} {{ users|join(', ', attribute='name') }} {{ ['<', '<'|safe]|join }} {{ xs|join(1) }}",
      "3-1-2 Ann, bob, Cid << 31112" },
    { "{{ xs|length }} {{ 'äöü'|count }} {{ d|length }}",
      "3 3 4" },
    { "{{ 'äb'|list }} {{ d|list }} {{ range(3)|list }}",
      "['ä', 'b'] ['b', 'A', 'c', 'x y'] [0, 1, 2]" },
    { "{{ 'ÄΣ'|lower }} {{ 'straße'|upper }} {{ 'x'|upper|lower }}",
      "äς STRASSE x" },
    { "{{ words|map('upper')|list }} {{ users|map(attribute='name')|join }} {{ some|map(attribute='k', default='-')"
      "|list }} {{ [[1, [2]]]|map(attribute='1.0')|list }}",
      "['B', 'A', 'C', 'A'] AnnbobCid [1, '-', None] [2]" },
    { "{{ xs|max }} {{ words|min }} {{ words|min(true) }} {{ users|max(attribute='age')|string|length }} {{ []|max "
      "is defined }}",
      "3 A A 52 False" },
    { "{{ {'b': 1, 'a': ['x' * 30, 'y' * 30, 'z' * 30]}|pprint }}",
      "{'a': ['xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',\n       'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy',\n       'zzzzzzzzzzzzzzzz"
      "zzzzzzzzzzzzzz'],\n 'b': 1}" },
    { "{{ ('word ' * 20)|pprint }}",
      "('word word word word word word word word word word word word word word word '\n 'word word word word word ')" },
    { "{{ {3: 1, 'a': 2, none: 3}|pprint }} {{ [missing]|pprint }} {{ ('<'|safe)|pprint }}",
      "{None: 3, 3: 1, 'a': 2} [Undefined] Markup('<')" },
    { "{{ xs|reject('odd')|list }} {{ users|rejectattr('on')|map(attribute='name')|list }}",
      "[2] ['bob']" },
    { "{{ xs|select('gt', 1)|list }} {{ xs|select('==', 2)|list }} {{ users|selectattr('age', '>', 26)|map(attribut"
      "e='name')|list }} {{ [0, 1]|select|list }}",
      "[3, 2] [2] ['Ann', 'Cid'] [1]" },
    { "{{ 'aXbX'|replace('X', '-', 1) }} {{ 'ab'|replace('', '.') }} {{ 12|replace(1, 3) }}",
      "a-bX .a.b. 32" },
    { "{{ 'aßc'|reverse }} {{ xs|reverse|list }} {{ d|reverse|list }}",
      "cßa [2, 1, 3] ['x y', 'c', 'A', 'b']" },
    { "{{ 42.55|round }} {{ 2.5|round }} {{ 42.55|round(1, 'floor') }} {{ 42|round }} {{ 42|round(0, 'ceil') }} {{ "
      "1250|round(-2) }} {{ 2.675|round(2) }} {{ 3.7|round(none) }}",
      "43.0 2.0 42.5 42 42.0 1200 2.67 4" },
    { "{{ xs|slice(2)|list }} {{ xs|slice(2, 0)|list }}",
      "[[3, 1], [2]] [[3, 1], [2, 0]]" },
    { "{{ words|sort }} {{ words|sort(case_sensitive=true) }} {{ xs|sort(true) }} {{ users|sort(attribute='age,name"
      "')|map(attribute='name')|list }} {{ [none, none]|sort }}",
      "['A', 'a', 'b', 'c'] ['A', 'a', 'b', 'c'] [3, 2, 1] ['bob', 'Ann', 'Cid'] [None, None]" },
    { "{{ 1|string ~ 2 }} {{ ('<'|safe|string) is escaped }} {{ ('<'|safe ~ '') is escaped }}",
      "12 True False" },
    { "{{ '<p>a &amp; b&nbsp;&lt;<!-- <c> -->  &#33;&notit;</p>'|striptags }}",
      "a & b\302\240< !¬it;" },
    { "{{ xs|sum }} {{ users|sum('age') }} {{ [[1], [2]]|sum(start=[]) }} {{ [0.1, 0.2]|sum(start=1) }}",
      "6 85 [1, 2] 1.3" },
    { "{{ \"it's a-test (of) x\"|title }}",
      "It's A-Test (Of) X" },
    { "{{ {'b': '<&>\\'', 'a': [1.0, none, true, 'ü😀']}|tojson }} {{ {'a': [1]}|tojson(2) }} {{ {}|tojson is escape"
      "d }}",
      "{\"a\": [1.0, null, true, \"\\u00fc\\ud83d\\ude00\"], \"b\": \"\\u003c\\u0026\\u003e\\u0027\"} {\n  \"a\": ["
      "\n    1\n  ]\n} True" },
    { "{{ '  x '|trim }}|{{ 'xxaxx'|trim('x') }}|{{ 'äaä'|trim('ä') }}",
      "x|a|a" },
    { "{{ 'foo bar baz qux'|truncate(9) }}|{{ 'foo bar baz qux'|truncate(9, true) }}|{{ 'foo bar baz qux'|truncate("
      "11) }}|{{ 'foo bar baz'|truncate(6, end='>', leeway=0) }}",
      "foo...|foo ba...|foo bar baz qux|foo>" },
    { "{{ ['a', 'A', 'b']|unique|list }} {{ ['a', 'A']|unique(true)|list }} {{ users|unique(attribute='age')|map(at"
      "tribute='name')|list }}",
      "['a', 'b'] ['a', 'A'] ['Ann', 'bob']" },
    { "{{ 'a b&c/d?ü'|urlencode }} {{ {'a b': 'c/d', 'e': 1}|urlencode }} {{ [['k', 'v']]|urlencode }}",
      "a%20b%26c/d%3F%C3%BC a+b=c%2Fd&e=1 k=v" },
    { "{{ 'see http://e.com/a_(b), www.x.org. me@m.io'|urlize }}",
      "see <a href=\"http://e.com/a_(b)\" rel=\"noopener\">http://e.com/a_(b)</a>, <a href=\"https://www.x.org\" re"
      "l=\"noopener\">www.x.org</a>. <a href=\"mailto:me@m.io\">me@m.io</a>" },
    { "{{ 'http://example.com tel:1'|urlize(8, true, target='_blank', rel='x', extra_schemes=['tel:']) }}",
      "<a href=\"http://example.com\" rel=\"nofollow noopener x\" target=\"_blank\">http://e...</a> <a href=\"tel:1"
      "\" rel=\"nofollow noopener x\" target=\"_blank\">tel:1</a>" },
    { "{{ 'x  y_z 1-2 ü'|wordcount }}",
      "5" },
    { "{{ 'aa-bb-cc dddddd eee'|wordwrap(5) }}|{{ 'abcdefgh ij'|wordwrap(4, false, '/') }}|{{ 'a\\nb c'|wordwrap(1)"
      " }}",
      "aa-\nbb-cc\nddddd\nd eee|abcdefgh/ij|a\nb\nc" },
    { "{{ {'a': 1, 'b': none, 'c': '<\"'}|xmlattr }}|{{ {'a': 1}|xmlattr(false) }}",
      " a=\"1\" c=\"&lt;&#34;\"|a=\"1\"" },
    { "{% set g = xs|map('string') %}{{ g|first }}{{ g|join }}{{ g|list }}",
      "312[]" },
    { "{% set g = xs|map('nope') %}{% set h = missing|select %}fine",
      "fine" },
    { "{% for r in xs|batch(2) %}{{ loop.index }}/{{ loop.length }}{{ r }}{% endfor %}",
      "1/2[3, 1]2/2[2]" },
    { "{{ 3 in xs|map('int') }} {{ (xs|select) is iterable }} {{ (xs|select) is sequence }} {{ [missing] }}",
      "True True False [Undefined]" },
    { "{{ none|map('upper')|list }} {{ 'ab'|map('upper')|list }}",
      "[] ['A', 'B']" },
    { "{{ 1 is boolean }} {{ true is boolean }} {{ range is callable }} {{ n is defined }} {{ missing is undefined }}",
      "False True True True True" },
    { "{{ 9 is divisibleby 3 }} {{ 1 is eq 1.0 }} {{ 1 is equalto('1') }} {{ ('a'|e) is escaped }} {{ 4 is even }} "
      "{{ false is false }} {{ 0 is false }}",
      "True True False True True True False" },
    { "{{ 'upper' is filter }} {{ 'odd' is filter }} {{ 'odd' is test }} {{ '<=' is test }} {{ 1.0 is float }} {{ 2"
      " is ge 2 }} {{ 3 is gt 2 }} {{ 3 is greaterthan 3 }}",
      "True False True True True True True False" },
    { "{{ 1 is in [1] }} {{ 1 is integer }} {{ true is integer }} {{ d is iterable }} {{ 1 is le 1 }} {{ 1 is lesst"
      "han 1 }} {{ 0 is lt 1 }} {{ 'aß' is lower }} {{ 'A1' is upper }}",
      "True True False True True False True True True" },
    { "{{ d is mapping }} {{ 1 is ne 2 }} {{ none is none }} {{ true is number }} {{ 3 is odd }} {{ 1 is sameas 1.0"
      " }} {{ xs is sameas xs }} {{ xs is sequence }} {{ 'a' is string }} {{ true is true }}",
      "True True True True True False True True True True" },
    { "{{ range(1, 10, 3) }} {{ range(5, 2)|list }} {{ dict([('a', 1)], b=2) }} {{ namespace(a=1) }} {{ dict('') }}",
      "range(1, 10, 3) [] {'a': 1, 'b': 2} <Namespace {'a': 1}> {}" },
    { "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.current }} {% set j = joiner('|') %}{{ j() }}"
      "1{{ j() }}2",
      "aba 1|2" },
    { "{{ '99999999999999999999'|int }} {{ (10**30)|round(-29) }} {{ '%x' % 10**20 if false else '%x' % (10**20) }}"
      " {{ (-10**20)|abs|tojson }}",
      "99999999999999999999 1000000000000000000000000000000 56bc75e2d63100000 100000000000000000000" },
    { "{{ range(100)|map('string')|sort|first }} {{ range(130)|sort(reverse=true)|batch(3)|first }}",
      "0 [129, 128, 127]" },
};
static const struct template_case bad[] = {
    { "{{ xs|random }}", "filter 'random' is not supported: a rendering must be repeatable" },
    { "{{ lipsum() }}", "function 'lipsum' is not supported" },
    { "{{ 'a'|abs }}", "filter 'abs' needs a number" },
    { "{{ xs|map('upper') }}", "a generator cannot be printed" },
    { "{{ xs|map('nope')|list }}", "no filter named 'nope'" },
    { "{{ xs|map|list }}", "filter 'map' needs the name of a filter" },
    { "{{ xs|select('nope')|list }}", "no test named 'nope'" },
    { "{{ xs|selectattr|list }}", "need the name of an attribute" },
    { "{{ xs|select|last }}", "filter 'last'" },
    { "{{ xs|select|length }}", "has no length" },
    { "{{ []|first }}", "empty and has no first item" },
    { "{{ xs|batch|list }}", "filter 'batch' needs at least 1 arguments" },
    { "{{ xs|slice(0)|list }}", "cannot make zero slices" },
    { "{{ xs|round }}", "filter 'round' needs a number" },
    { "{{ 1|round(1, 'up') }}", "'common', 'ceil' or 'floor'" },
    { "{{ 'inf'|int }}", "filter 'int': an infinite value" },
    { "{{ 'x'|center(99999999999999999999) }}", "does not fit 64 bits" },
    { "{{ [1, 'a']|sort }}", "'<' is not supported between" },
    { "{{ [none]|dictsort }}", "filter 'dictsort' needs a mapping" },
    { "{{ d|dictsort(by='x') }}", "by 'key' or by 'value' only" },
    { "{{ ['a']|sum }}", "is not supported between" },
    { "{{ ['a']|sum(start='') }}", "filter 'sum' cannot add texts" },
    { "{{ '%d'|format('a') }}", "%d needs an integer" },
    { "{{ '%s'|format }}", "not enough arguments" },
    { "{{ 'x'|format(1) }}", "not all arguments" },
    { "{{ '%s'|format(1, a=2) }}", "not both" },
    { "{{ '%q'|format(1) }}", "unsupported % conversion" },
    { "{{ {(1, 2): 1}|tojson }}", "a tuple cannot be a key in JSON" },
    { "{{ range(2)|tojson }}", "filter 'tojson': a value of type 'range'" },
    { "{{ {'a b': 1}|xmlattr }}", "filter 'xmlattr': the name of an attribute" },
    { "{{ 'a'|urlize(extra_schemes=['x']) }}", "is no scheme" },
    { "{{ 'x y'|truncate(2) }}", "the length must be at least 3" },
    { "{{ 'x y'|wordwrap(0) }}", "the width must be more than 0" },
    { "{{ 5|wordwrap }}", "filter 'wordwrap' needs a text" },
    { "{{ [[1]]|unique|list }}", "cannot be a key" },
    { "{{ missing|upper }}", "'missing' is undefined" },
    { "{{ missing|list }}", "'missing' is undefined" },
    { "{{ missing|map('upper')|list }}", "'missing' is undefined" },
    { "{{ xs|join(missing) }}", "'missing' is undefined" },
    { "{{ 'a' is odd }}", "not all arguments were converted" },
    { "{{ missing is lower }}", "'missing' is undefined" },
    { "{{ 1 is eq(b=1) }}", "does not take the argument 'b'" },
    { "{{ 'x'|upper(1) }}", "takes at most 0 arguments" },
    { "{{ 'x'|center('a') }}", "filter 'center': the width must be an integer" },
    { "{{ 'x'|center(99999999999) }}", "more than" },
    { "{{ '%99999999d'|format(1) }}", "more than" },
    { "{{ range(1, 2, 0) }}", "cannot be zero" },
    { "{{ cycler() }}", "needs at least one item" },
    { "{{ dict([1]) }}", "cannot be iterated" },
    { "{{ range(60000)|map('string')|map('upper')|map('lower')|list|length }}", "" },
    { "{{ 'x'|attr('__class__') }}", "refused" },
};

static int render(const char *text, buf_t *out, osmo_error_t *err) { return render_case(variables, text, out, err); }

static void test_good(void) { check_renders(variables, good, ARRAY_SIZE(good)); }

static void test_bad(void) {
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_buf_ buf_t out = BUF_INIT(1 << 20);
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_INT(render(bad[i].text, &out, &err), OSMO_EUSAGE);
        CHECK_CONTAINS(err.text, "line 1: ");
        CHECK_CONTAINS(err.text, bad[i].want);
    }
}

static const struct check_test tests[] = { { "renders", test_good }, { "refuses", test_bad } };
TEST_MAIN("template_filters", tests)
