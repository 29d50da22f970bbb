//! A quantile of what was measured since it was last read: what a controller acts on.

use crate::time::Span;

/// Buckets of a power of two: a value is known to a 32nd of itself.
const PARTS: u32 = 5;
const BUCKETS: usize = (64 - PARTS as usize + 1) << PARTS;

/// Durations since the last reading, in buckets a 32nd wide. 7.7 KB; a fact costs O(1), a reading O(buckets).
#[derive(Clone, Debug)]
pub struct Latest {
    counts: Vec<u32>,
    count: u64,
}

impl Default for Latest {
    fn default() -> Self {
        Latest { counts: vec![0; BUCKETS], count: 0 }
    }
}

fn bucket(nanos: u64) -> usize {
    let exponent = (63 - (nanos | 1).leading_zeros()).saturating_sub(PARTS);
    let part = (nanos >> exponent) as usize;
    ((exponent as usize) << PARTS) + part
}

/// The largest value of a bucket.
fn upper(index: usize) -> u64 {
    if index < 2 << PARTS {
        return index as u64;
    }
    let exponent = (index >> PARTS) - 1;
    let part = (index - (exponent << PARTS)) as u64;
    ((part + 1) << exponent).wrapping_sub(1)
}

impl Latest {
    /// `count` times `value` was measured.
    #[inline]
    pub fn add(&mut self, value: Span, count: u32) {
        self.counts[bucket(value.as_nanos())] += count;
        self.count += u64::from(count);
    }

    /// The quantile of what came since the last reading, at most a 32nd too large; `None` when nothing came. Begins anew.
    pub fn read(&mut self, quantile: f64) -> Option<Span> {
        if self.count == 0 {
            return None;
        }
        let rank = ((self.count as f64 * quantile).ceil() as u64).clamp(1, self.count);
        let mut below = 0;
        let found = self.counts.iter().position(|&count| {
            below += u64::from(count);
            below >= rank
        });
        self.counts.fill(0);
        self.count = 0;
        found.map(|index| Span::from_nanos(upper(index)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_is_in_a_bucket_whose_upper_end_is_at_most_a_32nd_above_it(value in any::<u64>(), shift in 0u32..64) {
            let value = value >> shift;
            let top = upper(bucket(value));
            prop_assert!(top >= value && top - value <= value >> PARTS);
        }
    }

    #[test]
    fn a_reading_is_the_quantile_since_the_last_one() {
        let mut latest = Latest::default();
        assert_eq!(latest.read(0.99), None);
        (1..=100).for_each(|ms| latest.add(Span::from_millis(ms), 1));
        let p50 = latest.read(0.5).unwrap();
        assert!((50.0..51.6).contains(&(p50.as_nanos() as f64 / 1e6)), "{p50:?}");
        assert_eq!(latest.read(0.5), None);
        latest.add(Span::from_millis(7), 3);
        assert!(latest.read(1.0).unwrap() >= Span::from_millis(7));
    }
}
