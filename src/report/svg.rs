//! Pictures of the roofs, as SVG text.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;

use super::style::{BLUE, FONT, GRID, RED, TEXT, fault};
use crate::roofline::Roofs;
use crate::roofline::kernels::KernelRow;
use crate::table::size;
use crate::{Error, Result};

const WIDTH: u32 = 960;
const HEIGHT: u32 = 560;
const F32: RGBColor = BLUE;
const F16: RGBColor = RGBColor(122, 74, 168);
const I8: RGBColor = RGBColor(190, 95, 20);
const POINT: RGBColor = RED;

/// Powers of two from the one to the other, both included, and how each is written.
struct Octaves(i32, i32, fn(f64) -> String);

fn plain(value: f64) -> String {
    if value >= 1.0 { format!("{value:.0}") } else { format!("1/{:.0}", 1.0 / value) }
}

fn bytes(value: f64) -> String {
    size(value as u64)
}

impl Octaves {
    fn ends(&self) -> Range<f64> {
        2f64.powi(self.0)..2f64.powi(self.1)
    }
}

impl Ranged for Octaves {
    type ValueType = f64;
    type FormatOption = NoDefaultFormatting;

    fn map(&self, value: &f64, (low, high): (i32, i32)) -> i32 {
        let place = (value.log2() - f64::from(self.0)) / f64::from(self.1 - self.0);
        low + (place * f64::from(high - low)).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        let every = (self.1 - self.0) as usize / hint.max_num_points().max(1) + 1;
        (self.0..=self.1).step_by(every).map(|power| 2f64.powi(power)).collect()
    }

    fn range(&self) -> Range<f64> {
        self.ends()
    }
}

impl ValueFormatter<f64> for Octaves {
    fn format_ext(&self, value: &f64) -> String {
        (self.2)(*value)
    }
}

/// The roofline: attainable rate over operations per byte, with a point for each kernel that does arithmetic.
pub fn roofline(roofs: &Roofs, kernels: &[KernelRow]) -> Result<String> {
    let mut lines = vec![("f32", roofs.fma_f32.value, "GFLOP/s", F32)];
    lines.extend(roofs.fma_f16.as_ref().map(|roof| ("f16", roof.value, "GFLOP/s", F16)));
    lines.extend(roofs.dot_i8.as_ref().map(|roof| ("int8 dot", roof.value, "GOP/s", I8)));
    let memory = roofs.memory_gb_s();
    let highest = lines.iter().map(|line| line.1).fold(0.0, f64::max);
    let points: Vec<(&KernelRow, f64)> = kernels
        .iter()
        .filter(|row| row.ops > 0 && row.bytes > 0)
        .map(|row| (row, row.ops as f64 / row.bytes as f64))
        .collect();
    let (x_low, x_high) = (-5, 12);
    let lowest = points.iter().map(|(row, _)| row.gop_s).fold(memory / 32.0, f64::min);
    let y = Octaves(lowest.max(1e-3).log2().floor() as i32 - 1, highest.log2().ceil() as i32 + 1, plain);
    let y_ends = y.ends();
    draw(
        &format!("Roofline of {}", roofs.adapter.name),
        ("operations per byte", "billions of operations per second"),
        (Octaves(x_low, x_high, plain), y),
        |add| {
            let x_at = |place: f64| 2f64.powf(f64::from(x_low) + place * f64::from(x_high - x_low));
            for &(_, roof, _, colour) in &lines {
                let curve: Vec<(f64, f64)> = (0..=340)
                    .map(|i| x_at(f64::from(i) / 340.0))
                    .map(|x| (x, (memory * x).min(roof)))
                    .filter(|(_, y)| *y >= y_ends.start)
                    .collect();
                add(Mark::Line { points: curve, colour })?;
            }
            // Roofs may lie close together: the highest is labelled above its line, the others below theirs.
            lines.sort_by(|a, b| b.1.total_cmp(&a.1));
            let mut before = f64::INFINITY;
            for (i, &(name, roof, unit, colour)) in lines.iter().enumerate() {
                let place = if i > 1 && roof * 1.5 > before { 0.7 } else { 0.84 };
                let (at, text) = ((x_at(place), roof), format!("{name}: {roof:.0} {unit}"));
                add(Mark::Label { at, text, above: i == 0, colour })?;
                before = roof;
            }
            // Above the line from its left end on, whose slope takes it past the label's height only behind its end.
            let (x, y) = (x_at(0.01), (memory * x_at(0.17)).max(4.0 * y_ends.start));
            let text = format!("memory: {memory:.1} GB/s");
            add(Mark::Label { at: (x, y), text, above: true, colour: TEXT })?;
            for (row, intensity) in &points {
                let x = intensity.clamp(2f64.powi(x_low), 2f64.powi(x_high));
                // A kernel at several sizes has its name at the highest of them.
                let higher =
                    points.iter().any(|(other, _)| other.kernel == row.kernel && other.gop_s > row.gop_s);
                let text = if higher { String::new() } else { row.kernel.to_owned() };
                add(Mark::Point { at: (x, row.gop_s), text })?;
            }
            Ok(())
        },
    )
}

/// The copy rate over the size of the copy: its steps are the ends of caches.
pub fn sweep(roofs: &Roofs) -> Result<String> {
    let points: Vec<(f64, f64)> = roofs.sweep.iter().map(|p| (p.bytes as f64, p.gb_s)).collect();
    let power = |value: f64| value.max(1e-3).log2();
    let most = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).fold(f64::MIN, f64::max);
    let least = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).fold(f64::MAX, f64::min);
    if points.len() < 2 {
        return Err(Error::Input("a sweep of fewer than two sizes cannot be drawn".into()));
    }
    let x = Octaves(power(least(|p| p.0)).floor() as i32, power(most(|p| p.0)).ceil() as i32, bytes);
    let low = power(least(|p| p.1)).floor() as i32;
    let y = Octaves(low, (power(most(|p| p.1)).ceil() as i32 + 1).max(low + 2), plain);
    draw("Copy by size", ("bytes copied, same buffers each time", "GB/s, reads and writes"), (x, y), |add| {
        add(Mark::Line { points: points.clone(), colour: F32 })?;
        for (point, entry) in points.iter().zip(&roofs.sweep) {
            add(Mark::Point { at: *point, text: size(entry.bytes) })?;
        }
        Ok(())
    })
}

enum Mark {
    Line { points: Vec<(f64, f64)>, colour: RGBColor },
    Label { at: (f64, f64), text: String, above: bool, colour: RGBColor },
    Point { at: (f64, f64), text: String },
}

/// A letter and a line of a point's label, in pixels.
const LETTER: i32 = 7;
const LINE: i32 = 14;
const HALF_LINE: i32 = 7;

/// Where a label of this width goes: beside its point, or else as near above or below it as there is room.
fn free_place(
    point: (i32, i32),
    width: i32,
    (across, down): &(Range<i32>, Range<i32>),
    taken: &[((i32, i32), i32)],
) -> Option<(i32, i32)> {
    let rows = (0..(down.end - down.start) / LINE).flat_map(|row| [row * LINE, -row * LINE]);
    let mut places = rows.flat_map(|by| {
        let y = point.1 - HALF_LINE + by;
        [(point.0 + 8, y), (point.0 - 8 - width, y)]
    });
    places.find(|&(x, y)| {
        let apart = |&((other, at), wide): &((i32, i32), i32)| {
            x >= other + wide + LETTER || other >= x + width + LETTER || (y - at).abs() >= LINE
        };
        let within = x >= across.start && x + width <= across.end && y >= down.start && y + LINE <= down.end;
        within && taken.iter().all(apart)
    })
}

/// A log-log chart with whatever `marks` adds.
fn draw(
    title: &str,
    (x_name, y_name): (&str, &str),
    (x, y): (Octaves, Octaves),
    marks: impl FnOnce(&mut dyn FnMut(Mark) -> Result<()>) -> Result<()>,
) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        root.fill(&WHITE).map_err(|e| fault(&e))?;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, (FONT, 22).into_font().color(&TEXT))
            .margin(16)
            .margin_right(48)
            .x_label_area_size(52)
            .y_label_area_size(72)
            .build_cartesian_2d(x, y)
            .map_err(|e| fault(&e))?;
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(TEXT)
            .label_style((FONT, 14).into_font().color(&TEXT))
            .x_desc(x_name)
            .y_desc(y_name)
            .draw()
            .map_err(|e| fault(&e))?;
        // Labels of points, and how wide they are.
        let mut taken: Vec<((i32, i32), i32)> = Vec::new();
        let inside = chart.plotting_area().get_pixel_range();
        let mut add = |mark: Mark| -> Result<()> {
            match mark {
                Mark::Line { points, colour } => {
                    chart
                        .draw_series(LineSeries::new(points, colour.stroke_width(2)))
                        .map_err(|e| fault(&e))?;
                }
                Mark::Label { at, text, above, colour } => {
                    let (px, py) = chart.backend_coord(&at);
                    let style = (FONT, 14).into_font().color(&colour);
                    let py = if above { py - 20 } else { py + 6 };
                    root.draw(&Text::new(text, (px, py), style)).map_err(|e| fault(&e))?;
                }
                Mark::Point { at, text } => {
                    chart.draw_series([Circle::new(at, 4, POINT.filled())]).map_err(|e| fault(&e))?;
                    if text.is_empty() {
                        return Ok(());
                    }
                    let point = chart.backend_coord(&at);
                    let width = LETTER * text.chars().count() as i32;
                    let Some(place) = free_place(point, width, &inside, &taken) else { return Ok(()) };
                    taken.push((place, width));
                    // What does not stand beside its point has a line to it.
                    if (place.1 + HALF_LINE - point.1).abs() > 2 * LINE {
                        let end = if place.0 > point.0 { place.0 } else { place.0 + width };
                        let line = [point, (end, place.1 + HALF_LINE)];
                        root.draw(&PathElement::new(line, GRID)).map_err(|e| fault(&e))?;
                    }
                    let style = (FONT, 13).into_font().color(&TEXT);
                    root.draw(&Text::new(text, place, style)).map_err(|e| fault(&e))?;
                }
            }
            Ok(())
        };
        marks(&mut add)?;
        root.present().map_err(|e| fault(&e))?;
    }
    Ok(svg)
}
