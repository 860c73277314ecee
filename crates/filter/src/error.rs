//! Why an expression was refused. `Display` is the text a client sees after the prefix
//! `Failed to create boolean expression evaluator: `, which the caller adds.

use std::fmt::Write as _;

use thiserror::Error;

use crate::goquote::quote;

/// The reason an expression was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FilterError {
    /// The text does not follow the grammar; one line per finding, each with its position.
    #[error("{0}")]
    Syntax(String),
    /// The selector names no field of the records.
    #[error("Selector {} is not valid", quote(.0))]
    Selector(String),
    /// The field exists but does not know the operator.
    #[error("Invalid match operator \"{op}\" for selector {}", quote(selector))]
    Operator {
        /// The operator as the message names it, such as `Is Empty`.
        op: &'static str,
        /// The selector with its parts joined by dots.
        selector: String,
    },
    /// The value is not of the field's type.
    #[error(
        "Failed to coerce value {} for selector {}: {reason}",
        quote(value),
        quote(selector)
    )]
    Coerce {
        /// The value as written.
        value: String,
        /// The selector with its parts joined by dots.
        selector: String,
        /// What is wrong with the value.
        reason: String,
    },
    /// The regular expression of a `matches` does not compile.
    #[error("Failed to compile regular expression {}: {reason}", quote(pattern))]
    Regexp {
        /// The expression as written.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More bytes than [`crate::EXPR_SIZE_MAX`].
    #[error(
        "expression of {size} bytes is too long, the limit is {}",
        crate::EXPR_SIZE_MAX
    )]
    TooLong {
        /// Size of the refused text.
        size: usize,
    },
    /// Parentheses and `not`s nest deeper than the parser follows.
    #[error("expression nests deeper than {limit} levels")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// More regular expressions than one filter may hold.
    #[error("expression holds more than {limit} regular expressions")]
    TooManyRegexps {
        /// The limit.
        limit: usize,
    },
}

/// Renders one finding of the parser: `line:column (offset): text`.
pub(crate) fn at(src: &str, offset: usize, text: &str) -> String {
    // Line and column count what was read up to and including the character at the offset.
    let before = src.get(..offset).unwrap_or(src);
    let mut line = 1 + before.matches('\n').count();
    let mut column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
    if src[before.len()..].starts_with('\n') {
        line += 1;
        column = 0;
    }
    let mut out = String::new();
    let _ = write!(out, "{line}:{column} ({offset}): {text}");
    out
}
