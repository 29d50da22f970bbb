//! What an emulated gateway does wrong on the wire: which request has which trouble.

use tidegate_sim::request::WorkloadId;
use tidegate_sim::rng;
use tidegate_sim::scenario::live::Trouble;
use tidegate_sim::time::Span;

/// What goes wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ill {
    /// The connection is reset.
    Reset,
    /// The answer stands still after its first event for so long.
    Stall(Span),
    /// The answer is status 500.
    ServerError,
    /// An error inside a stream that began with status 200.
    StreamError,
}

/// What goes wrong with request `number` of a workload, if anything: the same in every run with the same seed.
pub fn of(trouble: &Trouble, seed: u64, workload: WorkloadId, number: u64) -> Option<Ill> {
    let kinds = [
        (trouble.resets, Ill::Reset),
        (trouble.stalls, Ill::Stall(trouble.stall)),
        (trouble.server_errors, Ill::ServerError),
        (trouble.stream_errors, Ill::StreamError),
    ];
    if kinds.iter().all(|(share, _)| *share == 0.0) {
        return None;
    }
    let hash = rng::mix(rng::mix(rng::mix(seed ^ 0x7472_6f75_626c_6500) ^ u64::from(workload)) ^ number);
    // 53 bits: every value is exact.
    let drawn = (hash >> 11) as f64 / (1_u64 << 53) as f64;
    let mut below = 0.0;
    kinds.into_iter().find_map(|(share, ill)| {
        below += share;
        (drawn < below).then_some(ill)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept_and_repeat() {
        let trouble = Trouble {
            resets: 0.1,
            stalls: 0.2,
            stall: Span::from_secs(5),
            server_errors: 0.05,
            stream_errors: 0.15,
        };
        let count = |wanted: Option<Ill>| (0..20_000).filter(|&n| of(&trouble, 7, 1, n) == wanted).count();
        // Shares of 20,000 draws within four standard deviations.
        for (ill, share) in [
            (Some(Ill::Reset), 0.1_f64),
            (Some(Ill::Stall(trouble.stall)), 0.2),
            (Some(Ill::ServerError), 0.05),
            (Some(Ill::StreamError), 0.15),
            (None, 0.5),
        ] {
            let (found, wanted) = (count(ill) as f64, 20_000.0 * share);
            assert!((found - wanted).abs() < 4.0 * (wanted * (1.0 - share)).sqrt(), "{ill:?}: {found}");
        }
        assert!((0..100).all(|n| of(&trouble, 7, 1, n) == of(&trouble, 7, 1, n)));
        assert!((0..100).any(|n| of(&trouble, 7, 1, n) != of(&trouble, 8, 1, n)));
    }

    #[test]
    fn all_or_nothing_is_exact() {
        let all = Trouble { resets: 1.0, ..Trouble::default() };
        assert!((0..1_000).all(|n| of(&all, 1, 0, n) == Some(Ill::Reset)));
        assert!((0..1_000).all(|n| of(&Trouble::default(), 1, 0, n).is_none()));
    }
}
