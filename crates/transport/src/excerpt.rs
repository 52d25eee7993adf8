//! How much of a client's text may stand in the log.
//!
//! Pure: no clock, no I/O, no tasks.

/// Longest text of a client's in one line of the log, in bytes.
const MAX_BYTES: usize = 100;

/// The beginning of what a client called something, 100 bytes at most. Log it as a string, never with `%`: a line break in it must not
/// begin a line of the log.
///
/// ```
/// # use matryoshka_transport::excerpt;
/// assert_eq!(excerpt("room:lobby"), "room:lobby");
/// assert_eq!(excerpt(&"x".repeat(1_000)).len(), 100);
/// ```
pub fn excerpt(text: &str) -> &str {
    cut(text, MAX_BYTES)
}

/// The beginning of a text, of so many bytes or fewer, between two characters.
pub(crate) fn cut(text: &str, max_bytes: usize) -> &str {
    let longest = max_bytes.min(text.len());
    let end = (0..=longest).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_between_characters() {
        assert_eq!(excerpt("short"), "short");
        assert_eq!(excerpt(&"x".repeat(MAX_BYTES + 1)).len(), MAX_BYTES);
        assert_eq!(
            excerpt(&format!("a{}", "é".repeat(MAX_BYTES))).len(),
            MAX_BYTES - 1
        );
    }
}
