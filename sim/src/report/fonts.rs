//! The embedded font, so that bitmaps need none of the system: Noto Sans (SIL Open Font Licence 1.1), which the
//! crate `notosans` carries with its licence.

use plotters::style::{FontStyle, register_font};
use std::sync::Once;

/// The family that figures name. In an SVG it is whatever sans-serif the reader has.
pub(super) const FAMILY: &str = "sans-serif";

/// Makes the font known to plotters; once a process.
pub(super) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (style, bytes) in
            [(FontStyle::Normal, notosans::REGULAR_TTF), (FontStyle::Bold, notosans::BOLD_TTF)]
        {
            assert!(register_font(FAMILY, style, bytes).is_ok(), "the embedded font is broken");
        }
    });
}
