//! What counts as a token of a prompt.

use std::fmt;

/// How tokens are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tokenizer {
    /// A word is a token: what an emulated gateway counts.
    #[default]
    Words,
    /// The vocabulary `o200k_base` (GPT-4o and later, and a fair guess at others).
    O200k,
    /// The vocabulary `cl100k_base` (GPT-4, GPT-3.5).
    Cl100k,
}

impl Tokenizer {
    /// All of them.
    pub const ALL: [Tokenizer; 3] = [Tokenizer::Words, Tokenizer::O200k, Tokenizer::Cl100k];

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Tokenizer::Words => "words",
            Tokenizer::O200k => "o200k",
            Tokenizer::Cl100k => "cl100k",
        }
    }

    /// Tokens of `text`. O(text); the first call of a vocabulary reads it, which takes a fraction of a second.
    pub fn count(self, text: &str) -> usize {
        match self {
            Tokenizer::Words => text.split_whitespace().count(),
            Tokenizer::O200k => bpe_openai::o200k_base().count(text),
            Tokenizer::Cl100k => bpe_openai::cl100k_base().count(text),
        }
    }
}

impl fmt::Display for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
