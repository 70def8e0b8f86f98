//! Numbers of clusters beside each other: as a table, and as SVG text.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::style::{BLUE, FONT, GRID, RED, TEXT, fault};
use crate::kmeans::{Candidate, Choice};
use crate::table;
use crate::{Error, Result};

const WIDTH: u32 = 960;
const HEIGHT: u32 = 360;
/// Room above and below a curve, as a share of its height.
const ROOM: f64 = 0.08;

/// A row for each number of clusters, and what elbow and silhouette say.
pub fn text(choice: &Choice) -> String {
    let row = |row: &Candidate| {
        let marks = [("elbow", choice.elbow), ("best silhouette", choice.best_silhouette)];
        let marks = marks.iter().filter(|(_, k)| *k == Some(row.k)).map(|(name, _)| *name);
        vec![
            row.k.to_string(),
            digits(row.inertia),
            row.silhouette.map_or_else(|| "-".into(), |silhouette| format!("{silhouette:.4}")),
            row.n_iter.to_string(),
            format!("{:.3}", row.imbalance),
            marks.collect::<Vec<_>>().join(", "),
        ]
    };
    let header = ["k", "inertia", "silhouette", "iterations", "imbalance", ""];
    let mut text = table::render(&header, choice.candidates.iter().map(row).collect());
    let elbow = choice.elbow.map_or_else(|| "none, the curve has no clear bend".into(), |k| format!("k={k}"));
    text += &format!("\nelbow of the inertia (Kneedle): {elbow}\n");
    if choice.sample > 0 {
        let best = choice.best_silhouette.map_or_else(|| "none".into(), |k| format!("k={k}"));
        text += &format!("best silhouette: {best}, {}\n", sample(choice));
    }
    text
}

/// What the silhouettes are of.
fn sample(choice: &Choice) -> String {
    let (rows, n) = (choice.sample, choice.n);
    if rows == n {
        format!("of all {n} points")
    } else {
        format!("of {rows} of the {n} points, drawn by chance")
    }
}

/// Six digits.
fn digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if (1e-3..1e9).contains(&size) => {
            let digits = (5 - size.log10().floor() as i32).max(0) as usize;
            format!("{value:.digits$}")
        }
        _ => format!("{value:.5e}"),
    }
}

/// A curve over the number of clusters, and where on it a mark is.
struct Curve {
    points: Vec<(f64, f64)>,
    mark: Option<usize>,
    /// What it is of, and what the mark says.
    names: (String, &'static str),
    colour: RGBColor,
}

/// The inertia over the number of clusters with its elbow, and below it the silhouettes, if there are any, with the best of them.
///
/// # Errors
/// [`Error::Input`] for fewer than two numbers of clusters, which are no curve.
pub fn svg(choice: &Choice) -> Result<String> {
    if choice.candidates.len() < 2 {
        return Err(Error::Input("a picture of one number of clusters has no curve: give several".into()));
    }
    let points = |of: &dyn Fn(&Candidate) -> Option<f64>| {
        let all = choice.candidates.iter();
        all.filter_map(|row| Some((row.k as f64, of(row)?))).collect::<Vec<_>>()
    };
    let inertia = Curve {
        points: points(&|row| Some(row.inertia)),
        mark: choice.elbow,
        names: (format!("inertia of {} points of {} dimensions", choice.n, choice.d), "elbow"),
        colour: BLUE,
    };
    let silhouettes = Curve {
        points: points(&|row| row.silhouette),
        mark: choice.best_silhouette,
        names: (format!("silhouette, {}", sample(choice)), "best"),
        colour: RED,
    };
    let curves: Vec<Curve> =
        [inertia, silhouettes].into_iter().filter(|curve| !curve.points.is_empty()).collect();
    let ends = (choice.candidates[0].k as f64, choice.candidates[choice.candidates.len() - 1].k as f64);
    let mut svg = String::new();
    {
        let size = (WIDTH, HEIGHT * curves.len() as u32);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(|e| fault(&e))?;
        for (curve, area) in curves.iter().zip(root.split_evenly((curves.len(), 1))) {
            draw(curve, ends, &area)?;
        }
        root.present().map_err(|e| fault(&e))?;
    }
    Ok(svg)
}

fn draw(curve: &Curve, ends: (f64, f64), area: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<()> {
    let values = || curve.points.iter().map(|point| point.1);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    // A line of one value has room of its own, as plotters cannot scale a range of nothing.
    let room = (ROOM * (high - low)).max(1e-9 * high.abs()).max(1e-12);
    let side = 0.02 * (ends.1 - ends.0);
    let mut chart = ChartBuilder::on(area)
        .caption(&curve.names.0, (FONT, 20).into_font().color(&TEXT))
        .margin(14)
        .margin_right(32)
        .x_label_area_size(48)
        .y_label_area_size(84)
        .build_cartesian_2d(ends.0 - side..ends.1 + side, low - room..high + room)
        .map_err(|e| fault(&e))?;
    // Numbers of clusters are whole.
    let most = (ends.1 - ends.0) as usize + 1;
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(TEXT)
        .label_style((FONT, 14).into_font().color(&TEXT))
        .x_labels(most.min(20))
        .x_label_formatter(&|k| format!("{k:.0}"))
        .y_labels(6)
        .y_label_formatter(&|value| tick(*value))
        .x_desc("number of clusters, k")
        .draw()
        .map_err(|e| fault(&e))?;
    if let Some(k) = curve.mark {
        let line = [(k as f64, low - room), (k as f64, high + room)];
        chart.draw_series(DashedLineSeries::new(line, 5, 4, TEXT.stroke_width(1))).map_err(|e| fault(&e))?;
        // On the side where there is more of the curve's own room.
        let (x, y) = chart.backend_coord(&(k as f64, high + room));
        let right = (k as f64) < 0.5 * (ends.0 + ends.1);
        let text = format!("{}: k={k}", curve.names.1);
        let at = if right { x + 8 } else { x - 8 };
        let anchor = plotters::style::text_anchor::Pos::new(
            if right {
                plotters::style::text_anchor::HPos::Left
            } else {
                plotters::style::text_anchor::HPos::Right
            },
            plotters::style::text_anchor::VPos::Top,
        );
        let style = (FONT, 16).into_font().color(&TEXT).pos(anchor);
        let base = area.get_base_pixel();
        area.draw(&Text::new(text, (at - base.0, y + 4 - base.1), style)).map_err(|e| fault(&e))?;
    }
    let style = curve.colour.stroke_width(2);
    chart.draw_series(LineSeries::new(curve.points.clone(), style)).map_err(|e| fault(&e))?;
    let circles = curve.points.iter().map(|&point| {
        let marked = curve.mark.is_some_and(|k| k as f64 == point.0);
        Circle::new(point, if marked { 6 } else { 3 }, curve.colour.filled())
    });
    chart.draw_series(circles).map_err(|e| fault(&e))?;
    Ok(())
}

/// A number on an axis: of few digits, whatever its size.
fn tick(value: f64) -> String {
    let size = value.abs();
    if size > 0.0 && !(1e-3..1e7).contains(&size) {
        return format!("{value:.2e}");
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_whatever_their_size() {
        for (value, expected) in [
            (0.0, "0"),
            (1234.5678, "1234.57"),
            (-0.0123456789, "-0.0123457"),
            (123456789.0, "123456789"),
            (9.87654321e12, "9.87654e12"),
            (1e-9, "1.00000e-9"),
        ] {
            assert_eq!(digits(value), expected);
        }
        for (value, expected) in
            [(0.0, "0"), (0.25, "0.25"), (-1500.0, "-1500"), (2.5e7, "2.50e7"), (1e-5, "1.00e-5")]
        {
            assert_eq!(tick(value), expected);
        }
    }
}
