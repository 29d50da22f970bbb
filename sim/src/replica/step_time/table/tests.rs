use super::*;
use crate::replica::step_time::FEMTOS_PER_NANO;

const BOUNDS: LawBounds = LawBounds { sequences: 32, tokens: 2048, sequence_tokens: 8192 };

/// The example the documentation refers to.
const EXAMPLE: &str = include_str!("example.csv");

fn data(rows: &str) -> TableData {
    TableData::read(format!("kind,sequences,context_tokens,prefill_tokens,step_us\n{rows}").as_bytes())
        .unwrap()
}

fn law(rows: &str) -> Result<StepLaw, LawError> {
    StepLaw::table(&data(rows), Span::from_nanos(1), &BOUNDS)
}

fn decode(decodes: u32, context_tokens: u64) -> StepShape {
    StepShape { sequences: decodes, decodes, context_tokens, ..StepShape::default() }
}

fn chunk(tokens: u64, start: u64) -> StepShape {
    StepShape {
        sequences: 1,
        prefill_tokens: tokens as u32,
        prefill_context: start,
        prefill_attention: tokens * (2 * start + tokens),
        ..StepShape::default()
    }
}

fn micros(plan: StepPlan) -> f64 {
    plan.line.step(0).as_nanos() as f64 / 1e3
}

/// Two batch sizes, two contexts; prefill with and without context.
const GRID: &str = "decode,4,1000,,10000\ndecode,4,2000,,11000\ndecode,8,1000,,12000\ndecode,8,3000,,16000\n\
                    prefill,,0,100,5000\nprefill,,1000,100,6000\nprefill,,0,500,20000\nprefill,,1000,500,24000\n\
                    overlap,,,,3000\n";

#[test]
fn measured_points_come_back_exactly_and_inside_the_range() {
    let law = law(GRID).unwrap();
    for (shape, us) in [
        (decode(4, 4000), 10_000.0),
        (decode(4, 8000), 11_000.0),
        (decode(8, 8000), 12_000.0),
        (decode(8, 24_000), 16_000.0),
        (chunk(100, 0), 5000.0),
        (chunk(100, 1000), 6000.0),
        (chunk(500, 0), 20_000.0),
        (chunk(500, 1000), 24_000.0),
    ] {
        let plan = law.plan(&shape);
        assert_eq!((micros(plan), plan.outside_range), (us, false), "{shape:?}");
    }
}

#[test]
fn between_points_the_law_is_linear_in_batch_and_context() {
    let law = law(GRID).unwrap();
    assert_eq!(micros(law.plan(&decode(4, 6000))), 10_500.0);
    // Six sequences of 1500: half way between 10,500 (four) and 13,000 (eight).
    assert_eq!(micros(law.plan(&decode(6, 9000))), 11_750.0);
    assert_eq!(micros(law.plan(&chunk(300, 500))), (5500.0 + 22_000.0) / 2.0);
}

#[test]
fn beyond_the_range_the_last_segment_goes_on_and_says_so() {
    let law = law(GRID).unwrap();
    for (shape, us) in [
        (decode(4, 12_000), 12_000.0),
        (decode(12, 12_000), 14_000.0),
        (chunk(900, 0), 35_000.0),
        (chunk(500, 2000), 28_000.0),
    ] {
        let plan = law.plan(&shape);
        assert_eq!((micros(plan), plan.outside_range), (us, true), "{shape:?}");
    }
    assert!(law.plan(&decode(6, 6 * 2500)).outside_range, "four sequences were measured up to 2000 only");
}

#[test]
fn below_the_range_the_smallest_measured_step_holds() {
    let law = law(GRID).unwrap();
    for (shape, us) in [(decode(4, 40), 10_000.0), (decode(1, 1000), 10_000.0), (chunk(1, 0), 5000.0)] {
        let plan = law.plan(&shape);
        assert_eq!((micros(plan), plan.outside_range), (us, true), "{shape:?}");
    }
}

#[test]
fn a_plan_ends_at_the_next_knot() {
    let law = law(GRID).unwrap();
    // Four sequences grow by 4 tokens a step: totals 4000, 4004, ..., 7996 lie before the knot at 8000, the last
    // point that was measured.
    let plan = law.plan(&decode(4, 4000));
    assert_eq!(plan.steps, 1000);
    let end = law.plan(&decode(4, 8000));
    assert_eq!((end.steps, end.outside_range), (1, false));
    let beyond = law.plan(&decode(4, 8004));
    assert_eq!((beyond.steps, beyond.outside_range), (u64::MAX, true));
    assert_eq!(law.plan(&decode(4, 3999)).steps, 1);
}

#[test]
fn a_mixed_step_pays_the_overlap_once() {
    let law = law(GRID).unwrap();
    let shape = StepShape { sequences: 5, decodes: 4, context_tokens: 4000, ..chunk(100, 0) };
    let plan = law.plan(&shape);
    assert_eq!((micros(plan), plan.steps), (10_000.0 + 5000.0 - 3000.0, 1));
}

#[test]
fn equal_chunks_are_looked_up_at_their_common_start() {
    let law = law(GRID).unwrap();
    let two = StepShape {
        sequences: 2,
        prefill_tokens: 500,
        prefill_context: 2000,
        prefill_attention: 2 * 250 * (2 * 1000 + 250),
        ..StepShape::default()
    };
    assert_eq!(micros(law.plan(&two)), 24_000.0);
}

#[test]
fn data_that_fall_with_context_are_refused_naming_the_rows() {
    let error =
        law("decode,4,1000,,10000\ndecode,4,2000,,9999.5\ndecode,8,1,,1\nprefill,,,1,1\nprefill,,,2,1\n");
    let error = error.unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 3: `9999.5` us with 2000 context tokens is less than the `10000` us of line 2 with 1000"
    );
    assert!(!error.hint().is_empty());
}

#[test]
fn tables_that_cannot_be_interpolated_are_refused() {
    let cases = [
        ("", "the table measures `0` sizes of `decode` steps: at least 2 are needed to interpolate"),
        (
            "decode,4,1,,10\ndecode,8,1,,11\nprefill,,,10,5\n",
            "the table measures `1` sizes of `prefill` steps: at least 2 are needed to interpolate",
        ),
        ("decode,4,1,,10\ndecode,4,1,,11\n", "lines 2 and 3 measure the same `decode` shape"),
        (
            "decode,4,1,,10\ndecode,8,1,,11\nprefill,,,10,5\nprefill,,,20,6\noverlap,,,,5.5\n",
            "the overlap of `5.5` us is longer than the `5` us of line 4",
        ),
    ];
    for (rows, message) in cases {
        assert_eq!(law(rows).unwrap_err().to_string(), message);
    }
    let data = data("decode,4,1,,10\ndecode,8,1,,11\nprefill,,,10,5\nprefill,,,20,6\n");
    assert!(matches!(StepLaw::table(&data, Span::from_micros(6), &BOUNDS), Err(LawError::TooShort { .. })));
    let vast = LawBounds { sequences: 1000, tokens: u32::MAX, sequence_tokens: u32::MAX };
    assert!(matches!(
        StepLaw::table(&self::data(GRID), Span::from_micros(1), &vast),
        Err(LawError::TooLong { .. })
    ));
}

#[test]
fn a_single_context_holds_and_flags_every_other() {
    let law = law("decode,1,500,,10\ndecode,2,500,,12\nprefill,,,1,5\nprefill,,,2,6\n").unwrap();
    let at = |context| law.plan(&decode(2, context));
    assert_eq!((micros(at(1000)), at(1000).outside_range), (12.0, false));
    assert_eq!((micros(at(5000)), at(5000).outside_range), (12.0, true));
}

#[test]
fn the_example_file_compiles_and_has_every_kind_of_row() {
    let data = TableData::read(EXAMPLE.as_bytes()).unwrap();
    assert!(data.decode.len() >= 9 && data.prefill.len() >= 4 && data.overlap_fs > 0);
    let law = StepLaw::table(&data, Span::from_nanos(1), &BOUNDS).unwrap();
    assert!(law.is_measured());
    assert_eq!(law.plan(&decode(1, 512)).line.quantum_fs, FEMTOS_PER_NANO);
}
