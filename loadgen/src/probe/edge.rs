//! Where what is allowed ends: a search that begins at the documented edge and is over after two questions when it is there.

use super::finding::Outcome;

/// What was seen at a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It was let in.
    LetIn,
    /// The limit refused it.
    Refused,
    /// It was refused, maybe by the limit; what was answered.
    Maybe(String),
    /// Something that tells nothing; what.
    Nothing(String),
}

/// Finds the largest value that is let in, between `least` (taken to be let in, one below it) and `most`.
///
/// Asks one above the documented value, then the value itself; only when one of them is not as it should be, further: at most
/// `2 * log2(most)` questions. `least <= documented`.
pub(super) async fn highest(
    documented: u64,
    least: u64,
    most: u64,
    mut ask: impl AsyncFnMut(u64) -> Seen,
) -> Outcome {
    // Let in at `low`, refused at `high`.
    let (mut low, mut high);
    match ask(documented + 1).await {
        Seen::Nothing(why) => return Outcome::Unclear(why),
        above @ (Seen::Refused | Seen::Maybe(_)) => match (ask(documented).await, above) {
            (Seen::LetIn, _) => return Outcome::Exactly(documented),
            (Seen::Nothing(why), _) => return Outcome::Unclear(why),
            // Refused alike at and above the edge, and nobody says by which limit.
            (Seen::Maybe(answer), _) => {
                return Outcome::Unclear(format!("refused at {documented}, too: {answer}"));
            }
            (Seen::Refused, _) => (low, high) = (least.saturating_sub(1), documented),
        },
        Seen::LetIn => {
            low = documented + 1;
            high = loop {
                let next = low.saturating_mul(2).min(most);
                if next <= low {
                    return Outcome::AtLeast(low);
                }
                match ask(next).await {
                    Seen::LetIn => low = next,
                    Seen::Refused => break next,
                    Seen::Maybe(why) | Seen::Nothing(why) => {
                        return if low > documented { Outcome::AtLeast(low) } else { Outcome::Unclear(why) };
                    }
                }
            };
        }
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match ask(middle).await {
            Seen::LetIn => low = middle,
            Seen::Refused => high = middle,
            Seen::Maybe(_) | Seen::Nothing(_) => return Outcome::Between(low, high - 1),
        }
    }
    Outcome::Exactly(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn search(documented: u64, real: u64) -> (Outcome, u32) {
        let mut asked = 0;
        let found = highest(documented, 1, 1 << 20, async |value| {
            asked += 1;
            if value <= real { Seen::LetIn } else { Seen::Refused }
        })
        .await;
        (found, asked)
    }

    #[tokio::test]
    async fn two_questions_are_enough_where_the_document_is_right() {
        for real in [1, 2, 100, 65_536] {
            assert_eq!(search(real, real).await, (Outcome::Exactly(real), 2));
        }
    }

    #[tokio::test]
    async fn the_real_edge_is_found_wherever_it_is() {
        for documented in [1, 7, 1000] {
            for real in (0..40).chain([999, 1000, 1001, 5000, 100_000]) {
                let (found, asked) = search(documented, real).await;
                assert_eq!(found, Outcome::Exactly(real), "documented {documented}");
                assert!(asked <= 40, "{asked}");
            }
        }
        assert_eq!(search(5, u64::MAX).await.0, Outcome::AtLeast(1 << 20));
    }

    #[tokio::test]
    async fn a_refusal_that_nobody_owns_decides_nothing_by_itself() {
        let same = highest(10, 1, 100, async |_| Seen::Maybe("400".into())).await;
        assert!(matches!(same, Outcome::Unclear(_)), "{same:?}");
        let above = highest(
            10,
            1,
            100,
            async |value| if value > 10 { Seen::Maybe("400".into()) } else { Seen::LetIn },
        );
        assert_eq!(above.await, Outcome::Exactly(10));
    }
}
