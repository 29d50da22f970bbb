//! Who slowed p99: where the time of the same requests went in both runs, for all of them and for the slowest 1 %.
//!
//! The parts of a latency sum to it exactly, on either side, so the differences of the parts sum to the difference of
//! the latencies. Pairs are not kept: their sums are, by how long the request took in the run with, in 256 steps an
//! octave; the slowest 1 % are the steps from the top down until 1 % of the pairs are in them, the last one whole.
//!
//! The slowest are chosen by how long they took in the run with, so of what only chance made slow there some counts as
//! slowed: where the runs are not the same to the nanosecond, differences of the slowest lie above those of all even when
//! nothing is wrong.

use super::end::End;
use crate::time::Span;

/// The parts of a latency in an attribution. `steps` is prefill and decode.
pub(super) const PARTS: [&str; 7] =
    ["earlier-attempts", "overhead", "gateway-queue", "engine-queue", "steps", "transfer", "preemption"];

/// Which of [`PARTS`] are the steps.
const STEPS: usize = 4;

/// What of the steps batch tokens in them took, and everything else about them: the real-time requests that it met, and
/// when. Take the place of `steps` where they are told apart.
pub(super) const SPLIT: [&str; 2] = ["steps-beside-batch", "steps-trajectory"];

/// Sums over pairs, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::experiment) struct Sums {
    /// How many pairs.
    pub pairs: u64,
    /// Of the run with: by part.
    pub with: [u128; PARTS.len()],
    /// Of the run without: by part.
    pub without: [u128; PARTS.len()],
    /// Of the run with: by how much batch tokens made its steps longer. Zero where that is not told apart.
    pub beside_with: u128,
    /// The same of the run without.
    pub beside_without: u128,
}

impl Sums {
    /// Adds other pairs. Exact, in any order.
    pub(super) fn merge(&mut self, other: &Sums) {
        self.pairs += other.pairs;
        for (mine, theirs) in self.with.iter_mut().zip(&other.with) {
            *mine += theirs;
        }
        for (mine, theirs) in self.without.iter_mut().zip(&other.without) {
            *mine += theirs;
        }
        self.beside_with += other.beside_with;
        self.beside_without += other.beside_without;
    }

    /// Part by part: name, sum with, sum without. With `split`, what batch tokens took of the steps stands apart from
    /// what is left of them, which may be negative: steps that are lost to a preemption count as that, not as steps. The
    /// differences sum to the difference of the latencies.
    pub(super) fn parts(&self, split: bool) -> Vec<(&'static str, i128, i128)> {
        let signed = |sum: u128| i128::try_from(sum).expect("a sum of times beyond 2^127 ns");
        let mut parts = Vec::new();
        for (index, name) in PARTS.into_iter().enumerate() {
            let (with, without) = (signed(self.with[index]), signed(self.without[index]));
            if index == STEPS && split {
                let (beside, before) = (signed(self.beside_with), signed(self.beside_without));
                parts.push((SPLIT[0], beside, before));
                parts.push((SPLIT[1], with - beside, without - before));
            } else {
                parts.push((name, with, without));
            }
        }
        parts
    }
}

/// What one pair adds.
#[derive(Clone, Copy, Debug)]
struct Parts {
    ns: [u64; PARTS.len()],
    beside: u64,
    /// The latency that they sum to.
    whole: u64,
}

impl Parts {
    /// Of the whole request.
    fn of_e2e(end: &End) -> Self {
        let b = &end.budget;
        let parts = [
            b.earlier_attempts,
            b.overhead,
            b.gateway_queue,
            b.engine_queue,
            b.prefill + b.decode,
            b.transfer,
            b.preemption,
        ];
        Parts {
            ns: parts.map(|part| part.as_nanos()),
            beside: end.beside.as_nanos(),
            whole: end.e2e.as_nanos(),
        }
    }

    /// Up to the first token. What of `beside` came before it is not known: it stays in the steps.
    fn of_ttft(end: &End) -> Option<Self> {
        let b = &end.budget;
        let parts = [
            end.earlier,
            b.overhead,
            b.gateway_queue,
            b.engine_queue,
            b.prefill,
            Span::ZERO,
            end.preempted_before_first,
        ];
        Some(Parts { ns: parts.map(|part| part.as_nanos()), beside: 0, whole: end.ttft?.as_nanos() })
    }
}

/// Sums by how long the request took in the run with.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf(Vec<Sums>);

/// Which step of the shelf holds `ns`: below 512 each has its own, then 256 an octave. Grows with `ns`.
fn step_of(ns: u64) -> usize {
    let shift = (64 - ns.leading_zeros()).saturating_sub(9);
    (shift as usize) * 256 + (ns >> shift) as usize
}

impl Shelf {
    /// Adds a pair that both runs completed.
    #[inline]
    pub(super) fn add_e2e(&mut self, with: &End, without: &End) {
        self.add(&Parts::of_e2e(with), &Parts::of_e2e(without));
    }

    /// Adds a pair of which both have a first token.
    #[inline]
    pub(super) fn add_ttft(&mut self, with: &End, without: &End) {
        if let (Some(with), Some(without)) = (Parts::of_ttft(with), Parts::of_ttft(without)) {
            self.add(&with, &without);
        }
    }

    #[inline]
    fn add(&mut self, with: &Parts, without: &Parts) {
        let step = step_of(with.whole);
        if step >= self.0.len() {
            self.0.resize(step + 1, Sums::default());
        }
        let sums = &mut self.0[step];
        let mut difference = 0i64;
        for part in 0..PARTS.len() {
            let (a, b) = (with.ns[part], without.ns[part]);
            sums.with[part] += u128::from(a);
            sums.without[part] += u128::from(b);
            difference += a.wrapping_sub(b) as i64;
        }
        assert_eq!(
            difference,
            with.whole.wrapping_sub(without.whole) as i64,
            "parts do not sum to the difference of {} and {} ns: {:?} and {:?}",
            with.whole,
            without.whole,
            with.ns,
            without.ns
        );
        sums.pairs += 1;
        sums.beside_with += u128::from(with.beside);
        sums.beside_without += u128::from(without.beside);
    }

    /// All pairs, and the slowest 1 % of them.
    pub(super) fn sums(&self) -> (Sums, Sums) {
        let mut all = Sums::default();
        for sums in &self.0 {
            all.merge(sums);
        }
        let mut slow = Sums::default();
        for sums in self.0.iter().rev() {
            // 100 * slow < all: fewer than 1 % so far.
            if u128::from(slow.pairs) * 100 >= u128::from(all.pairs) {
                break;
            }
            slow.merge(sums);
        }
        (all, slow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Budget, Outcome};
    use crate::time::Time;
    use proptest::prelude::*;

    fn end(parts: [u64; 8], beside: u64) -> End {
        let [earlier, overhead, gateway, engine, prefill, transfer, decode, preemption] =
            parts.map(Span::from_nanos);
        let budget = Budget {
            earlier_attempts: earlier,
            overhead,
            gateway_queue: gateway,
            engine_queue: engine,
            prefill,
            transfer,
            decode,
            preemption,
        };
        End {
            outcome: Outcome::Completed,
            reason: None,
            pool: 0,
            arrived: Time::ZERO,
            e2e: budget.total(),
            client_e2e: budget.total(),
            earlier,
            ttft: Some(earlier + overhead + gateway + engine + prefill),
            tpot: None,
            budget,
            preempted_before_first: Span::ZERO,
            beside: Span::from_nanos(beside),
        }
    }

    #[test]
    fn steps_of_the_shelf_grow_with_the_latency_and_are_at_most_four_thousandths_wide() {
        let mut last = 0;
        for ns in (0..5_000u64).chain((1..200).map(|i| i * 7_919_000_003)) {
            let step = step_of(ns);
            assert!(step >= last, "{ns}");
            last = step;
            assert!(step_of(ns + ns / 250 + 1) > step, "{ns}");
        }
        assert!(step_of(u64::MAX) < 15_000);
    }

    #[test]
    fn the_slowest_one_percent_are_the_slowest_of_the_run_with() {
        let mut shelf = Shelf::default();
        for i in 0..1_000u64 {
            // The slowest of the run with are the fastest of the run without.
            let with = end([0, 0, i * 1_000_000, 0, 10, 0, 20, 0], 5);
            let without = end([0, 0, 0, (1_000 - i) * 1_000, 10, 0, 20, 0], 0);
            shelf.add_e2e(&with, &without);
        }
        let (all, slow) = shelf.sums();
        assert_eq!(all.pairs, 1_000);
        assert!((10..=14).contains(&slow.pairs), "{}", slow.pairs);
        assert!(slow.with[2] >= u128::from(slow.pairs) * 985_000_000);
        assert!(slow.without[3] <= u128::from(slow.pairs) * 15_000);
        assert_eq!((slow.beside_with, slow.beside_without), (5 * u128::from(slow.pairs), 0));
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_difference_of_the_latencies_split_or_not(
            pairs in prop::collection::vec((any::<[u32; 8]>(), any::<[u32; 8]>(), any::<u32>(), any::<u32>()), 1..50),
        ) {
            let mut shelf = Shelf::default();
            let (mut with_ns, mut without_ns) = (0i128, 0i128);
            for (a, b, x, y) in pairs {
                let (with, without) = (end(a.map(u64::from), x.into()), end(b.map(u64::from), y.into()));
                with_ns += i128::from(with.e2e.as_nanos());
                without_ns += i128::from(without.e2e.as_nanos());
                shelf.add_e2e(&with, &without);
            }
            let (all, slow) = shelf.sums();
            for split in [false, true] {
                let parts = all.parts(split);
                prop_assert_eq!(parts.iter().map(|part| part.1).sum::<i128>(), with_ns);
                prop_assert_eq!(parts.iter().map(|part| part.2).sum::<i128>(), without_ns);
            }
            prop_assert!(slow.pairs >= 1 && slow.pairs <= all.pairs);
        }
    }
}
