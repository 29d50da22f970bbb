//! Axes: a scale, and the ticks that people can read.

use crate::results::figure::{quantile_name, time_scale};

/// One axis of a figure.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// What is on it, with the unit.
    pub(super) label: String,
    pub(super) scale: Scale,
    pub(super) ticks: Vec<Tick>,
}

/// A place on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) at: f64,
    /// Empty for a grid line without a label.
    pub(super) label: String,
}

/// How values become places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    Linear {
        low: f64,
        high: f64,
    },
    Log {
        low: f64,
        high: f64,
    },
    /// `-log10(1 - quantile)`: each further nine takes the same room. `high` is the largest quantile, below 1.
    Tail {
        high: f64,
    },
}

impl Scale {
    /// Where `value` lies, 0 at the low end and 1 at the high end.
    pub(super) fn place(self, value: f64) -> f64 {
        let between = |low: f64, high: f64, value: f64| (value - low) / (high - low);
        match self {
            Scale::Linear { low, high } => between(low, high, value),
            Scale::Log { low, high } => between(low.ln(), high.ln(), value.max(f64::MIN_POSITIVE).ln()),
            Scale::Tail { high } => nines(value) / nines(high),
        }
        .clamp(-0.05, 1.05)
    }
}

/// `-log10(1 - quantile)`: 0.9 is 1, 0.99 is 2.
fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-15).log10()
}

impl Axis {
    /// A linear axis of plain numbers from 0 to a little above `most`.
    pub(super) fn count(label: impl Into<String>, most: f64) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let step = nice_step(most * 1.04 / 5.0);
        let high = (most * 1.04 / step).ceil() * step;
        let ticks = steps(0.0, high, step).map(|at| Tick { at, label: plain(at, step) }).collect();
        Axis { label: label.into(), scale: Scale::Linear { low: 0.0, high }, ticks }
    }

    /// A linear axis of shares, shown in percent; `most` in 0..=1.
    pub(super) fn share(label: impl Into<String>, most: f64) -> Self {
        let percent = Self::count(label, (most * 100.0).max(0.01));
        let Scale::Linear { high, .. } = percent.scale else { return percent };
        let ticks = percent.ticks.into_iter().map(|tick| Tick { at: tick.at / 100.0, ..tick });
        Axis {
            label: format!("{} (%)", percent.label),
            scale: Scale::Linear { low: 0.0, high: high / 100.0 },
            ticks: ticks.collect(),
        }
    }

    /// Shares from 0 to exactly 100 %.
    pub(super) fn whole(label: impl Into<String>) -> Self {
        let ticks = (0..=5).map(|i| f64::from(i) / 5.0);
        let ticks = ticks.map(|at| Tick { at, label: format!("{:.0}", at * 100.0) }).collect();
        Axis { label: format!("{} (%)", label.into()), scale: Scale::Linear { low: 0.0, high: 1.0 }, ticks }
    }

    /// A linear axis from a little below `least` to a little above `most`, labelled in multiples of `unit`.
    pub(super) fn between(label: &str, least: f64, most: f64, unit: f64) -> Self {
        let (least, most) = (least / unit, most / unit);
        let span = if most > least { most - least } else { most.abs().max(1.0) * 0.02 };
        let step = nice_step(span * 1.1 / 5.0);
        let first = ((least - 0.04 * span) / step).floor() as i64;
        let last = ((most + 0.04 * span) / step).ceil() as i64;
        // Whole multiples, so that zero is zero.
        let ticks = (first..=last).map(|i| i as f64 * step);
        let ticks = ticks.map(|at| Tick { at: at * unit, label: plain(at, step) });
        Axis {
            label: label.to_owned(),
            scale: Scale::Linear { low: first as f64 * step * unit, high: last as f64 * step * unit },
            ticks: ticks.collect(),
        }
    }

    /// A linear axis of durations from 0 to a little above `most` nanoseconds.
    pub(super) fn duration(label: &str, most: f64) -> Self {
        let most = if most > 0.0 { most } else { 1e9 };
        let (unit_ns, unit) = time_scale(most);
        let axis = Self::count(format!("{label} ({unit})"), most / unit_ns);
        let Scale::Linear { high, .. } = axis.scale else { return axis };
        let ticks = axis.ticks.into_iter().map(|tick| Tick { at: tick.at * unit_ns, ..tick }).collect();
        Axis { label: axis.label, scale: Scale::Linear { low: 0.0, high: high * unit_ns }, ticks }
    }

    /// A logarithmic axis of durations that holds `least..=most` nanoseconds.
    pub(super) fn log_duration(label: &str, least: f64, most: f64) -> Self {
        let (least, most) = (least.max(1.0), most.max(least.max(1.0) * 1.02));
        // Room at both ends, in proportion to what is shown.
        let room = (most / least).powf(0.04).max(1.01);
        let (low, high) = (least / room, most * room);
        let ticks = if high / low < 5.0 { narrow_ticks(low, high) } else { decade_ticks(low, high) };
        Axis { label: label.to_owned(), scale: Scale::Log { low, high }, ticks }
    }

    /// Quantiles with a logarithmic tail, up to the largest that `samples` can tell.
    pub(super) fn tail(samples: u64) -> Self {
        let high = 1.0 - 1.0 / (samples.max(2) as f64);
        let known = [0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999, 0.999_999, 0.999_999_9];
        let kept = known.into_iter().filter(|quantile| *quantile <= high);
        let ticks =
            kept.map(|at| Tick { at, label: if at == 0.0 { "min".to_owned() } else { quantile_name(at) } });
        let mut ticks: Vec<Tick> = ticks.collect();
        ticks.push(Tick { at: high, label: "max".to_owned() });
        Axis { label: "percentile".to_owned(), scale: Scale::Tail { high }, ticks }
    }

    /// Time from 0 to `until` seconds, called `what`.
    pub(super) fn time(until: f64, what: &str) -> Self {
        let until = if until > 0.0 { until } else { 1.0 };
        let (unit_s, unit) = match until {
            u if u <= 300.0 => (1.0, "s"),
            u if u <= 3.0 * 3600.0 => (60.0, "min"),
            u if u <= 5.0 * 86_400.0 => (3600.0, "h"),
            _ => (86_400.0, "d"),
        };
        let step =
            if unit == "h" { hour_step(until / unit_s / 8.0) } else { nice_step(until / unit_s / 8.0) };
        let ticks =
            steps(0.0, until / unit_s, step).map(|at| Tick { at: at * unit_s, label: plain(at, step) });
        Axis {
            label: format!("{what} ({unit})"),
            scale: Scale::Linear { low: 0.0, high: until },
            ticks: ticks.collect(),
        }
    }
}

/// The smallest of 1, 2, 2.5, 5 times a power of ten that is at least `least`.
fn nice_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let mantissa = least / power;
    let nice = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|nice| mantissa <= nice * 1.000_001);
    nice.unwrap_or(10.0) * power
}

/// Steps of hours as on a clock.
fn hour_step(least: f64) -> f64 {
    [0.25, 0.5, 1.0, 2.0, 3.0, 6.0, 12.0, 24.0].into_iter().find(|step| least <= *step).unwrap_or(24.0)
}

/// `low`, `low + step`, ... up to `high`.
fn steps(low: f64, high: f64, step: f64) -> impl Iterator<Item = f64> {
    let count = ((high - low) / step + 1e-6).floor() as usize;
    (0..=count).map(move |i| low + step * i as f64)
}

/// A number with as many places as its step needs.
fn plain(value: f64, step: f64) -> String {
    let places = (0..6).find(|p| (step * 10f64.powi(*p)).fract().abs() < 1e-6).unwrap_or(6) as usize;
    if value >= 10_000.0 && places == 0 {
        return crate::results::figure::count(value.round() as u64);
    }
    format!("{value:.places$}")
}

/// A duration as a tick: `200 us`, `1.5 s`.
fn tick_time(ns: f64) -> String {
    let (scale, unit) = time_scale(ns);
    let text = format!("{:.3}", ns / scale);
    format!("{} {unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Ticks of a log axis that spans decades: 1, and 2 and 5 where there is room; grid lines at every digit.
fn decade_ticks(low: f64, high: f64) -> Vec<Tick> {
    let decades = (high / low).log10();
    let labelled: &[u32] = match decades {
        d if d <= 2.2 => &[1, 2, 5],
        d if d <= 3.5 => &[1, 3],
        _ => &[1],
    };
    let mut ticks = Vec::new();
    for power in low.log10().floor() as i32..=high.log10().ceil() as i32 {
        for digit in 1..=9 {
            let at = f64::from(digit) * 10f64.powi(power);
            if at < low || at > high || (decades > 3.5 && digit != 1) {
                continue;
            }
            let label = if labelled.contains(&digit) { tick_time(at) } else { String::new() };
            ticks.push(Tick { at, label });
        }
    }
    ticks
}

/// Ticks of a log axis so short that it is nearly linear.
fn narrow_ticks(low: f64, high: f64) -> Vec<Tick> {
    let step = nice_step((high - low) / 7.0);
    let first = (low / step).ceil() * step;
    steps(first, high, step).map(|at| Tick { at, label: tick_time(at) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).filter(|label| !label.is_empty()).collect()
    }

    #[test]
    fn ticks_are_round_numbers_that_cover_the_data() {
        assert_eq!(labels(&Axis::count("n", 93.0)), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(&Axis::count("n", 0.23)), ["0.00", "0.05", "0.10", "0.15", "0.20", "0.25"]);
        assert_eq!(labels(&Axis::duration("ttft", 0.9e9)), ["0", "200", "400", "600", "800", "1000"]);
        assert_eq!(
            labels(&Axis::log_duration("x", 12e6, 900e6)),
            ["20 ms", "50 ms", "100 ms", "200 ms", "500 ms", "1 s"]
        );
        assert_eq!(labels(&Axis::log_duration("x", 20.1e6, 20.9e6))[..2], ["20 ms", "20.2 ms"]);
        assert_eq!(labels(&Axis::tail(20_000))[7..], ["p99.99", "max"]);
        assert_eq!(labels(&Axis::between("x", 0.996, 1.05, 1.0)), ["0.98", "1.00", "1.02", "1.04", "1.06"]);
        assert_eq!(labels(&Axis::between("x", -3e6, 5e6, 1e6)), ["-4", "-2", "0", "2", "4", "6"]);
        assert_eq!(labels(&Axis::time(86_400.0, "time")), ["0", "3", "6", "9", "12", "15", "18", "21", "24"]);
    }

    #[test]
    fn a_further_nine_takes_the_same_room() {
        let scale = Scale::Tail { high: 0.9999 };
        let places: Vec<f64> = [0.0, 0.9, 0.99, 0.999, 0.9999].iter().map(|q| scale.place(*q)).collect();
        for (i, place) in places.iter().enumerate() {
            assert!((place - 0.25 * i as f64).abs() < 1e-9, "{places:?}");
        }
    }

    #[test]
    fn axes_of_nothing_are_still_axes() {
        for axis in [
            Axis::count("n", 0.0),
            Axis::share("n", 0.0),
            Axis::duration("x", 0.0),
            Axis::log_duration("x", 0.0, 0.0),
            Axis::log_duration("x", 5e6, 5e6),
            Axis::tail(0),
            Axis::tail(1),
            Axis::time(0.0, "time"),
            Axis::between("x", 0.0, 0.0, 1.0),
            Axis::between("x", 1.0, 1.0, 1.0),
            Axis::between("x", -3e6, 5e6, 1e6),
        ] {
            assert!(!axis.ticks.is_empty() && axis.ticks.len() < 40, "{axis:?}");
            assert!(axis.ticks.iter().all(|tick| axis.scale.place(tick.at).is_finite()), "{axis:?}");
        }
    }
}
