//! Template text to a pipeline of calls: `name "arg" 3 | name ...`.

/// One call of a pipeline.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) args: Vec<String>,
}

/// The inside of an action and what follows `}}`. Quotes hide braces.
pub(super) fn split_action(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if text[at..].starts_with("}}") => return Some((&text[..at], &text[at + 2..])),
            None => {}
        }
    }
    None
}

/// Parses the inside of an action.
pub(super) fn pipeline(text: &str) -> Result<Vec<Call>, String> {
    let syntax = |why: &str| format!("template: sockaddr.Parse:1: {why}");
    // `{{-` and `-}}` trim white space, which is trimmed anyway.
    let text = text.strip_prefix("- ").unwrap_or(text);
    let text = text.strip_suffix(" -").unwrap_or(text);
    let mut calls: Vec<Call> = Vec::new();
    let mut words: Vec<(String, bool)> = Vec::new();
    let mut chars = text.chars().peekable();
    let mut done = false;
    while !done {
        match chars.next() {
            Some(c) if c.is_whitespace() => {}
            Some('"') => {
                let mut word = String::new();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => word.push(
                            chars
                                .next()
                                .ok_or_else(|| syntax("unterminated quoted string"))?,
                        ),
                        Some(c) => word.push(c),
                        None => return Err(syntax("unterminated quoted string")),
                    }
                }
                words.push((word, true));
            }
            Some('`') => {
                let mut word = String::new();
                loop {
                    match chars.next() {
                        Some('`') => break,
                        Some(c) => word.push(c),
                        None => return Err(syntax("unterminated raw quoted string")),
                    }
                }
                words.push((word, true));
            }
            Some('|') | None => {
                done =
                    chars.peek().is_none() && !text.trim_end().ends_with('|') || words.is_empty();
                let mut taken = std::mem::take(&mut words).into_iter();
                let Some((name, quoted)) = taken.next() else {
                    return Err(syntax("missing value for command"));
                };
                if quoted {
                    return Err(syntax(&format!("{name:?} is not a function")));
                }
                calls.push(Call {
                    name,
                    args: taken.map(|(word, _)| word).collect(),
                });
                if done {
                    break;
                }
            }
            Some(c) if c.is_alphanumeric() || c == '_' || c == '-' || c == '+' => {
                let mut word = c.to_string();
                while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    word.push(c);
                }
                words.push((word, false));
            }
            Some(c) => return Err(syntax(&format!("unexpected {c:?} in command"))),
        }
    }
    Ok(calls)
}
