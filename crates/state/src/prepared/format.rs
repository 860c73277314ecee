//! Texts with holes: `${...}` inside the fields of query templates, in the interpolation language of the original.
//!
//! In: the text of a field. Out: a [`Format`], which is filled in with the variables and the one function of a [`Scope`].
//! Holes hold variables, calls, numbers, arithmetic, parentheses and quoted texts with holes of their own; `$${` stands for
//! `${`. Values are texts, integers or floats and turn into one another where one is needed.
//!
//! Outside rules: agent.md section 8, and the answers of Consul 1.8.7 that the tests list. There all operators bind alike,
//! from left to right, and any float makes a whole chain of them floats.
//!
//! Bounds: depth of nesting. Everything else is linear in the text.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

/// How deep parentheses, calls and quoted texts may nest.
const DEPTH_MAX: u32 = 64;
/// All that is said about a text that cannot be parsed.
const SYNTAX: &str = "parse error: syntax error";

/// What a format is filled in with.
pub(crate) struct Scope<'a> {
    /// Value of a variable; `None` for unknown ones.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    /// The N-th match; empty if there is none.
    pub(crate) matched: &'a dyn Fn(i64) -> String,
}

/// A text with holes, parsed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Format(Vec<Node>);

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Literal(String),
    Int(i64),
    Float(f64),
    Variable(Place, String),
    Call(Place, String, Vec<Node>),
    /// An element of something, which nothing here has.
    Index(Place),
    /// A first operand, then operators with theirs, left to right.
    Math(Place, Box<Node>, Vec<(char, Node)>),
    /// Quoted texts, one behind the other.
    Text(Format),
}

/// Where something begins, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    line: u32,
    column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Text(String),
    Int(i64),
    Float(f64),
}

impl Format {
    /// Parses a text.
    ///
    /// # Errors
    /// That there is something where it must not be.
    pub(crate) fn parse(text: &str) -> Result<Format, String> {
        Parser {
            chars: text.chars().peekable(),
            place: Place { line: 1, column: 1 },
            depth: 0,
        }
        .literal(Ends::WithInput)
        .ok_or_else(|| SYNTAX.to_owned())
    }

    /// Fills in the holes.
    ///
    /// # Errors
    /// A variable or function that does not exist, an operand that is no number, a division by zero.
    pub(crate) fn fill(&self, scope: &Scope<'_>) -> Result<String, String> {
        let mut out = String::new();
        for node in &self.0 {
            match node {
                Node::Literal(text) => out.push_str(text),
                node => out.push_str(&value(node, scope)?.into_text()),
            }
        }
        Ok(out)
    }
}

impl Value {
    fn into_text(self) -> String {
        match self {
            Value::Text(text) => text,
            Value::Int(n) => n.to_string(),
            Value::Float(n) => go_float(n),
        }
    }

    fn to_int(&self) -> Result<i64, String> {
        match self {
            Value::Int(n) => Ok(*n),
            #[expect(clippy::cast_possible_truncation, reason = "fractions are cut off")]
            Value::Float(n) => Ok(*n as i64),
            Value::Text(text) => parse_int(text).ok_or_else(|| {
                format!("__builtin_StringToInt: strconv.ParseInt: parsing {text:?}: invalid syntax")
            }),
        }
    }

    fn to_float(&self) -> Result<f64, String> {
        match self {
            Value::Int(n) => Ok(*n as f64),
            Value::Float(n) => Ok(*n),
            Value::Text(text) => text.parse().map_err(|_| {
                format!(
                    "__builtin_StringToFloat: strconv.ParseFloat: parsing {text:?}: invalid syntax"
                )
            }),
        }
    }
}

fn value(node: &Node, scope: &Scope<'_>) -> Result<Value, String> {
    Ok(match node {
        Node::Literal(text) => Value::Text(text.clone()),
        Node::Int(n) => Value::Int(*n),
        Node::Float(n) => Value::Float(*n),
        Node::Variable(place, name) => Value::Text(
            (scope.variable)(name)
                .ok_or_else(|| format!("{place}: unknown variable accessed: {name}"))?,
        ),
        Node::Call(place, name, args) => {
            if name != "match" {
                return Err(format!("{place}: unknown function called: {name}"));
            }
            let [arg] = args.as_slice() else {
                let count = args.len();
                return Err(format!(
                    "{place}: {name}: expected 1 arguments, got {count}"
                ));
            };
            Value::Text((scope.matched)(value(arg, scope)?.to_int()?))
        }
        Node::Index(Place { line, column }) => {
            return Err(format!(
                "At column {column}, line {line}: invalid index operation into non-indexable type: TypeString"
            ));
        }
        Node::Math(place, first, rest) => math(*place, first, rest, scope)?,
        Node::Text(text) => Value::Text(text.fill(scope)?),
    })
}

fn math(
    place: Place,
    first: &Node,
    rest: &[(char, Node)],
    scope: &Scope<'_>,
) -> Result<Value, String> {
    let first = value(first, scope)?;
    let rest: Vec<(char, Value)> = rest
        .iter()
        .map(|(op, node)| Ok((*op, value(node, scope)?)))
        .collect::<Result<_, String>>()?;
    let float = |v: &Value| matches!(v, Value::Float(_));
    if float(&first) || rest.iter().any(|(_, v)| float(v)) {
        let mut sum = first.to_float()?;
        for (op, operand) in &rest {
            let by = operand.to_float()?;
            match op {
                '+' => sum += by,
                '-' => sum -= by,
                '*' => sum *= by,
                '/' => sum /= by,
                _ => {
                    let Place { line, column } = place;
                    return Err(format!(
                        "At column {column}, line {line}: modulo cannot be used with floats"
                    ));
                }
            }
        }
        return Ok(Value::Float(sum));
    }
    let mut sum = first.to_int()?;
    for (op, operand) in &rest {
        let by = operand.to_int()?;
        if by == 0 && matches!(op, '/' | '%') {
            return Err("divide by zero".to_owned());
        }
        sum = match op {
            '+' => sum.wrapping_add(by),
            '-' => sum.wrapping_sub(by),
            '*' => sum.wrapping_mul(by),
            '/' => sum.wrapping_div(by),
            _ => sum.wrapping_rem(by),
        };
    }
    Ok(Value::Int(sum))
}

/// An integer in decimal, octal (`0...`) or hexadecimal (`0x...`) digits, with a sign.
fn parse_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let lower = digits.to_ascii_lowercase();
    let size = if let Some(hex) = lower.strip_prefix("0x") {
        i128::from_str_radix(hex, 16)
    } else if lower.len() > 1 && lower.starts_with('0') {
        i128::from_str_radix(&lower[1..], 8)
    } else {
        lower.parse()
    };
    let size = size.ok()?;
    i64::try_from(if negative { -size } else { size }).ok()
}

/// A float with the fewest digits that read back, as Go's `%g` writes it.
fn go_float(n: f64) -> String {
    if n.is_nan() {
        return "NaN".to_owned();
    }
    if n.is_infinite() {
        return if n > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{n:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let power: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&power) {
        return format!("{n}");
    }
    let sign = if power < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", power.abs())
}

/// What ends a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// The end of the input.
    WithInput,
    /// A quotation mark.
    WithQuote,
}

struct Parser<'t> {
    chars: Peekable<Chars<'t>>,
    place: Place,
    depth: u32,
}

/// Every method gives `None` for what cannot be parsed.
impl Parser<'_> {
    fn peek(&mut self) -> Option<char> {
        self.chars.peek().copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.chars.next()?;
        if c == '\n' {
            self.place.line += 1;
            // The original counts the line break in.
            self.place.column = 2;
        } else {
            self.place.column += 1;
        }
        Some(c)
    }

    /// Takes `wanted`, which must come now.
    fn take(&mut self, wanted: char) -> Option<()> {
        self.next().filter(|c| *c == wanted).map(drop)
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth == DEPTH_MAX {
            return None;
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Text with holes, up to its end, which is taken.
    fn literal(&mut self, ends: Ends) -> Option<Format> {
        let mut nodes = Vec::new();
        let mut text = String::new();
        loop {
            let Some(c) = self.next() else {
                if ends == Ends::WithQuote {
                    return None;
                }
                break;
            };
            match c {
                '"' if ends == Ends::WithQuote => break,
                '\\' if ends == Ends::WithQuote => text.push(self.escaped()),
                '$' => match self.peek() {
                    Some('{') => {
                        self.next();
                        if !text.is_empty() {
                            nodes.push(Node::Literal(std::mem::take(&mut text)));
                        }
                        nodes.push(self.deeper(Self::hole)?);
                    }
                    // The second one is taken, so that no hole begins with it.
                    Some('$') => {
                        self.next();
                        text.push('$');
                    }
                    _ => text.push('$'),
                },
                c => text.push(c),
            }
        }
        if !text.is_empty() {
            nodes.push(Node::Literal(text));
        }
        Some(Format(nodes))
    }

    /// The character that a backslash inside quotes stands before; the backslash itself if it means nothing.
    fn escaped(&mut self) -> char {
        let meant = match self.peek() {
            Some('n') => '\n',
            Some(c @ ('\\' | '"')) => c,
            _ => return '\\',
        };
        self.next();
        meant
    }

    fn space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.next();
        }
    }

    fn hole(&mut self) -> Option<Node> {
        let node = self.expression()?;
        self.take('}')?;
        Some(node)
    }

    /// An expression and the space behind it.
    fn expression(&mut self) -> Option<Node> {
        self.space();
        let place = self.place;
        let first = self.operand()?;
        let mut rest = Vec::new();
        loop {
            self.space();
            match self.peek() {
                Some(op @ ('+' | '-' | '*' | '/' | '%')) => {
                    self.next();
                    rest.push((op, self.operand()?));
                }
                _ if rest.is_empty() => return Some(first),
                _ => return Some(Node::Math(place, Box::new(first), rest)),
            }
        }
    }

    fn operand(&mut self) -> Option<Node> {
        self.space();
        let place = self.place;
        match self.peek()? {
            '(' => {
                self.next();
                let inner = self.deeper(Self::expression)?;
                self.take(')')?;
                Some(inner)
            }
            '"' => self.quoted(),
            '-' => {
                self.next();
                let operand = self.deeper(Self::operand)?;
                let zero = Box::new(Node::Int(0));
                Some(Node::Math(place, zero, vec![('-', operand)]))
            }
            c if c.is_ascii_digit() => self.number(),
            c if is_name(c) && c != '*' => self.name(),
            _ => None,
        }
    }

    /// Quoted texts, one behind the other.
    fn quoted(&mut self) -> Option<Node> {
        let mut all = Vec::new();
        while self.peek() == Some('"') {
            self.next();
            all.extend(self.deeper(|p| p.literal(Ends::WithQuote))?.0);
            self.space();
        }
        Some(Node::Text(Format(all)))
    }

    fn number(&mut self) -> Option<Node> {
        let mut digits = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_ascii_digit() || *c == '.') {
            self.next();
            digits.push(c);
        }
        if digits.contains('.') {
            digits.parse().ok().map(Node::Float)
        } else {
            parse_int(&digits).map(Node::Int)
        }
    }

    fn name(&mut self) -> Option<Node> {
        let place = self.place;
        let mut name = String::new();
        while let Some(c) = self.peek().filter(|c| is_name(*c)) {
            self.next();
            name.push(c);
        }
        self.space();
        match self.peek() {
            Some('(') => {
                self.next();
                let args = self.args()?;
                Some(Node::Call(place, name, args))
            }
            Some('[') => {
                self.next();
                self.deeper(Self::expression)?;
                self.take(']')?;
                Some(Node::Index(place))
            }
            _ => Some(Node::Variable(place, name)),
        }
    }

    fn args(&mut self) -> Option<Vec<Node>> {
        let mut args = Vec::new();
        self.space();
        if self.peek() == Some(')') {
            self.next();
            return Some(args);
        }
        loop {
            args.push(self.deeper(Self::expression)?);
            match self.next()? {
                ',' => {}
                ')' => return Some(args),
                _ => return None,
            }
        }
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, String> {
        let variable = |name: &str| (name == "name.full").then(|| "geo-db".to_owned());
        let matched = |n: i64| {
            usize::try_from(n)
                .ok()
                .and_then(|n| ["all", "one", "two"].get(n).map(|m| (*m).to_owned()))
                .unwrap_or_default()
        };
        Format::parse(text)?.fill(&Scope {
            variable: &variable,
            matched: &matched,
        })
    }

    #[test]
    fn holes_are_filled_and_the_rest_stays() {
        for (text, want) in [
            ("", ""),
            ("plain", "plain"),
            ("${name.full}", "geo-db"),
            ("a-${ name.full }-${match(1)}", "a-geo-db-one"),
            ("${match(0)}${match(9)}${match(-1)}", "all"),
            ("${match(\"2\")}", "two"),
            ("${match(1+1)}", "two"),
            ("$${name.full}", "${name.full}"),
            ("$name $$ $", "$name $ $"),
            ("$$$", "$$"),
            ("$$${match(1)}", "$one"),
            ("$$$${match(1)}", "$${match(1)}"),
            ("a}b {a} ${match(1)}}", "a}b {a} one}"),
            ("${\"x-${match(1)}\"}", "x-one"),
            ("${\"a\\\"b\\n\\\\\"}", "a\"b\n\\"),
            ("${1+2*3}", "9"),
            ("${1+(2*3)}", "7"),
            ("${3/2} ${3.0/2} ${7%4}", "1 1.5 3"),
            ("${2*3+1}", "7"),
            ("${010} ${1.}", "8 1"),
            (
                "${1.0*1234567} ${1.0*100000} ${1.0/10000} ${1.0/1000000}",
                "1.234567e+06 100000 0.0001 1e-06",
            ),
            ("${1.0*1000000*1000000*1000000*1000000}", "1e+24"),
            ("${\"1\"+1.5}", "2.5"),
            ("${match(1.9)}", "one"),
            ("${ match (1)}", "one"),
            ("${\"a\" \"b\"}", "ab"),
            ("${\"$${x} $x\"}", "${x} $x"),
            ("${-2}${- 2}", "-2-2"),
        ] {
            assert_eq!(filled(text), Ok(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_parsed_is_refused_in_one_text() {
        for text in [
            "${",
            "${}",
            "${}x",
            "${name.full",
            "${name.full]}",
            "${\"open}",
            "${match(1}",
            "${match(1,)}",
            "${(1}",
            "${1 2}",
            "${1e3}",
            "${0x10}",
            "${{1}}",
            "${1,2}",
            "${name.full name.full}",
            "${name.full\"x\"}",
            "${1 ? 2 : 3}",
            "${1 == 1}",
            "${!x}",
            "${1.2.3}",
            "${99999999999999999999}",
            // Consul's server ends itself over these.
            "${+2}",
            "${*2}",
        ] {
            assert_eq!(filled(text), Err(SYNTAX.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_filled_in_is_refused_in_the_words_of_the_original() {
        let no_number = "__builtin_StringToInt: strconv.ParseInt: parsing";
        for (text, want) in [
            (
                "${name.other}",
                "1:3: unknown variable accessed: name.other",
            ),
            ("a\n ${x}", "2:5: unknown variable accessed: x"),
            ("${.5}", "1:3: unknown variable accessed: .5"),
            ("${upper(1)}", "1:3: unknown function called: upper"),
            ("${match()}", "1:3: match: expected 1 arguments, got 0"),
            ("${match(1,2)}", "1:3: match: expected 1 arguments, got 2"),
            (
                "${match(\"x\")}",
                &format!("{no_number} \"x\": invalid syntax"),
            ),
            (
                "${\"1.5\"+1}",
                &format!("{no_number} \"1.5\": invalid syntax"),
            ),
            (
                "${match(match(9))}",
                &format!("{no_number} \"\": invalid syntax"),
            ),
            (
                "${1.5%2}",
                "At column 3, line 1: modulo cannot be used with floats",
            ),
            (
                "${name.full[0]}",
                "At column 3, line 1: invalid index operation into non-indexable type: TypeString",
            ),
            // Consul's server ends itself over these.
            ("${1/0}", "divide by zero"),
            ("${1%0}", "divide by zero"),
        ] {
            assert_eq!(filled(text), Err(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn no_text_panics_and_what_has_no_hole_stays() {
        let pieces = [
            "${",
            "}",
            "$",
            "\"",
            "\\",
            "(",
            ")",
            "[",
            "]",
            ",",
            "+",
            "-",
            "*",
            "/",
            "%",
            "match",
            "name.full",
            "0",
            "9",
            "1.5",
            "99999999999",
            " ",
            "\n",
            "\u{e9}",
            "x",
        ];
        let mut state = 1u64;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..12 {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                text.push_str(pieces[(state >> 33) as usize % pieces.len()]);
            }
            let outcome = filled(&text);
            if !text.contains('$') {
                assert_eq!(outcome.as_deref(), Ok(&*text));
            }
            let in_hole = filled(&format!("${{{text}}}"));
            assert!(in_hole.is_ok() || in_hole.is_err());
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_not_a_crash() {
        let deep = format!("${{{}1{}}}", "(".repeat(100_000), ")".repeat(100_000));
        assert!(filled(&deep).is_err());
        assert!(filled(&format!("${{{}1}}", "-".repeat(100_000))).is_err());
        assert!(filled(&"${\"".repeat(100_000)).is_err());
    }
}
