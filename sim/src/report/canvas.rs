//! Draws a [`Plot`] with plotters: once as SVG, once as pixels.
//!
//! plotters places everything on whole units, so the SVG is drawn ten times larger than it is shown and the bitmap
//! four times, then halved: that is what makes slanted lines smooth.

use super::fonts::FAMILY;
use super::palette::{self, Ink};
use super::plot::{Look, Mark, Plot, Series};
use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, FontTransform, ShapeStyle, TextStyle};

/// Size of a figure as it is shown.
pub(super) const WIDTH: f64 = 760.0;
pub(super) const HEIGHT: f64 = 400.0;

/// Where titles, captions and legends start, and the middle of the sideways label of the y axis.
const EDGE: f64 = 18.0;
/// Left end of the data where the labels of the y axis are short; see [`Pen::left`].
const LEFT: f64 = 66.0;
const RIGHT: f64 = 26.0;
const BOTTOM: f64 = 56.0;

/// Units a shown pixel has in the SVG and in the bitmap before it is halved.
const SVG_SCALE: f64 = 10.0;
const PNG_SCALE: f64 = 4.0;

/// A figure as SVG.
pub(super) struct Svg {
    /// Everything inside the `svg` element.
    body: String,
    title: String,
}

/// Draws `plot` as SVG.
pub(super) fn svg(plot: &Plot) -> Svg {
    let mut text = String::new();
    let size = ((WIDTH * SVG_SCALE) as u32, (HEIGHT * SVG_SCALE) as u32);
    let mut backend = SVGBackend::with_string(&mut text, size);
    Pen { to: &mut backend, scale: SVG_SCALE, drop: 0.0 }.plot(plot);
    backend.present().expect("drawing into memory cannot fail");
    drop(backend);
    // plotters wrote the outer element; it is replaced by one of the size shown.
    let body = text.split_once('>').map_or("", |(_, rest)| rest).trim_end();
    let body = body.strip_suffix("</svg>").unwrap_or(body).trim().to_owned();
    Svg { body, title: plot.title.clone() }
}

impl Svg {
    /// A file of its own, which turns dark where the reader prefers that.
    pub(super) fn standalone(&self) -> String {
        let dark = palette::dark_rules("");
        let style = format!(
            "<style>text{{font-family:system-ui,\"Noto Sans\",\"Helvetica Neue\",Arial,sans-serif}}\
             @media (prefers-color-scheme:dark){{{dark}}}</style>\n"
        );
        self.element("xmlns=\"http://www.w3.org/2000/svg\" ", &style)
    }

    /// Part of a page that has the style.
    pub(super) fn inline(&self) -> String {
        self.element("", "")
    }

    fn element(&self, attributes: &str, style: &str) -> String {
        let title = escape(&self.title);
        format!(
            "<svg {attributes}width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {} {}\" role=\"img\" \
             aria-label=\"{title}\">\n<title>{title}</title>\n{style}{}\n</svg>\n",
            WIDTH * SVG_SCALE,
            HEIGHT * SVG_SCALE,
            self.body
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Draws `plot` as a PNG of twice the size shown, for sharp screens.
pub(super) fn png(plot: &Plot) -> Vec<u8> {
    super::fonts::register();
    let (width, height) = ((WIDTH * PNG_SCALE) as u32, (HEIGHT * PNG_SCALE) as u32);
    let mut pixels = vec![0xFF; (width * height * 3) as usize];
    let mut backend = BitMapBackend::with_buffer(&mut pixels, (width, height));
    // The bitmap backend sets text a seventh of its size higher than SVG viewers do.
    Pen { to: &mut backend, scale: PNG_SCALE, drop: 0.14 }.plot(plot);
    backend.present().expect("drawing into memory cannot fail");
    drop(backend);
    encode_png(&halved(&pixels, width as usize), width / 2, height / 2)
}

/// Every two by two pixels as their mean.
fn halved(pixels: &[u8], width: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(pixels.len() / 4);
    for rows in pixels.chunks_exact(width * 6) {
        let (upper, lower) = rows.split_at(width * 3);
        for (above, below) in upper.chunks_exact(6).zip(lower.chunks_exact(6)) {
            for channel in 0..3 {
                let sum = [above[channel], above[channel + 3], below[channel], below[channel + 3]];
                out.push(((sum.into_iter().map(u16::from).sum::<u16>() + 2) / 4) as u8);
            }
        }
    }
    out
}

fn encode_png(pixels: &[u8], width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    // 144 dots an inch, so that programs show it at the size it was drawn for.
    let unit = png::Unit::Meter;
    encoder.set_pixel_dims(Some(png::PixelDimensions { xppu: 5669, yppu: 5669, unit }));
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(pixels));
    written.expect("writing to memory cannot fail");
    bytes
}

/// Where on a text its position lies.
#[derive(Clone, Copy)]
enum Hold {
    Start,
    Middle,
    End,
}

/// The rectangle that data is drawn in, in shown pixels.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

struct Pen<'a, B> {
    to: &'a mut B,
    scale: f64,
    /// How much lower than asked a text must be set, in parts of its size.
    drop: f64,
}

impl<B: DrawingBackend> Pen<'_, B> {
    fn plot(&mut self, plot: &Plot) {
        super::fonts::register();
        self.rectangle((0.0, 0.0), (WIDTH, HEIGHT), palette::PAPER);
        self.text(&plot.title, (EDGE, 24.0), 17.0, palette::TEXT, true, Hold::Start);
        let mut y = 46.0;
        for line in &plot.caption {
            self.text(line, (EDGE, y), 12.0, palette::SOFT, false, Hold::Start);
            y += 16.0;
        }
        let labelled: Vec<&Series> = plot.series.iter().filter(|s| !s.label.is_empty()).collect();
        if labelled.len() > 1 {
            y += 4.0;
            self.legend(&labelled, y);
            y += 18.0;
        }
        let top = y + 2.0;
        let rows = self.mark_rows(plot);
        let strip =
            if rows.is_empty() { 6.0 } else { 17.0 * (1 + rows.iter().max().unwrap_or(&0)) as f64 + 4.0 };
        let left = self.left(plot);
        let frame = Frame { left, right: WIDTH - RIGHT, top: top + strip, bottom: HEIGHT - BOTTOM };
        self.shades(plot, &frame);
        self.grid(plot, &frame);
        for series in &plot.series {
            self.series(plot, &frame, series);
        }
        for limit in &plot.limits {
            self.limit(plot, &frame, limit);
        }
        for (mark, row) in plot.marks.iter().zip(rows) {
            self.mark(plot, &frame, mark, top + 17.0 * row as f64 + 8.0);
        }
        self.axis_labels(plot, &frame);
    }

    /// Left end of the data: beside the widest label of the y axis, which stands beside the axis' own label.
    fn left(&self, plot: &Plot) -> f64 {
        let widths = plot.y.ticks.iter().map(|tick| self.text_width(&tick.label, 12.0, false));
        LEFT.max(EDGE + 14.0 + widths.fold(0.0, f64::max) + 8.0)
    }

    fn legend(&mut self, series: &[&Series], y: f64) {
        let mut x = EDGE;
        for series in series {
            let ink = palette::SERIES[series.color % palette::SERIES.len()];
            let width = if series.look == Look::Bar { 9.0 } else { 2.4 };
            self.line(&[(x, y), (x + 22.0, y)], ink, width, dash(series.look));
            self.text(&series.label, (x + 28.0, y), 12.5, palette::TEXT, false, Hold::Start);
            x += 28.0 + self.text_width(&series.label, 12.5, false) + 22.0;
        }
    }

    /// The row of each mark's label: one lower for each label that its line would cross.
    fn mark_rows(&mut self, plot: &Plot) -> Vec<usize> {
        let mut order: Vec<usize> = (0..plot.marks.len()).collect();
        order.sort_by(|a, b| plot.marks[*a].at.total_cmp(&plot.marks[*b].at));
        let mut rows = vec![0; plot.marks.len()];
        let mut placed: Vec<(f64, usize)> = Vec::new();
        for index in order {
            let (start, end) = self.mark_span(plot, &plot.marks[index]);
            let crossed = placed.iter().filter(|(reach, _)| *reach + 12.0 > start).map(|(_, row)| row + 1);
            rows[index] = crossed.max().unwrap_or(0);
            placed.push((end, rows[index]));
        }
        rows
    }

    /// From where to where a mark's label reaches: to the right of its line, or to the left near the right edge.
    fn mark_span(&mut self, plot: &Plot, mark: &Mark) -> (f64, f64) {
        let left = self.left(plot);
        let x = left + plot.x.scale.place(mark.at) * (WIDTH - RIGHT - left);
        let width = self.text_width(&mark.label, 12.0, false);
        if x + 5.0 + width > WIDTH - 6.0 { (x - 5.0 - width, x - 5.0) } else { (x + 5.0, x + 5.0 + width) }
    }

    fn mark(&mut self, plot: &Plot, frame: &Frame, mark: &Mark, y: f64) {
        let x = frame.x(plot, mark.at);
        let ink = if mark.bound { palette::LIMIT } else { palette::SOFT };
        let pattern = if mark.bound { Some((7.0, 4.0)) } else { None };
        self.line(&[(x, y - 7.0), (x, frame.bottom)], ink, 1.0, pattern);
        let (start, _) = self.mark_span(plot, mark);
        self.text(&mark.label, (start, y), 12.0, ink, false, Hold::Start);
    }

    fn limit(&mut self, plot: &Plot, frame: &Frame, limit: &Mark) {
        let place = plot.y.scale.place(limit.at);
        if !(0.0..=1.0).contains(&place) {
            return;
        }
        let y = frame.y(plot, limit.at);
        self.line(&[(frame.left, y), (frame.right, y)], palette::LIMIT, 1.2, Some((7.0, 4.0)));
        // Near the top the label goes below its line: above it is the caption.
        let label = if y - 18.0 < frame.top { y + 10.0 } else { y - 9.0 };
        self.text(&limit.label, (frame.left + 8.0, label), 12.0, palette::LIMIT, false, Hold::Start);
    }

    fn shades(&mut self, plot: &Plot, frame: &Frame) {
        for shade in &plot.shaded {
            let (from, until) = (frame.x(plot, shade.from), frame.x(plot, shade.until));
            self.rectangle((from, frame.top), (until, frame.bottom), palette::SHADE);
            if until - from > self.text_width(shade.label, 11.0, false) + 8.0 {
                let at = (f64::midpoint(from, until), frame.top + 10.0);
                self.text(shade.label, at, 11.0, palette::SOFT, false, Hold::Middle);
            }
        }
    }

    fn grid(&mut self, plot: &Plot, frame: &Frame) {
        for tick in &plot.y.ticks {
            let y = frame.y(plot, tick.at);
            self.line(&[(frame.left, y), (frame.right, y)], palette::GRID, 1.0, None);
            self.text(&tick.label, (frame.left - 8.0, y), 12.0, palette::SOFT, false, Hold::End);
        }
        for tick in &plot.x.ticks {
            let x = frame.x(plot, tick.at);
            self.line(&[(x, frame.top), (x, frame.bottom)], palette::GRID, 1.0, None);
        }
        let mut free = f64::NEG_INFINITY;
        for tick in plot.x.ticks.iter().filter(|tick| !tick.label.is_empty()) {
            let x = frame.x(plot, tick.at);
            let half = self.text_width(&tick.label, 12.0, false) / 2.0;
            self.line(&[(x, frame.bottom), (x, frame.bottom + 5.0)], palette::AXIS, 1.0, None);
            if x - half > free {
                self.text(&tick.label, (x, frame.bottom + 15.0), 12.0, palette::SOFT, false, Hold::Middle);
                free = x + half + 6.0;
            }
        }
    }

    fn axis_labels(&mut self, plot: &Plot, frame: &Frame) {
        self.line(&[(frame.left, frame.bottom), (frame.right, frame.bottom)], palette::AXIS, 1.2, None);
        let middle = f64::midpoint(frame.left, frame.right);
        self.text(&plot.x.label, (middle, HEIGHT - 14.0), 12.5, palette::SOFT, false, Hold::Middle);
        let at = (EDGE, f64::midpoint(frame.top, frame.bottom));
        self.sideways(&plot.y.label, at, 12.5, palette::SOFT);
    }

    fn series(&mut self, plot: &Plot, frame: &Frame, series: &Series) {
        let points: Vec<(f64, f64)> =
            series.points.iter().map(|(x, y)| (frame.x(plot, *x), frame.y(plot, *y))).collect();
        let ink = palette::SERIES[series.color % palette::SERIES.len()];
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
        if series.look == Look::Bar {
            let unit = (frame.y(plot, 0.0) - frame.y(plot, 1.0)).abs();
            let half = (unit * 0.35).clamp(0.5, 7.0);
            let right = last.0.max(first.0 + 2.0);
            return self.rectangle((first.0, first.1 - half), (right, first.1 + half), ink);
        }
        if series.look == Look::Area {
            let mut outline = points.clone();
            outline.extend([(last.0, frame.bottom), (first.0, frame.bottom)]);
            let units: Vec<_> = outline.iter().map(|at| self.units(*at)).collect();
            let tint = ink.light.mix(0.2);
            self.to.fill_polygon(units, &ShapeStyle::from(tint).filled()).expect(MEMORY);
        }
        if series.look == Look::Block {
            let units: Vec<_> = points.iter().map(|at| self.units(*at)).collect();
            self.to.fill_polygon(units, &ShapeStyle::from(ink.light.mix(0.25)).filled()).expect(MEMORY);
            let mut outline = points.clone();
            outline.push(*first);
            return self.line(&outline, ink, 1.2, None);
        }
        let width = if series.look == Look::Dotted { 1.8 } else { 2.2 };
        self.line(&points, ink, width, dash(series.look));
    }

    fn rectangle(&mut self, from: (f64, f64), until: (f64, f64), ink: Ink) {
        let (from, until) = (self.units(from), self.units(until));
        self.to.draw_rect(from, until, &ShapeStyle::from(ink.light).filled(), true).expect(MEMORY);
    }

    fn line(&mut self, points: &[(f64, f64)], ink: Ink, width: f64, pattern: Option<(f64, f64)>) {
        let style = ShapeStyle { color: ink.light.to_rgba(), filled: false, stroke_width: self.width(width) };
        let pieces = match pattern {
            Some((on, off)) => broken(points, on, off),
            None => vec![points.to_vec()],
        };
        for piece in pieces {
            let units: Vec<_> = piece.iter().map(|at| self.units(*at)).collect();
            self.to.draw_path(units, &style).expect(MEMORY);
        }
    }

    fn text(&mut self, text: &str, at: (f64, f64), size: f64, ink: Ink, bold: bool, hold: Hold) {
        let h_pos = match hold {
            Hold::Start => HPos::Left,
            Hold::Middle => HPos::Center,
            Hold::End => HPos::Right,
        };
        let style = self.style(size, ink, bold, h_pos);
        let at = self.units((at.0, at.1 + self.drop * size));
        self.to.draw_text(text, &style, at).expect(MEMORY);
    }

    /// Text that reads upwards, centred at `at`.
    fn sideways(&mut self, text: &str, at: (f64, f64), size: f64, ink: Ink) {
        let mut style = self.style(size, ink, false, HPos::Center);
        style.font = style.font.transform(FontTransform::Rotate270);
        let at = self.units((at.0 + self.drop * size, at.1));
        self.to.draw_text(text, &style, at).expect(MEMORY);
    }

    fn style(&self, size: f64, ink: Ink, bold: bool, h_pos: HPos) -> TextStyle<'static> {
        let weight = if bold { FontStyle::Bold } else { FontStyle::Normal };
        // plotters takes the height of a line for the size of a font.
        let font = FontDesc::new(FontFamily::from(FAMILY), size * 1.24 * self.scale, weight);
        TextStyle { font, color: ink.light.to_backend_color(), pos: Pos::new(h_pos, VPos::Center) }
    }

    fn text_width(&self, text: &str, size: f64, bold: bool) -> f64 {
        let style = self.style(size, palette::TEXT, bold, HPos::Left);
        style.font.layout_box(text).map_or(0.0, |(from, until)| f64::from(until.0 - from.0) / self.scale)
    }

    fn units(&self, at: (f64, f64)) -> (i32, i32) {
        ((at.0 * self.scale).round() as i32, (at.1 * self.scale).round() as i32)
    }

    fn width(&self, width: f64) -> u32 {
        (width * self.scale).round().max(1.0) as u32
    }
}

const MEMORY: &str = "drawing into memory with the embedded font cannot fail";

impl Frame {
    fn x(&self, plot: &Plot, value: f64) -> f64 {
        self.left + plot.x.scale.place(value).clamp(0.0, 1.0) * (self.right - self.left)
    }

    fn y(&self, plot: &Plot, value: f64) -> f64 {
        self.bottom - plot.y.scale.place(value).clamp(0.0, 1.0) * (self.bottom - self.top)
    }
}

fn dash(look: Look) -> Option<(f64, f64)> {
    match look {
        Look::Solid | Look::Area | Look::Bar | Look::Block => None,
        Look::Dashed => Some((8.0, 4.5)),
        Look::Dotted => Some((1.8, 3.2)),
    }
}

/// A line cut into pieces of length `on` with gaps of length `off`.
fn broken(points: &[(f64, f64)], on: f64, off: f64) -> Vec<Vec<(f64, f64)>> {
    let mut pieces = Vec::new();
    let mut piece: Vec<(f64, f64)> = points.first().copied().into_iter().collect();
    let (mut drawing, mut left) = (true, on);
    for pair in points.windows(2) {
        let (mut from, to) = (pair[0], pair[1]);
        let mut length = (to.0 - from.0).hypot(to.1 - from.1);
        while length > left {
            let part = left / length;
            from = (from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part);
            length -= left;
            if drawing {
                piece.push(from);
                pieces.push(std::mem::take(&mut piece));
            } else {
                piece = vec![from];
            }
            drawing = !drawing;
            left = if drawing { on } else { off };
        }
        left -= length;
        if drawing {
            piece.push(to);
        }
    }
    if drawing && piece.len() > 1 {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_line_covers_the_share_its_pattern_says() {
        let length = |pieces: &[Vec<(f64, f64)>]| -> f64 {
            let of = |piece: &Vec<(f64, f64)>| -> f64 {
                piece.windows(2).map(|p| (p[1].0 - p[0].0).hypot(p[1].1 - p[0].1)).sum()
            };
            pieces.iter().map(of).sum()
        };
        let corner = [(0.0, 0.0), (30.0, 40.0), (80.0, 40.0), (80.0, 40.0)];
        assert!((length(&broken(&corner, 6.0, 4.0)) - 60.0).abs() < 1e-9);
        assert!(broken(&[], 6.0, 4.0).is_empty());
        assert!(broken(&[(1.0, 1.0)], 6.0, 4.0).is_empty());
    }

    #[test]
    fn halving_takes_the_mean_of_four_pixels() {
        let pixels = [[0, 0, 0], [255, 100, 4], [255, 100, 4], [255, 200, 5]].concat();
        assert_eq!(halved(&pixels, 2), [191, 100, 3]);
    }
}
