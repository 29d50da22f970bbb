//! A search that a scenario declares.

/// A search for the largest value of one key with which every ratio property holds. It says nothing about the scenario itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// What is tried.
    pub name: String,
    /// The variant that it begins from; `None`: the scenario itself.
    pub variant: Option<String>,
    /// Path of the key, as for `--set`.
    pub knob: String,
    /// Smallest value.
    pub least: u64,
    /// Largest value; at least `least`.
    pub most: u64,
    /// Values are told apart down to this, at least 1.
    pub step: u64,
    /// What stands behind the number in the file.
    pub unit: String,
}

impl Search {
    /// A value as it would stand in the file: `12`, `"12%"`.
    pub fn value(&self, value: u64) -> String {
        if self.unit.is_empty() { value.to_string() } else { format!("\"{value}{}\"", self.unit) }
    }

    /// The override that sets the knob to a value.
    pub fn setting(&self, value: u64) -> String {
        format!("{}={}", self.knob, self.value(value))
    }
}
