//! Regular expressions as clients write them: RE2 syntax in Go's flavour.
//!
//! The pattern is read by Go's rules, which gives Go's error texts, and written anew for the
//! `regex` crate, so that constructs both spell alike but mean differently (`\d`, `[a&&b]`,
//! `[[a]]`, `\<`) keep Go's meaning. Both engines run in linear time; the size of the compiled
//! program is bounded here.
//!
//! Outside rules: the RE2 syntax page, and the answers of Consul 1.8.7 listed in the tests.

use std::fmt::Write as _;

use regex::{Regex, RegexBuilder};

/// Largest counted repetition, also of nested ones multiplied.
const REPEAT_MAX: u64 = 1000;

/// Bytes of compiled program per pattern.
const PROGRAM_SIZE_MAX: usize = 1 << 20;

/// Parentheses that may be open at once.
const NEST_MAX: u32 = 200;

/// Compiles `pattern`, or says why not in Go's words.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    let translated = Translator::new(pattern).run()?;
    RegexBuilder::new(&translated)
        .size_limit(PROGRAM_SIZE_MAX)
        .dfa_size_limit(PROGRAM_SIZE_MAX)
        .nest_limit(4 * NEST_MAX)
        .build()
        .map_err(|e| match e {
            regex::Error::CompiledTooBig(_) => fault("expression too large", pattern),
            _ => fault("unsupported expression", pattern),
        })
}

fn fault(what: &str, at: &str) -> String {
    format!("error parsing regexp: {what}: `{at}`")
}

/// What stands open: the whole pattern or a group.
struct Frame {
    /// Something stands before the cursor that a repetition can apply to: the largest product of
    /// counted repetitions in it, and where it ends in the output (flags may follow it).
    operand: Option<(u64, usize)>,
    /// The largest such product in this frame.
    weight: u64,
}

struct Translator<'p> {
    whole: &'p str,
    rest: &'p str,
    out: String,
    frames: Vec<Frame>,
}

impl<'p> Translator<'p> {
    fn new(pattern: &'p str) -> Self {
        let frame = Frame {
            operand: None,
            weight: 1,
        };
        Translator {
            whole: pattern,
            rest: pattern,
            out: String::with_capacity(pattern.len() + 16),
            frames: vec![frame],
        }
    }

    fn run(mut self) -> Result<String, String> {
        // The text of a repetition just read: a second one right behind it is an error.
        let mut repeated: Option<&'p str> = None;
        while let Some(c) = self.rest.chars().next() {
            let before = self.rest;
            let mut repeats = None;
            match c {
                '(' if self.rest.starts_with("(?") => self.perl_group()?,
                '(' => {
                    self.rest = &self.rest[1..];
                    self.open("(")?;
                }
                '|' => {
                    self.rest = &self.rest[1..];
                    self.out.push('|');
                    self.frame().operand = None;
                }
                ')' => {
                    self.rest = &self.rest[1..];
                    if self.frames.len() == 1 {
                        return Err(fault("unexpected )", self.whole));
                    }
                    let weight = self.frames.pop().map_or(1, |frame| frame.weight);
                    self.out.push(')');
                    self.operand(weight);
                }
                '^' | '$' | '.' => {
                    self.rest = &self.rest[1..];
                    self.out.push(c);
                    self.operand(1);
                }
                '[' => {
                    self.class()?;
                    self.operand(1);
                }
                '*' | '+' | '?' => {
                    self.rest = &self.rest[1..];
                    self.repeat(before, repeated, None)?;
                    repeats = Some(before);
                }
                '{' => match counts(self.rest) {
                    Some((min, max, after)) => {
                        self.rest = after;
                        if min.is_none_or(|n| n > REPEAT_MAX)
                            || max.is_some_and(|m| m > REPEAT_MAX || min.is_some_and(|n| n > m))
                        {
                            return Err(fault("invalid repeat count", used(before, after)));
                        }
                        self.repeat(before, repeated, Some((min.unwrap_or(0), max)))?;
                        repeats = Some(before);
                    }
                    None => {
                        self.rest = &self.rest[1..];
                        self.literal('{');
                    }
                },
                '\\' => self.backslash()?,
                c => {
                    self.rest = &self.rest[c.len_utf8()..];
                    self.literal(c);
                }
            }
            repeated = repeats;
        }
        if self.frames.len() > 1 {
            return Err(fault("missing closing )", self.whole));
        }
        Ok(self.out)
    }

    fn frame(&mut self) -> &mut Frame {
        self.frames
            .last_mut()
            .expect("the outermost frame is never popped")
    }

    fn operand(&mut self, weight: u64) {
        let end = self.out.len();
        let frame = self.frame();
        frame.operand = Some((weight, end));
        frame.weight = frame.weight.max(weight);
    }

    fn literal(&mut self, c: char) {
        put(&mut self.out, c);
        self.operand(1);
    }

    fn open(&mut self, text: &str) -> Result<(), String> {
        if self.frames.len() > NEST_MAX as usize {
            return Err(fault("expression nests too deeply", self.whole));
        }
        self.out.push_str(text);
        self.frames.push(Frame {
            operand: None,
            weight: 1,
        });
        Ok(())
    }

    /// Writes the repetition that starts `before` and of which the operator itself was read.
    fn repeat(
        &mut self,
        before: &'p str,
        repeated: Option<&'p str>,
        count: Option<(u64, Option<u64>)>,
    ) -> Result<(), String> {
        if let Some(after) = self.rest.strip_prefix('?') {
            self.rest = after;
        }
        if let Some(first) = repeated {
            return Err(fault(
                "invalid nested repetition operator",
                used(first, self.rest),
            ));
        }
        let text = used(before, self.rest);
        let Some((inner, end)) = self.frame().operand else {
            return Err(fault("missing argument to repetition operator", text));
        };
        let mut weight = inner;
        if let Some((min, max)) = count {
            let times = max.unwrap_or(min);
            weight = times.max(1).saturating_mul(inner);
            if (min >= 2 || max.is_some_and(|m| m >= 2)) && weight > REPEAT_MAX {
                return Err(fault("invalid repeat count", text));
            }
        }
        self.out.insert_str(end, text);
        let frame = self.frame();
        frame.operand = Some((weight, end + text.len()));
        frame.weight = frame.weight.max(weight);
        Ok(())
    }

    /// `(?...`: a named group, a group with flags, or flags for the rest of this group.
    fn perl_group(&mut self) -> Result<(), String> {
        let start = self.rest;
        if start.len() > 4 && start.starts_with("(?P<") {
            let Some(end) = start.find('>') else {
                return Err(fault("invalid named capture", start));
            };
            let name = &start[4..end];
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(fault("invalid named capture", &start[..=end]));
            }
            self.rest = &start[end + 1..];
            // Nobody asks for the captured text, and Go lets names repeat.
            return self.open("(");
        }
        let mut on = [false; 4];
        let mut off = [false; 4];
        let mut minus = false;
        let mut saw_flag = false;
        let chars = start[2..].char_indices();
        for (at, c) in chars {
            let end = 2 + at + c.len_utf8();
            if let Some(flag) = "imsU".find(c) {
                on[flag] = !minus;
                off[flag] = minus;
                saw_flag = true;
                continue;
            }
            match c {
                '-' if !minus => {
                    minus = true;
                    saw_flag = false;
                }
                ':' | ')' if !minus || saw_flag => {
                    self.rest = &start[end..];
                    let flags = flags_text(&on, &off);
                    if c == ':' {
                        return self.open(&format!("(?{flags}:"));
                    }
                    if !flags.is_empty() {
                        let _ = write!(self.out, "(?{flags})");
                    }
                    return Ok(());
                }
                _ => return Err(fault("invalid or unsupported Perl syntax", &start[..end])),
            }
        }
        Err(fault("invalid or unsupported Perl syntax", start))
    }

    fn backslash(&mut self) -> Result<(), String> {
        let mut chars = self.rest.chars();
        chars.next();
        let after = &self.rest[1..];
        match chars.next() {
            Some('A') => self.assertion("\\A"),
            Some('b') => self.assertion("(?-u:\\b)"),
            Some('B') => self.assertion("(?:\\B)"),
            Some('z') => self.assertion("\\z"),
            Some('C') => return Err(fault("invalid escape sequence", "\\C")),
            Some('Q') => {
                let body = &after[1..];
                let (literal, rest) = body.split_once("\\E").unwrap_or((body, ""));
                literal.chars().for_each(|c| self.literal(c));
                self.rest = rest;
            }
            Some('p' | 'P') => {
                let class = self.unicode_class()?;
                self.out.push_str(&class);
                self.operand(1);
            }
            Some(c) if perl_class(c).is_some() => {
                let _ = write!(self.out, "[{}]", perl_class(c).unwrap_or_default());
                self.rest = &after[1..];
                self.operand(1);
            }
            _ => {
                let (code, rest) = escape(self.rest)?;
                self.rest = rest;
                match char::from_u32(code) {
                    Some(c) => self.literal(c),
                    None => self.assertion(NOTHING),
                }
            }
        }
        Ok(())
    }

    fn assertion(&mut self, text: &str) {
        self.out.push_str(text);
        if self.rest.starts_with('\\') && text != NOTHING {
            self.rest = &self.rest[2..];
        }
        self.operand(1);
    }

    /// `[...]`, cursor on the bracket.
    fn class(&mut self) -> Result<(), String> {
        let whole = self.rest;
        self.rest = &self.rest[1..];
        self.out.push('[');
        if let Some(rest) = self.rest.strip_prefix('^') {
            self.rest = rest;
            self.out.push('^');
        }
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            first = false;
            if self.rest.starts_with("[:")
                && let Some(len) = self.rest[2..].find(":]")
            {
                let name = &self.rest[..len + 4];
                if !POSIX.contains(&name.trim_matches(['[', ']', ':', '^']))
                    || name[2..].starts_with("^^")
                {
                    return Err(fault("invalid character class range", name));
                }
                self.out.push_str(name);
                self.rest = &self.rest[len + 4..];
                continue;
            }
            let mut chars = self.rest.chars();
            if chars.next() == Some('\\') {
                match chars.next() {
                    Some('p' | 'P') => {
                        let class = self.unicode_class()?;
                        self.out.push_str(&class);
                        continue;
                    }
                    Some(c) if perl_class(c).is_some() => {
                        let _ = write!(self.out, "[{}]", perl_class(c).unwrap_or_default());
                        self.rest = &self.rest[2..];
                        continue;
                    }
                    _ => {}
                }
            }
            self.class_range(whole)?;
        }
        self.rest = &self.rest[1..];
        self.out.push(']');
        Ok(())
    }

    fn class_range(&mut self, whole: &'p str) -> Result<(), String> {
        let start = self.rest;
        let low = self.class_char(whole)?;
        let mut high = low;
        if self.rest.starts_with('-') && self.rest.len() >= 2 && !self.rest.starts_with("-]") {
            self.rest = &self.rest[1..];
            high = self.class_char(whole)?;
            if high < low {
                return Err(fault(
                    "invalid character class range",
                    used(start, self.rest),
                ));
            }
        }
        // Surrogates are no characters of a text; leave them out of the range.
        for (low, high) in [(low, high.min(0xd7ff)), (low.max(0xe000), high)] {
            if low <= high {
                let _ = write!(self.out, "\\x{{{low:x}}}-\\x{{{high:x}}}");
            }
        }
        if low >= 0xd800 && high <= 0xdfff {
            self.out.push_str(NOTHING);
        }
        Ok(())
    }

    fn class_char(&mut self, whole: &'p str) -> Result<u32, String> {
        match self.rest.chars().next() {
            None => Err(fault("missing closing ]", whole)),
            Some('\\') => {
                let (code, rest) = escape(self.rest)?;
                self.rest = rest;
                Ok(code)
            }
            Some(c) => {
                self.rest = &self.rest[c.len_utf8()..];
                Ok(u32::from(c))
            }
        }
    }

    /// `\pL`, `\p{Greek}`, `\P{^L}`: cursor on the backslash.
    fn unicode_class(&mut self) -> Result<String, String> {
        let start = self.rest;
        let mut negate = start[1..].starts_with('P');
        let mut name;
        match start[2..].chars().next() {
            Some('{') => {
                let Some(end) = start.find('}') else {
                    return Err(fault("invalid character class range", start));
                };
                name = &start[3..end];
                self.rest = &start[end + 1..];
            }
            Some(c) => {
                name = &start[2..2 + c.len_utf8()];
                self.rest = &start[2 + c.len_utf8()..];
            }
            None => return Err(fault("invalid character class range", start)),
        }
        if let Some(positive) = name.strip_prefix('^') {
            negate = !negate;
            name = positive;
        }
        let bad = || fault("invalid character class range", used(start, self.rest));
        let body = match name {
            "Any" => "\\x{0}-\\x{10ffff}".to_owned(),
            // Surrogates are in a class of their own that no text can hold.
            "Cs" => NOTHING.to_owned(),
            _ if CATEGORIES.split(' ').any(|known| known == name) => format!("\\p{{{name}}}"),
            _ => {
                let shaped = name.starts_with(|c: char| c.is_ascii_uppercase())
                    && name.len() > 2
                    && name.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
                let class = format!("\\p{{sc={name}}}");
                if !shaped || Regex::new(&class).is_err() {
                    return Err(bad());
                }
                class
            }
        };
        Ok(format!("[{}{body}]", if negate { "^" } else { "" }))
    }
}

/// A class that no character is in.
const NOTHING: &str = "[^\\x{0}-\\x{10ffff}]";

const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

const CATEGORIES: &str = "C Cc Cf Co L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs";

/// The part of `start` that was read to arrive at `rest`, one of its tails.
fn used<'a>(start: &'a str, rest: &str) -> &'a str {
    &start[..start.len() - rest.len()]
}

fn put(out: &mut String, c: char) {
    if c.is_alphanumeric() {
        out.push(c);
    } else {
        let _ = write!(out, "\\x{{{:x}}}", u32::from(c));
    }
}

fn perl_class(c: char) -> Option<&'static str> {
    Some(match c {
        'd' => "0-9",
        'D' => "^0-9",
        's' => "\\t\\n\\x0c\\r\\x20",
        'S' => "^\\t\\n\\x0c\\r\\x20",
        'w' => "0-9A-Za-z_",
        'W' => "^0-9A-Za-z_",
        _ => return None,
    })
}

fn flags_text(on: &[bool; 4], off: &[bool; 4]) -> String {
    let pick = |set: &[bool; 4]| -> String {
        "imsU"
            .chars()
            .zip(set)
            .filter(|(_, is)| **is)
            .map(|(c, _)| c)
            .collect()
    };
    let (on, off) = (pick(on), pick(off));
    if off.is_empty() {
        on
    } else {
        format!("{on}-{off}")
    }
}

/// `{n}`, `{n,}`, `{n,m}`: minimum (`None` when it does not fit), maximum and what follows.
/// Anything else is a literal brace.
#[allow(
    clippy::type_complexity,
    reason = "one private caller, read next to it"
)]
fn counts(text: &str) -> Option<(Option<u64>, Option<u64>, &str)> {
    let body = text.strip_prefix('{')?;
    let (min, rest) = integer(body)?;
    if let Some(after) = rest.strip_prefix('}') {
        return Some((min, min, after));
    }
    let rest = rest.strip_prefix(',')?;
    if let Some(after) = rest.strip_prefix('}') {
        return Some((min, None, after));
    }
    let (max, rest) = integer(rest)?;
    let after = rest.strip_prefix('}')?;
    // A maximum too large for us is too large for Go as well.
    Some((if max.is_none() { None } else { min }, max, after))
}

/// Digits without a leading zero; the inner value is `None` when there are absurdly many.
fn integer(text: &str) -> Option<(Option<u64>, &str)> {
    let len = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(len);
    if digits.is_empty() || (len > 1 && digits.starts_with('0')) {
        return None;
    }
    Some((if len > 8 { None } else { digits.parse().ok() }, rest))
}

/// Reads an escaped character, cursor on the backslash.
fn escape(text: &str) -> Result<(u32, &str), String> {
    let after = &text[1..];
    let mut chars = after.chars();
    let Some(c) = chars.next() else {
        return Err("error parsing regexp: trailing backslash at end of expression: ``".to_owned());
    };
    let bad = |rest: &str| Err(fault("invalid escape sequence", used(text, rest)));
    match c {
        '0'..='7' => {
            if c != '0' && !chars.as_str().starts_with(|d: char| matches!(d, '0'..='7')) {
                return bad(chars.as_str());
            }
            let mut value = u32::from(c) - u32::from('0');
            for _ in 0..2 {
                match chars.as_str().chars().next().and_then(|d| d.to_digit(8)) {
                    Some(digit) => value = value * 8 + digit,
                    None => break,
                }
                chars.next();
            }
            Ok((value, chars.as_str()))
        }
        'x' => {
            let Some(first) = chars.next() else {
                return bad(chars.as_str());
            };
            if first != '{' {
                let Some(second) = chars.next() else {
                    return bad(chars.as_str());
                };
                return match (first.to_digit(16), second.to_digit(16)) {
                    (Some(a), Some(b)) => Ok((a * 16 + b, chars.as_str())),
                    _ => bad(chars.as_str()),
                };
            }
            let mut value = 0;
            let mut any = false;
            loop {
                match chars.next() {
                    Some('}') if any => return Ok((value, chars.as_str())),
                    Some(d) => match d.to_digit(16) {
                        Some(digit) if value * 16 + digit <= 0x0010_ffff => {
                            value = value * 16 + digit;
                            any = true;
                        }
                        _ => return bad(chars.as_str()),
                    },
                    None => return bad(chars.as_str()),
                }
            }
        }
        'a' => Ok((7, chars.as_str())),
        'f' => Ok((12, chars.as_str())),
        'n' => Ok((10, chars.as_str())),
        'r' => Ok((13, chars.as_str())),
        't' => Ok((9, chars.as_str())),
        'v' => Ok((11, chars.as_str())),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok((u32::from(c), chars.as_str())),
        _ => bad(chars.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::compile;

    /// Pattern and what Consul 1.8.7 answered, without the common prefix.
    const REFUSED: &[(&str, &str)] = &[
        ("(", "missing closing ): `(`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        (r"\1", r"invalid escape sequence: `\1`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        (r"\pX", r"invalid character class range: `\pX`"),
        ("(?P<n", "invalid named capture: `(?P<n`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("a{2,1}", "invalid repeat count: `{2,1}`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (")", "unexpected ): `)`"),
        ("[", "missing closing ]: `[`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        ("(a{1000}){1000}", "invalid repeat count: `{1000}`"),
        ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
        ("a*?*", "invalid nested repetition operator: `*?*`"),
        ("a*+", "invalid nested repetition operator: `*+`"),
        ("a???", "invalid nested repetition operator: `???`"),
        ("x**?", "invalid nested repetition operator: `**?`"),
        ("x{2}?*", "invalid nested repetition operator: `{2}?*`"),
        ("x{2}??", "invalid nested repetition operator: `{2}??`"),
        ("+a", "missing argument to repetition operator: `+`"),
        ("(*a)", "missing argument to repetition operator: `*`"),
        ("*?a", "missing argument to repetition operator: `*?`"),
        ("{2}?a", "missing argument to repetition operator: `{2}?`"),
        ("a|*?", "missing argument to repetition operator: `*?`"),
        ("(?i)*", "missing argument to repetition operator: `*`"),
        ("|*", "missing argument to repetition operator: `*`"),
        (r"\Q\E*", "missing argument to repetition operator: `*`"),
        ("{3}", "missing argument to repetition operator: `{3}`"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?", "invalid or unsupported Perl syntax: `(?`"),
        ("(?i", "invalid or unsupported Perl syntax: `(?i`"),
        ("(?i-)", "invalid or unsupported Perl syntax: `(?i-)`"),
        ("(?-)", "invalid or unsupported Perl syntax: `(?-)`"),
        ("(?i--s)", "invalid or unsupported Perl syntax: `(?i--`"),
        ("(?P<n-x>a)", "invalid named capture: `(?P<n-x>`"),
        ("(?P<>a)", "invalid named capture: `(?P<>`"),
        ("(?<n>a)", "invalid or unsupported Perl syntax: `(?<`"),
        ("(?P=n)", "invalid or unsupported Perl syntax: `(?P`"),
        ("(?P<", "invalid or unsupported Perl syntax: `(?P`"),
        ("(?P", "invalid or unsupported Perl syntax: `(?P`"),
        ("(?!a)", "invalid or unsupported Perl syntax: `(?!`"),
        ("(?:a", "missing closing ): `(?:a`"),
        ("(?P<n>", "missing closing ): `(?P<n>`"),
        ("(?i:", "missing closing ): `(?i:`"),
        ("(a))", "unexpected ): `(a))`"),
        ("[a", "missing closing ]: `[a`"),
        ("[]", "missing closing ]: `[]`"),
        ("[^]", "missing closing ]: `[^]`"),
        ("[a-", "missing closing ]: `[a-`"),
        ("[[:foo", "missing closing ]: `[[:foo`"),
        (r"[\]", r"missing closing ]: `[\]`"),
        (r"[a-\d]", r"invalid escape sequence: `\d`"),
        (r"[\q]", r"invalid escape sequence: `\q`"),
        (r"[\b]", r"invalid escape sequence: `\b`"),
        (r"[\Q]", r"invalid escape sequence: `\Q`"),
        (r"[a-\x]", r"invalid escape sequence: `\x]`"),
        (r"[b-a\d]", "invalid character class range: `b-a`"),
        (r"[z-\x41]", r"invalid character class range: `z-\x41`"),
        (r"[a\", "trailing backslash at end of expression: ``"),
        (r"\8", r"invalid escape sequence: `\8`"),
        (r"\x4", r"invalid escape sequence: `\x4`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
        (r"\x{}", r"invalid escape sequence: `\x{}`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        (r"\p{Nope}", r"invalid character class range: `\p{Nope}`"),
        (r"\p{greek}", r"invalid character class range: `\p{greek}`"),
        (
            r"\p{Alphabetic}",
            r"invalid character class range: `\p{Alphabetic}`",
        ),
        (r"\p{L&}", r"invalid character class range: `\p{L&}`"),
        (r"\p{}", r"invalid character class range: `\p{}`"),
        (r"\p{Nope", r"invalid character class range: `\p{Nope`"),
        (r"\p", r"invalid character class range: `\p`"),
        (r"\Z", r"invalid escape sequence: `\Z`"),
        (r"\E", r"invalid escape sequence: `\E`"),
        (r"\é", r"invalid escape sequence: `\é`"),
        (r"\u0041", r"invalid escape sequence: `\u`"),
        ("a{99999999999}", "invalid repeat count: `{99999999999}`"),
        ("((a{100}){5}){3}", "invalid repeat count: `{3}`"),
        ("((a{0}){500}){3}", "invalid repeat count: `{3}`"),
        ("((a{100})*){11}", "invalid repeat count: `{11}`"),
        ("(a{2}|b{1000}){2}", "invalid repeat count: `{2}`"),
    ];

    #[test]
    fn refusals_are_worded_as_go_words_them() {
        for (pattern, want) in REFUSED {
            let got = compile(pattern).map(|_| ()).expect_err(pattern);
            assert_eq!(got, format!("error parsing regexp: {want}"), "{pattern}");
        }
    }

    #[test]
    fn what_go_compiles_compiles() {
        for pattern in [
            "a{1000}",
            "a{,5}",
            "a{5",
            "a*?",
            "a??",
            "^*",
            "(|a)*",
            "a||b",
            "(?i-s:a)",
            "(?P<n>a)(?P<n>b)",
            "[]a]",
            "[^]a]",
            "[a-]",
            "[-a]",
            "[a-b-c]",
            "[--/]",
            r"[\d-z]",
            "[[:alpha:]]",
            "[[:^alpha:]]",
            "[[:alpha]",
            "[[a]]",
            "[a&&b]",
            r"\01",
            r"\0",
            r"\x41",
            r"\x{41}",
            r"\Qa+",
            r"\Qa+\E+",
            r"\p{Greek}",
            r"\p{^Greek}",
            r"\pN",
            r"\z",
            r"\A",
            r"\b",
            r"\B",
            r"\_",
            r"\-",
            r"\ ",
            r"\a\f\v",
            r"\<",
            "{",
            "a{",
            "}",
            "]",
            "a{0}",
            "a{03}",
            "a{3,03}",
            "(?ii)",
            "(?sU)",
            "$*",
            r"\b+",
            "(?:)*",
            "()",
            "(?m)^$",
            r"\pZs",
            r"\p{L}\p{Lu}\p{Any}\P{^L}",
            r"[\pL\d]",
            "(?)n",
            "(?i-i)N1",
            "((a{100}){5}){2}",
            "(a{2}|b{1000}){1}",
            "[:word:]",
            r"\pLu",
            r"\x{d800}",
            r"[\x{d800}]",
            r"\p{Cs}",
            r"[\x{0}-\x{10ffff}]",
        ] {
            compile(pattern).expect(pattern);
        }
    }

    #[test]
    fn classes_mean_what_go_means() {
        for (pattern, text, want) in [
            (r"^\d$", "٣", false),
            (r"^\w$", "é", false),
            (r"^\s$", "\u{a0}", false),
            ("^[a&&b]$", "&", true),
            ("^[[a]]$", "[]", true),
            (r"^\<$", "<", true),
            (r"^[\D]$", "x", true),
            (r"^[^\D]$", "5", true),
            ("(?i)^N1$", "n1", true),
            ("(?i-i)N1", "n1", false),
            (r"^\Qa+\E+$", "a++", true),
            (r"^\pLu$", "éu", true),
            (r"^a{,5}$", "a{,5}", true),
            ("a.b", "a\nb", false),
            ("(?s)a.b", "a\nb", true),
            ("a$", "a\n", false),
            ("#x y", "#x y", true),
        ] {
            assert_eq!(
                compile(pattern).unwrap().is_match(text),
                want,
                "{pattern} on {text:?}"
            );
        }
    }

    #[test]
    fn size_is_bounded() {
        assert!(compile(r"(\pL{500}|\pN{500})").is_err());
        assert!(compile(&"(".repeat(100_000)).is_err());
        assert!(compile(&"(a|".repeat(5_000)).is_err());
    }
}
