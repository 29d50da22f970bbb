//! Colours: told apart by people with any colour vision, on white and on black.
//!
//! Figures are drawn in the light colours. Their SVG carries a style sheet that swaps each for its dark one where
//! the reader prefers dark, so a colour may be used in one role only.

use plotters::style::RGBColor;

/// A colour on white and on black.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ink {
    pub(super) light: RGBColor,
    pub(super) dark: RGBColor,
}

const fn ink(light: u32, dark: u32) -> Ink {
    const fn rgb(hex: u32) -> RGBColor {
        RGBColor((hex >> 16) as u8, (hex >> 8) as u8, hex as u8)
    }
    Ink { light: rgb(light), dark: rgb(dark) }
}

pub(super) const PAPER: Ink = ink(0xFF_FF_FF, 0x15_1A_20);
pub(super) const TEXT: Ink = ink(0x1B_25_30, 0xE8_EC_F0);
pub(super) const SOFT: Ink = ink(0x56_62_6F, 0xA6_B0_BB);
pub(super) const AXIS: Ink = ink(0x9A_A5_B1, 0x5A_66_73);
pub(super) const GRID: Ink = ink(0xE6_EA_EE, 0x2A_32_3B);
pub(super) const SHADE: Ink = ink(0xF4_F6_F8, 0x1C_22_29);
/// A bound that should not be crossed.
pub(super) const LIMIT: Ink = ink(0xB0_1E_3C, 0xFF_7B_8E);

/// Series, in order. After Okabe and Ito, *Color universal design* (2008), darkened or lightened to 3:1 contrast.
pub(super) const SERIES: [Ink; 6] = [
    ink(0x00_72_B2, 0x5A_B4_EB),
    ink(0xD5_5E_00, 0xFF_93_4D),
    ink(0x00_8F_68, 0x3C_C9_9E),
    ink(0xA8_4A_88, 0xE4_9A_C9),
    ink(0xA0_73_00, 0xE6_B4_3C),
    ink(0x4A_55_A8, 0xA0_A8_F0),
];

/// Every ink, for the style sheet.
pub(super) fn all() -> impl Iterator<Item = Ink> {
    [PAPER, TEXT, SOFT, AXIS, GRID, SHADE, LIMIT].into_iter().chain(SERIES)
}

/// `#RRGGBB`, as plotters writes it.
pub(super) fn hex(color: RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", color.0, color.1, color.2)
}

/// CSS that turns a figure dark; `scope` is put before each selector.
pub(super) fn dark_rules(scope: &str) -> String {
    all()
        .map(|ink| {
            let (light, dark) = (hex(ink.light), hex(ink.dark));
            format!("{scope} [fill=\"{light}\"]{{fill:{dark}}}{scope} [stroke=\"{light}\"]{{stroke:{dark}}}")
        })
        .collect()
}
