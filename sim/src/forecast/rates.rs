//! How much a workload sends in the busiest window of a length, on average: the law's mean, nothing is drawn.

use crate::scenario::{Arrivals, Lengths, MmppState, RateCurve, Workload};
use crate::time::Span;

/// Mean requests per second of a workload over the window of length `window` in which it sends most.
///
/// `None` where no law says: a closed population sends as fast as it is answered, a trace has what it has.
pub(super) fn busiest(workload: &Workload, window: Span, horizon: Span) -> Option<f64> {
    let sessions = workload.sessions.as_ref().map_or(1.0, |sessions| sessions.turns.mean());
    // A window beyond the horizon holds no more than the horizon.
    let window = window.min(horizon).as_secs_f64();
    let starts = match &workload.arrivals {
        Arrivals::Renewal(gap) => 1.0 / gap.mean(),
        Arrivals::Mmpp(states) => mmpp(states, window),
        Arrivals::Varying(RateCurve::Pieces(pieces)) => steps(pieces, window, horizon.as_secs_f64()),
        Arrivals::Varying(RateCurve::Diurnal { peak, trough, period, .. }) => {
            sine(*peak, *trough, period.as_secs_f64(), window)
        }
        // Batch consumes nothing of real-time limits.
        Arrivals::Jobs => return Some(0.0),
        // Those of a trace are counted.
        Arrivals::Trace(_) | Arrivals::Population { .. } => return None,
    };
    Some(starts * sessions)
}

/// The busiest state while a stay outlasts the window, else the mean of all, weighted by their stays.
fn mmpp(states: &[MmppState], window: f64) -> f64 {
    let lasting = states.iter().filter(|state| state.stay.as_secs_f64() >= window);
    let stays: f64 = states.iter().map(|state| state.stay.as_secs_f64()).sum();
    let mean = states.iter().map(|state| state.rate_per_s * state.stay.as_secs_f64()).sum::<f64>() / stays;
    lasting.map(|state| state.rate_per_s).fold(mean, f64::max)
}

/// The largest mean over a window: it is reached where a window begins or ends at an edge of a piece.
fn steps(pieces: &[(Span, f64)], window: f64, horizon: f64) -> f64 {
    let edge = |index: usize| pieces.get(index).map_or(horizon, |(from, _)| from.as_secs_f64());
    let sent_until = |at: f64| -> f64 {
        pieces
            .iter()
            .enumerate()
            .map(|(index, (_, rate))| rate * (at.min(edge(index + 1)) - edge(index)).max(0.0))
            .sum()
    };
    let begins = (0..=pieces.len()).flat_map(|index| [edge(index), edge(index) - window]);
    let inside = begins.filter(|begin| *begin >= 0.0 && begin + window <= horizon);
    inside.map(|begin| (sent_until(begin + window) - sent_until(begin)) / window).fold(0.0, f64::max)
}

/// Mean of a sine between `trough` and `peak` over a window centred on its peak.
fn sine(peak: f64, trough: f64, period: f64, window: f64) -> f64 {
    let (mean, swing) = (f64::midpoint(peak, trough), (peak - trough) / 2.0);
    let half = std::f64::consts::PI * window / period;
    // Beyond a period the extra part is the same hump again.
    mean + swing * half.sin().abs().max(0.0) / half
}

/// Mean prompt and output tokens of a request; `None` where a trace has them row by row.
pub(super) fn mean_tokens(workload: &Workload) -> Option<(f64, f64)> {
    match &workload.lengths {
        Lengths::Independent { prompt, output } => Some((prompt.mean(), output.mean())),
        Lengths::Joint(pairs) => {
            let mean = |of: fn(&(u32, u32)) -> u32| {
                pairs.iter().map(|pair| f64::from(of(pair))).sum::<f64>() / pairs.len() as f64
            };
            Some((mean(|pair| pair.0), mean(|pair| pair.1)))
        }
        Lengths::FromTrace => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_over_an_edge_holds_the_mean_of_both_sides() {
        let pieces = [(Span::ZERO, 1.0), (Span::from_secs(100), 10.0), (Span::from_secs(110), 1.0)];
        assert!((steps(&pieces, 10.0, 1000.0) - 10.0).abs() < 1e-12);
        assert!((steps(&pieces, 20.0, 1000.0) - 5.5).abs() < 1e-12);
        assert!((steps(&pieces, 1000.0, 1000.0) - 1.09).abs() < 1e-12);
    }

    #[test]
    fn a_short_window_sees_the_peak_of_a_sine_and_a_whole_period_its_mean() {
        assert!((sine(30.0, 10.0, 86_400.0, 1.0) - 30.0).abs() < 1e-6);
        assert!((sine(30.0, 10.0, 86_400.0, 86_400.0) - 20.0).abs() < 1e-9);
    }

    #[test]
    fn a_burst_shorter_than_the_window_is_averaged_away() {
        let state = |rate_per_s, stay| MmppState { rate_per_s, stay: Span::from_secs(stay) };
        let states = [state(15.0, 90), state(1.0, 90)];
        assert!((mmpp(&states, 60.0) - 15.0).abs() < 1e-12);
        assert!((mmpp(&states, 3600.0) - 8.0).abs() < 1e-12);
    }
}
