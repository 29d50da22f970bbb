//! What a trace is like: how fast, how bursty, how long its requests, how much its prompts share.
//!
//! One pass, bounded memory: sums, two length histograms, and a sketch of the block hashes.

use super::distinct::Distinct;
use super::generator::Generator;
use super::trace::{self, Problem, Rows, TraceError};
use crate::request::HashChain;
use crate::scenario::TraceFormat;
use crate::time::Span;
use hdrhistogram::Histogram;
use std::path::Path;

/// Seed of the day that is generated from a ServeGen file.
pub const GENERATED_SEED: u64 = 1;

const DAY: Span = Span::from_secs(86_400);

/// What a trace is like. Figures that need more requests or more time than there are, are absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// Its format.
    pub format: TraceFormat,
    /// Requests.
    pub requests: u64,
    /// Clients whose generated day this is (ServeGen).
    pub clients: Option<u64>,
    /// Share of requests of clients without lengths of their own, who borrow those of others (ServeGen).
    pub borrowed_share: f64,
    /// From the first request to the last.
    pub span: Span,
    /// Requests per second: gaps divided by the span.
    pub rate_per_s: Option<f64>,
    /// Coefficient of variation of the gaps between requests: 1 for Poisson, more for bursts.
    pub gap_cv: Option<f64>,
    /// Share of gaps that are zero: requests with the time stamp of the one before.
    pub simultaneous_share: Option<f64>,
    /// Requests per second and per minute, over whole bins.
    pub bins: [Binned; 2],
    /// Prompt lengths, tokens.
    pub prompt: Option<LengthStats>,
    /// Output lengths, tokens.
    pub output: Option<LengthStats>,
    /// Pearson's correlation of prompt and output length.
    pub correlation: Option<f64>,
    /// What prompts share, when the format tells.
    pub sharing: Option<Sharing>,
}

/// Requests counted in bins of equal width, from the first request on; the last, partial bin is left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Binned {
    /// Width of a bin.
    pub bin: Span,
    /// Whole bins.
    pub count: u64,
    /// Variance of the counts divided by their mean: 1 for Poisson at any width. Needs two bins.
    pub dispersion: Option<f64>,
    /// Requests of the fullest bin.
    pub peak: Option<u64>,
    /// Requests of the emptiest bin.
    pub trough: Option<u64>,
}

/// Lengths in tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct LengthStats {
    /// Mean.
    pub mean: f64,
    /// Percentiles 50, 90 and 99, within 0.1 %.
    pub percentiles: [u64; 3],
    /// Longest.
    pub max: u64,
    /// Requests by power of two: entry `i` counts lengths in `2^i..2^(i+1)`.
    pub octaves: [u64; 25],
}

/// How much of the prompts repeats earlier ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sharing {
    /// Blocks of all prompts.
    pub blocks: u64,
    /// Tokens a block holds.
    pub tokens_per_block: u32,
    /// Different blocks.
    pub distinct: f64,
    /// Whether `distinct` was counted, not estimated (within 0.4 % standard error).
    pub exact: bool,
}

impl Sharing {
    /// Share of blocks that an earlier prompt had, with everything before them.
    pub fn share(&self) -> f64 {
        (1.0 - self.distinct / self.blocks as f64).max(0.0)
    }
}

/// Inspects a trace; of a ServeGen file, one generated day.
///
/// # Errors
/// When the trace cannot be read or has a bad row.
pub fn inspect(path: &Path, format: Option<TraceFormat>) -> Result<Inspection, TraceError> {
    let format = format.map_or_else(|| trace::recognise(path), Ok)?;
    let mut inspector = Inspector::new(format);
    if !format.is_generator() {
        let mut rows = Rows::open(path, Some(format))?;
        while let Some(row) = rows.next_row()? {
            inspector.add(row.at, Some((row.prompt_tokens, row.output_tokens)), row.chain.as_deref());
        }
        return Ok(inspector.finish());
    }
    let stats = trace::scan(path, Some(format))?;
    let lengths = stats.prompt_most > 0;
    let mut generator = Generator::open(path, lengths, GENERATED_SEED, 0)?;
    let mut first = None;
    while let Some((at, drawn)) = generator.next(lengths).filter(|(at, _)| *at < DAY.as_nanos()) {
        let first = *first.get_or_insert(at);
        inspector.add(Span::from_nanos(at - first), drawn, None);
    }
    if inspector.requests == 0 {
        return Err(TraceError::file(path, Problem::Empty));
    }
    let mut inspection = inspector.finish();
    inspection.clients = Some(stats.rows);
    inspection.borrowed_share = stats.borrowed_share;
    Ok(inspection)
}

struct Inspector {
    format: TraceFormat,
    requests: u64,
    simultaneous: u64,
    last: Span,
    gaps: Moments,
    bins: [Bins; 2],
    prompt: Counter,
    output: Counter,
    joint: Moments2,
    blocks: u64,
    tokens_per_block: u32,
    distinct: Distinct,
}

impl Inspector {
    fn new(format: TraceFormat) -> Self {
        Inspector {
            format,
            requests: 0,
            simultaneous: 0,
            last: Span::ZERO,
            gaps: Moments::default(),
            bins: [Span::from_secs(1), Span::from_secs(60)].map(Bins::new),
            prompt: Counter::new(),
            output: Counter::new(),
            joint: Moments2::default(),
            blocks: 0,
            tokens_per_block: 0,
            distinct: Distinct::default(),
        }
    }

    fn add(&mut self, at: Span, lengths: Option<(u32, u32)>, chain: Option<&HashChain>) {
        if self.requests > 0 {
            let gap = at - self.last;
            self.gaps.add(gap.as_secs_f64());
            self.simultaneous += u64::from(gap.is_zero());
        }
        self.requests += 1;
        self.last = at;
        self.bins.iter_mut().for_each(|bins| bins.add(at));
        if let Some((prompt, output)) = lengths {
            self.prompt.add(prompt);
            self.output.add(output);
            self.joint.add(f64::from(prompt), f64::from(output));
        }
        if let Some(chain) = chain {
            self.blocks += chain.hashes.len() as u64;
            self.tokens_per_block = chain.tokens_per_hash;
            chain.hashes.iter().for_each(|&hash| self.distinct.add(hash));
        }
    }

    fn finish(self) -> Inspection {
        let gaps = (self.requests.max(1) - 1) as f64;
        let moving = !self.last.is_zero();
        let (distinct, exact) = self.distinct.count();
        let (blocks, tokens_per_block) = (self.blocks, self.tokens_per_block);
        Inspection {
            format: self.format,
            requests: self.requests,
            clients: None,
            borrowed_share: 0.0,
            span: self.last,
            rate_per_s: moving.then(|| gaps / self.last.as_secs_f64()),
            gap_cv: moving.then(|| self.gaps.cv()),
            simultaneous_share: (gaps > 0.0).then(|| self.simultaneous as f64 / gaps),
            bins: self.bins.map(|bins| bins.finish(self.last)),
            prompt: self.prompt.finish(),
            output: self.output.finish(),
            correlation: self.joint.correlation(),
            sharing: (blocks > 0).then_some(Sharing { blocks, tokens_per_block, distinct, exact }),
        }
    }
}

/// Running mean and variance. Source: Welford 1962.
#[derive(Default)]
struct Moments {
    count: f64,
    mean: f64,
    square: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let off = value - self.mean;
        self.mean += off / self.count;
        self.square += off * (value - self.mean);
    }

    fn cv(&self) -> f64 {
        (self.square / self.count).sqrt() / self.mean
    }
}

/// Running covariance of two values.
#[derive(Default)]
struct Moments2 {
    first: Moments,
    second: Moments,
    product: f64,
}

impl Moments2 {
    fn add(&mut self, first: f64, second: f64) {
        let off = first - self.first.mean;
        self.first.add(first);
        self.second.add(second);
        self.product += off * (second - self.second.mean);
    }

    /// `None` when one of the two never varies.
    fn correlation(&self) -> Option<f64> {
        let scale = (self.first.square * self.second.square).sqrt();
        (scale > 0.0).then(|| self.product / scale)
    }
}

/// Counts per bin, empty bins included, without keeping them.
struct Bins {
    bin: Span,
    index: u64,
    current: u64,
    sum: u128,
    squares: u128,
    peak: u64,
    trough: u64,
}

impl Bins {
    fn new(bin: Span) -> Self {
        Bins { bin, index: 0, current: 0, sum: 0, squares: 0, peak: 0, trough: u64::MAX }
    }

    fn add(&mut self, at: Span) {
        let index = at.as_nanos() / self.bin.as_nanos();
        if index > self.index {
            self.close();
            if index > self.index + 1 {
                self.trough = 0;
            }
            (self.index, self.current) = (index, 0);
        }
        self.current += 1;
    }

    fn close(&mut self) {
        self.sum += u128::from(self.current);
        self.squares += u128::from(self.current) * u128::from(self.current);
        self.peak = self.peak.max(self.current);
        self.trough = self.trough.min(self.current);
    }

    fn finish(self, last: Span) -> Binned {
        let count = last.as_nanos() / self.bin.as_nanos();
        let (sum, bins) = (self.sum as f64, count as f64);
        let variance = (self.squares as f64 - sum * sum / bins) / (bins - 1.0);
        let any = count > 0;
        Binned {
            bin: self.bin,
            count,
            dispersion: (count >= 2 && self.sum > 0).then(|| variance / (sum / bins)),
            peak: any.then_some(self.peak),
            trough: any.then_some(self.trough),
        }
    }
}

/// Lengths of one kind.
struct Counter {
    histogram: Histogram<u64>,
    sum: u128,
    max: u64,
    octaves: [u64; 25],
}

impl Counter {
    fn new() -> Self {
        let most = u64::from(trace::TOKENS_MOST);
        let histogram = Histogram::new_with_bounds(1, most, 3).expect("constant bounds are valid");
        Counter { histogram, sum: 0, max: 0, octaves: [0; 25] }
    }

    fn add(&mut self, tokens: u32) {
        let value = u64::from(tokens);
        self.histogram.record(value).expect("readers bound lengths to the histogram's range");
        self.sum += u128::from(value);
        self.max = self.max.max(value);
        self.octaves[tokens.ilog2() as usize] += 1;
    }

    fn finish(self) -> Option<LengthStats> {
        let count = self.histogram.len();
        let at = |quantile| self.histogram.value_at_quantile(quantile).min(self.max);
        (count > 0).then(|| LengthStats {
            mean: self.sum as f64 / count as f64,
            percentiles: [0.5, 0.9, 0.99].map(at),
            max: self.max,
            octaves: self.octaves,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times_s: &[f64]) -> Inspection {
        let mut inspector = Inspector::new(TraceFormat::Plain);
        for (index, &at) in times_s.iter().enumerate() {
            inspector.add(Span::from_secs_f64(at), Some((index as u32 + 1, 2 * index as u32 + 5)), None);
        }
        inspector.finish()
    }

    #[test]
    fn figures_of_a_trace_done_by_hand() {
        // Whole seconds hold 2, 0, 1 requests (the fourth is cut): mean 1, variance 1.
        let seen = of(&[0.0, 0.5, 2.5, 3.0]);
        assert_eq!((seen.requests, seen.span), (4, Span::from_secs(3)));
        assert_eq!(seen.rate_per_s, Some(1.0));
        let second = seen.bins[0];
        assert_eq!((second.count, second.peak, second.trough), (3, Some(2), Some(0)));
        assert!((second.dispersion.unwrap() - 1.0).abs() < 1e-12);
        // Gaps 0.5, 2, 0.5: mean 1, variance 0.5.
        assert!((seen.gap_cv.unwrap() - 0.5f64.sqrt()).abs() < 1e-12);
        assert!((seen.correlation.unwrap() - 1.0).abs() < 1e-12);
        assert_eq!((seen.bins[1].count, seen.bins[1].peak), (0, None));
        let prompt = seen.prompt.unwrap();
        assert_eq!((prompt.mean, prompt.percentiles, prompt.max), (2.5, [2, 4, 4], 4));
        assert_eq!(prompt.octaves[..3], [1, 2, 1]);
    }

    #[test]
    fn one_request_has_no_rate() {
        let seen = of(&[0.0]);
        assert_eq!((seen.rate_per_s, seen.gap_cv, seen.correlation), (None, None, None));
    }

    #[test]
    fn sharing_is_the_share_of_blocks_seen_before() {
        let mut inspector = Inspector::new(TraceFormat::Mooncake);
        for hashes in [vec![1, 2, 3], vec![1, 2, 4], vec![1, 2, 4]] {
            let chain = HashChain { tokens_per_hash: 512, hashes };
            inspector.add(Span::ZERO, Some((1, 1)), Some(&chain));
        }
        let sharing = inspector.finish().sharing.unwrap();
        assert_eq!((sharing.blocks, sharing.distinct, sharing.exact), (9, 4.0, true));
        assert!((sharing.share() - 5.0 / 9.0).abs() < 1e-12);
    }
}
