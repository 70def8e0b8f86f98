//! An identification as a table and as a picture.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::style::{BLUE, FONT, GRID, RED, TEXT, fault};
use crate::Result;
use crate::edge::identify::residuals::Covariance;
use crate::edge::identify::{Estimate, Identification, Method, Trace};
use crate::table;

const SIZE: (u32, u32) = (960, 640);
/// How much of the height the currents take.
const CURRENTS: u32 = 420;
const ACTUAL: RGBColor = BLUE;
const FITTED: RGBColor = RED;
/// Rows that are drawn, where more are not needed for [`SECONDS`].
const ROWS: usize = 1000;
/// The most time that is drawn: longer ones show no dynamics.
const SECONDS: f64 = 2.0;
/// Pixels that a line is thinned to.
const PIXELS: usize = 850;

/// The identification for a terminal.
pub fn text(found: &Identification) -> String {
    let row = |of: &Estimate| {
        // As many decimals as the error has, and one more.
        let digits = of.standard_error.filter(|error| *error > 0.0).map_or(6.0, |error| 2.0 - error.log10());
        let number = |value: f64| decimal(value, digits.clamp(4.0, 12.0) as usize);
        let (name, bounds) = (of.name.name(), of.bounds.map_or("-".into(), |[a, b]| format!("{a} to {b}")));
        let interval = of.interval.map_or("-".into(), |[a, b]| format!("{} to {}", number(a), number(b)));
        let note = match (of.fixed, of.at_bound) {
            (true, _) => "known",
            (_, true) => "at its bound",
            _ => "",
        };
        let mut row = vec![name.into(), of.unit.into(), number(of.estimate), interval, bounds];
        if found.agree.is_some() {
            row.push(of.bayesian.map_or("-".into(), number));
        }
        row.push(note.into());
        row
    };
    let mut header = vec!["parameter", "unit", "estimate", "95 % interval", "bounds"];
    if found.agree.is_some() {
        header.push("by search");
    }
    header.push("note");
    let mut text = String::from("I = k_e Q + k_base dQ + tau ddQ + gamma w_rot Q\n\n");
    text += &table::render(&header, found.parameters.iter().map(row).collect());

    let (quality, filter) = (&found.quality, &found.filter);
    let percent =
        |part: Option<f64>| part.map_or("-".into(), |part| format!("{} %", decimal(100.0 * part, 2)));
    text += &format!(
        "\nresidual {} A RMS, {} of I_actual; R^2 {}\n",
        decimal(quality.residual_rms_a, 5),
        percent(quality.residual_relative),
        quality.r_squared.map_or("-".into(), |r| decimal(r, 5))
    );
    let tested = &quality.ljung_box;
    text += &format!(
        "residuals {}: Ljung-Box {} over {} lags, p {:.4}; intervals {}\n",
        if quality.white { "white" } else { "NOT white" },
        decimal(tested.statistic, 2),
        tested.lags,
        tested.p_value,
        match quality.covariance {
            Covariance::White => "for white residuals".into(),
            Covariance::NeweyWest { lags } =>
                format!("by prewhitened Newey-West over {lags} lags, which widens them"),
        }
    );
    let free = found.parameters.iter().filter(|of| !of.fixed).count();
    let condition = decimal(found.condition_number, 1);
    text += &format!("rank {} of {free}, condition number {condition}\n", found.rank);
    text += &match (found.method, &found.bayesian, found.agree) {
        (Method::Bayesian, Some(search), _) => {
            format!("by a Bayesian search of {} evaluations, seed {}\n", search.evaluations, search.seed)
        }
        (_, Some(search), Some(agree)) => format!(
            "by least squares; a Bayesian search of {} evaluations {}\n",
            search.evaluations,
            if agree { "agrees" } else { "DISAGREES" }
        ),
        _ => "by least squares\n".into(),
    };
    text += &format!(
        "{} of {} rows used, {} s; {} from {} by local polynomials of order {} over {} rows ({} s); noise of {} {:.2e}\n",
        found.rows_used,
        found.rows,
        decimal(found.duration_s, 1),
        filter.derives.join(" and "),
        filter.of,
        filter.order,
        filter.window_rows,
        decimal(filter.window_s, 4),
        filter.of,
        filter.noise
    );
    if filter.gaps > 0 {
        text += &format!("{} gaps in time, which no window crosses\n", filter.gaps);
    }
    for warning in &found.warnings {
        text += &format!("warning: {warning}\n");
    }
    text
}

/// A number with so many decimals; with an exponent where that would be a long row of digits.
fn decimal(value: f64, digits: usize) -> String {
    if value.abs() < 1e9 { format!("{value:.digits$}") } else { format!("{value:.3e}") }
}

/// I_actual and the fitted current over time, and what is left below. Lines end at gaps.
///
/// # Errors
/// [`crate::Error::Input`] if it cannot be drawn.
pub fn svg(found: &Identification) -> Result<String> {
    let shown = liveliest(&found.trace);
    let trace = &found.trace;
    let times = &trace.time[shown.clone()];
    let rows = &trace.row[shown.clone()];
    let series = |values: &[f64]| thinned(rows, times, &values[shown.clone()]);
    let (actual, fitted) = (series(&trace.actual), series(&trace.fitted));
    let left: Vec<f64> = trace.actual.iter().zip(&trace.fitted).map(|(a, b)| a - b).collect();
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|e| fault(&e))?;
        let (upper, lower) = root.split_vertically(CURRENTS);
        let part = if shown.len() < trace.time.len() {
            format!("Current: {} s of {} s", decimal(span(times), 2), decimal(found.duration_s, 1))
        } else {
            "Current".into()
        };
        chart(&upper, &part, "A", &[("measured", actual, ACTUAL, 4), ("fitted", fitted, FITTED, 2)])?;
        let caption = format!("Measured less fitted: {} A RMS", decimal(found.quality.residual_rms_a, 4));
        chart(&lower, &caption, "A", &[("", series(&left), ACTUAL, 1)])?;
        root.present().map_err(|e| fault(&e))?;
    }
    Ok(svg)
}

/// A name, a line for each run between gaps, a colour, a width.
type Series<'a> = (&'a str, Vec<Vec<(f64, f64)>>, RGBColor, u32);

/// Lines over time. The first lies below, so that it is seen where both are the same.
fn chart(area: &DrawingArea<SVGBackend, Shift>, caption: &str, unit: &str, all: &[Series]) -> Result<()> {
    let points = || all.iter().flat_map(|(_, lines, ..)| lines.iter().flatten());
    let range = |of: fn(&(f64, f64)) -> f64, room: f64, legend: f64| {
        let low = points().map(of).fold(f64::INFINITY, f64::min);
        let high = points().map(of).fold(f64::NEG_INFINITY, f64::max);
        // A line of one value has room of its own, as plotters cannot scale a range of nothing.
        let room = ((high - low) * room).max(1e-9 * high.abs()).max(1e-12);
        low - room..high + room * (1.0 + legend)
    };
    // What a legend lies in.
    let legend = if all.len() > 1 { 3.0 } else { 0.0 };
    let mut chart = ChartBuilder::on(area)
        .caption(caption, (FONT, 18).into_font().color(&TEXT))
        .margin(12)
        .margin_right(24)
        .x_label_area_size(46)
        .y_label_area_size(76)
        .build_cartesian_2d(range(|p| p.0, 0.0, 0.0), range(|p| p.1, 0.08, legend))
        .map_err(|e| fault(&e))?;
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(TEXT)
        .label_style((FONT, 14).into_font().color(&TEXT))
        .y_labels(6)
        .x_desc("s")
        .y_desc(unit)
        .draw()
        .map_err(|e| fault(&e))?;
    for (name, lines, colour, width) in all {
        let style = colour.stroke_width(*width);
        let lines = lines.iter().map(|line| PathElement::new(line.clone(), style));
        let drawn = chart.draw_series(lines).map_err(|e| fault(&e))?;
        if !name.is_empty() {
            drawn.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style));
        }
    }
    if all.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .legend_area_size(30)
            .margin(10)
            .border_style(GRID)
            .background_style(WHITE)
            .label_font((FONT, 14).into_font().color(&TEXT))
            .draw()
            .map_err(|e| fault(&e))?;
    }
    Ok(())
}

fn span(times: &[f64]) -> f64 {
    times.last().unwrap_or(&0.0) - times.first().unwrap_or(&0.0)
}

/// The rows to draw: of those runs that are short enough, that in which the fitted current changes most.
fn liveliest(trace: &Trace) -> std::ops::Range<usize> {
    let rows = trace.time.len();
    let change =
        |i: usize| i.checked_sub(1).map_or(0.0, |before| (trace.fitted[i] - trace.fitted[before]).abs());
    let (mut from, mut changes, mut best) = (0, 0.0, (f64::NEG_INFINITY, 0..rows));
    for to in 0..rows {
        changes += change(to);
        // More rows than asked for, and longer than need be: the run goes on without its first row.
        while to - from >= ROWS && trace.time[to] - trace.time[from] > SECONDS {
            from += 1;
            changes -= change(from);
        }
        let better = changes > best.0 * (1.0 + 1e-9);
        if better {
            best = (changes, from..to + 1);
        }
    }
    best.1
}

/// Lines of no more points than can be seen: of those on one pixel the least and the largest, in their order. A line ends
/// where rows are left out.
fn thinned(rows: &[usize], times: &[f64], values: &[f64]) -> Vec<Vec<(f64, f64)>> {
    let points: Vec<(usize, (f64, f64))> =
        rows.iter().copied().zip(times.iter().copied().zip(values.iter().copied())).collect();
    let run = if points.len() > 2 * PIXELS { points.len().div_ceil(PIXELS) } else { 1 };
    let ends = |run: &[(usize, (f64, f64))]| {
        let least = run.iter().map(|(_, point)| *point).min_by(|a, b| a.1.total_cmp(&b.1));
        let most = run.iter().map(|(_, point)| *point).max_by(|a, b| a.1.total_cmp(&b.1));
        let mut ends: Vec<(f64, f64)> = least.into_iter().chain(most).collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        ends.dedup();
        ends
    };
    let lines = points.chunk_by(|(before, _), (row, _)| before + 1 == *row);
    lines.map(|line| line.chunks(run).flat_map(ends).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(rows: usize, dt: f64, fitted: impl Fn(f64) -> f64) -> Trace {
        let time: Vec<f64> = (0..rows).map(|i| i as f64 * dt).collect();
        let fitted: Vec<f64> = time.iter().map(|t| fitted(*t)).collect();
        Trace { row: (0..rows).collect(), actual: fitted.clone(), fitted, time }
    }

    #[test]
    fn the_part_that_moves_is_shown() {
        let burst = |t: f64| if (6.0..7.0).contains(&t) { (40.0 * t).sin() } else { 0.0 };
        let long = trace(10_000, 0.001, burst);
        let shown = liveliest(&long);
        assert!(shown.len() <= 2002 && shown.start <= 6000 && shown.end >= 6990, "{shown:?}");
        // A short log is shown as a whole, and so is one of few rows.
        assert_eq!(liveliest(&trace(1500, 0.001, |t| t)), 0..1500);
        assert_eq!(liveliest(&trace(900, 1.0, |t| t)), 0..900);
    }

    #[test]
    fn thinned_lines_keep_their_extremes() {
        let all = trace(20_000, 0.001, |t| (300.0 * t).sin());
        let lines = thinned(&all.row, &all.time, &all.fitted);
        assert_eq!(lines.len(), 1);
        let thin = &lines[0];
        assert!(thin.len() <= 2 * PIXELS && thin.is_sorted_by(|a, b| a.0 <= b.0), "{}", thin.len());
        let most = |of: &mut dyn Iterator<Item = f64>| of.fold(f64::MIN, f64::max);
        assert_eq!(most(&mut thin.iter().map(|p| p.1)), most(&mut all.fitted.iter().copied()));
    }

    #[test]
    fn lines_end_at_gaps() {
        let mut all = trace(100, 0.001, |t| t);
        all.row[40..].iter_mut().for_each(|row| *row += 8);
        let lengths: Vec<usize> =
            thinned(&all.row, &all.time, &all.fitted).iter().map(|line| line.len()).collect();
        assert_eq!(lengths, [40, 60]);
    }

    #[test]
    fn numbers_stay_short() {
        for (value, text) in [(1.25, "1.2"), (-0.04, "-0.0"), (1e300, "1.000e300"), (-2e9, "-2.000e9")] {
            assert_eq!(decimal(value, 1), text);
        }
        assert_eq!(decimal(f64::INFINITY, 1), "inf");
    }
}
