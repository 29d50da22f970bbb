//! Point processes: when open-loop requests (or sessions) start.
//!
//! Every process consumes its own streams in order and moves a [`Clock`] that carries fractions of a nanosecond
//! from one arrival to the next, so that converting to integers does not bias the rate.

use super::source::SourceError;
use crate::dist::Dist;
use crate::rng::{Purpose, Rng, stream};
use crate::scenario::{MmppState, RateCurve};
use crate::time::{NANOS_PER_SEC, Span};
use rand::RngExt as _;
use rand_distr::{Distribution, Exp1};

const NANOS: f64 = NANOS_PER_SEC as f64;

/// Integer nanoseconds and the fraction left over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    pub(super) at: u64,
    /// In [0, 1): what truncation has taken from `at` so far.
    rest: f64,
}

impl Clock {
    /// The clock at a whole nanosecond.
    pub(super) fn at(ns: u64) -> Self {
        Clock { at: ns, rest: 0.0 }
    }

    /// Moves on by `ns >= 0` nanoseconds; stops at the end of time.
    pub(super) fn advance(&mut self, ns: f64) {
        let total = ns + self.rest;
        let whole = total as u64;
        self.rest = if whole == u64::MAX { 0.0 } else { total - whole as f64 };
        self.at = self.at.saturating_add(whole);
    }

    /// Nanoseconds until `end >= at`.
    fn until(&self, end: u64) -> f64 {
        (end - self.at) as f64 - self.rest
    }
}

/// An open-loop process.
pub(super) enum Process {
    /// Independent gaps. The first arrival comes after one gap.
    Renewal { gap: Dist, gaps: Rng },
    /// A Poisson process whose rate depends on a state.
    Mmpp(Mmpp),
    /// A Poisson process with a piecewise constant rate.
    Pieces(Pieces),
    /// A Poisson process with a sinusoidal rate.
    Diurnal(Diurnal),
}

impl Process {
    pub(super) fn renewal(gap: &Dist, seed: u64, source: u64) -> Result<Self, SourceError> {
        // A gap of zero would put infinitely many arrivals at one instant.
        if gap.mean() <= 0.0 || gap.most() <= 0.0 {
            return Err(SourceError::NoGap);
        }
        Ok(Process::Renewal { gap: gap.clone(), gaps: stream(seed, Purpose::Arrival, source, 0) })
    }

    pub(super) fn varying(curve: &RateCurve, seed: u64, source: u64) -> Result<Self, SourceError> {
        let gaps = stream(seed, Purpose::Arrival, source, 0);
        match curve {
            RateCurve::Pieces(pieces) => Pieces::new(pieces, gaps).map(Process::Pieces),
            &RateCurve::Diurnal { peak, trough, peak_at, period } => {
                let valid = peak.is_finite() && peak > 0.0 && (0.0..=peak).contains(&trough);
                if !valid || period.is_zero() {
                    return Err(SourceError::NoRate);
                }
                Ok(Process::Diurnal(Diurnal {
                    peak_per_ns: peak / NANOS,
                    floor: trough / peak,
                    peak_at: peak_at.as_nanos() % period.as_nanos(),
                    period: period.as_nanos(),
                    slope: (1.0 - trough / peak) * std::f64::consts::PI / period.as_nanos() as f64,
                    known: None,
                    gaps,
                    acceptance: stream(seed, Purpose::Modulation, source, 0),
                }))
            }
        }
    }

    pub(super) fn mmpp(states: &[MmppState], seed: u64, source: u64) -> Result<Self, SourceError> {
        let gaps = stream(seed, Purpose::Arrival, source, 0);
        let stays = stream(seed, Purpose::Modulation, source, 0);
        Mmpp::new(states, gaps, stays).map(Process::Mmpp)
    }

    /// Moves `clock` to the next arrival; `false` when none comes before `horizon`.
    #[inline]
    pub(super) fn advance(&mut self, clock: &mut Clock, horizon: u64) -> bool {
        match self {
            Process::Renewal { gap, gaps } => clock.advance(gap.sample(gaps) * NANOS),
            Process::Mmpp(mmpp) => mmpp.advance(clock, horizon),
            Process::Pieces(pieces) => pieces.advance(clock, horizon),
            Process::Diurnal(diurnal) => diurnal.advance(clock, horizon),
        }
        clock.at < horizon
    }
}

/// A Markov-modulated Poisson process that visits its states in a circle.
///
/// It begins in its stationary state (a state drawn in proportion to its mean stay), so that the expected number
/// of arrivals by any time is the long-run rate times that time. An arrival uses up one unit of exponential work at
/// the speed of the current rate, hence one draw an arrival whatever the states do.
pub(super) struct Mmpp {
    /// Per state: arrivals per nanosecond, mean stay in nanoseconds.
    states: Vec<(f64, f64)>,
    state: usize,
    /// Nanoseconds left in the state.
    left: f64,
    gaps: Rng,
    stays: Rng,
}

impl Mmpp {
    fn new(states: &[MmppState], gaps: Rng, mut stays: Rng) -> Result<Self, SourceError> {
        let valid = |s: &MmppState| s.rate_per_s.is_finite() && s.rate_per_s >= 0.0;
        if !states.iter().all(valid) || states.iter().all(|s| s.rate_per_s == 0.0) {
            return Err(SourceError::NoRate);
        }
        if states.iter().any(|s| s.stay < Span::from_micros(1)) {
            return Err(SourceError::Stay);
        }
        let states: Vec<(f64, f64)> =
            states.iter().map(|s| (s.rate_per_s / NANOS, s.stay.as_nanos() as f64)).collect();
        let mut mark = stays.random::<f64>() * states.iter().map(|s| s.1).sum::<f64>();
        let below = |stay: f64| {
            mark -= stay;
            mark < 0.0
        };
        let state = states.iter().map(|s| s.1).position(below).unwrap_or(states.len() - 1);
        // What is left of an exponential stay is distributed as the whole of it.
        let left = exponential(&mut stays) * states[state].1;
        Ok(Mmpp { states, state, left, gaps, stays })
    }

    fn advance(&mut self, clock: &mut Clock, horizon: u64) {
        let mut work = exponential(&mut self.gaps);
        while clock.at < horizon {
            let (rate, _) = self.states[self.state];
            // Infinite when the rate is zero.
            let needed = work / rate;
            if needed <= self.left {
                self.left -= needed;
                return clock.advance(needed);
            }
            work -= self.left * rate;
            clock.advance(self.left);
            self.state = (self.state + 1) % self.states.len();
            self.left = exponential(&mut self.stays) * self.states[self.state].1;
        }
    }
}

/// A Poisson process with a piecewise constant rate.
///
/// This is thinning with the curve itself as the majorant: no candidate is ever rejected, however far a spike
/// stands above the rest.
pub(super) struct Pieces {
    /// Start of the piece in nanoseconds, arrivals per nanosecond.
    pieces: Vec<(u64, f64)>,
    piece: usize,
    gaps: Rng,
}

impl Pieces {
    fn new(pieces: &[(Span, f64)], gaps: Rng) -> Result<Self, SourceError> {
        let pieces: Vec<(u64, f64)> =
            pieces.iter().map(|&(at, rate)| (at.as_nanos(), rate / NANOS)).collect();
        let valid = pieces.first().is_some_and(|p| p.0 == 0)
            && pieces.windows(2).all(|w| w[0].0 < w[1].0)
            && pieces.iter().all(|p| p.1.is_finite() && p.1 >= 0.0)
            && pieces.iter().any(|p| p.1 > 0.0);
        if valid { Ok(Pieces { pieces, piece: 0, gaps }) } else { Err(SourceError::NoRate) }
    }

    fn advance(&mut self, clock: &mut Clock, horizon: u64) {
        let mut work = exponential(&mut self.gaps);
        while clock.at < horizon {
            let rate = self.pieces[self.piece].1;
            let end = self.pieces.get(self.piece + 1).map_or(horizon, |next| next.0.min(horizon));
            let (needed, left) = (work / rate, clock.until(end));
            if needed < left {
                return clock.advance(needed);
            }
            work -= left * rate;
            *clock = Clock::at(end);
            self.piece += 1;
        }
    }
}

/// A Poisson process whose rate is a sine between trough and peak, by thinning.
///
/// Source: Lewis and Shedler, *Simulation of nonhomogeneous Poisson processes by thinning*, 1979.
pub(super) struct Diurnal {
    peak_per_ns: f64,
    /// trough / peak.
    floor: f64,
    peak_at: u64,
    period: u64,
    /// Steepest change of rate / peak, per nanosecond.
    slope: f64,
    /// A recent instant and rate / peak there.
    known: Option<(u64, f64)>,
    gaps: Rng,
    acceptance: Rng,
}

impl Diurnal {
    fn advance(&mut self, clock: &mut Clock, horizon: u64) {
        while clock.at < horizon {
            clock.advance(exponential(&mut self.gaps) / self.peak_per_ns);
            let mark: f64 = self.acceptance.random();
            if self.accepts(clock.at, mark) {
                return;
            }
        }
    }

    /// Whether `mark` lies below rate / peak at `at`, which never decreases from call to call.
    ///
    /// A sine cannot have moved further than its steepest slope allows since it was last worked out, which settles
    /// nearly every case without a cosine; the answer is the same.
    fn accepts(&mut self, at: u64, mark: f64) -> bool {
        if let Some((then, share)) = self.known {
            let moved = self.slope * (at - then) as f64 + 1e-9;
            if moved < 0.01 && (mark < share - moved || mark > share + moved) {
                return mark < share;
            }
        }
        let share = self.share(at);
        self.known = Some((at, share));
        mark < share
    }

    /// Rate at `at` divided by the peak.
    fn share(&self, at: u64) -> f64 {
        let since_peak = (at % self.period + self.period - self.peak_at) % self.period;
        let angle = std::f64::consts::TAU * since_peak as f64 / self.period as f64;
        self.floor + (1.0 - self.floor) * f64::midpoint(1.0, angle.cos())
    }
}

/// A unit exponential.
fn exponential(rng: &mut Rng) -> f64 {
    Exp1.sample(rng)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(mut process: Process, horizon_s: u64) -> Vec<u64> {
        let (mut clock, mut out) = (Clock::default(), Vec::new());
        while process.advance(&mut clock, horizon_s * NANOS_PER_SEC) {
            out.push(clock.at);
        }
        assert!(out.is_sorted());
        out
    }

    fn gap_moments(times: &[u64]) -> (f64, f64) {
        let gaps: Vec<f64> = times.windows(2).map(|w| (w[1] - w[0]) as f64 / NANOS).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let var = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        (mean, var.sqrt() / mean)
    }

    /// Counts per bin of `bin_s`.
    fn counts(times: &[u64], horizon_s: u64, bin_s: u64) -> Vec<f64> {
        let mut bins = vec![0.0; (horizon_s / bin_s) as usize];
        for &at in times {
            bins[(at / (bin_s * NANOS_PER_SEC)) as usize] += 1.0;
        }
        bins
    }

    fn mean_and_dispersion(counts: &[f64]) -> (f64, f64) {
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        let var = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / (counts.len() - 1) as f64;
        (mean, var / mean)
    }

    #[test]
    fn a_third_of_a_second_is_not_truncated_a_million_times() {
        let process = Process::renewal(&Dist::constant(1.0 / 3.0).unwrap(), 1, 0).unwrap();
        let times = times(process, 400_000);
        for (index, &at) in times.iter().enumerate() {
            let exact = (index as u128 + 1) * u128::from(NANOS_PER_SEC) / 3;
            assert!(u128::from(at).abs_diff(exact) <= 1, "arrival {index} at {at}, exactly {exact}");
        }
        assert!((1_199_998..=1_200_000).contains(&times.len()), "{}", times.len());
    }

    #[test]
    fn renewal_gaps_have_the_mean_and_cv_of_their_law() {
        // 400,000 gaps, seed 3. Bounds: four standard errors of the mean (cv / sqrt n); the CV within 3 %.
        for (law, cv) in [
            (Dist::exponential(0.01), 1.0),
            (Dist::gamma(0.01, 0.5), 0.5),
            (Dist::gamma(0.01, 3.0), 3.0),
            (Dist::weibull(0.01, 2.0), 2.0),
        ] {
            let times = times(Process::renewal(&law.unwrap(), 3, 0).unwrap(), 4_000);
            let (mean, sampled) = gap_moments(&times);
            let error = 4.0 * cv / (times.len() as f64).sqrt();
            assert!((mean / 0.01 - 1.0).abs() < error, "cv {cv}: mean {mean}");
            assert!((sampled / cv - 1.0).abs() < 0.03, "cv {cv}: {sampled}");
        }
    }

    /// Two states with rates a, b and equal mean stay s: rate (a+b)/2, and for bins much longer than the stay
    /// the index of dispersion 1 + (a-b)^2 s / (2 (a+b)).
    #[test]
    fn mmpp_has_its_long_run_rate_and_index_of_dispersion() {
        let (a, b, stay) = (40.0, 10.0, 2.0);
        let states = [a, b].map(|rate_per_s| MmppState { rate_per_s, stay: Span::from_secs(2) });
        let horizon = 400_000;
        let times = times(Process::mmpp(&states, 5, 0).unwrap(), horizon);
        let bins = counts(&times, horizon, 200);
        let (mean, dispersion) = mean_and_dispersion(&bins);
        let expected = 1.0 + (a - b).powi(2) * stay / (2.0 * (a + b));
        // 2,000 bins: four standard errors of the mean count and of the variance (about sqrt(2/n)), and 1 % for
        // the finite bin.
        let error = 4.0 * (expected / (mean * bins.len() as f64)).sqrt();
        assert!((mean / 200.0 / f64::midpoint(a, b) - 1.0).abs() < error, "mean {mean}");
        let error = 4.0 * (2.0 / bins.len() as f64).sqrt() + 0.01;
        assert!((dispersion / expected - 1.0).abs() < error, "{dispersion} for {expected}");
    }

    #[test]
    fn mmpp_begins_in_its_stationary_state() {
        let states =
            [(30.0, 1), (0.0, 2)].map(|(rate_per_s, s)| MmppState { rate_per_s, stay: Span::from_secs(s) });
        // 20,000 runs of one second; the variance of a count is at most rate + rate^2 / 4 of the fast state.
        let total: usize =
            (0..20_000).map(|seed| times(Process::mmpp(&states, seed, 0).unwrap(), 1).len()).sum();
        let mean = total as f64 / 20_000.0;
        assert!((mean - 10.0).abs() < 4.0 * (255.0f64 / 20_000.0).sqrt(), "{mean}");
    }

    #[test]
    fn a_diurnal_rate_has_the_right_count_in_every_hour() {
        let (peak, trough, hour) = (20.0, 5.0, 3600u64);
        let curve = RateCurve::Diurnal {
            peak,
            trough,
            peak_at: Span::from_secs(14 * hour),
            period: Span::from_secs(24 * hour),
        };
        let times = times(Process::varying(&curve, 7, 0).unwrap(), 24 * hour);
        for (index, count) in counts(&times, 24 * hour, hour).into_iter().enumerate() {
            // The integral of the sine over the hour.
            let angle = |h: f64| std::f64::consts::TAU * (h - 14.0) / 24.0;
            let (from, to) = (angle(index as f64), angle(index as f64 + 1.0));
            let mean = f64::midpoint(peak, trough) * 3600.0
                + (peak - trough) / 2.0 * 86_400.0 / std::f64::consts::TAU * (to.sin() - from.sin());
            assert!((count - mean).abs() < 4.5 * mean.sqrt(), "hour {index}: {count} for {mean}");
        }
    }

    #[test]
    fn the_shortcut_accepts_exactly_what_the_sine_accepts() {
        let curve =
            |period| RateCurve::Diurnal { peak: 9.0, trough: 1.0, peak_at: Span::from_secs(5), period };
        let mut marks = stream(1, Purpose::Bootstrap, 0, 0);
        for period_s in [1, 60, 86_400] {
            let Ok(Process::Diurnal(mut sine)) = Process::varying(&curve(Span::from_secs(period_s)), 1, 0)
            else {
                panic!("a diurnal process");
            };
            for step in 0..100_000u64 {
                let (at, mark) = (step * 130_000_007, marks.random());
                assert_eq!(sine.accepts(at, mark), mark < sine.share(at), "{at} {mark}");
            }
        }
    }

    #[test]
    fn pieces_hold_their_rate_and_a_piece_of_zero_is_silent() {
        let at = |s| Span::from_secs(s);
        let curve = RateCurve::Pieces(vec![(at(0), 5.0), (at(1000), 0.0), (at(2000), 50.0), (at(3000), 1.0)]);
        let times = times(Process::varying(&curve, 7, 0).unwrap(), 10_000);
        let bins = counts(&times, 10_000, 1000);
        for (bin, mean) in bins.iter().zip([5e3, 0.0, 5e4, 1e3, 1e3, 1e3, 1e3, 1e3, 1e3, 1e3]) {
            assert!((bin - mean).abs() <= 4.5 * f64::sqrt(mean), "{bin} for {mean}");
        }
    }

    #[test]
    fn a_silent_end_stops_at_the_horizon() {
        let at = |s| Span::from_secs(s);
        let curve = RateCurve::Pieces(vec![(at(0), 5.0), (at(10), 0.0)]);
        let times = times(Process::varying(&curve, 7, 0).unwrap(), 1 << 30);
        assert!(times.last().unwrap() / NANOS_PER_SEC < 10);
    }

    #[test]
    fn processes_that_never_or_always_fire_are_refused() {
        let silent = MmppState { rate_per_s: 0.0, stay: Span::from_secs(1) };
        let instant = MmppState { rate_per_s: 1.0, stay: Span::ZERO };
        assert!(Process::mmpp(&[silent], 1, 0).is_err());
        assert!(Process::mmpp(&[], 1, 0).is_err());
        assert!(Process::mmpp(&[instant], 1, 0).is_err());
        assert!(Process::varying(&RateCurve::Pieces(vec![(Span::ZERO, 0.0)]), 1, 0).is_err());
        assert!(Process::renewal(&Dist::constant(0.0).unwrap(), 1, 0).is_err());
    }
}
