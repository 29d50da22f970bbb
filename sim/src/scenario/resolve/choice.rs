//! Which of several pools a request is given to.

use super::fleet::is_priced;
use crate::scenario::decode::At;
use crate::scenario::diagnostic::{Errors, Place};
use crate::scenario::file::ScenarioFile;
use crate::scenario::fleet_file::{NextWord, PreferWord};
use crate::scenario::{Choice, Next, Prefer};

/// What a tier or an endpoint says of it.
pub(super) struct Wish<'a> {
    pub prefer: Option<&'a At<PreferWord>>,
    pub next: Option<&'a At<NextWord>>,
    /// The key that holds weights, and what it says: each with its place, in the order of `pools`.
    pub weights: (&'static str, Vec<(f64, &'a Place)>),
    /// Pools that are no fallbacks.
    pub pools: &'a [usize],
    /// How many fallbacks there are.
    pub fallbacks: usize,
    /// The tier or endpoint.
    pub place: &'a Place,
}

/// How requests are given to pools: `Some(None)` when there is nothing to choose, `None` after an error.
pub(super) fn resolve(wish: &Wish<'_>, file: &ScenarioFile, errors: &mut Errors) -> Option<Option<Choice>> {
    let before = errors.count();
    let (key, weights) = (wish.weights.0, &wish.weights.1);
    let chooses = wish.prefer.is_some() || wish.fallbacks > 0;
    if !chooses {
        let useless = wish.next.map(|at| ("next", &at.place)).into_iter();
        for (key, place) in useless.chain(weights.first().map(|(_, place)| (key, *place))) {
            errors.refuse_with(
                place,
                format!("`{key}` would never act: nothing is chosen"),
                "say which pool to `prefer`, or add a `fallback`",
            );
        }
        return (errors.count() == before).then_some(None);
    }
    if let (Some(prefer), true) = (wish.prefer, wish.pools.len() + wish.fallbacks < 2) {
        errors.refuse_with(
            &prefer.place,
            "`prefer` would never act: there is one pool",
            "name more pools, or leave it out",
        );
    }
    let word = wish.prefer.map_or(PreferWord::Order, |at| at.value);
    match (word, weights.first()) {
        (PreferWord::Weighted, None) => {
            let place = wish.prefer.map_or(wish.place, |at| &at.place);
            let hint = format!("`weighted` needs a weight of each pool: `{key}`");
            errors.refuse_with(place, format!("the key `{key}` is missing"), hint);
        }
        (PreferWord::Weighted, Some(_)) | (_, None) => {}
        (_, Some((_, place))) => errors.refuse_with(
            place,
            format!("`{key}` would never act: `prefer` is `{}`", word.word()),
            "use `prefer = \"weighted\"`, or leave it out",
        ),
    }
    if word == PreferWord::Cheapest {
        let unpriced = wish.pools.iter().filter_map(|&pool| {
            let (name, _, entry) = &file.pools.entries[pool];
            let free = !is_priced(&entry.as_ref()?.fleet(), file);
            free.then_some(name)
        });
        for name in unpriced {
            errors.refuse_with(
                wish.prefer.map_or(wish.place, |at| &at.place),
                format!("`cheapest` cannot tell: the pool `{name}` has no price"),
                "give every pool, or the machines in its `nodes`, a `price`",
            );
        }
    }
    let weights = match word {
        PreferWord::Weighted if errors.count() == before => shares(weights, errors),
        _ => Vec::new(),
    };
    (errors.count() == before).then_some(())?;
    Some(Some(Choice {
        prefer: match word {
            PreferWord::Order => Prefer::Order,
            PreferWord::Weighted => Prefer::Weighted,
            PreferWord::Cheapest => Prefer::Cheapest,
            PreferWord::Fastest => Prefer::Fastest,
            PreferWord::LeastLoaded => Prefer::LeastLoaded,
        },
        weights,
        fallbacks: wish.fallbacks,
        next: match wish.next.map_or(NextWord::Refused, |at| at.value) {
            NextWord::Down => Next::Down,
            NextWord::Refused => Next::Refused,
            NextWord::Busy => Next::Busy,
        },
    }))
}

/// Weights of any scale as thousandths that sum to 1,000: rounded down, then one more for the largest remainders.
///
/// Source: the largest-remainder method (Hamilton's), ties to the order of the file.
fn shares(weights: &[(f64, &Place)], errors: &mut Errors) -> Vec<u32> {
    let sum: f64 = weights.iter().map(|(weight, _)| weight).sum();
    let exact: Vec<f64> = weights.iter().map(|(weight, _)| weight / sum * 1_000.0).collect();
    let mut shares: Vec<u32> = exact.iter().map(|share| share.floor() as u32).collect();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    let remainder = |at: &usize| exact[*at] - exact[*at].floor();
    order.sort_by(|a, b| remainder(b).total_cmp(&remainder(a)).then(a.cmp(b)));
    let missing = 1_000u32.saturating_sub(shares.iter().sum()) as usize;
    for at in order.into_iter().take(missing) {
        shares[at] += 1;
    }
    for (share, (weight, place)) in shares.iter().zip(weights) {
        if *share == 0 {
            errors.refuse_with(
                place,
                format!("`{weight}` of {sum} in all is less than a thousandth"),
                "shares are whole thousandths: raise it, or leave the pool out",
            );
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(weights: &[f64]) -> (Vec<u32>, usize) {
        let place = Place { source: 0, span: 0..0, path: "x".into() };
        let mut errors = Errors::default();
        let weights: Vec<_> = weights.iter().map(|weight| (*weight, &place)).collect();
        (shares(&weights, &mut errors), errors.count())
    }

    #[test]
    fn weights_of_any_scale_become_thousandths_that_sum_to_one() {
        assert_eq!(of(&[70.0, 30.0]), (vec![700, 300], 0));
        assert_eq!(of(&[0.5, 0.5]), (vec![500, 500], 0));
        assert_eq!(of(&[1.0, 1.0, 1.0]), (vec![334, 333, 333], 0));
        assert_eq!(of(&[2.0, 2.0, 2.0, 1.0]).0.iter().sum::<u32>(), 1_000);
        assert_eq!(of(&[1.0]), (vec![1_000], 0));
    }

    #[test]
    fn a_weight_below_a_thousandth_is_refused() {
        assert_eq!(of(&[1.0, 100_000.0]).1, 1);
        assert_eq!(of(&[1.0, 999.0]), (vec![1, 999], 0));
    }
}
