//! Regular expressions of flags, with Go's words for the common mistakes.

use regex::Regex;

/// Compiles, or says what is wrong as Go's `regexp` does.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| {
        let text = error.to_string();
        let known = [
            ("unclosed group", "missing closing )"),
            ("unopened group", "unexpected )"),
            ("unclosed character class", "missing closing ]"),
            (
                "repetition operator missing",
                "missing argument to repetition operator",
            ),
            ("look-around", "invalid or unsupported Perl syntax"),
        ];
        let why = known
            .iter()
            .find(|(ours, _)| text.contains(ours))
            .map(|(_, go)| *go);
        let last = text
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        format!("error parsing regexp: {}: `{pattern}`", why.unwrap_or(last))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn mistakes_are_worded_as_go_words_them() {
        let err = super::compile("(").unwrap_err();
        assert_eq!(err, "error parsing regexp: missing closing ): `(`");
        assert!(super::compile("a.*e").unwrap().is_match("alive"));
    }
}
