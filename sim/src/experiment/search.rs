//! The largest value of a knob that keeps the properties: doubled until they break, then halved between.
//!
//! It knows nothing of what is asked: a closure judges a value, by a whole experiment with its own looks. The answer is the
//! largest value that was shown to hold below which nothing was found not to; it is the largest there is when what holds
//! at a value holds at every smaller one. Values are whole numbers; they are judged O(log(most / least)) times.

use crate::results::Verdict;

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The largest value shown to hold.
    pub holds: Option<u64>,
    /// The smallest above it that was not shown to hold, and what was said of it; `None` when `holds` is the most.
    pub breaks: Option<(u64, Verdict)>,
    /// Every value judged, in the order in which that was done.
    pub judged: Vec<(u64, Verdict)>,
}

/// Searches `least..=most`. The bracket doubles the distance from `least` (or from 1, when that is 0), so that the curve has
/// points all the way up; then it is halved until its ends are no more than `step` apart.
///
/// A value that stays inconclusive counts as one that was not shown to hold.
///
/// # Errors
/// The first error of `judge`.
pub fn search<E>(
    least: u64,
    most: u64,
    step: u64,
    mut judge: impl FnMut(u64) -> Result<Verdict, E>,
) -> Result<Found, E> {
    assert!(least <= most && step > 0, "{least} to {most} in steps of {step}");
    let mut judged = Vec::new();
    let mut ask = |value: u64, judged: &mut Vec<(u64, Verdict)>| {
        let verdict = judge(value)?;
        judged.push((value, verdict));
        Ok(verdict)
    };
    let (mut holds, mut breaks) = (None, None);
    let mut value = least;
    loop {
        match ask(value, &mut judged)? {
            Verdict::Holds => holds = Some(value),
            verdict => {
                breaks = Some((value, verdict));
                break;
            }
        }
        if value == most {
            break;
        }
        value = value.max(1).saturating_mul(2).min(most);
    }
    while let (Some(low), Some((high, _))) = (holds, breaks) {
        if high - low <= step {
            break;
        }
        let middle = low + (high - low) / 2;
        match ask(middle, &mut judged)? {
            Verdict::Holds => holds = Some(middle),
            verdict => breaks = Some((middle, verdict)),
        }
    }
    Ok(Found { holds, breaks, judged })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn up_to(edge: u64, least: u64, most: u64, step: u64) -> Found {
        let judge =
            |value| Ok::<_, Infallible>(if value <= edge { Verdict::Holds } else { Verdict::Violated });
        search(least, most, step, judge).unwrap()
    }

    #[test]
    fn where_nothing_holds_there_is_no_answer_and_one_question() {
        let found = up_to(0, 3, 100, 1);
        assert_eq!((found.holds, found.breaks, found.judged.len()), (None, Some((3, Verdict::Violated)), 1));
    }

    #[test]
    fn where_everything_holds_the_most_is_the_answer() {
        let found = up_to(1_000, 0, 100, 1);
        assert_eq!((found.holds, found.breaks), (Some(100), None));
        let values: Vec<u64> = found.judged.iter().map(|(value, _)| *value).collect();
        assert_eq!(values, [0, 2, 4, 8, 16, 32, 64, 100]);
    }

    #[test]
    fn what_stays_inconclusive_was_not_shown_to_hold() {
        let judge = |value| {
            let verdict = if value < 10 { Verdict::Holds } else { Verdict::Inconclusive };
            Ok::<_, Infallible>(verdict)
        };
        let found = search(1, 64, 1, judge).unwrap();
        assert_eq!((found.holds, found.breaks), (Some(9), Some((10, Verdict::Inconclusive))));
    }

    #[test]
    fn an_error_ends_it() {
        let judge = |value| if value < 4 { Ok(Verdict::Holds) } else { Err(value) };
        assert_eq!(search(1, 64, 1, judge), Err(4));
    }

    proptest! {
        #[test]
        fn the_edge_is_found_to_the_step_in_few_questions(edge in 0u64..5_000, most in 1u64..5_000, step in 1u64..20) {
            let found = up_to(edge, 0, most, step);
            let holds = found.holds.unwrap();
            prop_assert!(holds <= edge);
            match found.breaks {
                None => prop_assert_eq!(holds, most),
                Some((breaks, _)) => prop_assert!(breaks > edge && breaks - holds <= step),
            }
            prop_assert!(found.judged.len() <= 28, "{}", found.judged.len());
        }
    }
}
