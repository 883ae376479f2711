"""Words, names and signatures that template_corpus.py makes documents of: what can be called, with which arguments and
what comes out of it. Letters of arguments are explained by Document.arg(); bars separate alternatives."""
WORDS = [
    "alpha", "Beta", "gamma delta", "x", "", "a-b_c", "Über", "naïve café", "日本語", "10", "3.5", "-7", "  pad  ",
    "line\nbreak", "tab\there", "it's", 'say "hi"', "<b>&amp;</b>", "100%", "{braces}", "ß", "İI", "éé", "🚀 go",
    "True", "a,b,c", "key=value", "UPPER", "lower", "http://example.org/a?b=c&d", "Title Case Words", "\u00a0nbsp",
    "back\\slash", "\r\n", "ǅ", "ﬁ", "0x1f", "١٢", "x"*40,
]
KEYS = [
    "name", "size", "on", "tags", "a", "b", "k1", "items", "count", "x y",
]
STR_METHODS = [
    ("capitalize", ""), ("casefold", ""), ("center", "i|i,c"), ("count", "s|s,i|s,i,i"), ("endswith", "s|T"),
    ("expandtabs", "|i"), ("find", "s|s,i|s,i,i"), ("index", "c"), ("isalnum", ""), ("isalpha", ""), ("isascii", ""),
    ("isdecimal", ""), ("isdigit", ""), ("isidentifier", ""), ("islower", ""), ("isnumeric", ""), ("isprintable", ""),
    ("isspace", ""), ("istitle", ""), ("isupper", ""), ("join", "Ls"), ("ljust", "i|i,c"), ("lower", ""),
    ("lstrip", "|s"), ("partition", "c"), ("removeprefix", "s"), ("removesuffix", "s"), ("replace", "s,s|s,s,i"),
    ("rfind", "s|s,i"), ("rindex", "c"), ("rjust", "i|i,c"), ("rpartition", "c"), ("rsplit", "|c|c,i|N,i"),
    ("rstrip", "|s"), ("split", "|c|c,i|N,i"), ("splitlines", "|b"), ("startswith", "s|T"), ("strip", "|s"),
    ("swapcase", ""), ("title", ""), ("upper", ""), ("zfill", "i"),
]
STR_RETURN = {
    "count": "int", "find": "int", "index": "int", "rfind": "int", "rindex": "int", "endswith": "bool",
    "startswith": "bool", "partition": "tuple", "rpartition": "tuple", "rsplit": "strs", "split": "strs",
    "splitlines": "strs",
}
# name, type of the filtered value, argument lists, type of the result
FILTERS = [
    ("abs", "num", "", "num"), ("abs", "int", "", "int"), ("attr", "any", "k", "undef"),
    ("batch", "list", "i|i,s", "iter"), ("capitalize", "str", "", "str"), ("center", "str", "i|", "str"),
    ("count", "list", "", "int"), ("d", "undef", "s|i", "any"), ("default", "undef", "s|i|s,b", "any"),
    ("default", "any", "s|s,true|s,boolean=b", "any"), ("dictsort", "dict", "|b|reverse=b", "list"),
    ("dictsort", "counts", "false,'value'|b,'value',b|by='value'", "list"), ("e", "str", "", "str"),
    ("escape", "any", "", "str"), ("filesizeformat", "num", "|b|true", "str"), ("first", "list", "", "any"),
    ("first", "strs", "", "str"), ("float", "any", "|f|default=f", "float"), ("float", "str", "", "float"),
    ("forceescape", "str", "", "str"), ("format", "fmt1", "a", "str"), ("groupby", "rows", "K|K,default=s", "list"),
    ("indent", "str", "|i|i,b|i,b,b|'> '|first=b", "str"), ("int", "any", "|i|i,16|default=i", "int"),
    ("int", "str", "", "int"), ("items", "dict", "", "iter"), ("items", "undef", "", "iter"),
    ("join", "list", "|s", "str"), ("join", "strs", "|s", "str"), ("join", "rows", "s,K|s,attribute=K", "str"),
    ("last", "list", "", "any"), ("last", "str", "", "str"), ("length", "list", "", "int"),
    ("length", "str", "", "int"), ("length", "dict", "", "int"), ("list", "any", "", "list"),
    ("list", "list", "", "list"), ("list", "str", "", "strs"), ("list", "iter", "", "list"),
    ("lower", "str", "", "str"), ("lower", "any", "", "str"), ("map", "strs", "M", "iter"),
    ("map", "rows", "attribute=K|attribute=K,default=i", "iter"), ("max", "ints", "|b|attribute=N", "int"),
    ("max", "strs", "|b", "str"), ("max", "rows", "attribute='size'", "dict"), ("min", "ints", "", "int"),
    ("min", "strs", "|true", "str"), ("min", "rows", "attribute='size'", "dict"), ("pprint", "any", "", "str"),
    ("reject", "ints", "P|", "iter"), ("reject", "list", "|Q", "iter"), ("rejectattr", "rows", "K|K,P", "iter"),
    ("replace", "str", "s,s|s,s,i", "str"), ("replace", "any", "c,s", "str"), ("reverse", "str", "", "str"),
    ("reverse", "list", "", "iter"), ("round", "num", "|i|i,'floor'|i,'ceil'|method='ceil'", "float"),
    ("safe", "str", "", "str"), ("select", "ints", "P|", "iter"), ("select", "list", "|Q", "iter"),
    ("selectattr", "rows", "K|K,P", "iter"), ("slice", "list", "p|p,s", "iter"),
    ("sort", "ints", "|b|reverse=b", "ints"), ("sort", "strs", "|b|b,b|case_sensitive=b", "strs"),
    ("sort", "rows", "attribute='size'|attribute='name,size'|true,attribute='name'", "rows"),
    ("string", "any", "", "str"), ("striptags", "str", "", "str"), ("sum", "ints", "|start=i|N,i", "int"),
    ("sum", "rows", "'size'|attribute='size',start=i", "int"), ("title", "str", "", "str"),
    ("tojson", "any", "|i|indent=i", "str"), ("trim", "str", "|s", "str"), ("trim", "any", "", "str"),
    ("truncate", "str", "i|i,b|i,b,s|i,b,s,i|i,leeway=i", "str"), ("unique", "ints", "", "iter"),
    ("unique", "strs", "|b", "iter"), ("unique", "rows", "attribute=K", "iter"), ("upper", "str", "", "str"),
    ("upper", "any", "", "str"), ("urlencode", "str", "", "str"), ("urlencode", "dict", "", "str"),
    ("urlencode", "any", "", "str"), ("urlize", "str", "|i|i,true|target=s|rel=s", "str"),
    ("wordcount", "str", "", "int"), ("wordwrap", "str", "p|p,b|p,false,'+'|p,break_on_hyphens=b", "str"),
    ("xmlattr", "dict", "|b", "str"),
]
TESTS = [
    ("boolean", "any", ""), ("callable", "any", ""), ("defined", "undef", ""), ("defined", "any", ""),
    ("divisibleby", "int", "p"), ("divisibleby", "num", "p"), ("eq", "any", "a"), ("equalto", "any", "a"),
    ("==", "any", "a"), ("escaped", "str", ""), ("even", "int", ""), ("false", "any", ""), ("filter", "names", ""),
    ("float", "any", ""), ("ge", "num", "n"), ("gt", "num", "n"), (">", "num", "n"), ("greaterthan", "int", "i"),
    ("in", "any", "l"), ("in", "str", "s"), ("integer", "any", ""), ("iterable", "any", ""), ("le", "num", "n"),
    ("lessthan", "int", "i"), ("lower", "str", ""), ("lt", "num", "n"), ("mapping", "any", ""), ("ne", "any", "a"),
    ("none", "any", ""), ("number", "any", ""), ("odd", "int", ""), ("sameas", "any", "C"), ("sequence", "any", ""),
    ("string", "any", ""), ("test", "names", ""), ("true", "any", ""), ("undefined", "undef", ""),
    ("undefined", "any", ""), ("upper", "str", ""), ("odd", "num", ""),
]
ANY = [
    "int", "int", "float", "bool", "none", "str", "str", "str", "list", "ints", "strs", "dict", "rows", "tuple",
    "num", "range",
]
FAMILY = {
    "any": None, "num": ("int", "float", "bool"), "list": ("list", "ints", "strs", "rows", "tuple", "range"),
}
SPECIAL = [
    "{{output}}", "{{workflow_id}}", "{{uuid}}", "{{input:0}}", "{{input:train}}", "{{host:worker-1}}",
    "{{host:a b}}",
]
NAMES = [
    "x", "y", "z", "item", "acc", "v1", "v2", "row", "key", "value", "total", "name", "loop_", "i", "j",
]
