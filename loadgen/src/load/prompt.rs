//! Prompts of a wanted number of tokens, made of words that are one token each.
//!
//! Which tokens repeat is what the scenario says: the shared beginning is the same in all requests of a workload, the rest
//! is the same, position by position, wherever the identity is the same, and differs from the first words on wherever it
//! is not, so that no cache of prefixes finds what the scenario does not have. Writing one copies slices of a text that was
//! made before; nothing is drawn but the first words.

use super::tokenizer::Tokenizer;
use tidegate_sim::request::{HashChain, Prefix};
use tidegate_sim::rng::mix;

/// Frequent English words: in every vocabulary of tokens they are one token with the space before them.
const WORDS: &str = "the of and to in is that for it as was with be by on not he his but at are this have from or had an \
    they which one you were all her she there would their we him been has when who will no more if out so up said what \
    its about than into them can only other time new some could these two may first then do any like my now over such \
    our man me even most made after also did many off before must well back through years much where your way down \
    should because long each just state those people too good very make world still see own work life both between \
    being under never same day might last great year come since right use take house";

/// Words at the beginning that are drawn one by one.
const DRAWN: u32 = 8;
/// Words of the text that the rest is cut from.
const TEXT: usize = 1 << 16;

/// Makes prompts.
#[derive(Debug)]
pub struct Prompts {
    words: Vec<Vec<u8>>,
    text: Vec<u8>,
    /// Where each word of `text` begins, and the end.
    starts: Vec<u32>,
}

impl Prompts {
    /// Prompts whose tokens are counted by `tokenizer`.
    pub fn new(tokenizer: Tokenizer) -> Self {
        let single = |word: &&str| tokenizer.count(&format!(" {word}")) == 1;
        let words: Vec<Vec<u8>> =
            WORDS.split_whitespace().filter(single).map(|word| format!(" {word}").into_bytes()).collect();
        assert!(words.len() >= 64, "only {} words are one token by {tokenizer}", words.len());
        let (mut text, mut starts) = (Vec::new(), Vec::with_capacity(TEXT + 1));
        for at in 0..TEXT as u64 {
            starts.push(u32::try_from(text.len()).expect("the text is a few hundred kilobytes"));
            text.extend_from_slice(&words[mix(at) as usize % words.len()]);
        }
        starts.push(u32::try_from(text.len()).expect("the text is a few hundred kilobytes"));
        Prompts { words, text, starts }
    }

    /// Writes a prompt of `tokens` tokens as the inside of a JSON text. `unique` is an identity that no other request has,
    /// for what never repeats.
    pub fn write(
        &self,
        out: &mut Vec<u8>,
        tokens: u32,
        prefix: &Prefix,
        chain: Option<&HashChain>,
        unique: u64,
    ) {
        if let Some(chain) = chain {
            return self.write_chain(out, tokens, chain, unique);
        }
        let shared = prefix.shared_tokens.min(tokens);
        self.part(out, prefix.shared, shared);
        self.part(out, if prefix.own == 0 { unique } else { prefix.own }, tokens - shared);
    }

    /// Blocks of a recorded prompt: equal hashes, equal words.
    fn write_chain(&self, out: &mut Vec<u8>, tokens: u32, chain: &HashChain, unique: u64) {
        let mut left = tokens;
        for &hash in &chain.hashes {
            let block = chain.tokens_per_hash.min(left);
            self.part(out, hash, block);
            left -= block;
        }
        self.part(out, unique, left);
    }

    /// The first `tokens` words of the endless text called `identity`.
    fn part(&self, out: &mut Vec<u8>, identity: u64, tokens: u32) {
        let drawn = tokens.min(DRAWN);
        for word in 0..drawn {
            let at = mix(identity ^ mix(u64::from(word) + 1));
            out.extend_from_slice(&self.words[at as usize % self.words.len()]);
        }
        let mut from = mix(identity) as usize % TEXT;
        let mut left = (tokens - drawn) as usize;
        while left > 0 {
            let words = left.min(TEXT - from);
            let (start, end) = (self.starts[from] as usize, self.starts[from + words] as usize);
            out.extend_from_slice(&self.text[start..end]);
            left -= words;
            from = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(prompts: &Prompts, tokens: u32, prefix: &Prefix, unique: u64) -> String {
        let mut out = Vec::new();
        prompts.write(&mut out, tokens, prefix, None, unique);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn prompts_have_the_tokens_that_were_asked_for_by_every_count() {
        for tokenizer in Tokenizer::ALL {
            let prompts = Prompts::new(tokenizer);
            let shared = Prefix { shared: 77, shared_tokens: 40, own: 0 };
            for tokens in [1, 2, 7, 8, 9, 100, 1_000, 70_000] {
                let text = text(&prompts, tokens, &shared, u64::from(tokens));
                assert_eq!(tokenizer.count(&text), tokens as usize, "{tokenizer}");
            }
        }
    }

    #[test]
    fn what_is_shared_is_equal_and_what_is_not_differs_from_its_first_words_on() {
        let prompts = Prompts::new(Tokenizer::Words);
        let shared = Prefix { shared: 3, shared_tokens: 50, own: 0 };
        let [a, b] = [1, 2].map(|unique| text(&prompts, 200, &shared, unique));
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let (a, b) = (words(&a), words(&b));
        assert_eq!(a[..50], b[..50]);
        assert_ne!(a[50..58], b[50..58]);
    }

    #[test]
    fn a_later_turn_begins_with_the_earlier_one() {
        let prompts = Prompts::new(Tokenizer::Words);
        let session = Prefix { shared: 3, shared_tokens: 5, own: 99 };
        let first = text(&prompts, 60, &session, 1);
        let second = text(&prompts, 90_000, &session, 2);
        assert!(second.starts_with(&first));
    }

    #[test]
    fn equal_hashes_are_equal_blocks() {
        let prompts = Prompts::new(Tokenizer::Words);
        let write = |hashes: &[u64], tokens| {
            let mut out = Vec::new();
            let chain = HashChain { tokens_per_hash: 16, hashes: hashes.to_vec() };
            prompts.write(&mut out, tokens, &Prefix::default(), Some(&chain), 5);
            String::from_utf8(out).unwrap()
        };
        let (a, b) = (write(&[1, 2, 3], 40), write(&[1, 2, 4], 48));
        assert_eq!(a.split_whitespace().count(), 40);
        let block = |text: &str, at: usize| text.split_whitespace().skip(at * 16).take(8).collect::<String>();
        assert_eq!((block(&a, 0), block(&a, 1)), (block(&b, 0), block(&b, 1)));
        assert_ne!(block(&a, 2), block(&b, 2));
    }
}
