//! HCL 1, the language of agent configuration files: text in, generic tree out.
//!
//! Three steps, one file each: [`lexer`] (characters to tokens), [`parser`] (tokens to items), [`lower`] (items to the
//! tree, with Go's rules for repeated keys and nested blocks). Nothing is evaluated: `${...}` stays text.
//! Rules: dependencies.md section 10 and `consul validate` of 1.8.7; error texts are the ones that program prints.

mod lexer;
mod lower;
mod parser;

use crate::error::ParseError;
use crate::tree::Object;

/// Parses HCL text; text that begins with `{` or `[` is taken as JSON, as HCL 1 does.
pub(crate) fn parse(text: &str) -> Result<Object, ParseError> {
    if text.trim_start().starts_with(['{', '[']) {
        return crate::json::parse(text);
    }
    let items = parser::parse(text)?;
    lower::lower(&items)
}

#[cfg(test)]
mod tests;
