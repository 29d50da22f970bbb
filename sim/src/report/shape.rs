//! Histograms as lines: outline, tail and distribution function, with no more points than a figure can show.

use super::plot::{Look, Series};
use hdrhistogram::Histogram;

/// Bars of a histogram figure, at most.
const BARS: f64 = 72.0;
/// Points of a tail or of a distribution function, at most.
const POINTS: usize = 480;

/// The outline of bars of equal width on a log axis from `least` to `most` ns: share of all samples per bar. What
/// lies above `most` is left out.
///
/// No bar is narrower than 0.4 %, four times the resolution of the buckets.
pub(super) fn outline(histogram: &Histogram<u64>, least: f64, most: f64) -> Vec<(f64, f64)> {
    let (low, high) = (least.max(1.0) * 0.999, most.max(1.0) * 1.001);
    let span = (high / low).ln();
    let bars = (span / 0.004).floor().clamp(1.0, BARS);
    let mut shares = vec![0.0; bars as usize];
    let total = histogram.len() as f64;
    for bucket in histogram.iter_recorded().take_while(|bucket| bucket.value_iterated_to() as f64 <= high) {
        // The middle of the bucket, as its values are spread over it.
        let value = histogram.median_equivalent(bucket.value_iterated_to()) as f64;
        let place = ((value / low).ln() / span * bars).clamp(0.0, bars - 1.0);
        shares[place as usize] += bucket.count_at_value() as f64 / total;
    }
    let edge = |bar: usize| low * (span * bar as f64 / bars).exp();
    let mut points = vec![(edge(0), 0.0)];
    for (bar, share) in shares.iter().enumerate() {
        points.extend([(edge(bar), *share), (edge(bar + 1), *share)]);
    }
    points.push((edge(shares.len()), 0.0));
    points
}

/// Value by quantile, evenly spaced on the tail axis; dotted where fewer than 10 samples lie beyond.
pub(super) fn tail_series(histogram: &Histogram<u64>, label: &str, color: usize, look: Look) -> Vec<Series> {
    let samples = histogram.len().max(2) as f64;
    let nines = samples.log10();
    let sure = 1.0 - 10.0 / samples;
    let quantiles: Vec<f64> =
        (0..POINTS).map(|i| 1.0 - 10f64.powf(-nines * i as f64 / (POINTS - 1) as f64)).collect();
    // The axis ends where one sample in `samples` is left: that sample is the largest.
    let last = POINTS - 1;
    let asked = quantiles.iter().enumerate().map(|(i, &quantile)| if i == last { 1.0 } else { quantile });
    let values = histogram.value_at_quantiles(asked);
    let points: Vec<(f64, f64)> = quantiles
        .iter()
        .zip(values)
        .map(|(quantile, value)| (*quantile, (value as f64).min(histogram.max() as f64)))
        .collect();
    let cut = points.iter().position(|point| point.0 > sure).unwrap_or(points.len());
    let piece = |label: &str, look, points: &[(f64, f64)]| Series {
        label: label.to_owned(),
        color,
        look,
        points: points.to_vec(),
    };
    let (solid, thin) = (&points[..cut], &points[cut.saturating_sub(1)..]);
    [piece(label, look, solid), piece("", Look::Dotted, thin)]
        .into_iter()
        .filter(|series| series.points.len() > 1)
        .collect()
}

/// Share of samples at most as long as a value, by value in ns.
pub(super) fn cumulative(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let total = histogram.len() as f64;
    let (low, high) = (histogram.min().max(1) as f64, histogram.max().max(2) as f64);
    let span = (high / low).ln().max(1e-9);
    let mut points = vec![(low, 0.0)];
    let mut seen = 0;
    let (mut last_x, mut last_y) = (0.0, 0.0);
    for bucket in histogram.iter_recorded() {
        seen += bucket.count_at_value();
        let value = (bucket.value_iterated_to() as f64).min(high);
        let (x, y) = ((value / low).ln() / span, seen as f64 / total);
        // Points closer than a line is wide add nothing.
        if x - last_x > 1.0 / POINTS as f64 || y - last_y > 1.0 / POINTS as f64 || seen == histogram.len() {
            points.push((value, y));
            (last_x, last_y) = (x, y);
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::hist::empty_histogram;

    fn spread() -> Histogram<u64> {
        let mut histogram = empty_histogram();
        for i in 1..=10_000u64 {
            histogram.record(1_000_000 + i * i * 37).unwrap();
        }
        histogram
    }

    #[test]
    fn the_bars_of_a_histogram_add_up_to_all_samples() {
        let histogram = spread();
        let points = outline(&histogram, histogram.min() as f64, histogram.max() as f64);
        // Every bar has two points at its height; the ends have none.
        let sum: f64 = points.iter().map(|point| point.1).sum::<f64>() / 2.0;
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        assert!(points.windows(2).all(|pair| pair[0].0 <= pair[1].0));
    }

    #[test]
    fn tails_and_distributions_never_fall_and_end_at_the_largest_value() {
        let histogram = spread();
        let series = tail_series(&histogram, "x", 0, Look::Solid);
        assert_eq!(series.len(), 2);
        let tail: Vec<_> = series.iter().flat_map(|series| series.points.clone()).collect();
        let cdf = cumulative(&histogram);
        for line in [&tail, &cdf] {
            assert!(line.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1));
            assert!(line.len() <= 2 * POINTS + 3);
        }
        assert_eq!(tail.last().unwrap().1, histogram.max() as f64);
        assert_eq!(*cdf.last().unwrap(), (histogram.max() as f64, 1.0));
    }

    #[test]
    fn one_sample_or_one_value_is_no_special_case() {
        for samples in [1u64, 2, 1_000] {
            let mut histogram = empty_histogram();
            histogram.record_n(5_000_000, samples).unwrap();
            assert!(!outline(&histogram, 5e6, 5e6).is_empty());
            assert!(!tail_series(&histogram, "", 0, Look::Solid).is_empty());
            assert_eq!(cumulative(&histogram).last().unwrap().1, 1.0);
        }
    }
}
