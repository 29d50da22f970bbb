//! Requests generated from ServeGen clients: many small renewal processes, merged.
//!
//! Within a window a client's gaps have the window's family and shape, and the mean that its rate says. Each
//! window begins in the stationary state (the first gap is what is left of a gap already under way), because a
//! fresh start would add (cv^2 - 1)/2 requests to every window of a bursty client. A client uses the token tables
//! that hold at the time, else its first ones; a client without any borrows those of another, drawn anew for every
//! request in proportion to the rates of the clients that have some.

use super::process::Clock;
use super::trace::{Client, Clients, Family, Problem, TraceError, WINDOW, Window};
use crate::dist::Dist;
use crate::rng::{Purpose, Rng, stream};
use crate::time::NANOS_PER_SEC;
use rand::RngExt as _;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;

const NANOS: f64 = NANOS_PER_SEC as f64;

/// A population of ServeGen clients as one stream of requests. Memory is O(clients and their tables).
pub(super) struct Generator {
    clients: Vec<Active>,
    /// Streams of prompt and output lengths, a pair a client.
    draws: Vec<(Rng, Rng)>,
    /// The next request of each client: when (file time), whose.
    next: BinaryHeap<Reverse<(u64, u32)>>,
    /// Index of a client with lengths, in proportion to its rate; `None` when no client has lengths.
    donors: Option<Dist>,
}

/// A client and where it stands.
struct Active {
    client: Client,
    window: usize,
    clock: Clock,
    /// Gap between requests in the current window, seconds.
    gap: Option<Dist>,
    gaps: Rng,
}

impl Generator {
    /// Reads a ServeGen file. With `lengths`, at least one client must have token tables.
    pub(super) fn open(path: &Path, lengths: bool, seed: u64, source: u64) -> Result<Self, TraceError> {
        let mut file = Clients::open(path)?;
        let (mut clients, mut draws) = (Vec::new(), Vec::new());
        while let Some(client) = file.next_client()? {
            // Sub-stream 0 belongs to the source as a whole.
            let index = clients.len() as u64 + 1;
            clients.push(Active {
                client,
                window: 0,
                clock: Clock::default(),
                gap: None,
                gaps: stream(seed, Purpose::Arrival, source, index),
            });
            let prompts = stream(seed, Purpose::Prompt, source, index);
            draws.push((prompts, stream(seed, Purpose::Output, source, index)));
        }
        let weights: Vec<(f64, f64)> = clients
            .iter()
            .enumerate()
            .filter(|(_, active)| !active.client.tokens.is_empty())
            .map(|(index, active)| (index as f64, active.client.windows.iter().map(|w| w.rate_per_s).sum()))
            .collect();
        let donors = Dist::empirical(&weights).ok();
        if lengths && donors.is_none() {
            return Err(TraceError::file(path, Problem::NoLengths));
        }
        let mut generator = Generator { clients, draws, next: BinaryHeap::new(), donors };
        for index in 0..generator.clients.len() {
            generator.schedule(index as u32);
        }
        Ok(generator)
    }

    /// The next request: when (nanoseconds since the start of the day), its lengths when `lengths`.
    pub(super) fn next(&mut self, lengths: bool) -> Option<(u64, Option<(u32, u32)>)> {
        let Reverse((at, index)) = self.next.pop()?;
        let drawn = if lengths { self.lengths(index as usize, at) } else { None };
        self.schedule(index);
        Some((at, drawn))
    }

    fn schedule(&mut self, index: u32) {
        if let Some(at) = self.clients[index as usize].advance() {
            self.next.push(Reverse((at, index)));
        }
    }

    fn lengths(&mut self, index: usize, at: u64) -> Option<(u32, u32)> {
        let (prompts, outputs) = &mut self.draws[index];
        let mut tables = &self.clients[index].client.tokens;
        if tables.is_empty() {
            let donor = self.donors.as_ref()?.sample(prompts) as usize;
            tables = &self.clients[donor].client.tokens;
        }
        let held = tables.get(tables.partition_point(|t| t.from.as_nanos() <= at).saturating_sub(1))?;
        Some((held.prompt.sample_tokens(prompts), held.output.sample_tokens(outputs)))
    }
}

impl Active {
    /// When the next request comes; `None` after the last window.
    fn advance(&mut self) -> Option<u64> {
        loop {
            let window = *self.client.windows.get(self.window)?;
            let gap = match &self.gap {
                Some(gap) => gap.sample(&mut self.gaps),
                None => {
                    self.clock = Clock::at(window.start.as_nanos());
                    let (gap, first) = begin(&window, &mut self.gaps);
                    self.gap = Some(gap);
                    first
                }
            };
            self.clock.advance(gap * NANOS);
            if self.clock.at < (window.start + WINDOW).as_nanos() {
                return Some(self.clock.at);
            }
            self.window += 1;
            self.gap = None;
        }
    }
}

/// The gaps of a window, and its first one: the rest of a gap under way.
///
/// The rest of a gap under way is a uniform share of a length-biased gap. A length-biased gamma(k) is a
/// gamma(k + 1); a length-biased Weibull(k) is a gamma(1 + 1/k) to the power 1/k. Source: Cox, *Renewal Theory*,
/// 5.4.
fn begin(window: &Window, rng: &mut Rng) -> (Dist, f64) {
    let (shape, mean) = (window.shape, 1.0 / window.rate_per_s);
    let known = "shapes and rates are checked when the file is read";
    let (gap, biased) = match window.family {
        Family::Gamma => {
            let scale = mean / shape;
            let biased = Dist::gamma_shape(shape + 1.0, scale).expect(known).sample(rng);
            (Dist::gamma_shape(shape, scale).expect(known), biased)
        }
        Family::Weibull => {
            let scale = mean / statrs::function::gamma::gamma(1.0 + 1.0 / shape);
            let power = Dist::gamma_shape(1.0 + 1.0 / shape, 1.0).expect(known).sample(rng);
            (Dist::weibull_shape(shape, scale).expect(known), scale * power.powf(1.0 / shape))
        }
    };
    (gap, biased * rng.random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    fn count(family: Family, shape: f64, seeds: u64) -> (f64, f64) {
        let window =
            |index: u64| Window { start: Span::from_secs(600 * index), rate_per_s: 0.5, family, shape };
        let counts: Vec<f64> = (0..seeds)
            .map(|seed| {
                let mut active = Active {
                    client: Client { windows: (0..4).map(window).collect(), tokens: Vec::new() },
                    window: 0,
                    clock: Clock::default(),
                    gap: None,
                    gaps: stream(seed, Purpose::Arrival, 0, 1),
                };
                std::iter::from_fn(|| active.advance()).count() as f64
            })
            .collect();
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        let var = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / counts.len() as f64;
        (mean, (var / counts.len() as f64).sqrt())
    }

    #[test]
    fn every_window_that_may_be_written_can_be_drawn_from() {
        for family in [Family::Gamma, Family::Weibull] {
            for shape in [0.001, 0.05, 1.0, 1e4] {
                for rate_per_s in [1e-9, 1.0, 1e7] {
                    if family == Family::Weibull && shape < 0.05 {
                        continue;
                    }
                    let window = Window { start: Span::ZERO, rate_per_s, family, shape };
                    let mut rng = stream(1, Purpose::Arrival, 0, 1);
                    for _ in 0..100 {
                        let (gap, first) = begin(&window, &mut rng);
                        let next = gap.sample(&mut rng);
                        let what = format!("{window:?}: {first} then {next}");
                        assert!(
                            first >= 0.0 && next >= 0.0 && first.is_finite() && next.is_finite(),
                            "{what}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn bursty_windows_keep_their_rate() {
        // Four windows of 600 s at 0.5/s, 3,000 seeds, four standard errors. A fresh start in each window would
        // give 1,280 instead of 1,200 for the first case.
        for (family, shape) in
            [(Family::Gamma, 0.0244), (Family::Gamma, 4.0), (Family::Weibull, 0.3), (Family::Weibull, 2.0)]
        {
            let (mean, error) = count(family, shape, 3_000);
            assert!((mean - 1_200.0).abs() < 4.0 * error, "{family:?} {shape}: {mean} +- {error}");
        }
    }
}
