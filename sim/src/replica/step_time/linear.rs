//! The linear law: coefficients given by the user, exact to the femtosecond.

use super::{FEMTOS_PER_NANO, FEMTOS_PER_SEC, LawBounds, LawError, StepLaw, Terms};
use crate::time::Span;

/// Coefficients of a linear law, femtoseconds each (so that `0.1us` and `0.25ns` are exact).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinearCoefficients {
    /// Every step.
    pub base_fs: u64,
    /// Each sequence that gets a token processed.
    pub per_sequence_fs: u64,
    /// Each prompt token.
    pub per_prefill_token_fs: u64,
    /// Each decoding sequence.
    pub per_decode_fs: u64,
    /// Each token in the KV cache of the decoding sequences.
    pub per_context_token_fs: u64,
}

impl StepLaw {
    /// `T = base + per_sequence * sequences + per_prefill_token * prefill_tokens + per_decode * decodes
    /// + per_context_token * context_tokens`, rounded down to whole quanta.
    ///
    /// Fails when the shortest step is under one quantum, the longest over 2.5 h, or a bound is zero.
    pub fn linear(
        coefficients: &LinearCoefficients,
        quantum: Span,
        bounds: &LawBounds,
    ) -> Result<StepLaw, LawError> {
        let terms = Terms {
            base: coefficients.base_fs,
            per_sequence: coefficients.per_sequence_fs,
            per_prefill_token: coefficients.per_prefill_token_fs,
            per_decode: coefficients.per_decode_fs,
            per_context_token: coefficients.per_context_token_fs,
            ..Terms::default()
        };
        StepLaw::compile(terms, vec![0], quantum, bounds)
    }
}

/// Femtoseconds in a text such as `8ms`, `0.1us`, `0.25ns` or `1.5s`, exactly; `None` when the text is not a
/// nonnegative decimal with one of the units `fs ps ns us ms s`, is not a whole number of femtoseconds, or does
/// not fit.
pub fn parse_femtos(text: &str) -> Option<u64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let unit_fs = match unit {
        "fs" => 1,
        "ps" => 1_000,
        "ns" => FEMTOS_PER_NANO,
        "us" => 1_000 * FEMTOS_PER_NANO,
        "ms" => 1_000_000 * FEMTOS_PER_NANO,
        "s" => FEMTOS_PER_SEC,
        _ => return None,
    };
    parse_decimal(number.trim_end(), unit_fs)
}

/// `text * unit` for a plain decimal (`12`, `0.1`, `.5`; no sign, no exponent), when that is a whole number.
pub(super) fn parse_decimal(text: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.trim_end_matches('0').bytes() {
        if !place.is_multiple_of(10) {
            return None;
        }
        place /= 10;
        total = total.checked_add(u64::from(digit - b'0') * place)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::step_time::StepShape;

    const BOUNDS: LawBounds = LawBounds { sequences: 128, tokens: 512, sequence_tokens: 8192 };

    #[test]
    fn durations_are_exact_below_a_nanosecond() {
        assert_eq!(parse_femtos("0.1us"), Some(100_000_000));
        assert_eq!(parse_femtos("0.25ns"), Some(250_000));
        assert_eq!(parse_femtos("8ms"), Some(8_000_000_000_000));
        assert_eq!(parse_femtos("1.5 s"), Some(1_500_000_000_000_000));
        assert_eq!(parse_femtos(".5fs"), None, "half a femtosecond is not representable");
        for bad in ["", "ns", "-1ns", "1e3ns", "1", "1 h", "1.2.3ns", "1,5ns", "99999999999s", "0x1ns"] {
            assert_eq!(parse_femtos(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_affine_law_of_two_independent_simulators_is_exact_to_the_microsecond() {
        let us = |text| parse_femtos(text).unwrap();
        let law = StepLaw::linear(
            &LinearCoefficients {
                base_fs: us("8000us"),
                per_sequence_fs: us("20us"),
                per_prefill_token_fs: us("50us"),
                per_decode_fs: us("0.1us"),
                per_context_token_fs: us("0.1us"),
            },
            Span::from_micros(1),
            &BOUNDS,
        )
        .unwrap();
        for (b, prefill, n, context) in
            [(1u64, 512u64, 0u64, 0u64), (3, 0, 3, 3001), (128, 385, 127, 99_999), (7, 1, 6, 8), (1, 0, 1, 9)]
        {
            let shape = StepShape {
                sequences: b as u32,
                decodes: n as u32,
                prefill_tokens: prefill as u32,
                context_tokens: context,
                ..StepShape::default()
            };
            let tenths = 80_000 + 200 * b + 500 * prefill + context + n;
            assert_eq!(law.plan(&shape).line.step(0), Span::from_micros(tenths / 10));
        }
    }

    #[test]
    fn a_law_that_takes_no_time_is_refused() {
        let none = StepLaw::linear(&LinearCoefficients::default(), Span::from_nanos(1), &BOUNDS).unwrap_err();
        assert_eq!(none, LawError::TooShort { shortest_fs: 0, quantum: Span::from_nanos(1) });
        let coarse = LinearCoefficients { base_fs: 5 * FEMTOS_PER_NANO, ..LinearCoefficients::default() };
        assert!(StepLaw::linear(&coarse, Span::from_nanos(5), &BOUNDS).is_ok());
        assert!(StepLaw::linear(&coarse, Span::from_nanos(6), &BOUNDS).is_err());
        let zero = StepLaw::linear(&coarse, Span::ZERO, &BOUNDS).unwrap_err();
        assert_eq!(zero.to_string(), "a quantum of `0ns` is not at least 1ns");
    }

    #[test]
    fn a_law_that_could_overflow_is_refused_before_it_runs() {
        let long = LinearCoefficients {
            base_fs: FEMTOS_PER_SEC,
            per_context_token_fs: FEMTOS_PER_SEC,
            ..LinearCoefficients::default()
        };
        let error = StepLaw::linear(&long, Span::from_nanos(1), &BOUNDS).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a step of 128 sequences of 8192 tokens and 512 new tokens could last `291.3` h, \
             more than the 2.6 h a step may last"
        );
    }

    #[test]
    #[should_panic(expected = "larger than the law was compiled for")]
    fn a_shape_beyond_the_bounds_is_a_broken_invariant() {
        let base = LinearCoefficients { base_fs: FEMTOS_PER_SEC, ..LinearCoefficients::default() };
        let law = StepLaw::linear(&base, Span::from_nanos(1), &BOUNDS).unwrap();
        law.plan(&StepShape { sequences: 129, decodes: 129, ..StepShape::default() });
    }
}
