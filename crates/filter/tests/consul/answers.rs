//! What a Consul 1.8.7 agent answered: expression and number of passing records, or the error
//! text behind the common prefix. Taken from `?filter=` requests against the records of `consul.rs`.

/// Expression and answer.
pub(crate) type Row = (&'static str, Result<usize, &'static str>);

/// `/v1/catalog/nodes`.
pub(crate) const NODES: &[Row] = &[
    ("", Ok(1)),
    (
        "Node",
        Err(
            "1:5 (4): no match found, expected: \"!=\", \".\", \"==\", \"[\", [ \\t\\r\\n] or [a-zA-Z0-9_]",
        ),
    ),
    (
        "Node ==",
        Err(
            "1:8 (7): no match found, expected: \"-\", \"0\", \"\\\"\", \"`\", [ \\t\\r\\n], [1-9] or [a-zA-Z]",
        ),
    ),
    ("Node == n1", Ok(1)),
    (
        "Node == \"n1",
        Err("1:12 (11): rule \"string\": Unterminated string literal"),
    ),
    (
        "Node == `n1",
        Err("1:12 (11): rule \"string\": Unterminated string literal"),
    ),
    (
        "Node == 1a",
        Err("1:10 (9): rule \"number\": Invalid number literal"),
    ),
    ("Node == -1", Ok(0)),
    (
        "Node == 01",
        Err("1:10 (9): rule \"number\": Invalid number literal"),
    ),
    (
        "Node == 1.",
        Err("1:10 (9): rule \"number\": Invalid number literal"),
    ),
    (
        "Node == 1.5.",
        Err("1:12 (11): rule \"number\": Invalid number literal"),
    ),
    ("Node==n1", Ok(1)),
    ("Node== \"n1\"", Ok(1)),
    ("Node == n1 ", Ok(1)),
    (" Node == n1 ", Ok(1)),
    (
        "(Node == n1",
        Err("1:12 (11): rule \"grouping\": Unmatched parentheses"),
    ),
    (
        "(Node == n1 and",
        Err("1:13 (12): rule \"grouping\": Unmatched parentheses"),
    ),
    (
        "(Node == n1))",
        Err("1:13 (12): no match found, expected: [ \\t\\r\\n] or EOF"),
    ),
    ("((Node == n1))", Ok(1)),
    ("not Node == n1", Ok(0)),
    ("not not Node == n1", Ok(1)),
    ("notNode == n1", Err("Selector \"notNode\" is not valid")),
    (
        "not(Node == n1)",
        Err(
            "1:4 (3): no match found, expected: \"!=\", \".\", \"==\", \"[\", [ \\t\\r\\n] or [a-zA-Z0-9_]",
        ),
    ),
    (
        "Node == n1 and",
        Err("1:15 (14): no match found, expected: [ \\t\\r\\n]"),
    ),
    (
        "Node == n1 and Node",
        Err(
            "1:20 (19): no match found, expected: \"!=\", \".\", \"==\", \"[\", [ \\t\\r\\n] or [a-zA-Z0-9_]",
        ),
    ),
    (
        "Node == n1 and not",
        Err(
            "1:19 (18): no match found, expected: \"!=\", \".\", \"==\", \"[\", [ \\t\\r\\n] or [a-zA-Z0-9_]",
        ),
    ),
    (
        "Node == n1 or(Node == n2)",
        Err("1:14 (13): no match found, expected: [ \\t\\r\\n]"),
    ),
    ("Node == n1 or (Node == n2)", Ok(1)),
    (
        "(Node == n1)or (Node == n2)",
        Err("1:13 (12): no match found, expected: [ \\t\\r\\n] or EOF"),
    ),
    (
        "Node is empty",
        Err("Invalid match operator \"Is Empty\" for selector \"Node\""),
    ),
    (
        "Node is not empty",
        Err("Invalid match operator \"Is Not Empty\" for selector \"Node\""),
    ),
    (
        "Node is Empty",
        Err("1:9 (8): no match found, expected: \"empty\", \"not\" or [ \\t\\r\\n]"),
    ),
    (
        "Node in",
        Err("1:8 (7): no match found, expected: [ \\t\\r\\n]"),
    ),
    ("Node in Meta", Ok(0)),
    ("rack in Meta", Ok(1)),
    ("rack not in Meta", Ok(0)),
    ("\"k-x\" in Meta", Ok(1)),
    (
        "k-x in Meta",
        Err(
            "1:2 (1): no match found, expected: \"!=\", \".\", \"==\", \"[\", [ \\t\\r\\n] or [a-zA-Z0-9_]",
        ),
    ),
    (
        "Meta.k-x == v1",
        Err(
            "1:7 (6): no match found, expected: \"!=\", \".\", \"==\", \"[\", [ \\t\\r\\n] or [a-zA-Z0-9_]",
        ),
    ),
    ("Meta[\"k-x\"] == v1", Ok(1)),
    ("Meta[ \"k-x\" ] == v1", Ok(1)),
    (
        "Meta[k-x] == v1",
        Err("1:6 (5): rule \"index\": Invalid index"),
    ),
    (
        "Meta[\"k-x\" == v1",
        Err("1:12 (11): rule \"index\": Unclosed index expression"),
    ),
    (
        "Meta[\"k-x",
        Err(
            "1:10 (9): rule \"string\": Unterminated string literal\n1:6 (5): rule \"index\": Invalid index",
        ),
    ),
    ("Meta[", Err("1:6 (5): rule \"index\": Invalid index")),
    ("Meta.rack == r1", Ok(1)),
    ("Meta.nope == r1", Ok(0)),
    ("Meta.nope != r1", Ok(1)),
    (
        "Meta.nope is empty",
        Err("Invalid match operator \"Is Empty\" for selector \"Meta.nope\""),
    ),
    (
        "Meta.nope is not empty",
        Err("Invalid match operator \"Is Not Empty\" for selector \"Meta.nope\""),
    ),
    ("Meta is empty", Ok(0)),
    ("Meta.rack contains r", Ok(1)),
    ("Meta.rack matches \"^r\"", Ok(1)),
    ("Meta.nope matches \"^r\"", Ok(1)),
    ("Meta.nope not matches \"^r\"", Ok(1)),
    ("Meta.nope contains r", Ok(0)),
    ("Meta.nope not contains r", Ok(1)),
    ("Meta contains rack", Ok(1)),
    ("Meta contains nope", Ok(0)),
    ("Meta not contains nope", Ok(1)),
    ("Meta not contains rack", Ok(0)),
    (
        "Meta matches r",
        Err("Invalid match operator \"Matches\" for selector \"Meta\""),
    ),
    (
        "Meta == r",
        Err("Invalid match operator \"Equal\" for selector \"Meta\""),
    ),
    ("Meta.a.b == r", Err("Selector \"Meta.a.b\" is not valid")),
    ("Node.x == 1", Err("Selector \"Node.x\" is not valid")),
    ("Node == n1.foo", Ok(0)),
    ("Node == n1[\"foo\"]", Ok(0)),
    (
        "Node matches \"(\"",
        Err(
            "Failed to compile regular expression \"(\": error parsing regexp: missing closing ): `(`",
        ),
    ),
    (
        "Node matches \"a{1001}\"",
        Err(
            "Failed to compile regular expression \"a{1001}\": error parsing regexp: invalid repeat count: `{1001}`",
        ),
    ),
    (
        "Node matches \"a**\"",
        Err(
            "Failed to compile regular expression \"a**\": error parsing regexp: invalid nested repetition operator: `**`",
        ),
    ),
    (
        "Node matches \"[z-a]\"",
        Err(
            "Failed to compile regular expression \"[z-a]\": error parsing regexp: invalid character class range: `z-a`",
        ),
    ),
    (
        "Node matches \"\\\\1\"",
        Err(
            "Failed to compile regular expression \"\\\\1\": error parsing regexp: invalid escape sequence: `\\1`",
        ),
    ),
    (
        "Node matches \"(?=a)\"",
        Err(
            "Failed to compile regular expression \"(?=a)\": error parsing regexp: invalid or unsupported Perl syntax: `(?=`",
        ),
    ),
    (
        "Node matches \"\\\\pX\"",
        Err(
            "Failed to compile regular expression \"\\\\pX\": error parsing regexp: invalid character class range: `\\pX`",
        ),
    ),
    (
        "Node matches \"(?P<n\"",
        Err(
            "Failed to compile regular expression \"(?P<n\": error parsing regexp: invalid named capture: `(?P<n`",
        ),
    ),
    (
        "Node matches \"*\"",
        Err(
            "Failed to compile regular expression \"*\": error parsing regexp: missing argument to repetition operator: `*`",
        ),
    ),
    (
        "Node matches \"a{2,1}\"",
        Err(
            "Failed to compile regular expression \"a{2,1}\": error parsing regexp: invalid repeat count: `{2,1}`",
        ),
    ),
    (
        "Node matches \"[[:foo:]]\"",
        Err(
            "Failed to compile regular expression \"[[:foo:]]\": error parsing regexp: invalid character class range: `[:foo:]`",
        ),
    ),
    (
        "Node matches \")\"",
        Err("Failed to compile regular expression \")\": error parsing regexp: unexpected ): `)`"),
    ),
    (
        "Node matches \"[\"",
        Err(
            "Failed to compile regular expression \"[\": error parsing regexp: missing closing ]: `[`",
        ),
    ),
    (
        "Node matches \"a\\\\\"",
        Err(
            "Failed to compile regular expression \"a\\\\\": error parsing regexp: trailing backslash at end of expression: ``",
        ),
    ),
    ("Node matches \"(?i)N1\"", Ok(1)),
    ("Bogus == 1", Err("Selector \"Bogus\" is not valid")),
    ("node == n1", Err("Selector \"node\" is not valid")),
    (
        "Node = n1",
        Err(
            "1:6 (5): no match found, expected: \"!=\", \"==\", \"contains\", \"in\", \"is\", \"matches\", \"not\" or [ \\t\\r\\n]",
        ),
    ),
    (
        "Node < n1",
        Err(
            "1:6 (5): no match found, expected: \"!=\", \"==\", \"contains\", \"in\", \"is\", \"matches\", \"not\" or [ \\t\\r\\n]",
        ),
    ),
    (
        "Node == n1 AND Node == n1",
        Err("1:12 (11): no match found, expected: \"and\", \"or\", [ \\t\\r\\n] or EOF"),
    ),
    (
        "Node == n1 xor Node == n1",
        Err("1:12 (11): no match found, expected: \"and\", \"or\", [ \\t\\r\\n] or EOF"),
    ),
    ("1 in Meta", Ok(0)),
    ("-1.5 in Meta", Ok(0)),
    ("-1.5 in Bogus", Err("Selector \"Bogus\" is not valid")),
    ("1 in 5", Err("1:6 (5): rule \"match\": Invalid selector")),
    (
        "\"a\" in \"b\"",
        Err("1:8 (7): rule \"match\": Invalid selector"),
    ),
    (
        "\"a\" in",
        Err("1:7 (6): no match found, expected: [ \\t\\r\\n]"),
    ),
    (
        "\"a\"",
        Err("1:4 (3): no match found, expected: [ \\t\\r\\n]"),
    ),
    (
        "`a`",
        Err("1:4 (3): no match found, expected: [ \\t\\r\\n]"),
    ),
    (
        "5",
        Err("1:2 (1): no match found, expected: \".\", [ \\t\\r\\n] or [0-9]"),
    ),
    (
        "1x in Meta",
        Err("1:2 (1): rule \"number\": Invalid number literal"),
    ),
    (
        "-",
        Err("1:2 (1): no match found, expected: \"0\" or [1-9]"),
    ),
    (
        "\"a\" == \"a\"",
        Err("1:5 (4): no match found, expected: \"in\", \"not\" or [ \\t\\r\\n]"),
    ),
    (
        "Node == \"a\\\"b\"",
        Err("1:9 (8): rule \"string\": invalid syntax"),
    ),
    ("Node == \"\\u0041\"", Ok(0)),
    (
        "é == 1",
        Err(
            "1:1 (0): no match found, expected: \"(\", \"-\", \"0\", \"\\\"\", \"`\", \"not\", [ \\t\\r\\n], [1-9] or [a-zA-Z]",
        ),
    ),
    (
        "Node == é",
        Err(
            "1:9 (8): no match found, expected: \"-\", \"0\", \"\\\"\", \"`\", [ \\t\\r\\n], [1-9] or [a-zA-Z]",
        ),
    ),
    (
        "Node == \"é\" x",
        Err("1:13 (13): no match found, expected: \"and\", \"or\", [ \\t\\r\\n] or EOF"),
    ),
    (
        "\n\nNode = 1",
        Err(
            "3:6 (7): no match found, expected: \"!=\", \"==\", \"contains\", \"in\", \"is\", \"matches\", \"not\" or [ \\t\\r\\n]",
        ),
    ),
    (
        "()",
        Err(
            "1:2 (1): no match found, expected: \"(\", \"-\", \"0\", \"\\\"\", \"`\", \"not\", [ \\t\\r\\n], [1-9] or [a-zA-Z]",
        ),
    ),
    (
        "( )",
        Err(
            "1:3 (2): no match found, expected: \"(\", \"-\", \"0\", \"\\\"\", \"`\", \"not\", [ \\t\\r\\n], [1-9] or [a-zA-Z]",
        ),
    ),
    (
        "(Node == n1) (Node == n1)",
        Err("1:14 (13): no match found, expected: \"and\", \"or\", [ \\t\\r\\n] or EOF"),
    ),
    (
        "Node == n1 Node == n1",
        Err("1:12 (11): no match found, expected: \"and\", \"or\", [ \\t\\r\\n] or EOF"),
    ),
    (
        "Node == (n1)",
        Err(
            "1:9 (8): no match found, expected: \"-\", \"0\", \"\\\"\", \"`\", [ \\t\\r\\n], [1-9] or [a-zA-Z]",
        ),
    ),
    (
        "Node not n1",
        Err(
            "1:10 (9): no match found, expected: \"contains\", \"in\", \"matches\" or [ \\t\\r\\n]",
        ),
    ),
    ("Node not matches n1", Ok(0)),
    ("Node not contains n1", Ok(0)),
    ("Node contains n1", Ok(1)),
    ("n1 in Node", Ok(1)),
    ("n1 not in Node", Ok(0)),
    (
        "Node is not",
        Err("1:12 (11): no match found, expected: [ \\t\\r\\n]"),
    ),
    (
        "Node is",
        Err("1:8 (7): no match found, expected: [ \\t\\r\\n]"),
    ),
    (
        "Node  is  not   empty",
        Err("Invalid match operator \"Is Not Empty\" for selector \"Node\""),
    ),
    (
        "Node\tis\rempty",
        Err("Invalid match operator \"Is Empty\" for selector \"Node\""),
    ),
    (
        "Node isempty",
        Err("1:8 (7): no match found, expected: [ \\t\\r\\n]"),
    ),
    ("Node ==n1", Ok(1)),
    (
        "Node contains\"n1\"",
        Err("1:14 (13): no match found, expected: [ \\t\\r\\n]"),
    ),
    (
        "Node. == 1",
        Err("1:6 (5): no match found, expected: [a-zA-Z]"),
    ),
    (
        "Node.1 == 1",
        Err("1:6 (5): no match found, expected: [a-zA-Z]"),
    ),
    (
        "TaggedAddresses.lan == 127.0.0.1",
        Err("1:29 (28): rule \"number\": Invalid number literal"),
    ),
    ("TaggedAddresses.lan == \"127.0.0.1\"", Ok(1)),
    ("lan in TaggedAddresses", Ok(1)),
    ("Node matches \"a(?i)*\"", Ok(1)),
    (
        "Node matches \"(?P<n\"",
        Err(
            "Failed to compile regular expression \"(?P<n\": error parsing regexp: invalid named capture: `(?P<n`",
        ),
    ),
    ("Node matches \"(?)n\"", Ok(1)),
    ("Node matches \"(?i-i)N1\"", Ok(0)),
    (
        "Node matches \"a{1001}{\"",
        Err(
            "Failed to compile regular expression \"a{1001}{\": error parsing regexp: invalid repeat count: `{1001}`",
        ),
    ),
    (
        "Node matches \"a{2,1}x\"",
        Err(
            "Failed to compile regular expression \"a{2,1}x\": error parsing regexp: invalid repeat count: `{2,1}`",
        ),
    ),
    (
        "Node matches \"*?a\"",
        Err(
            "Failed to compile regular expression \"*?a\": error parsing regexp: missing argument to repetition operator: `*?`",
        ),
    ),
    (
        "Node matches \"{2}?a\"",
        Err(
            "Failed to compile regular expression \"{2}?a\": error parsing regexp: missing argument to repetition operator: `{2}?`",
        ),
    ),
    (
        "Node matches \"a|*?\"",
        Err(
            "Failed to compile regular expression \"a|*?\": error parsing regexp: missing argument to repetition operator: `*?`",
        ),
    ),
    (
        "Node matches \"(?P<n>\"",
        Err(
            "Failed to compile regular expression \"(?P<n>\": error parsing regexp: missing closing ): `(?P<n>`",
        ),
    ),
    ("Node matches \"((a{100}){5}){2}\"", Ok(0)),
    (
        "Node matches \"((a{100}){5}){3}\"",
        Err(
            "Failed to compile regular expression \"((a{100}){5}){3}\": error parsing regexp: invalid repeat count: `{3}`",
        ),
    ),
    (
        "Node matches \"((a{0}){500}){3}\"",
        Err(
            "Failed to compile regular expression \"((a{0}){500}){3}\": error parsing regexp: invalid repeat count: `{3}`",
        ),
    ),
    (
        "Node matches \"((a{100})*){11}\"",
        Err(
            "Failed to compile regular expression \"((a{100})*){11}\": error parsing regexp: invalid repeat count: `{11}`",
        ),
    ),
    ("Node matches \"(a{2}|b{1000}){1}\"", Ok(0)),
    (
        "Node matches \"(a{2}|b{1000}){2}\"",
        Err(
            "Failed to compile regular expression \"(a{2}|b{1000}){2}\": error parsing regexp: invalid repeat count: `{2}`",
        ),
    ),
    ("Node matches \"[[:word:]]\"", Ok(1)),
    ("Node matches \"[:word:]\"", Ok(0)),
    (
        "Node matches \"\\\\p{greek}\"",
        Err(
            "Failed to compile regular expression \"\\\\p{greek}\": error parsing regexp: invalid character class range: `\\p{greek}`",
        ),
    ),
    (
        "Node matches \"\\\\p{Lu\"",
        Err(
            "Failed to compile regular expression \"\\\\p{Lu\": error parsing regexp: invalid character class range: `\\p{Lu`",
        ),
    ),
    ("Node matches \"\\\\pLu\"", Ok(0)),
    (
        "Node matches \"\\\\p{}\"",
        Err(
            "Failed to compile regular expression \"\\\\p{}\": error parsing regexp: invalid character class range: `\\p{}`",
        ),
    ),
    (
        "Node matches \"\\\\p{L&}\"",
        Err(
            "Failed to compile regular expression \"\\\\p{L&}\": error parsing regexp: invalid character class range: `\\p{L&}`",
        ),
    ),
    (
        "Node matches \"\\\\p{Alphabetic}\"",
        Err(
            "Failed to compile regular expression \"\\\\p{Alphabetic}\": error parsing regexp: invalid character class range: `\\p{Alphabetic}`",
        ),
    ),
    (
        "Node matches \"[b-a\\\\d]\"",
        Err(
            "Failed to compile regular expression \"[b-a\\\\d]\": error parsing regexp: invalid character class range: `b-a`",
        ),
    ),
    (
        "Node matches \"[[:foo\"",
        Err(
            "Failed to compile regular expression \"[[:foo\": error parsing regexp: missing closing ]: `[[:foo`",
        ),
    ),
    (
        "Node matches \"[^]\"",
        Err(
            "Failed to compile regular expression \"[^]\": error parsing regexp: missing closing ]: `[^]`",
        ),
    ),
    (
        "Node matches \"[a-\\\\x]\"",
        Err(
            "Failed to compile regular expression \"[a-\\\\x]\": error parsing regexp: invalid escape sequence: `\\x]`",
        ),
    ),
    (
        "Node matches \"[\\\\b]\"",
        Err(
            "Failed to compile regular expression \"[\\\\b]\": error parsing regexp: invalid escape sequence: `\\b`",
        ),
    ),
    (
        "Node matches \"[\\\\Q]\"",
        Err(
            "Failed to compile regular expression \"[\\\\Q]\": error parsing regexp: invalid escape sequence: `\\Q`",
        ),
    ),
    (
        "Node matches \"\\\\E\"",
        Err(
            "Failed to compile regular expression \"\\\\E\": error parsing regexp: invalid escape sequence: `\\E`",
        ),
    ),
    (
        "Node matches \"\\\\Q\\\\E*\"",
        Err(
            "Failed to compile regular expression \"\\\\Q\\\\E*\": error parsing regexp: missing argument to repetition operator: `*`",
        ),
    ),
    (
        "Node matches \"é(\"",
        Err(
            "Failed to compile regular expression \"é(\": error parsing regexp: missing closing ): `é(`",
        ),
    ),
    (
        "Node matches \"a\\n(\"",
        Err(
            "Failed to compile regular expression \"a\\n(\": error parsing regexp: missing closing ): `a\n(`",
        ),
    ),
    (
        "Node matches \"a{1001}\"",
        Err(
            "Failed to compile regular expression \"a{1001}\": error parsing regexp: invalid repeat count: `{1001}`",
        ),
    ),
    ("Node matches \"a{1000}\"", Ok(0)),
    (
        "Node matches \"(a{1000}){1000}\"",
        Err(
            "Failed to compile regular expression \"(a{1000}){1000}\": error parsing regexp: invalid repeat count: `{1000}`",
        ),
    ),
    ("Node matches \"a{,5}\"", Ok(0)),
    ("Node matches \"a{5\"", Ok(0)),
    (
        "Node matches \"a{2}{3}\"",
        Err(
            "Failed to compile regular expression \"a{2}{3}\": error parsing regexp: invalid nested repetition operator: `{2}{3}`",
        ),
    ),
    (
        "Node matches \"a*?*\"",
        Err(
            "Failed to compile regular expression \"a*?*\": error parsing regexp: invalid nested repetition operator: `*?*`",
        ),
    ),
    (
        "Node matches \"a*+\"",
        Err(
            "Failed to compile regular expression \"a*+\": error parsing regexp: invalid nested repetition operator: `*+`",
        ),
    ),
    ("Node matches \"a*?\"", Ok(1)),
    ("Node matches \"a??\"", Ok(1)),
    (
        "Node matches \"a???\"",
        Err(
            "Failed to compile regular expression \"a???\": error parsing regexp: invalid nested repetition operator: `???`",
        ),
    ),
    (
        "Node matches \"+a\"",
        Err(
            "Failed to compile regular expression \"+a\": error parsing regexp: missing argument to repetition operator: `+`",
        ),
    ),
    ("Node matches \"^*\"", Ok(1)),
    (
        "Node matches \"(*a)\"",
        Err(
            "Failed to compile regular expression \"(*a)\": error parsing regexp: missing argument to repetition operator: `*`",
        ),
    ),
    ("Node matches \"(|a)*\"", Ok(1)),
    ("Node matches \"a||b\"", Ok(1)),
    ("Node matches \"(?i:a)\"", Ok(0)),
    ("Node matches \"(?i-s:a)\"", Ok(0)),
    (
        "Node matches \"(?x)a\"",
        Err(
            "Failed to compile regular expression \"(?x)a\": error parsing regexp: invalid or unsupported Perl syntax: `(?x`",
        ),
    ),
    (
        "Node matches \"(?\"",
        Err(
            "Failed to compile regular expression \"(?\": error parsing regexp: invalid or unsupported Perl syntax: `(?`",
        ),
    ),
    (
        "Node matches \"(?i\"",
        Err(
            "Failed to compile regular expression \"(?i\": error parsing regexp: invalid or unsupported Perl syntax: `(?i`",
        ),
    ),
    (
        "Node matches \"(?i-)\"",
        Err(
            "Failed to compile regular expression \"(?i-)\": error parsing regexp: invalid or unsupported Perl syntax: `(?i-)`",
        ),
    ),
    (
        "Node matches \"(?-)\"",
        Err(
            "Failed to compile regular expression \"(?-)\": error parsing regexp: invalid or unsupported Perl syntax: `(?-)`",
        ),
    ),
    ("Node matches \"(?P<n>a)(?P<n>b)\"", Ok(0)),
    (
        "Node matches \"(?P<n-x>a)\"",
        Err(
            "Failed to compile regular expression \"(?P<n-x>a)\": error parsing regexp: invalid named capture: `(?P<n-x>`",
        ),
    ),
    (
        "Node matches \"(?P<>a)\"",
        Err(
            "Failed to compile regular expression \"(?P<>a)\": error parsing regexp: invalid named capture: `(?P<>`",
        ),
    ),
    (
        "Node matches \"(?<n>a)\"",
        Err(
            "Failed to compile regular expression \"(?<n>a)\": error parsing regexp: invalid or unsupported Perl syntax: `(?<`",
        ),
    ),
    (
        "Node matches \"(?P=n)\"",
        Err(
            "Failed to compile regular expression \"(?P=n)\": error parsing regexp: invalid or unsupported Perl syntax: `(?P`",
        ),
    ),
    (
        "Node matches \"(?!a)\"",
        Err(
            "Failed to compile regular expression \"(?!a)\": error parsing regexp: invalid or unsupported Perl syntax: `(?!`",
        ),
    ),
    (
        "Node matches \"(?:a\"",
        Err(
            "Failed to compile regular expression \"(?:a\": error parsing regexp: missing closing ): `(?:a`",
        ),
    ),
    (
        "Node matches \"a)\"",
        Err(
            "Failed to compile regular expression \"a)\": error parsing regexp: unexpected ): `a)`",
        ),
    ),
    (
        "Node matches \"[a\"",
        Err(
            "Failed to compile regular expression \"[a\": error parsing regexp: missing closing ]: `[a`",
        ),
    ),
    (
        "Node matches \"[]\"",
        Err(
            "Failed to compile regular expression \"[]\": error parsing regexp: missing closing ]: `[]`",
        ),
    ),
    ("Node matches \"[]a]\"", Ok(0)),
    ("Node matches \"[^]a]\"", Ok(1)),
    (
        "Node matches \"[a-\"",
        Err(
            "Failed to compile regular expression \"[a-\": error parsing regexp: missing closing ]: `[a-`",
        ),
    ),
    ("Node matches \"[a-]\"", Ok(0)),
    ("Node matches \"[-a]\"", Ok(0)),
    ("Node matches \"[a-b-c]\"", Ok(0)),
    ("Node matches \"[--/]\"", Ok(0)),
    ("Node matches \"[\\\\d-z]\"", Ok(1)),
    (
        "Node matches \"[a-\\\\d]\"",
        Err(
            "Failed to compile regular expression \"[a-\\\\d]\": error parsing regexp: invalid escape sequence: `\\d`",
        ),
    ),
    (
        "Node matches \"[\\\\q]\"",
        Err(
            "Failed to compile regular expression \"[\\\\q]\": error parsing regexp: invalid escape sequence: `\\q`",
        ),
    ),
    ("Node matches \"[[:alpha:]]\"", Ok(1)),
    ("Node matches \"[[:^alpha:]]\"", Ok(1)),
    ("Node matches \"[[:alpha]\"", Ok(0)),
    ("Node matches \"[[a]]\"", Ok(0)),
    ("Node matches \"[a&&b]\"", Ok(0)),
    (
        "Node matches \"[\\\\]\"",
        Err(
            "Failed to compile regular expression \"[\\\\]\": error parsing regexp: missing closing ]: `[\\]`",
        ),
    ),
    (
        "Node matches \"\\\\8\"",
        Err(
            "Failed to compile regular expression \"\\\\8\": error parsing regexp: invalid escape sequence: `\\8`",
        ),
    ),
    ("Node matches \"\\\\01\"", Ok(0)),
    ("Node matches \"\\\\0\"", Ok(0)),
    (
        "Node matches \"\\\\x4\"",
        Err(
            "Failed to compile regular expression \"\\\\x4\": error parsing regexp: invalid escape sequence: `\\x4`",
        ),
    ),
    ("Node matches \"\\\\x41\"", Ok(0)),
    ("Node matches \"\\\\x{41}\"", Ok(0)),
    (
        "Node matches \"\\\\x{110000}\"",
        Err(
            "Failed to compile regular expression \"\\\\x{110000}\": error parsing regexp: invalid escape sequence: `\\x{110000`",
        ),
    ),
    (
        "Node matches \"\\\\x{}\"",
        Err(
            "Failed to compile regular expression \"\\\\x{}\": error parsing regexp: invalid escape sequence: `\\x{}`",
        ),
    ),
    ("Node matches \"\\\\Qa+\"", Ok(0)),
    ("Node matches \"\\\\Qa+\\\\E+\"", Ok(0)),
    (
        "Node matches \"\\\\C\"",
        Err(
            "Failed to compile regular expression \"\\\\C\": error parsing regexp: invalid escape sequence: `\\C`",
        ),
    ),
    ("Node matches \"\\\\p{Greek}\"", Ok(0)),
    ("Node matches \"\\\\p{^Greek}\"", Ok(1)),
    (
        "Node matches \"\\\\p{Nope}\"",
        Err(
            "Failed to compile regular expression \"\\\\p{Nope}\": error parsing regexp: invalid character class range: `\\p{Nope}`",
        ),
    ),
    (
        "Node matches \"\\\\p{Nope\"",
        Err(
            "Failed to compile regular expression \"\\\\p{Nope\": error parsing regexp: invalid character class range: `\\p{Nope`",
        ),
    ),
    (
        "Node matches \"\\\\p\"",
        Err(
            "Failed to compile regular expression \"\\\\p\": error parsing regexp: invalid character class range: `\\p`",
        ),
    ),
    ("Node matches \"\\\\pN\"", Ok(1)),
    (
        "Node matches \"\\\\P\"",
        Err(
            "Failed to compile regular expression \"\\\\P\": error parsing regexp: invalid character class range: `\\P`",
        ),
    ),
    (
        "Node matches \"\\\\Z\"",
        Err(
            "Failed to compile regular expression \"\\\\Z\": error parsing regexp: invalid escape sequence: `\\Z`",
        ),
    ),
    ("Node matches \"\\\\z\"", Ok(1)),
    ("Node matches \"\\\\A\"", Ok(1)),
    ("Node matches \"\\\\b\"", Ok(1)),
    ("Node matches \"\\\\B\"", Ok(1)),
    ("Node matches \"\\\\_\"", Ok(0)),
    ("Node matches \"\\\\-\"", Ok(0)),
    ("Node matches \"\\\\ \"", Ok(0)),
    (
        "Node matches \"\\\\é\"",
        Err(
            "Failed to compile regular expression \"\\\\é\": error parsing regexp: invalid escape sequence: `\\é`",
        ),
    ),
    (
        "Node matches \"\\\\e\"",
        Err(
            "Failed to compile regular expression \"\\\\e\": error parsing regexp: invalid escape sequence: `\\e`",
        ),
    ),
    ("Node matches \"\\\\a\\\\f\\\\v\"", Ok(0)),
    (
        "Node matches \"\\\\G\"",
        Err(
            "Failed to compile regular expression \"\\\\G\": error parsing regexp: invalid escape sequence: `\\G`",
        ),
    ),
    ("Node matches \"\\\\<\"", Ok(0)),
    ("Node matches \"{\"", Ok(0)),
    ("Node matches \"a{\"", Ok(0)),
    ("Node matches \"}\"", Ok(0)),
    ("Node matches \"]\"", Ok(0)),
    (
        "Node matches \"{3}\"",
        Err(
            "Failed to compile regular expression \"{3}\": error parsing regexp: missing argument to repetition operator: `{3}`",
        ),
    ),
    ("Node matches \"a{0}\"", Ok(1)),
    ("Node matches \"a{03}\"", Ok(0)),
    ("Node matches \"a{3,03}\"", Ok(0)),
    (
        "Node matches \"a{99999999999}\"",
        Err(
            "Failed to compile regular expression \"a{99999999999}\": error parsing regexp: invalid repeat count: `{99999999999}`",
        ),
    ),
    (
        "Node matches \"((((a\"",
        Err(
            "Failed to compile regular expression \"((((a\": error parsing regexp: missing closing ): `((((a`",
        ),
    ),
    (
        "Node matches \"(a))\"",
        Err(
            "Failed to compile regular expression \"(a))\": error parsing regexp: unexpected ): `(a))`",
        ),
    ),
    (
        "Node matches \"(?P<n\"",
        Err(
            "Failed to compile regular expression \"(?P<n\": error parsing regexp: invalid named capture: `(?P<n`",
        ),
    ),
    (
        "Node matches \"(?P<\"",
        Err(
            "Failed to compile regular expression \"(?P<\": error parsing regexp: invalid or unsupported Perl syntax: `(?P`",
        ),
    ),
    (
        "Node matches \"(?P\"",
        Err(
            "Failed to compile regular expression \"(?P\": error parsing regexp: invalid or unsupported Perl syntax: `(?P`",
        ),
    ),
    (
        "Node matches \"(?Px)\"",
        Err(
            "Failed to compile regular expression \"(?Px)\": error parsing regexp: invalid or unsupported Perl syntax: `(?P`",
        ),
    ),
    ("Node matches \"(?ii)\"", Ok(1)),
    (
        "Node matches \"(?i--s)\"",
        Err(
            "Failed to compile regular expression \"(?i--s)\": error parsing regexp: invalid or unsupported Perl syntax: `(?i--`",
        ),
    ),
    ("Node matches \"(?sU)\"", Ok(1)),
    (
        "Node matches \"(?:\"",
        Err(
            "Failed to compile regular expression \"(?:\": error parsing regexp: missing closing ): `(?:`",
        ),
    ),
    (
        "Node matches \"(?i:\"",
        Err(
            "Failed to compile regular expression \"(?i:\": error parsing regexp: missing closing ): `(?i:`",
        ),
    ),
    (
        "Node matches \"x**?\"",
        Err(
            "Failed to compile regular expression \"x**?\": error parsing regexp: invalid nested repetition operator: `**?`",
        ),
    ),
    (
        "Node matches \"x{2}*\"",
        Err(
            "Failed to compile regular expression \"x{2}*\": error parsing regexp: invalid nested repetition operator: `{2}*`",
        ),
    ),
    (
        "Node matches \"x{2}?*\"",
        Err(
            "Failed to compile regular expression \"x{2}?*\": error parsing regexp: invalid nested repetition operator: `{2}?*`",
        ),
    ),
    (
        "Node matches \"x{2}??\"",
        Err(
            "Failed to compile regular expression \"x{2}??\": error parsing regexp: invalid nested repetition operator: `{2}??`",
        ),
    ),
    ("Node matches \"$*\"", Ok(1)),
    (
        "Node matches \"(?i)*\"",
        Err(
            "Failed to compile regular expression \"(?i)*\": error parsing regexp: missing argument to repetition operator: `*`",
        ),
    ),
    (
        "Node matches \"|*\"",
        Err(
            "Failed to compile regular expression \"|*\": error parsing regexp: missing argument to repetition operator: `*`",
        ),
    ),
    ("Node matches \"\\\\b+\"", Ok(1)),
    ("Node matches \"(?:)*\"", Ok(1)),
    ("Node matches \"()\"", Ok(1)),
    (
        "Node matches \"(?:(?:a{100}){100}){100}\"",
        Err(
            "Failed to compile regular expression \"(?:(?:a{100}){100}){100}\": error parsing regexp: invalid repeat count: `{100}`",
        ),
    ),
    ("Node matches \"(?m)^$\"", Ok(0)),
    ("Node matches \"\\\\pZs\"", Ok(0)),
    (
        "Node matches \"\\\\p{L}\\\\p{Lu}\\\\p{Any}\\\\P{^L}\"",
        Ok(0),
    ),
    ("Node matches \"[\\\\pL\\\\d]\"", Ok(1)),
    (
        "Node matches \"[[:word:][:foo:]]\"",
        Err(
            "Failed to compile regular expression \"[[:word:][:foo:]]\": error parsing regexp: invalid character class range: `[:foo:]`",
        ),
    ),
    (
        "Node matches \"[z-\\\\x41]\"",
        Err(
            "Failed to compile regular expression \"[z-\\\\x41]\": error parsing regexp: invalid character class range: `z-\\x41`",
        ),
    ),
    (
        "Node matches \"[a\\\\\"",
        Err(
            "Failed to compile regular expression \"[a\\\\\": error parsing regexp: trailing backslash at end of expression: ``",
        ),
    ),
    (
        "Node matches \"[a-\\\\\"",
        Err(
            "Failed to compile regular expression \"[a-\\\\\": error parsing regexp: trailing backslash at end of expression: ``",
        ),
    ),
    (
        "Node matches \"[\\\\pX]\"",
        Err(
            "Failed to compile regular expression \"[\\\\pX]\": error parsing regexp: invalid character class range: `\\pX`",
        ),
    ),
    (
        "Node matches \"\\\\u0041\"",
        Err(
            "Failed to compile regular expression \"\\\\u0041\": error parsing regexp: invalid escape sequence: `\\u`",
        ),
    ),
    (
        "Node matches \"\\\\U\"",
        Err(
            "Failed to compile regular expression \"\\\\U\": error parsing regexp: invalid escape sequence: `\\U`",
        ),
    ),
    (
        "Node matches \"\\\\k\"",
        Err(
            "Failed to compile regular expression \"\\\\k\": error parsing regexp: invalid escape sequence: `\\k`",
        ),
    ),
    (
        "Node matches \"\\\\h\"",
        Err(
            "Failed to compile regular expression \"\\\\h\": error parsing regexp: invalid escape sequence: `\\h`",
        ),
    ),
    (
        "Node matches \"\\\\R\"",
        Err(
            "Failed to compile regular expression \"\\\\R\": error parsing regexp: invalid escape sequence: `\\R`",
        ),
    ),
    (
        "Node matches \"\\\\X\"",
        Err(
            "Failed to compile regular expression \"\\\\X\": error parsing regexp: invalid escape sequence: `\\X`",
        ),
    ),
];

/// `/v1/catalog/service/web`.
pub(crate) const SERVICE_NODES: &[Row] = &[
    ("ServicePort == 80", Ok(1)),
    ("ServicePort == \"80\"", Ok(1)),
    (
        "ServicePort == 80.0",
        Err(
            "Failed to coerce value \"80.0\" for selector \"ServicePort\": strconv.ParseInt: parsing \"80.0\": invalid syntax",
        ),
    ),
    ("ServicePort == \"0x50\"", Ok(1)),
    ("ServicePort == \"0120\"", Ok(1)),
    ("ServicePort == \"8_0\"", Ok(1)),
    ("ServicePort == \"0x5_0\"", Ok(1)),
    ("ServicePort == \"0b1010000\"", Ok(1)),
    ("ServicePort == \"0o120\"", Ok(1)),
    ("ServicePort == \"+80\"", Ok(1)),
    (
        "ServicePort == \" 80\"",
        Err(
            "Failed to coerce value \" 80\" for selector \"ServicePort\": strconv.ParseInt: parsing \" 80\": invalid syntax",
        ),
    ),
    (
        "ServicePort == foo",
        Err(
            "Failed to coerce value \"foo\" for selector \"ServicePort\": strconv.ParseInt: parsing \"foo\": invalid syntax",
        ),
    ),
    (
        "ServicePort == 99999999999999999999",
        Err(
            "Failed to coerce value \"99999999999999999999\" for selector \"ServicePort\": strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
        ),
    ),
    ("ServicePort == -80", Ok(0)),
    (
        "ServicePort == \"\"",
        Err(
            "Failed to coerce value \"\" for selector \"ServicePort\": strconv.ParseInt: parsing \"\": invalid syntax",
        ),
    ),
    (
        "ServicePort is empty",
        Err("Invalid match operator \"Is Empty\" for selector \"ServicePort\""),
    ),
    (
        "ServicePort contains 1",
        Err("Invalid match operator \"In\" for selector \"ServicePort\""),
    ),
    (
        "ServicePort not contains 1",
        Err("Invalid match operator \"Not In\" for selector \"ServicePort\""),
    ),
    (
        "1 in ServicePort",
        Err("Invalid match operator \"In\" for selector \"ServicePort\""),
    ),
    (
        "1 not in ServicePort",
        Err("Invalid match operator \"Not In\" for selector \"ServicePort\""),
    ),
    (
        "ServicePort matches 1",
        Err("Invalid match operator \"Matches\" for selector \"ServicePort\""),
    ),
    (
        "ServicePort not matches 1",
        Err("Invalid match operator \"Not Matches\" for selector \"ServicePort\""),
    ),
    ("ServicePort != 80", Ok(1)),
    ("ServiceEnableTagOverride == false", Ok(2)),
    ("ServiceEnableTagOverride == 0", Ok(2)),
    ("ServiceEnableTagOverride == F", Ok(2)),
    ("ServiceEnableTagOverride == FALSE", Ok(2)),
    (
        "ServiceEnableTagOverride == foo",
        Err(
            "Failed to coerce value \"foo\" for selector \"ServiceEnableTagOverride\": strconv.ParseBool: parsing \"foo\": invalid syntax",
        ),
    ),
    (
        "ServiceEnableTagOverride == \"foo\\tx\"",
        Err(
            "Failed to coerce value \"foo\\tx\" for selector \"ServiceEnableTagOverride\": strconv.ParseBool: parsing \"foo\\tx\": invalid syntax",
        ),
    ),
    ("ServiceTags contains a", Ok(1)),
    ("ServiceTags not contains a", Ok(1)),
    ("a in ServiceTags", Ok(1)),
    (
        "b-c in ServiceTags",
        Err(
            "1:2 (1): no match found, expected: \"!=\", \".\", \"==\", \"[\", [ \\t\\r\\n] or [a-zA-Z0-9_]",
        ),
    ),
    ("\"b-c\" in ServiceTags", Ok(1)),
    ("ServiceTags is empty", Ok(1)),
    ("ServiceTags is not empty", Ok(1)),
    (
        "ServiceTags == a",
        Err("Invalid match operator \"Equal\" for selector \"ServiceTags\""),
    ),
    (
        "ServiceTags != a",
        Err("Invalid match operator \"Not Equal\" for selector \"ServiceTags\""),
    ),
    (
        "ServiceTags matches a",
        Err("Invalid match operator \"Matches\" for selector \"ServiceTags\""),
    ),
    (
        "ServiceTags.a == b",
        Err("Selector \"ServiceTags.a\" is not valid"),
    ),
    (
        "ServiceTags[\"a\"] == b",
        Err("Selector \"ServiceTags.a\" is not valid"),
    ),
    ("ServiceTaggedAddresses.wan.Port == 99", Ok(1)),
    ("ServiceTaggedAddresses.nope.Port == 99", Ok(0)),
    ("ServiceTaggedAddresses.nope.Port != 99", Ok(2)),
    ("ServiceTaggedAddresses.wan.Address == \"1.2.3.4\"", Ok(1)),
    ("ServiceTaggedAddresses.wan.Address matches \"^1\"", Ok(2)),
    (
        "ServiceTaggedAddresses.wan.Address not matches \"^1\"",
        Ok(1),
    ),
    ("ServiceTaggedAddresses.wan.Address contains \"^1\"", Ok(0)),
    (
        "ServiceTaggedAddresses.wan.Address not contains \"^1\"",
        Ok(2),
    ),
    (
        "ServiceTaggedAddresses.wan.Bogus == 1",
        Err("Selector \"ServiceTaggedAddresses.wan.Bogus\" is not valid"),
    ),
    (
        "ServiceTaggedAddresses.wan == 1",
        Err("Invalid match operator \"Equal\" for selector \"ServiceTaggedAddresses.wan\""),
    ),
    (
        "ServiceTaggedAddresses.wan is empty",
        Err("Invalid match operator \"Is Empty\" for selector \"ServiceTaggedAddresses.wan\""),
    ),
    ("ServiceTaggedAddresses is empty", Ok(1)),
    ("wan in ServiceTaggedAddresses", Ok(1)),
    ("ServiceTaggedAddresses contains wan", Ok(1)),
    ("ServiceTaggedAddresses contains zwan", Ok(0)),
    (
        "ServiceTaggedAddresses == x",
        Err("Invalid match operator \"Equal\" for selector \"ServiceTaggedAddresses\""),
    ),
    (
        "ServiceTaggedAddresses matches x",
        Err("Invalid match operator \"Matches\" for selector \"ServiceTaggedAddresses\""),
    ),
    ("ServiceMeta[\"k-x\"] == 2", Ok(1)),
    ("ServiceMeta[\"k-x\"] == \"2\"", Ok(1)),
    (
        "ServiceMeta[\"k-x\"][\"y\"] == 2",
        Err("Selector \"ServiceMeta.k-x.y\" is not valid"),
    ),
    (
        "ServiceMeta[\"a b\"].c == 2",
        Err("Selector \"ServiceMeta.a b.c\" is not valid"),
    ),
    ("ServiceMeta.m matches v", Ok(2)),
    ("ServiceMeta.m matches 5", Ok(1)),
    ("ServiceMeta is not empty", Ok(1)),
    ("ServiceWeights.Passing == 1", Ok(2)),
    (
        "ServiceWeights == 1",
        Err("Invalid match operator \"Equal\" for selector \"ServiceWeights\""),
    ),
    (
        "ServiceWeights is empty",
        Err("Invalid match operator \"Is Empty\" for selector \"ServiceWeights\""),
    ),
    (
        "ServiceWeights.Bogus == 1",
        Err("Selector \"ServiceWeights.Bogus\" is not valid"),
    ),
    ("ServiceProxy.Upstreams.DestinationName == db", Ok(0)),
    ("ServiceProxy.Upstreams is empty", Ok(2)),
    ("ServiceProxy.Upstreams is not empty", Ok(0)),
    (
        "ServiceProxy.Upstreams == 1",
        Err("Invalid match operator \"Equal\" for selector \"ServiceProxy.Upstreams\""),
    ),
    (
        "ServiceProxy.Upstreams contains 1",
        Err("Invalid match operator \"In\" for selector \"ServiceProxy.Upstreams\""),
    ),
    (
        "ServiceProxy.Config is empty",
        Err("Selector \"ServiceProxy.Config\" is not valid"),
    ),
    (
        "ServiceProxy.Config.a == b",
        Err("Selector \"ServiceProxy.Config\" is not valid"),
    ),
    ("ServiceProxy.Expose.Paths is empty", Ok(2)),
    ("ServiceProxy.Expose.Checks == true", Ok(0)),
    ("ServiceProxy.Expose.Paths.Path == \"/x\"", Ok(0)),
    (
        "ServiceProxy.Upstreams.Config is empty",
        Err("Selector \"ServiceProxy.Upstreams.Config\" is not valid"),
    ),
    ("ServiceConnect.Native == true", Ok(0)),
    (
        "ServiceConnect.SidecarService is empty",
        Err("Selector \"ServiceConnect.SidecarService\" is not valid"),
    ),
    (
        "ServiceConnect.SidecarService == x",
        Err("Selector \"ServiceConnect.SidecarService\" is not valid"),
    ),
    (
        "CreateIndex == 1",
        Err("Selector \"CreateIndex\" is not valid"),
    ),
    ("ServiceKind == \"\"", Ok(2)),
    ("ServiceKind == \"connect-proxy\"", Ok(0)),
    ("ServiceName == \"\\x77eb\"", Ok(2)),
    (
        "ServiceName == \"\\q\"",
        Err("1:16 (15): rule \"string\": invalid syntax"),
    ),
    ("ServiceName == `we\\x62`", Ok(0)),
    (
        "ServiceName == \"w",
        Err("1:18 (17): rule \"string\": Unterminated string literal"),
    ),
    (
        "ServiceName == \"we\nb\"",
        Err("1:16 (15): rule \"string\": invalid syntax"),
    ),
    ("ServiceName == `we\nb`", Ok(0)),
    (
        "\"\\q\" in ServiceTags",
        Err("1:1 (0): rule \"string\": invalid syntax"),
    ),
    (
        "ServiceName == \"\\q\" and",
        Err("1:16 (15): rule \"string\": invalid syntax"),
    ),
    (
        "ServiceName == \"\\q\" and Bogus == 1",
        Err("1:16 (15): rule \"string\": invalid syntax"),
    ),
    (
        "ServiceName == 5 and Bogus == 1 and Foo == 2",
        Err("Selector \"Bogus\" is not valid"),
    ),
    ("not ServiceName == web and ServicePort == 80", Ok(0)),
    ("ServiceName == web and not ServicePort == 80", Ok(1)),
    (
        "ServiceName == web or ServicePort == 80 and ServicePort == 81",
        Ok(2),
    ),
    (
        "(ServiceName == web or ServicePort == 80) and ServicePort == 81",
        Ok(1),
    ),
    (
        "( ServiceName == web )and ServicePort == 81",
        Err("1:23 (22): no match found, expected: [ \\t\\r\\n] or EOF"),
    ),
    ("not (ServiceName == web)", Ok(0)),
    ("not  ( not ServiceName == web)", Ok(2)),
    (
        "Node == n1[",
        Err("1:12 (11): rule \"index\": Invalid index"),
    ),
    (
        "Node == n1.",
        Err("1:12 (11): no match found, expected: [a-zA-Z]"),
    ),
    (
        "Node == n1.5",
        Err("1:12 (11): no match found, expected: [a-zA-Z]"),
    ),
    (
        "n1.5 in ServiceTags",
        Err("1:4 (3): no match found, expected: [a-zA-Z]"),
    ),
    (
        "n1. in ServiceTags",
        Err("1:4 (3): no match found, expected: [a-zA-Z]"),
    ),
    (
        "((ServiceName == web)",
        Err("1:22 (21): rule \"grouping\": Unmatched parentheses"),
    ),
    (
        "(ServiceName == web))",
        Err("1:21 (20): no match found, expected: [ \\t\\r\\n] or EOF"),
    ),
    (
        "(ServiceName == web) and (",
        Err(
            "1:27 (26): no match found, expected: \"(\", \"-\", \"0\", \"\\\"\", \"`\", \"not\", [ \\t\\r\\n], [1-9] or [a-zA-Z]",
        ),
    ),
    (
        "(1x in Meta",
        Err("1:3 (2): rule \"number\": Invalid number literal"),
    ),
    (
        "((1x in Meta",
        Err("1:4 (3): rule \"number\": Invalid number literal"),
    ),
    (
        "Node == n1 and 1x",
        Err("1:17 (16): rule \"number\": Invalid number literal"),
    ),
    (
        "Node == n1 and 1 in 5",
        Err("1:21 (20): rule \"match\": Invalid selector"),
    ),
    (
        "[ \"a\" ]",
        Err(
            "1:1 (0): no match found, expected: \"(\", \"-\", \"0\", \"\\\"\", \"`\", \"not\", [ \\t\\r\\n], [1-9] or [a-zA-Z]",
        ),
    ),
    ("Meta[\"\"] == 1", Err("Selector \"Meta\" is not valid")),
    ("ServiceMeta[\"\"] == 1", Ok(0)),
    ("ServiceMeta[\"m\"]== v", Ok(1)),
    ("ServiceMeta[`m`]==v", Ok(1)),
    (
        "ServiceMeta[5] == 1",
        Err("1:13 (12): rule \"index\": Invalid index"),
    ),
    (
        "ServiceMeta[\"\\q\"] == 1",
        Err("1:13 (12): rule \"string\": invalid syntax"),
    ),
    (
        "ServiceMeta[\"m\" x] == v",
        Err("1:17 (16): rule \"index\": Unclosed index expression"),
    ),
    (
        "ServiceMeta[\"m\"",
        Err("1:16 (15): rule \"index\": Unclosed index expression"),
    ),
    (
        "ServiceMeta.[\"m\"] == v",
        Err("1:13 (12): no match found, expected: [a-zA-Z]"),
    ),
    (
        "ServiceMeta [\"m\"] == v",
        Err(
            "1:13 (12): no match found, expected: \"!=\", \"==\", \"contains\", \"in\", \"is\", \"matches\", \"not\" or [ \\t\\r\\n]",
        ),
    ),
    (
        "ServiceMeta .m == v",
        Err(
            "1:13 (12): no match found, expected: \"!=\", \"==\", \"contains\", \"in\", \"is\", \"matches\", \"not\" or [ \\t\\r\\n]",
        ),
    ),
    (
        "ServiceName is not empty and Bogus",
        Err(
            "1:35 (34): no match found, expected: \"!=\", \".\", \"==\", \"[\", [ \\t\\r\\n] or [a-zA-Z0-9_]",
        ),
    ),
    ("empty == 1", Err("Selector \"empty\" is not valid")),
    ("not == 1", Err("Selector \"not\" is not valid")),
    ("not in ServiceTags", Ok(0)),
    ("is in ServiceTags", Ok(0)),
    (
        "contains contains contains",
        Err("Selector \"contains\" is not valid"),
    ),
    ("in in in", Err("Selector \"in\" is not valid")),
    (
        "or or or",
        Err(
            "1:4 (3): no match found, expected: \"!=\", \"==\", \"contains\", \"in\", \"is\", \"matches\", \"not\" or [ \\t\\r\\n]",
        ),
    ),
    ("ServiceName == and", Ok(0)),
    ("ServiceName == and and ServiceName == web", Ok(0)),
    (
        "ServiceName == web and ServiceName == web or ServiceName",
        Err(
            "1:57 (56): no match found, expected: \"!=\", \".\", \"==\", \"[\", [ \\t\\r\\n] or [a-zA-Z0-9_]",
        ),
    ),
    (
        "ServicePort in 80",
        Err("1:16 (15): rule \"match\": Invalid selector"),
    ),
    (
        "ServiceName not",
        Err("1:16 (15): no match found, expected: [ \\t\\r\\n]"),
    ),
    (
        "ServiceName not ",
        Err(
            "1:17 (16): no match found, expected: \"contains\", \"in\", \"matches\" or [ \\t\\r\\n]",
        ),
    ),
    ("ServiceName not in x", Err("Selector \"x\" is not valid")),
    (
        "ServiceName not in",
        Err("1:19 (18): no match found, expected: [ \\t\\r\\n]"),
    ),
    ("ServiceName not in ServiceTags", Ok(2)),
    (
        "web in ServiceTags.foo",
        Err("Selector \"ServiceTags.foo\" is not valid"),
    ),
    (
        "web not in 5",
        Err("1:12 (11): rule \"match\": Invalid selector"),
    ),
    (
        "5 not in 5",
        Err("1:10 (9): rule \"match\": Invalid selector"),
    ),
    ("5 in ", Err("1:6 (5): rule \"match\": Invalid selector")),
    ("5 in -", Err("1:6 (5): rule \"match\": Invalid selector")),
    ("5 in \"x", Err("1:6 (5): rule \"match\": Invalid selector")),
    ("5 in `x`", Err("1:6 (5): rule \"match\": Invalid selector")),
    ("\"\" in ServiceTags", Ok(0)),
    ("\"\" in ServiceName", Ok(2)),
    ("ServiceName contains \"\"", Ok(2)),
    ("ServiceName matches \"\"", Ok(2)),
    ("ServiceName == \"\"", Ok(0)),
    ("Bogus is empty", Err("Selector \"Bogus\" is not valid")),
    (
        "Bogus.x.y[\"z\"] is empty",
        Err("Selector \"Bogus\" is not valid"),
    ),
    (
        "-",
        Err("1:2 (1): no match found, expected: \"0\" or [1-9]"),
    ),
    (
        "--5 in ServiceTags",
        Err("1:2 (1): no match found, expected: \"0\" or [1-9]"),
    ),
    (
        "-05 in ServiceTags",
        Err("1:3 (2): rule \"number\": Invalid number literal"),
    ),
    ("0 in ServiceTags", Ok(0)),
    (
        "00 in ServiceTags",
        Err("1:2 (1): rule \"number\": Invalid number literal"),
    ),
    (
        "1.0.0 in ServiceTags",
        Err("1:4 (3): rule \"number\": Invalid number literal"),
    ),
    (
        "1e5 in ServiceTags",
        Err("1:2 (1): rule \"number\": Invalid number literal"),
    ),
    ("-0 in ServiceTags", Ok(0)),
];

/// `/v1/catalog/node/n1`.
pub(crate) const NODE_SERVICES: &[Row] = &[
    ("Proxy.Upstreams.DestinationName == db", Ok(1)),
    ("Proxy.Upstreams.DestinationName != db", Ok(1)),
    ("not Proxy.Upstreams.DestinationName == db", Ok(3)),
    ("Proxy.Upstreams.DestinationName != nope", Ok(1)),
    ("Proxy.Upstreams.LocalBindPort == 9192", Ok(1)),
    ("Proxy.Upstreams.Datacenter matches \"^$\"", Ok(1)),
    ("Proxy.Upstreams is empty", Ok(3)),
    ("Proxy.Upstreams.MeshGateway.Mode == \"\"", Ok(1)),
    ("Weights.Passing == 1", Ok(4)),
    ("Weights.Passing != 1", Ok(0)),
    ("Connect.Native == false", Ok(4)),
    ("Tags is empty", Ok(3)),
    ("Meta.m == v", Ok(1)),
    ("Meta.zz != v", Ok(4)),
    ("TaggedAddresses.wan.Port == 99", Ok(1)),
    ("TaggedAddresses.wan.Port != 99", Ok(3)),
    (
        "Proxy.Config is empty",
        Err("Selector \"Proxy.Config\" is not valid"),
    ),
    ("Proxy.DestinationServiceName == web", Ok(1)),
    ("Kind == \"\"", Ok(3)),
    ("Service == web", Ok(2)),
    ("Bogus == 1", Err("Selector \"Bogus\" is not valid")),
    ("Proxy.Upstreams.Datacenter not matches \"^$\"", Ok(1)),
    (
        "Proxy.Upstreams.DestinationName not matches \"nope\"",
        Ok(1),
    ),
    ("Proxy.Upstreams.DestinationName in Tags", Ok(0)),
    ("db in Proxy.Upstreams.DestinationName", Ok(1)),
    ("d not in Proxy.Upstreams.DestinationName", Ok(0)),
    (
        "Connect.SidecarService is empty",
        Err("Selector \"Connect.SidecarService\" is not valid"),
    ),
    (
        "LocallyRegisteredAsSidecar == false",
        Err("Selector \"LocallyRegisteredAsSidecar\" is not valid"),
    ),
    (
        "CreateIndex == 0",
        Err("Selector \"CreateIndex\" is not valid"),
    ),
    (
        "ContentHash == \"\"",
        Err("Selector \"ContentHash\" is not valid"),
    ),
    (
        "ModifyIndex == 1",
        Err("Selector \"ModifyIndex\" is not valid"),
    ),
    (
        "Datacenter == dc1",
        Err("Selector \"Datacenter\" is not valid"),
    ),
    ("Proxy.Expose.Checks == false", Ok(4)),
    ("Proxy.LocalServicePort == 80", Ok(1)),
    ("Proxy.MeshGateway.Mode == \"\"", Ok(4)),
    ("Proxy.Expose.Paths.ParsedFromCheck == true", Ok(0)),
    (
        "Proxy.Upstreams.IngressHosts is empty",
        Err("Selector \"Proxy.Upstreams.IngressHosts\" is not valid"),
    ),
    (
        "Proxy.Upstreams.CentrallyConfigured is empty",
        Err("Selector \"Proxy.Upstreams.CentrallyConfigured\" is not valid"),
    ),
    (
        "RaftIndex.CreateIndex == 1",
        Err("Selector \"RaftIndex\" is not valid"),
    ),
    (
        "EnterpriseMeta == 1",
        Err("Selector \"EnterpriseMeta\" is not valid"),
    ),
    ("TaggedAddresses.lan_ipv4.Port == 80", Ok(1)),
    ("Meta is empty", Ok(2)),
    ("Tags is not empty", Ok(1)),
    (
        "Meta[\"zz\"] is empty",
        Err("Invalid match operator \"Is Empty\" for selector \"Meta.zz\""),
    ),
    ("a in Meta.m", Ok(0)),
    ("a not in Meta.zz", Ok(4)),
    ("a in Meta.zz", Ok(0)),
    (
        "Proxy.Upstreams.Foo == 1",
        Err("Selector \"Proxy.Upstreams.Foo\" is not valid"),
    ),
    (
        "Proxy.Upstreams[\"Foo\"] == 1",
        Err("Selector \"Proxy.Upstreams.Foo\" is not valid"),
    ),
    (
        "Weights is empty",
        Err("Invalid match operator \"Is Empty\" for selector \"Weights\""),
    ),
    (
        "Proxy is empty",
        Err("Invalid match operator \"Is Empty\" for selector \"Proxy\""),
    ),
    (
        "Tags == 1",
        Err("Invalid match operator \"Equal\" for selector \"Tags\""),
    ),
    (
        "Connect == 1",
        Err("Invalid match operator \"Equal\" for selector \"Connect\""),
    ),
    (
        "TaggedAddresses.lan == 1",
        Err("Invalid match operator \"Equal\" for selector \"TaggedAddresses.lan\""),
    ),
    (
        "Port == n1[\"foo\"]",
        Err(
            "Failed to coerce value \"n1.foo\" for selector \"Port\": strconv.ParseInt: parsing \"n1.foo\": invalid syntax",
        ),
    ),
    (
        "Port == n1[`f\to`].x",
        Err(
            "Failed to coerce value \"n1.f\\to.x\" for selector \"Port\": strconv.ParseInt: parsing \"n1.f\\to.x\": invalid syntax",
        ),
    ),
    (
        "Port == \"a\\tbé\u{1}\"",
        Err(
            "Failed to coerce value \"a\\tbé\\x01\" for selector \"Port\": strconv.ParseInt: parsing \"a\\tbé\\x01\": invalid syntax",
        ),
    ),
    (
        "Meta[\"a\\\"b\"] == 1",
        Err(
            "1:6 (5): rule \"string\": invalid syntax\n1:10 (9): rule \"index\": Unclosed index expression",
        ),
    ),
    (
        "Meta[\"a\\tb\"].c == 1",
        Err("Selector \"Meta.a\\tb.c\" is not valid"),
    ),
    ("Meta[  k", Err("1:8 (7): rule \"index\": Invalid index")),
    (
        "Meta == \"",
        Err("1:10 (9): rule \"string\": Unterminated string literal"),
    ),
    (
        "Port == 1 x",
        Err("1:11 (10): no match found, expected: \"and\", \"or\", [ \\t\\r\\n] or EOF"),
    ),
    (
        "Port == 1)",
        Err("1:10 (9): no match found, expected: \".\", [ \\t\\r\\n], [0-9] or EOF"),
    ),
    ("(Port == 1)", Ok(0)),
    ("(Port==80)", Ok(1)),
    ("(5 in Tags)", Ok(0)),
    (
        "5 in Tags)",
        Err("1:10 (9): no match found, expected: \".\", \"[\", [ \\t\\r\\n], [a-zA-Z0-9_] or EOF"),
    ),
    (
        "Port == 5and Port == 6",
        Err("1:10 (9): rule \"number\": Invalid number literal"),
    ),
    (
        "Port == \"a\"and Port == 6",
        Err("1:12 (11): no match found, expected: [ \\t\\r\\n] or EOF"),
    ),
    ("Port == 80 and\tPort == 80", Ok(1)),
    ("Service == web\tor\nService == px", Ok(3)),
    (
        "Service == web and (Service == web or (Port == 80",
        Err(
            "1:50 (49): rule \"grouping\": Unmatched parentheses\n1:36 (35): rule \"grouping\": Unmatched parentheses",
        ),
    ),
    (
        "Service == \"web\" \"x\"",
        Err("1:18 (17): no match found, expected: \"and\", \"or\", [ \\t\\r\\n] or EOF"),
    ),
    (
        "not",
        Err(
            "1:4 (3): no match found, expected: \"!=\", \".\", \"==\", \"[\", [ \\t\\r\\n] or [a-zA-Z0-9_]",
        ),
    ),
    (
        "not ",
        Err(
            "1:5 (4): no match found, expected: \"!=\", \"(\", \"-\", \"0\", \"==\", \"\\\"\", \"`\", \"contains\", \"in\", \"is\", \"matches\", \"not\", [ \\t\\r\\n], [1-9] or [a-zA-Z]",
        ),
    ),
    (
        "not not",
        Err(
            "1:8 (7): no match found, expected: \"!=\", \".\", \"==\", \"[\", [ \\t\\r\\n] or [a-zA-Z0-9_]",
        ),
    ),
    (
        "not 5",
        Err("1:6 (5): no match found, expected: \".\", [ \\t\\r\\n] or [0-9]"),
    ),
    (
        "not (",
        Err(
            "1:6 (5): no match found, expected: \"(\", \"-\", \"0\", \"\\\"\", \"`\", \"not\", [ \\t\\r\\n], [1-9] or [a-zA-Z]",
        ),
    ),
    (
        "not)",
        Err(
            "1:4 (3): no match found, expected: \"!=\", \".\", \"==\", \"[\", [ \\t\\r\\n] or [a-zA-Z0-9_]",
        ),
    ),
    (
        "not x",
        Err(
            "1:6 (5): no match found, expected: \"!=\", \".\", \"==\", \"[\", [ \\t\\r\\n] or [a-zA-Z0-9_]",
        ),
    ),
    ("Service == \"\\ud800\"", Ok(0)),
    (
        "Service == \"\\U00110000\"",
        Err("1:12 (11): rule \"string\": invalid syntax"),
    ),
    (
        "Service == \"\\400\"",
        Err("1:12 (11): rule \"string\": invalid syntax"),
    ),
    ("Service == \"\\377\"", Ok(0)),
    (
        "Service == \"\\'\"",
        Err("1:12 (11): rule \"string\": invalid syntax"),
    ),
    (
        "Service == 'web'",
        Err(
            "1:12 (11): no match found, expected: \"-\", \"0\", \"\\\"\", \"`\", [ \\t\\r\\n], [1-9] or [a-zA-Z]",
        ),
    ),
    (
        "Service is not empty or Port == 80",
        Err("Invalid match operator \"Is Not Empty\" for selector \"Service\""),
    ),
    (
        "Port == 80 or",
        Err("1:14 (13): no match found, expected: [ \\t\\r\\n]"),
    ),
    (
        "Port == 80 or Service",
        Err(
            "1:22 (21): no match found, expected: \"!=\", \".\", \"==\", \"[\", [ \\t\\r\\n] or [a-zA-Z0-9_]",
        ),
    ),
    ("Port ==80 or Service==web", Ok(2)),
    ("Port==\"80\"", Ok(1)),
    ("Service  ==  web", Ok(2)),
    (
        "Service ==\n\nweb and\n x",
        Err(
            "4:3 (22): no match found, expected: \"!=\", \".\", \"==\", \"[\", [ \\t\\r\\n] or [a-zA-Z0-9_]",
        ),
    ),
];

/// `/v1/health/service/web`.
pub(crate) const INSTANCES: &[Row] = &[
    ("Checks.Status == passing", Ok(2)),
    ("Checks.Status != passing", Ok(1)),
    ("not Checks.Status == passing", Ok(0)),
    ("Checks.Name == cc", Ok(1)),
    ("Checks.Name != cc", Ok(2)),
    ("Checks is empty", Ok(0)),
    ("Checks is not empty", Ok(2)),
    ("Checks.ServiceTags contains a", Ok(1)),
    ("Checks.ServiceTags is empty", Ok(2)),
    ("Service.Port == 80", Ok(1)),
    ("Node.Meta.rack == r1", Ok(2)),
    ("Node.Node == n1", Ok(2)),
    (
        "Node == n1",
        Err("Invalid match operator \"Equal\" for selector \"Node\""),
    ),
    ("Service.Meta.m matches v", Ok(2)),
    (
        "Service is empty",
        Err("Invalid match operator \"Is Empty\" for selector \"Service\""),
    ),
    (
        "Node is not empty",
        Err("Invalid match operator \"Is Not Empty\" for selector \"Node\""),
    ),
    (
        "Checks contains x",
        Err("Invalid match operator \"In\" for selector \"Checks\""),
    ),
    (
        "Checks == x",
        Err("Invalid match operator \"Equal\" for selector \"Checks\""),
    ),
    (
        "Checks.Bogus == x",
        Err("Selector \"Checks.Bogus\" is not valid"),
    ),
    (
        "Checks.Definition == x",
        Err("Selector \"Checks.Definition\" is not valid"),
    ),
    ("Checks.Type == ttl", Ok(1)),
    ("Service.Tags contains \"b-c\"", Ok(1)),
];
