//! Searches for the largest value of a knob, as a scenario file declares them.

use super::decode::{At, section};
use super::leaf::{Count, Name, Text};

section! {
    /// A search for the largest value of one key with which every ratio property holds; for `tidegate plan`.
    struct PlanFile {
        /// What is tried, in a few words; unique.
        name: At<Text>,
        /// The variant that it begins from; the scenario itself when left out.
        variant: Option<At<Name>>,
        /// Path of the key whose value is searched, as for `--set`.
        knob: At<Text>,
        /// Smallest value.
        least: At<Count<0, 1_000_000_000>> = 1,
        /// Largest value.
        most: At<Count<1, 1_000_000_000>>,
        /// Values are told apart down to this.
        step: At<Count<1, 1_000_000_000>> = 1,
        /// What stands behind the number in the file: `%`, `ms`.
        unit: Option<At<Text>>,
        /// `false` leaves the search out.
        enabled: At<bool> = true,
    }
}
