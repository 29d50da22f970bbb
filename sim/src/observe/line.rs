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

    /// Length of the first `steps` steps together. O(1) for short runs, O(log) beyond.
    #[inline]
    pub fn sum(&self, steps: u64) -> Span {
        let quanta = if steps <= SHORT {
            self.walk(steps, u64::MAX).1
        } else {
            floor_sum(steps, self.quantum_fs, self.b, self.a)
        };
        Span::from_nanos(quanta * (self.quantum_fs / FEMTOS_PER_NANO))
    }

    /// How many steps, at most `most` (at least 1), it takes until their sum is `>= span`; and that sum.
    pub fn reach(&self, span: Span, most: u64) -> (u64, Span) {
        let unit = self.quantum_fs / FEMTOS_PER_NANO;
        let wanted = span.as_nanos().div_ceil(unit);
        let (steps, quanta) = self.walk(most.min(SHORT), wanted);
        if quanta >= wanted || steps == most {
            return (steps, Span::from_nanos(quanta * unit));
        }
        // The answer lies in (low, high].
        let (mut low, mut high) = (steps, most);
        while high - low > 1 {
            let middle = u64::midpoint(low, high);
            if self.sum(middle) >= span { high = middle } else { low = middle }
        }
        (high, self.sum(high))
    }

    /// Adds up to `most` steps, at least 1, until the sum of quanta reaches `wanted`.
    #[inline]
    fn walk(&self, most: u64, wanted: u64) -> (u64, u64) {
        if most == 0 {
            return (0, 0);
        }
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
        (steps, sum)
    }
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
            for k in 0..=steps {
                prop_assert_eq!(line.sum(k), sums[k as usize]);
            }
            let total = sums[steps as usize];
            let span = Span::from_nanos((total.as_nanos() as f64 * share) as u64);
            let expected = (1..=steps).find(|&k| sums[k as usize] >= span).unwrap_or(steps);
            prop_assert_eq!(line.reach(span, steps), (expected, sums[expected as usize]));
            prop_assert_eq!(line.from_step(3).step(4), line.step(7));
        }
    }
}
