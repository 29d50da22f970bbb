//! Tokens that accounts have enqueued, by account and model.

use std::collections::BTreeMap;

/// Tokens enqueued by each account for each model, in u64 to the token.
#[derive(Clone, Debug, Default)]
pub struct Quota {
    used: BTreeMap<(u32, u16), u64>,
}

impl Quota {
    /// Takes `tokens` for an account and a model when no more than `most` are enqueued then; otherwise changes nothing
    /// and returns how many are enqueued. O(log accounts).
    ///
    /// # Errors
    /// The tokens that are enqueued already.
    pub fn take(&mut self, owner: u32, model: u16, tokens: u64, most: Option<u64>) -> Result<(), u64> {
        let used = self.used.entry((owner, model)).or_default();
        match used.checked_add(tokens) {
            Some(sum) if most.is_none_or(|most| sum <= most) => {
                *used = sum;
                Ok(())
            }
            _ => Err(*used),
        }
    }

    /// Gives tokens back.
    ///
    /// Panics when more are given back than were taken.
    pub fn give_back(&mut self, owner: u32, model: u16, tokens: u64) {
        let used = self.used.entry((owner, model)).or_default();
        assert!(*used >= tokens, "account {owner} gives back {tokens} of {used} enqueued tokens");
        *used -= tokens;
    }

    /// Tokens enqueued now.
    pub fn used(&self, owner: u32, model: u16) -> u64 {
        self.used.get(&(owner, model)).copied().unwrap_or(0)
    }

    /// Tokens enqueued now by everybody.
    pub fn total(&self) -> u128 {
        self.used.values().map(|&used| u128::from(used)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_BILLION: u64 = 10_000_000_000;

    #[test]
    fn the_quota_is_exact_to_the_token_beyond_32_bits() {
        for (tokens, fits) in [(TEN_BILLION - 1, true), (TEN_BILLION, true), (TEN_BILLION + 1, false)] {
            let mut quota = Quota::default();
            assert_eq!(quota.take(0, 0, tokens, Some(TEN_BILLION)).is_ok(), fits, "{tokens}");
        }
    }

    #[test]
    fn other_models_and_accounts_are_unaffected_and_a_refusal_takes_nothing() {
        let mut quota = Quota::default();
        quota.take(0, 0, TEN_BILLION, Some(TEN_BILLION)).unwrap();
        assert_eq!(quota.take(0, 0, 1, Some(TEN_BILLION)), Err(TEN_BILLION));
        quota.take(0, 1, 1, Some(TEN_BILLION)).unwrap();
        quota.take(1, 0, 1, Some(TEN_BILLION)).unwrap();
        quota.give_back(0, 0, 1_000);
        quota.take(0, 0, 1, Some(TEN_BILLION)).unwrap();
        assert_eq!((quota.used(0, 0), quota.total()), (TEN_BILLION - 999, u128::from(TEN_BILLION) - 997));
    }

    #[test]
    fn a_sum_that_no_64_bits_hold_is_refused() {
        let mut quota = Quota::default();
        quota.take(0, 0, u64::MAX, None).unwrap();
        assert_eq!(quota.take(0, 0, 1, None), Err(u64::MAX));
    }
}
