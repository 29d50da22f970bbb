//! Files of a fitted linear step law: what `tidegate calibrate` writes and `step_time = { kind = "calibrated" }` reads.

use crate::replica::step_time::{FittedRange, LinearCoefficients, parse_femtos};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A linear law with what it was fitted to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearFit {
    /// `linear`: the only law there is a fit of.
    pub kind: String,
    /// Where the measurements come from.
    pub source: String,
    /// Points that it was fitted to.
    pub points: u64,
    /// Steps (or gaps) that these stand for.
    pub steps: u64,
    /// Share of the variance of step times that it explains, 1 at most.
    pub r2: f64,
    /// Residual spread, root mean square of `ln(predicted / measured)`.
    pub log_error: f64,
    /// The largest relative error at a point.
    pub largest_error: f64,
    /// Every step.
    pub base: FittedCoefficient,
    /// Each prompt token.
    pub per_prefill_token: FittedCoefficient,
    /// Each decoding sequence.
    pub per_decode: FittedCoefficient,
    /// Each token in the KV cache of the decoding sequences.
    pub per_context_token: FittedCoefficient,
    /// The largest shapes among the points.
    pub range: FitRange,
}

/// A coefficient with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedCoefficient {
    /// The estimate.
    pub value: FemtosText,
    /// Lower end.
    pub low: FemtosText,
    /// Upper end.
    pub high: FemtosText,
}

/// The largest shapes that a law was fitted to. Beyond them it is a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitRange {
    /// Most prompt tokens in a step.
    pub prefill_tokens: u32,
    /// Most sequences that decode.
    pub decodes: u32,
    /// Most tokens in their KV caches.
    pub context_tokens: u64,
}

/// A time in femtoseconds, in files a text with a unit, exactly: `60.004us`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FemtosText(pub u64);

impl std::fmt::Display for FemtosText {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const MICRO: u64 = 1_000_000_000;
        let text = format!("{}.{:09}", self.0 / MICRO, self.0 % MICRO);
        write!(out, "{}us", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Serialize for FemtosText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FemtosText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_femtos(&text).map(FemtosText).ok_or_else(|| {
            serde::de::Error::custom(format!("`{text}` is not a time such as `8ms`, `0.1us` or `25ns`"))
        })
    }
}

impl LinearFit {
    /// Reads a file.
    ///
    /// # Errors
    /// A sentence with the line, when it is no such file or holds what it cannot.
    pub fn read(text: &str) -> Result<LinearFit, String> {
        let found: LinearFit = toml::from_str(text).map_err(|error| {
            let before = error.span().map_or("", |span| text.get(..span.start).unwrap_or(""));
            let message = error.message().replace('\n', " ");
            format!("line {}: {message}", before.matches('\n').count() + 1)
        })?;
        if found.kind != "linear" {
            return Err(format!("`kind` is `{}`, not `linear`", found.kind));
        }
        if !(found.log_error.is_finite() && found.log_error >= 0.0) {
            return Err(format!("`log_error` is `{}`, not a finite number of 0 or more", found.log_error));
        }
        if found.range.decodes == 0 {
            return Err("`range.decodes` is `0`: no step decodes".to_owned());
        }
        Ok(found)
    }

    /// The file.
    pub fn encode(&self) -> String {
        let head = "# A linear step law fitted to measurements by `tidegate calibrate`. A scenario names it with\n\
                    # step_time = { kind = \"calibrated\", file = \"THIS FILE\" }\n\n";
        head.to_owned() + &toml::to_string(self).expect("a fit has string keys and finite numbers")
    }

    /// Its coefficients.
    pub fn coefficients(&self) -> LinearCoefficients {
        LinearCoefficients {
            base_fs: self.base.value.0,
            per_sequence_fs: 0,
            per_prefill_token_fs: self.per_prefill_token.value.0,
            per_decode_fs: self.per_decode.value.0,
            per_context_token_fs: self.per_context_token.value.0,
        }
    }

    /// Where it is more than a guess.
    pub fn fitted_range(&self) -> FittedRange {
        FittedRange {
            decodes: self.range.decodes,
            prefill_tokens: self.range.prefill_tokens,
            context_tokens: self.range.context_tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> LinearFit {
        let coefficient = |value: u64| FittedCoefficient {
            value: FemtosText(value),
            low: FemtosText(value / 2),
            high: FemtosText(value * 2),
        };
        LinearFit {
            kind: "linear".to_owned(),
            source: "points \"of\" a test".to_owned(),
            points: 12,
            steps: 40_000,
            r2: 0.999,
            log_error: 0.0125,
            largest_error: 0.08,
            base: coefficient(8_000_000_000_001),
            per_prefill_token: coefficient(60_004_000_000),
            per_decode: coefficient(0),
            per_context_token: coefficient(99_999),
            range: FitRange { prefill_tokens: 512, decodes: 64, context_tokens: 90_000 },
        }
    }

    #[test]
    fn a_fit_reads_back_as_it_was_written_to_the_femtosecond() {
        let text = sample().encode();
        assert!(
            text.contains("value = \"60.004us\"") && text.contains("value = \"8000.000000001us\""),
            "{text}"
        );
        assert_eq!(LinearFit::read(&text).unwrap(), sample());
        assert_eq!(sample().coefficients().base_fs, 8_000_000_000_001);
        assert_eq!(sample().fitted_range().context_tokens, 90_000);
    }

    #[test]
    fn broken_files_are_told_and_never_panic() {
        let good = sample().encode();
        for (bad, word) in [
            (String::new(), "kind"),
            ("not toml [".to_owned(), "line 1"),
            (good.replace("kind = \"linear\"", "kind = \"cubic\""), "cubic"),
            (good.replace("60.004us", "60.004"), "60.004"),
            (good.replace("60.004us", "-1us"), "-1us"),
            (good.replace("decodes = 64", "decodes = 0"), "decodes"),
            (good.replace("log_error = 0.0125", "log_error = nan"), "log_error"),
            (good + "surprise = 1\n", "surprise"),
        ] {
            let error = LinearFit::read(&bad).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
