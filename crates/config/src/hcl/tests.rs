use super::*;
use crate::tree::Tree;

fn int(i: i64) -> Tree {
    Tree::Int(i)
}

fn text(s: &str) -> Tree {
    Tree::String(s.to_owned())
}

fn map(pairs: &[(&str, Tree)]) -> Tree {
    Tree::Map(
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.clone()))
            .collect(),
    )
}

fn list(items: &[Tree]) -> Tree {
    Tree::List(items.to_vec())
}

#[test]
fn the_syntax_of_hcl_1_becomes_a_tree() {
    // (text, value of `a`)
    for (source, want) in [
        ("a = 1", int(1)),
        ("a = 0x1F", int(31)),
        ("a = 010", int(8)),
        ("a = -5", int(-5)),
        ("a = -0x10", int(-16)),
        ("a = 1e3", Tree::Float(1000.0)),
        ("a = 1.5e-1", Tree::Float(0.15)),
        ("a = .5", Tree::Float(0.5)),
        ("a = true b = 2", Tree::Bool(true)),
        ("\"a\" = \"x\"", text("x")),
        (
            "a = \"q\\\"\\n\\x41\\u00e9\\U0001F600\\101\"",
            text("q\"\nA\u{e9}\u{1f600}A"),
        ),
        (
            "a = \"x${f \"quoted\" {\n}}y\"",
            text("x${f \"quoted\" {\n}}y"),
        ),
        ("a = <<EOF\none\n  two\nEOF\n", text("one\n  two\n")),
        (
            "a = <<-EOF\n    one\n      two\n    EOF\n",
            text("one\n  two\n"),
        ),
        (
            "a = <<-EOF\n  one\n      two\n    EOF\n",
            text("  one\n      two\n"),
        ),
        (
            "a = [1, \"x\", [2], {b = 3},]",
            list(&[int(1), text("x"), list(&[int(2)]), map(&[("b", int(3))])]),
        ),
        ("a = []", list(&[])),
        (
            "a { b = 1 c = 2 }",
            list(&[map(&[("b", int(1)), ("c", int(2))])]),
        ),
        (
            "a = { b = 1, c = 2 }",
            list(&[map(&[("b", int(1)), ("c", int(2))])]),
        ),
        (
            "a { b { c = 1 } }",
            list(&[map(&[("b", list(&[map(&[("c", int(1))])]))])]),
        ),
        (
            "a \"x\" { c = 1 }",
            list(&[map(&[("x", list(&[map(&[("c", int(1))])]))])]),
        ),
        (
            "a { b = 1 } a { b = 2 }",
            list(&[map(&[("b", int(1))]), map(&[("b", int(2))])]),
        ),
        ("a = [1] a = [2]", list(&[int(1), int(2)])),
        ("a = 1 a = 2", int(2)),
        ("a = \"x\" a = 5", text("5")),
        ("# one\n// two\n/* three\n*/ a = 1 # four", int(1)),
        ("\u{feff}a = 1", int(1)),
        ("  { \"a\": 1 }", Tree::Float(1.0)),
        ("a-b.c = 1 a = 2", int(2)),
    ] {
        let got = parse(source).unwrap_or_else(|e| panic!("{source}: {e}"));
        assert_eq!(got["a"], want, "{source}");
    }
}

#[test]
fn malformed_hcl_is_reported_with_its_place() {
    // (text, error), as printed by consul validate 1.8.7
    for (source, want) in [
        (
            "a \"x\"",
            "At 1:6: key 'a \"x\"' expected start of object ('{') or assignment ('=')",
        ),
        ("a = x", "At 1:5: Unknown token: 1:5 IDENT x"),
        ("a = \"x", "At 1:7: literal not terminated"),
        ("a = \"\\q\"", "At 1:7: illegal char escape"),
        ("a = <<EOF\nabc\nEOF", "At 3:4: heredoc not terminated"),
        ("a = \"x\" /* open", "At 1:16: comment not terminated"),
        (
            "}",
            "At 1:1: expected: IDENT | STRING | ASSIGN | LBRACE got: RBRACE",
        ),
        ("= 5", "At 1:1: no object keys found!"),
        ("a : 1", "At 1:3: illegal char"),
        ("a = 08", "strconv.ParseInt: parsing \"08\": invalid syntax"),
        (
            "a = 99999999999999999999",
            "strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
        ),
        ("a = 0x ", "At 1:7: illegal hexadecimal number"),
        (
            "a = [\"x\" \"y\"]",
            "At 1:10: error parsing list, expected comma or list end, got: STRING",
        ),
        (
            "a = [x]",
            "At 1:6: unexpected token while parsing list: IDENT",
        ),
        (
            "a \"b\" = 5",
            "At 1:7: nested object expected: LBRACE got: ASSIGN",
        ),
        (
            "a { b = 1 ] }",
            "At 1:11: expected: IDENT | STRING | ASSIGN | LBRACE got: RBRACK",
        ),
        (
            "a { b = 1,, c = 2 }",
            "At 1:11: expected: IDENT | STRING | ASSIGN | LBRACE got: COMMA",
        ),
        (
            "a = \"x\" a = [\"y\"]",
            "At 1:13: root.a: unknown type for string *ast.ListType",
        ),
        (
            "a = true a = \"yes\"",
            "At 1:14: root.a: unknown type *ast.LiteralType",
        ),
        (
            "a = [1] a = 1",
            "At 1:13: unknown slice type: *ast.LiteralType",
        ),
    ] {
        assert_eq!(parse(source).unwrap_err().to_string(), want, "{source}");
    }
}

#[test]
fn hostile_text_gives_an_error_soon_and_never_a_panic() {
    let deep = 200_000;
    for source in [
        "a {".repeat(deep),
        format!("a = {}", "[".repeat(deep)),
        format!("a = {}", "{a = ".repeat(deep)),
        format!("a {} {{}}", "\"x\" ".repeat(deep)),
        format!("a = \"{}", "${".repeat(deep)),
        "\"".repeat(deep),
        format!("a = <<E\n{}", "x\n".repeat(deep)),
        "/*".repeat(deep),
        "a = [".repeat(deep),
        "-".repeat(deep),
        "a = \"\\U99999999\"".to_owned(),
        "\u{0}".to_owned(),
        "a = 1e999999".to_owned(),
    ] {
        assert!(
            parse(&source).is_err(),
            "{}",
            source.chars().take(40).collect::<String>()
        );
    }
}

#[test]
fn cutting_a_file_anywhere_never_panics() {
    let source = "a \"l\" { b = [1, -2.5e3, {c = \"x${y}\\n\"}] }\n# é\n/* z */ d = <<-E\n  é\n  E\n\"é\" = 0x1f, f = true\n";
    for at in (0..=source.len()).filter(|at| source.is_char_boundary(*at)) {
        let _ = parse(&source[..at]);
        let _ = parse(&source[at..]);
        let _ = crate::json::parse(&source[at..]);
    }
}

#[test]
fn a_long_key_above_many_items_costs_once() {
    // Copying the key per item would take gigabytes and minutes here.
    let source = format!(
        "\"{}\" {{ {} }}",
        "k".repeat(1_000_000),
        "x = 1 y = 2\n".repeat(100_000)
    );
    assert!(parse(&source).is_ok());
}
