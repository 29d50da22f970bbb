//! `[scenario]`: times and repetitions.

use crate::scenario::diagnostic::Errors;
use crate::scenario::file::{EndWord, ReplicationsFile, Run};
use crate::scenario::{End, Replications};
use crate::time::Span;

/// Most bins of a timeline.
const BINS_MOST: u64 = 100_000;

/// `[scenario]`, resolved.
pub(super) struct Resolved {
    pub question: String,
    pub horizon: Span,
    pub warmup: Span,
    pub end: End,
    pub seed: u64,
    pub replications: Replications,
    pub bin: Span,
}

pub(super) fn resolve(run: &Run, errors: &mut Errors) -> Option<Resolved> {
    let before = errors.count();
    let horizon = run.horizon.value.0;
    let warmup = run.warmup.value.0;
    if warmup >= horizon {
        errors.refuse_with(
            &run.warmup.place,
            format!("`{warmup}` is not shorter than the horizon of {horizon}: nothing would be counted"),
            "a tenth of the horizon is a common choice",
        );
    }
    let bin = match &run.bin {
        None => default_bin(horizon),
        Some(bin) => {
            let width = bin.value.0;
            let bins = horizon.as_nanos().div_ceil(width.as_nanos());
            if width > horizon || bins > BINS_MOST {
                let least =
                    Span::from_nanos(horizon.as_nanos().div_ceil(BINS_MOST)).max(Span::from_millis(1));
                errors.refuse_with(
                    &bin.place,
                    format!("`{width}` is not in {least}..={horizon}"),
                    format!("leave it out for bins of {}", default_bin(horizon)),
                );
            }
            width
        }
    };
    let replications = replications(&run.replications.value, errors);
    (errors.count() == before).then_some(())?;
    Some(Resolved {
        question: run.question.value.0.trim().to_owned(),
        horizon,
        warmup,
        end: match run.end.value {
            EndWord::Drain => End::Drain,
            EndWord::Cut => End::Cut,
        },
        seed: run.seed.value.0,
        replications: replications?,
        bin,
    })
}

fn replications(file: &ReplicationsFile, errors: &mut Errors) -> Option<Replications> {
    let looks = match file {
        ReplicationsFile::Fixed(count) => vec![count.value.small()],
        ReplicationsFile::Doubling(doubling) => {
            let (start, most) = (doubling.start.value.small(), doubling.most.value.small());
            if start > most {
                errors.refuse(&doubling.most.place, format!("`{most}` is less than `start`, {start}"));
                return None;
            }
            let mut looks: Vec<u32> =
                std::iter::successors(Some(start), |n| Some(n * 2)).take_while(|&n| n < most).collect();
            looks.push(most);
            looks
        }
        ReplicationsFile::Looks(list) => {
            let looks: Vec<u32> = list.looks.value.iter().map(|at| at.value.small()).collect();
            if let Some(at) = (1..looks.len()).find(|&i| looks[i] <= looks[i - 1]) {
                let (count, before) = (looks[at], looks[at - 1]);
                errors.refuse(
                    &list.looks.value[at].place,
                    format!("`{count}` is not above {before}, the look before"),
                );
                return None;
            }
            looks
        }
    };
    Some(Replications { looks })
}

/// A round width that makes about 200 bins.
fn default_bin(horizon: Span) -> Span {
    const S: u64 = 1_000;
    const ROUND_MS: [u64; 22] = [
        1,
        2,
        5,
        10,
        20,
        50,
        100,
        200,
        500,
        S,
        2 * S,
        5 * S,
        10 * S,
        15 * S,
        30 * S,
        60 * S,
        120 * S,
        300 * S,
        600 * S,
        900 * S,
        1_800 * S,
        3_600 * S,
    ];
    let target = horizon.as_nanos() / 200;
    let round = ROUND_MS.into_iter().map(Span::from_millis).find(|bin| bin.as_nanos() >= target);
    let hour = ROUND_MS[21] * 1_000_000;
    round.unwrap_or(Span::from_nanos(target.div_ceil(hour) * hour)).min(horizon)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bin_is_round_and_there_are_about_200() {
        assert_eq!(default_bin(Span::from_secs(3600)), Span::from_secs(30));
        assert_eq!(default_bin(Span::from_secs(600)), Span::from_secs(5));
        assert_eq!(default_bin(Span::from_secs(86_400)), Span::from_secs(600));
        assert_eq!(default_bin(Span::from_millis(1)), Span::from_millis(1));
        assert_eq!(default_bin(Span::from_secs(365 * 86_400)), Span::from_secs(44 * 3600));
    }
}
