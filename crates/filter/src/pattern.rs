//! Expressions in Go's syntax on their own, for what is no filter: whether they match a text, and the parts that they
//! take out of it.

use std::fmt;

use regex::Regex;

use crate::goregexp;

/// A compiled expression. Cheap to clone.
#[derive(Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles an expression in Go's syntax; its program is bounded.
    ///
    /// # Errors
    /// What is wrong, in Go's words.
    pub fn compile(expression: &str) -> Result<Pattern, String> {
        goregexp::compile(expression).map(Pattern)
    }

    /// True if the expression matches anywhere in `text`. Linear time.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// The first match in `text` and its groups, those that took no part empty; none without a match. Linear time.
    pub fn submatches<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let Some(found) = self.0.captures(text) else {
            return Vec::new();
        };
        found
            .iter()
            .map(|group| group.map_or("", |group| group.as_str()))
            .collect()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.0.as_str()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_took_no_part_are_empty_and_no_match_has_no_groups() {
        let pattern = Pattern::compile("^geo-(a)?(.*?)-([^-]+)$").unwrap();
        assert_eq!(
            pattern.submatches("geo-db-east"),
            ["geo-db-east", "", "db", "east"]
        );
        assert!(pattern.submatches("other").is_empty());
        assert_eq!(
            Pattern::compile("(").unwrap_err(),
            "error parsing regexp: missing closing ): `(`"
        );
    }
}
