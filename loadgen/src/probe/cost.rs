//! What a probe costs: requests, tokens, bytes, time.

use std::ops::AddAssign;
use tidegate_sim::scenario::live::TokenPrices;
use tidegate_sim::time::Span;

/// What something costs at most, if the gateway is as documented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Requests that are sent, refused ones included.
    pub requests: u64,
    /// Prompt tokens of those that are let in.
    pub prompt_tokens: u64,
    /// Output tokens of those that are let in.
    pub output_tokens: u64,
    /// Bytes that are sent.
    pub bytes: u64,
    /// How long it takes, without the time that answers take.
    pub time: Span,
}

impl Cost {
    /// Its price, when prices are known.
    pub fn price(&self, prices: Option<TokenPrices>) -> Option<f64> {
        let prices = prices?;
        let of = |tokens: u64, million: f64| tokens as f64 * million / 1e6;
        Some(of(self.prompt_tokens, prices.prompt) + of(self.output_tokens, prices.output))
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        self.requests = self.requests.saturating_add(other.requests);
        self.prompt_tokens = self.prompt_tokens.saturating_add(other.prompt_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.time = Span::from_nanos(self.time.as_nanos().saturating_add(other.time.as_nanos()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_of_tokens_by_the_million() {
        let cost = Cost { prompt_tokens: 2_000_000, output_tokens: 500_000, ..Cost::default() };
        let prices = TokenPrices { prompt: 0.25, output: 2.0 };
        assert_eq!(cost.price(Some(prices)), Some(1.5));
        assert_eq!(cost.price(None), None);
    }
}
