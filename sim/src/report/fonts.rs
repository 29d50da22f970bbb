//! The embedded font, so that bitmaps need none of the system. See `assets/inter/README.md` for its licence.

use plotters::style::{FontStyle, register_font};
use std::sync::Once;

pub(super) const REGULAR: &[u8] = include_bytes!("../../assets/inter/Inter-Regular-subset.ttf");
pub(super) const SEMI_BOLD: &[u8] = include_bytes!("../../assets/inter/Inter-SemiBold-subset.ttf");

/// The family that figures name. In an SVG it is whatever sans-serif the reader has.
pub(super) const FAMILY: &str = "sans-serif";

/// Makes the font known to plotters; once a process.
pub(super) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (style, bytes) in [(FontStyle::Normal, REGULAR), (FontStyle::Bold, SEMI_BOLD)] {
            assert!(register_font(FAMILY, style, bytes).is_ok(), "the embedded font is broken");
        }
    });
}

/// Standard base64 (RFC 4648), for a font inside a style sheet.
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_matches_the_rfc_examples() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
