//! UUIDs in requests, with the error texts of the places that read them (read off a running Consul 1.8.7).
//!
//! The session table takes any 36 characters with at most four dashes whose rest is hexadecimal; node IDs must have the
//! usual form.

use crate::id::{SessionId, Uuid};

/// A session named by a client. `None` in `Ok` is an ID that is well formed for the table but that no session can have.
pub fn parse_session(given: &str) -> Result<Option<SessionId>, String> {
    lookup(given).map_err(|why| format!("failed session lookup: index error: {why}"))
}

/// A prepared query named by a client; as [`parse_session`], with the texts of its table.
pub fn parse_query(given: &str) -> Result<Option<Uuid>, String> {
    lookup(given).map_err(|why| format!("failed prepared query lookup: index error: {why}"))
}

/// Why `given` is no ID of a table named `table` (`session`, `prepared query`, `intention`), if it is none.
pub fn lookup_error(table: &str, given: &str) -> Option<String> {
    lookup(given)
        .err()
        .map(|why| format!("failed {table} lookup: index error: {why}"))
}

fn lookup(given: &str) -> Result<Option<Uuid>, String> {
    if let Ok(id) = Uuid::parse(given) {
        return Ok(Some(id));
    }
    if given.len() != 36 {
        return Err("UUID must be 36 characters".to_owned());
    }
    let dashes = given.matches('-').count();
    if dashes > 4 {
        return Err(format!("UUID should have maximum of 4 \"-\"; got {dashes}"));
    }
    let digits = given.replace('-', "");
    if !digits.len().is_multiple_of(2) {
        return Err("Input (without hyphens) must be even length".to_owned());
    }
    match bad_hex(&digits) {
        Some(why) => Err(format!("Invalid UUID: {why}")),
        // 36 characters and not the usual form: not 16 bytes, or dashes in odd places.
        None => Ok(dashed(&digits)),
    }
}

fn dashed(digits: &str) -> Option<Uuid> {
    let parts = [
        digits.get(..8)?,
        digits.get(8..12)?,
        digits.get(12..16)?,
        digits.get(16..20)?,
        digits.get(20..)?,
    ];
    Uuid::parse(&parts.join("-")).ok()
}

/// A node ID; the error text is that of the catalog.
pub fn parse_node_id(given: &str) -> Result<Uuid, String> {
    if let Ok(id) = Uuid::parse(given) {
        return Ok(id);
    }
    if given.len() != 36 {
        return Err("uuid string is wrong length".to_owned());
    }
    let bytes = given.as_bytes();
    if [8, 13, 18, 23]
        .iter()
        .any(|at| bytes.get(*at) != Some(&b'-'))
    {
        return Err("uuid is improperly formatted".to_owned());
    }
    let digits: String = given
        .chars()
        .enumerate()
        .filter(|(at, _)| ![8, 13, 18, 23].contains(at))
        .map(|(_, c)| c)
        .collect();
    Err(bad_hex(&digits).unwrap_or_else(|| "uuid is improperly formatted".to_owned()))
}

fn bad_hex(digits: &str) -> Option<String> {
    let bad = digits.bytes().find(|b| !b.is_ascii_hexdigit())?;
    let shown = char::from(bad);
    // Bytes are shown as characters of Latin-1, where they can be printed.
    let is_printable = matches!(shown, ' '..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{ff}');
    Some(if is_printable {
        format!(
            "encoding/hex: invalid byte: U+{:04X} '{shown}'",
            u32::from(bad)
        )
    } else {
        format!("encoding/hex: invalid byte: U+{:04X}", u32::from(bad))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_session_ids_say_why_in_the_tables_words() {
        for (given, want) in [
            (
                "x",
                "failed session lookup: index error: UUID must be 36 characters",
            ),
            (
                "",
                "failed session lookup: index error: UUID must be 36 characters",
            ),
            (
                "adf4238a-882b-9ddc-4a9d-5b6758e4159g",
                "failed session lookup: index error: Invalid UUID: encoding/hex: invalid byte: U+0067 'g'",
            ),
            (
                "------------------------------------",
                "failed session lookup: index error: UUID should have maximum of 4 \"-\"; got 36",
            ),
        ] {
            assert_eq!(parse_session(given), Err(want.to_owned()));
        }
        assert_eq!(
            parse_session("ad-f4238a882b-9ddc-4a9d-5b6758e4159e"),
            parse_session("adf4238a-882b-9ddc-4a9d-5b6758e4159e")
        );
        assert_eq!(
            parse_session("adf4238a882b9ddc4a9d5b6758e4159eabcd"),
            Ok(None)
        );
    }

    #[test]
    fn bad_node_ids_say_why_in_the_catalogs_words() {
        for (given, want) in [
            ("x", "uuid string is wrong length"),
            (
                "adf4238a-882b-9ddc-4a9d-5b6758e4159g",
                "encoding/hex: invalid byte: U+0067 'g'",
            ),
            (
                "adf4238a+882b-9ddc-4a9d-5b6758e4159e",
                "uuid is improperly formatted",
            ),
            (
                "ädf4238a-882b-9ddc-4a9d-5b6758e4159",
                "uuid is improperly formatted",
            ),
        ] {
            assert_eq!(parse_node_id(given), Err(want.to_owned()), "{given}");
        }
    }
}
