//! Facts that hold for every kind of law.

use super::*;
use crate::hardware::{self, KvPrecision, Placement, Precision};
use crate::replica::NORMAL;
use proptest::prelude::*;

const BOUNDS: LawBounds = LawBounds { sequences: 64, tokens: 4096, sequence_tokens: 16_384 };

/// A random law of any kind, with its name for the failure message.
fn any_law() -> impl Strategy<Value = StepLaw> {
    prop_oneof![any_linear(), any_roofline(), any_table()]
}

fn any_quantum() -> impl Strategy<Value = Span> {
    prop_oneof![Just(1), Just(1_000), 1u64..50_000].prop_map(Span::from_nanos)
}

fn any_linear() -> impl Strategy<Value = StepLaw> {
    let coefficient = || prop_oneof![Just(0u64), 0u64..1_000_000_000_000];
    let coefficients = (coefficient(), coefficient(), coefficient(), coefficient());
    (50_000_000_000u64..50_000_000_000_000, coefficients, any_quantum()).prop_map(
        |(base_fs, (a, b, c, d), quantum)| {
            let coefficients = LinearCoefficients {
                base_fs,
                per_sequence_fs: a,
                per_prefill_token_fs: b,
                per_decode_fs: c,
                per_context_token_fs: d / 1000,
            };
            StepLaw::linear(&coefficients, quantum, &BOUNDS).unwrap()
        },
    )
}

fn any_roofline() -> impl Strategy<Value = StepLaw> {
    let gpus = hardware::gpu_names().collect::<Vec<_>>();
    let models = hardware::architecture_names().collect::<Vec<_>>();
    let choice = (prop::sample::select(gpus), prop::sample::select(models), 0u32..4);
    (choice, prop::sample::select(&Precision::ALL[..]), any_quantum()).prop_filter_map(
        "the model does not run on this GPU",
        |((gpu, model, tp), precision, quantum)| {
            let (gpu, model) = (hardware::gpu(gpu)?, hardware::architecture(model)?);
            let placement = Placement::new(gpu, model, 1 << tp, precision, KvPrecision::Bf16).ok()?;
            let calibration = hardware::calibration("uncalibrated")?;
            Some(StepLaw::roofline(&placement, calibration, quantum, &BOUNDS).unwrap())
        },
    )
}

fn any_table() -> impl Strategy<Value = StepLaw> {
    // Rises of time over a grid of sizes and contexts, so that the data are monotonic in context.
    let grid = |sizes: std::ops::Range<u32>| {
        let rises = prop::collection::vec((0u32..3000, 0u64..400_000_000_000), 1..5);
        prop::collection::btree_map(sizes, rises, 2..5)
    };
    (grid(1..80), grid(1..5000), 0u64..60_000_000_000, any_quantum()).prop_map(
        |(decode, prefill, overlap_fs, quantum)| {
            let mut line = 0;
            let mut rows = |grid: std::collections::BTreeMap<u32, Vec<(u32, u64)>>| {
                let mut rows = Vec::new();
                for (size, rises) in grid {
                    let (mut context_tokens, mut step_fs) = (0, 60_000_000_000);
                    for (i, (wider, longer)) in rises.into_iter().enumerate() {
                        line += 1;
                        context_tokens += if i == 0 { wider } else { wider + 1 };
                        step_fs += longer;
                        rows.push(TableRow { line, size, context_tokens, step_fs });
                    }
                }
                rows
            };
            let data = TableData { decode: rows(decode), prefill: rows(prefill), overlap_fs };
            StepLaw::table(&data, quantum, &BOUNDS).unwrap()
        },
    )
}

/// A step that only decodes, with room for `i` more.
fn any_decode() -> impl Strategy<Value = StepShape> {
    (1u32..=64, 1u64..=64 * 8000).prop_map(|(decodes, context_tokens)| StepShape {
        sequences: decodes,
        decodes,
        context_tokens: context_tokens.max(u64::from(decodes)),
        ..StepShape::default()
    })
}

/// A step that processes one or more chunks, with or without decodes.
fn any_prefill() -> impl Strategy<Value = StepShape> {
    let chunks = prop::collection::vec((1u64..=1000, 0u64..=15_000), 1..4);
    (0u32..=60, 0u64..=8000, chunks).prop_map(|(decodes, context, chunks)| StepShape {
        sequences: decodes + chunks.len() as u32,
        decodes,
        prefill_tokens: chunks.iter().map(|c| c.0 as u32).sum(),
        context_tokens: u64::from(decodes) * context,
        prefill_context: chunks.iter().map(|c| c.1).sum(),
        prefill_attention: chunks.iter().map(|(chunk, start)| chunk * (2 * start + chunk)).sum(),
    })
}

fn advanced(shape: &StepShape, steps: u64) -> StepShape {
    StepShape { context_tokens: shape.context_tokens + u64::from(shape.decodes) * steps, ..*shape }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_plan_foretells_every_later_step_exactly(law in any_law(), shape in any_decode()) {
        let plan = law.plan(&shape);
        prop_assert!(plan.steps >= 1);
        for i in 0..plan.steps.min(3000) {
            let later = law.plan(&advanced(&shape, i));
            prop_assert_eq!(plan.line.step(i), later.line.step(0), "step {}", i);
            prop_assert_eq!(plan.outside_range, later.outside_range, "step {}", i);
        }
    }

    #[test]
    fn a_slow_plan_foretells_every_later_step_exactly(
        law in any_law(),
        shape in any_decode(),
        permille in NORMAL..=SLOWEST,
    ) {
        let permille = permille.min(law.slowest());
        let slow = |shape: &StepShape| law.plan(shape).slowed(shape, permille);
        let plan = slow(&shape);
        prop_assert_eq!(plan.steps, law.plan(&shape).steps);
        for i in 0..plan.steps.min(300) {
            let later = slow(&advanced(&shape, i));
            prop_assert_eq!(plan.line.from_step(i).a, later.line.a, "step {}", i);
            prop_assert_eq!(plan.line.b, later.line.b, "step {}", i);
        }
    }

    #[test]
    fn a_slow_step_takes_its_share_to_a_femtosecond_a_context_token(
        law in any_law(),
        shape in prop_oneof![any_decode(), any_prefill()],
        permille in NORMAL..=SLOWEST,
    ) {
        let permille = permille.min(law.slowest());
        let line = law.plan(&shape).line;
        let exact = u128::from(line.a) * u128::from(permille) / u128::from(NORMAL);
        let slow = u128::from(law.plan(&shape).slowed(&shape, permille).line.a);
        prop_assert!(slow >= exact && slow <= exact + u128::from(shape.context_tokens) + 1, "{slow} for {exact}");
        prop_assert_eq!(law.plan(&shape).slowed(&shape, NORMAL).line, line);
    }

    #[test]
    fn time_always_advances_by_whole_quanta(law in any_law(), shape in prop_oneof![any_decode(), any_prefill()]) {
        let span = law.plan(&shape).line.step(0);
        prop_assert!(span >= law.quantum());
        prop_assert_eq!(span.as_nanos() % law.quantum().as_nanos(), 0);
    }

    #[test]
    fn a_step_with_prompt_tokens_is_planned_alone(law in any_law(), shape in any_prefill()) {
        prop_assert_eq!(law.plan(&shape).steps, 1);
    }

    #[test]
    fn more_context_never_makes_a_step_shorter(law in any_law(), shape in any_decode(), more in 0u64..100_000) {
        let longer = StepShape { context_tokens: shape.context_tokens + more, ..shape };
        prop_assert!(law.plan(&longer).line.a >= law.plan(&shape).line.a);
    }

    #[test]
    fn prompt_tokens_never_make_a_step_shorter(law in any_law(), shape in any_prefill()) {
        let decodes = shape.decodes;
        if decodes > 0 {
            let alone = StepShape { sequences: decodes, decodes, context_tokens: shape.context_tokens, ..StepShape::default() };
            prop_assert!(law.plan(&shape).line.a >= law.plan(&alone).line.a);
        }
    }
}

#[test]
fn a_law_whose_longest_step_is_hours_may_not_be_slowed_beyond_the_clock() {
    let law = |base_fs| {
        let base = LinearCoefficients { base_fs, ..LinearCoefficients::default() };
        StepLaw::linear(&base, Span::from_nanos(1), &BOUNDS).unwrap()
    };
    assert_eq!(law(FEMTOS_PER_SEC).slowest(), SLOWEST);
    let hour = law(3600 * FEMTOS_PER_SEC);
    assert!((2_500..2_600).contains(&hour.slowest()), "{}", hour.slowest());
    let shape = StepShape { sequences: 64, decodes: 64, context_tokens: 64 * 16_384, ..StepShape::default() };
    let slowest = hour.plan(&shape).slowed(&shape, hour.slowest()).line.a;
    assert!((MOST_FS - 4_000_000_000_000_000..=MOST_FS).contains(&slowest), "{slowest}");
    assert_eq!(law(MOST_FS - 1).slowest(), NORMAL);
}

#[test]
fn every_error_has_a_hint() {
    let errors = [
        LawError::Quantum(Span::ZERO),
        LawError::EmptyBound { name: "tokens" },
        LawError::Sizes { kind: "decode", sizes: 1 },
        LawError::File("x".into()),
    ];
    assert!(errors.iter().all(|error| !error.hint().is_empty()));
}

#[test]
fn bounds_of_zero_are_refused_by_name() {
    let base = LinearCoefficients { base_fs: FEMTOS_PER_SEC, ..LinearCoefficients::default() };
    for (bounds, name) in [
        (LawBounds { sequences: 0, ..BOUNDS }, "sequences"),
        (LawBounds { tokens: 0, ..BOUNDS }, "tokens"),
        (LawBounds { sequence_tokens: 0, ..BOUNDS }, "sequence_tokens"),
    ] {
        let error = StepLaw::linear(&base, Span::from_nanos(1), &bounds).unwrap_err();
        assert_eq!(error, LawError::EmptyBound { name });
    }
}

#[test]
#[should_panic(expected = "is empty")]
fn a_step_without_tokens_is_a_broken_invariant() {
    let base = LinearCoefficients { base_fs: FEMTOS_PER_SEC, ..LinearCoefficients::default() };
    let law = StepLaw::linear(&base, Span::from_nanos(1), &BOUNDS).unwrap();
    law.plan(&StepShape { sequences: 1, ..StepShape::default() });
}
