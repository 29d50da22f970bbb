//! The table: measured step times, interpolated linearly.
//!
//! For every batch size the measured grid becomes a piecewise linear function of the batch's total context with
//! integer values and slopes, so that a plan is exact up to the next knot. Linear, not logarithmic, interpolation:
//! step times are sums of terms linear in the batch and in the context, which a log blend overestimates.
//!
//! Beyond the largest measured value the last segment goes on; below the smallest, the smallest value holds, because
//! a step is not assumed to be faster than any that was measured. Both are flagged [`StepPlan::outside_range`].

use super::table_file::{FEMTOS_PER_MICRO, TableData, TableRow};
use super::{LawBounds, LawError, Most, StepLaw, StepPlan, StepShape, Terms, quantum_fs, refuse_too_long};
use crate::observe::StepLine;
use crate::time::Span;

/// Measured steps, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableLaw {
    /// Segments of all batch sizes, over the batch's total context.
    decode: Curves,
    /// Segments of each measured prefill size, over the tokens already in the cache.
    prefill: Curves,
    /// Prefill sizes, increasing, at least two.
    prefill_sizes: Box<[u32]>,
    overlap_fs: u64,
}

/// Several piecewise linear functions in one allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Curves {
    segments: Box<[Segment]>,
    /// Curve `i` is `segments[starts[i]..starts[i + 1]]`.
    starts: Box<[u32]>,
}

/// `value + slope * (x - from)`, until the next segment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    from: u64,
    value_fs: u64,
    slope_fs: u64,
    outside: bool,
}

/// Measured times of one size (batch or chunk), by increasing context.
struct Sized {
    size: u32,
    rows: Vec<TableRow>,
}

impl StepLaw {
    /// The law of a table of measured steps.
    ///
    /// A step that decodes and prefills takes the decode time plus the prefill time minus the table's overlap.
    /// Prefill of several chunks is looked up by its total tokens and its mean start.
    ///
    /// # Errors
    /// When a kind has fewer than two sizes, two rows measure the same shape, a step gets shorter as its context
    /// grows, the overlap is longer than a step, or the longest step would not fit the clock. Naming lines.
    pub fn table(data: &TableData, quantum: Span, bounds: &LawBounds) -> Result<StepLaw, LawError> {
        let quantum_fs = quantum_fs(quantum)?;
        let most = Most::of(bounds)?;
        let table = TableLaw::compile(data, bounds)?;
        let rows = || data.decode.iter().chain(&data.prefill);
        let shortest_fs = rows().map(|row| row.step_fs).min().unwrap_or(0);
        if shortest_fs < quantum_fs {
            return Err(LawError::TooShort { shortest_fs, quantum });
        }
        let longest_fs = refuse_too_long(table.longest(&most, bounds), bounds)?;
        let (terms, weights_read) = (Terms::default(), Box::from([0]));
        Ok(StepLaw {
            terms,
            weights_read,
            table: Some(Box::new(table)),
            fitted: None,
            quantum_fs,
            most,
            longest_fs,
        })
    }
}

impl TableLaw {
    /// The plan for a step that only decodes; see [`StepLaw::plan`]. O(log knots).
    pub(super) fn plan_decode(&self, shape: &StepShape, quantum_fs: u64) -> StepPlan {
        let decodes = u64::from(shape.decodes);
        let curve = self.decode.curve(shape.decodes as usize - 1);
        let at = position(curve, shape.context_tokens);
        let segment = &curve[at];
        let steps =
            curve.get(at + 1).map_or(u64::MAX, |next| (next.from - shape.context_tokens).div_ceil(decodes));
        let line =
            StepLine { a: segment.at(shape.context_tokens), b: segment.slope_fs * decodes, quantum_fs };
        StepPlan { line, steps, outside_range: segment.outside }
    }

    /// The plan for a step that processes prompt tokens, with or without decodes. O(log sizes + log knots).
    pub(super) fn plan_prefill(&self, shape: &StepShape, quantum_fs: u64) -> StepPlan {
        let (mut a, mut outside_range) = self.prefill(shape);
        if shape.decodes > 0 {
            let (decode, outside) = self.decode.at(shape.decodes as usize - 1, shape.context_tokens);
            a += decode - self.overlap_fs;
            outside_range |= outside;
        }
        StepPlan { line: StepLine { a, b: 0, quantum_fs }, steps: 1, outside_range }
    }

    /// Time of the prompt tokens of a step, and whether it was never measured.
    fn prefill(&self, shape: &StepShape) -> (u64, bool) {
        let tokens = u64::from(shape.prefill_tokens);
        let chunks = u64::from(shape.sequences - shape.decodes);
        // Sum of chunk * (2 * start + chunk), solved for the mean start of equal chunks: exact for a single one.
        let start = (shape.prefill_attention / tokens).saturating_sub(tokens / chunks) / 2;
        let sizes = &self.prefill_sizes;
        let above = sizes.partition_point(|&size| u64::from(size) <= tokens);
        if above == 0 {
            let (value, _) = self.prefill.at(0, start);
            return (value, true);
        }
        let (value, outside) = self.prefill.at(above - 1, start);
        let past = tokens - u64::from(sizes[above - 1]);
        if past == 0 {
            return (value, outside);
        }
        if above == sizes.len() {
            let (before, _) = self.prefill.at(above - 2, start);
            let width = u64::from(sizes[above - 1] - sizes[above - 2]);
            return (value + share(value.saturating_sub(before), past, width), true);
        }
        let (next, outside_next) = self.prefill.at(above, start);
        let width = u64::from(sizes[above] - sizes[above - 1]);
        let blended = if next >= value {
            value + share(next - value, past, width)
        } else {
            value - share(value - next, past, width)
        };
        (blended, outside | outside_next)
    }

    fn compile(data: &TableData, bounds: &LawBounds) -> Result<TableLaw, LawError> {
        let decode = by_size(&data.decode, "decode")?;
        let prefill = by_size(&data.prefill, "prefill")?;
        for row in data.decode.iter().chain(&data.prefill) {
            if row.step_fs < data.overlap_fs {
                let us = |fs: u64| fs as f64 / FEMTOS_PER_MICRO as f64;
                let (overlap_us, step_us) = (us(data.overlap_fs), us(row.step_fs));
                return Err(LawError::Overlap { overlap_us, step_us, line: row.line });
            }
        }
        let prefill_sizes = prefill.iter().map(|sized| sized.size).collect();
        let prefill = prefill.iter().map(|sized| {
            let knots: Vec<(u64, u64)> =
                sized.rows.iter().map(|row| (u64::from(row.context_tokens), row.step_fs)).collect();
            segments(&knots, Some((knots[0].0, knots[knots.len() - 1].0)))
        });
        Ok(TableLaw {
            prefill: Curves::of(prefill),
            prefill_sizes,
            decode: Curves::of((1..=bounds.sequences).map(|sequences| decode_curve(&decode, sequences))),
            overlap_fs: data.overlap_fs,
        })
    }

    /// An upper bound of every sum that a plan forms, without overflow.
    fn longest(&self, most: &Most, bounds: &LawBounds) -> u128 {
        let decode = self.decode.most(most.context_tokens);
        let prefill = self.prefill.most(u64::from(bounds.sequence_tokens));
        // Beyond the last size a step grows by no more than its own length each width.
        let last = self.prefill_sizes.len() - 1;
        let width = self.prefill_sizes[last] - self.prefill_sizes[last - 1];
        decode + prefill * (2 + u128::from(most.tokens) / u128::from(width))
    }
}

impl Segment {
    fn at(&self, x: u64) -> u64 {
        self.value_fs + self.slope_fs * (x - self.from)
    }
}

impl Curves {
    fn of(curves: impl Iterator<Item = Vec<Segment>>) -> Curves {
        let (mut segments, mut starts) = (Vec::new(), vec![0]);
        for curve in curves {
            segments.extend(curve);
            starts.push(u32::try_from(segments.len()).expect("a table has fewer than 2^32 segments"));
        }
        Curves { segments: segments.into(), starts: starts.into() }
    }

    fn curve(&self, index: usize) -> &[Segment] {
        &self.segments[self.starts[index] as usize..self.starts[index + 1] as usize]
    }

    /// Value of curve `index` at `x`, and whether that was never measured.
    fn at(&self, index: usize, x: u64) -> (u64, bool) {
        let curve = self.curve(index);
        let segment = &curve[position(curve, x)];
        (segment.at(x), segment.outside)
    }

    /// An upper bound of all curves over `0..=x`.
    fn most(&self, x: u64) -> u128 {
        let at = |s: &Segment| {
            u128::from(s.value_fs) + u128::from(s.slope_fs) * u128::from(x.saturating_sub(s.from))
        };
        self.segments.iter().map(at).max().unwrap_or(0)
    }
}

/// Index of the segment that holds `x`; the first begins at 0.
fn position(curve: &[Segment], x: u64) -> usize {
    curve.partition_point(|segment| segment.from <= x) - 1
}

/// `floor(rise * past / width)` in 64 bits: the rise may be as long as a step may last.
fn share(rise: u64, past: u64, width: u64) -> u64 {
    rise / width * past + rise % width * past / width
}

/// Sorts the rows of a kind by size and context, and refuses what cannot be interpolated.
fn by_size(rows: &[TableRow], kind: &'static str) -> Result<Vec<Sized>, LawError> {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| (row.size, row.context_tokens, row.line));
    for pair in rows.windows(2) {
        let (a, b) = (&pair[0], &pair[1]);
        if a.size == b.size && a.context_tokens == b.context_tokens {
            return Err(LawError::Duplicate { kind, first: a.line, second: b.line });
        }
        if a.size == b.size && a.step_fs > b.step_fs {
            let us = |row: &TableRow| row.step_fs as f64 / FEMTOS_PER_MICRO as f64;
            return Err(LawError::NotMonotonic {
                first: a.line,
                shorter_context: a.context_tokens,
                shorter_us: us(a),
                second: b.line,
                longer_context: b.context_tokens,
                longer_us: us(b),
            });
        }
    }
    let sized: Vec<Sized> = rows
        .chunk_by(|a, b| a.size == b.size)
        .map(|rows| Sized { size: rows[0].size, rows: rows.to_vec() })
        .collect();
    if sized.len() < 2 { Err(LawError::Sizes { kind, sizes: sized.len() }) } else { Ok(sized) }
}

impl Sized {
    /// Contexts that were measured, smallest and largest.
    fn range(&self) -> (u32, u32) {
        (self.rows[0].context_tokens, self.rows[self.rows.len() - 1].context_tokens)
    }

    /// Femtoseconds at a context: interpolated, held below the first row, the last segment beyond the last.
    fn at(&self, context: u32) -> i128 {
        let rows = &self.rows;
        let above = rows.partition_point(|row| row.context_tokens <= context);
        let time = |row: &TableRow| i128::from(row.step_fs);
        if above == 0 || rows.len() == 1 {
            return time(&rows[0]);
        }
        let (a, b) = if above < rows.len() {
            (&rows[above - 1], &rows[above])
        } else {
            (&rows[above - 2], &rows[above - 1])
        };
        let width = i128::from(b.context_tokens - a.context_tokens);
        time(a) + (time(b) - time(a)) * i128::from(context - a.context_tokens) / width
    }
}

/// Step times of a batch of `sequences` over its total context.
fn decode_curve(grid: &[Sized], sequences: u32) -> Vec<Segment> {
    let above = grid.partition_point(|sized| sized.size <= sequences);
    let last = grid.len() - 1;
    let (lo, hi) = match above {
        0 => (&grid[0], &grid[0]),
        _ if grid[above - 1].size == sequences => (&grid[above - 1], &grid[above - 1]),
        _ if above > last => (&grid[last - 1], &grid[last]),
        _ => (&grid[above - 1], &grid[above]),
    };
    let measured = (grid[0].size..=grid[last].size).contains(&sequences);
    let mut contexts: Vec<u32> = lo.rows.iter().chain(&hi.rows).map(|row| row.context_tokens).collect();
    contexts.sort_unstable();
    contexts.dedup();

    let mut knots: Vec<(u64, u64)> = Vec::with_capacity(contexts.len());
    for context in contexts {
        let (low, high) = (lo.at(context), hi.at(context));
        let width = i128::from(hi.size - lo.size);
        let value = match () {
            () if width == 0 => low,
            () if sequences > hi.size => high + (high - low).max(0) * i128::from(sequences - hi.size) / width,
            () => low + (high - low) * i128::from(sequences - lo.size) / width,
        };
        // Extrapolating two batch sizes may bend downwards where the measured curves do not: hold instead.
        let held = knots.last().map_or(0, |&(_, v)| v);
        let value = u64::try_from(value).unwrap_or(u64::MAX).max(held);
        knots.push((u64::from(sequences) * u64::from(context), value));
    }
    let (first, until) = (lo.range().0.max(hi.range().0), lo.range().1.min(hi.range().1));
    let total = |context: u32| u64::from(sequences) * u64::from(context);
    segments(&knots, measured.then(|| (total(first), total(until))))
}

/// Segments through `knots` (`(x, value)`, both nondecreasing, `x` strictly): the first value holds before, the
/// last slope goes on after. What lies outside `range` (inclusive; `None`: everything) was never measured.
fn segments(knots: &[(u64, u64)], range: Option<(u64, u64)>) -> Vec<Segment> {
    let inside = |from: u64, to: u64| range.is_some_and(|(first, last)| first <= from && to <= last);
    let mut out = Vec::with_capacity(knots.len() + 2);
    if knots[0].0 > 0 {
        out.push(Segment { from: 0, value_fs: knots[0].1, slope_fs: 0, outside: true });
    }
    let mut slope_fs = 0;
    for (i, &(from, value_fs)) in knots.iter().enumerate() {
        let next = knots.get(i + 1);
        if let Some(&(to, value)) = next {
            slope_fs = (value - value_fs) / (to - from);
        }
        let to = next.map_or(u64::MAX, |knot| knot.0);
        let at_end = inside(from, from) && !inside(from, to);
        out.push(Segment { from, value_fs, slope_fs, outside: !(at_end || inside(from, to)) });
        if at_end {
            // The last measured point is inside, everything after it is not.
            let value_fs = value_fs.saturating_add(slope_fs);
            out.push(Segment { from: from + 1, value_fs, slope_fs, outside: true });
        }
    }
    out
}

#[cfg(test)]
mod tests;
