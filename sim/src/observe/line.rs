//! Step lengths along a run with a constant batch: a line, rounded down to quanta, summed exactly.

use crate::time::Span;

/// Femtoseconds in a nanosecond.
pub const FEMTOS_PER_NANO: u64 = 1_000_000;

/// Length of the `i`-th step of a run with a constant batch: `floor((a + b*i) / quantum_fs)` quanta.
///
/// Floating point could not promise the same sum however a run is cut; integers can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepLine {
    /// Femtoseconds of step 0; at least one quantum.
    pub a: u64,
    /// Femtoseconds added by each further step (the batch's context grows by one token a sequence).
    pub b: u64,
    /// Femtoseconds in a quantum; a multiple of 1,000,000 (1 ns).
    pub quantum_fs: u64,
}

/// Runs up to this long are summed step by step: cheaper than the closed form.
const SHORT: u64 = 24;

impl StepLine {
    /// Length of step `i`.
    #[inline]
    pub fn step(&self, i: u64) -> Span {
        Span::from_nanos((self.a + self.b * i) / self.quantum_fs * (self.quantum_fs / FEMTOS_PER_NANO))
    }

    /// The line as seen from step `i` on.
    #[inline]
    pub fn from_step(&self, i: u64) -> StepLine {
        StepLine { a: self.a + self.b * i, ..*self }
    }

    /// Length of the first `steps` steps together, and of the last of them (`steps >= 1`). O(1) for short runs,
    /// O(log) beyond.
    #[inline]
    pub fn sum(&self, steps: u64) -> (Span, Span) {
        if steps == 1 {
            let only = self.step(0);
            return (only, only);
        }
        self.sum_of_many(steps)
    }

    fn sum_of_many(&self, steps: u64) -> (Span, Span) {
        if steps <= SHORT {
            let walked = self.walk(steps, u64::MAX);
            return (self.quanta(walked.sum), self.quanta(walked.last));
        }
        (self.quanta(floor_sum(steps, self.quantum_fs, self.b, self.a)), self.step(steps - 1))
    }

    /// How many steps, at most `most` (at least 1), it takes until their sum is `>= span`; that sum, and the length
    /// of the last of them.
    pub fn reach(&self, span: Span, most: u64) -> (u64, Span, Span) {
        let wanted = span.as_nanos().div_ceil(self.quantum_fs / FEMTOS_PER_NANO);
        let walked = self.walk(most.min(SHORT), wanted);
        if walked.sum >= wanted || walked.steps == most {
            return (walked.steps, self.quanta(walked.sum), self.quanta(walked.last));
        }
        // The answer lies in (low, high].
        let (mut low, mut high) = (walked.steps, most);
        while high - low > 1 {
            let middle = u64::midpoint(low, high);
            if self.sum(middle).0 >= span { high = middle } else { low = middle }
        }
        let (sum, last) = self.sum(high);
        (high, sum, last)
    }

    #[inline]
    fn quanta(&self, count: u64) -> Span {
        Span::from_nanos(count * (self.quantum_fs / FEMTOS_PER_NANO))
    }

    /// Adds up to `most` steps, at least 1, until the sum of quanta reaches `wanted`. One division, or two when
    /// there is more than one step.
    #[inline]
    fn walk(&self, most: u64, wanted: u64) -> Walk {
        let q = self.quantum_fs;
        let (mut whole, mut rest) = (self.a / q, self.a % q);
        let (mut sum, mut steps) = (whole, 1);
        if steps < most && sum < wanted {
            let (grow, grow_rest) = if self.b < q { (0, self.b) } else { (self.b / q, self.b % q) };
            while steps < most && sum < wanted {
                whole += grow;
                rest += grow_rest;
                if rest >= q {
                    rest -= q;
                    whole += 1;
                }
                sum += whole;
                steps += 1;
            }
        }
        Walk { steps, sum, last: whole }
    }
}

/// Steps added one by one, in quanta.
struct Walk {
    steps: u64,
    sum: u64,
    last: u64,
}

/// `sum over i in 0..n of floor((a + b*i) / m)`, exactly. O(log m).
///
/// Source: the Euclid-like recursion for lattice points under a line (Graham, Knuth, Patashnik, *Concrete
/// Mathematics*, 3.5).
fn floor_sum(n: u64, m: u64, b: u64, a: u64) -> u64 {
    let (mut n, mut m, mut b, mut a) = (u128::from(n), u128::from(m), u128::from(b), u128::from(a));
    let mut sum = 0u128;
    loop {
        if b >= m {
            sum += n * (n - 1) / 2 * (b / m);
            b %= m;
        }
        if a >= m {
            sum += n * (a / m);
            a %= m;
        }
        let top = b * n + a;
        if top < m {
            return u64::try_from(sum).expect("a run longer than 584 years");
        }
        (n, a) = (top / m, top % m);
        (m, b) = (b, m);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Closed form and search agree with adding steps one by one.
        #[test]
        fn sums_and_searches_are_exact(
            a in 1_000_000u64..50_000_000_000_000,
            b in 0u64..30_000_000_000,
            quantum_ns in prop::sample::select(vec![1u64, 7, 1_000, 250_000]),
            steps in 1u64..400,
            share in 0.0f64..1.2,
        ) {
            let line = StepLine { a, b, quantum_fs: quantum_ns * FEMTOS_PER_NANO };
            let mut sums = vec![Span::ZERO];
            for i in 0..steps {
                sums.push(*sums.last().unwrap() + line.step(i));
            }
            for k in 1..=steps {
                prop_assert_eq!(line.sum(k), (sums[k as usize], line.step(k - 1)));
            }
            let total = sums[steps as usize];
            let span = Span::from_nanos((total.as_nanos() as f64 * share) as u64);
            let expected = (1..=steps).find(|&k| sums[k as usize] >= span).unwrap_or(steps);
            prop_assert_eq!(line.reach(span, steps), (expected, sums[expected as usize], line.step(expected - 1)));
            prop_assert_eq!(line.from_step(3).step(4), line.step(7));
        }
    }
}
