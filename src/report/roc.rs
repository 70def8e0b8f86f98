//! The ROC curves of two models, as SVG text.

use plotters::prelude::*;

use super::style::{BLUE, FONT, GRID, RED, TEXT, fault};
use crate::audit::{Audit, roc};
use crate::{Error, Result};

const SIZE: (u32, u32) = (640, 640);
const CHANCE: RGBColor = RGBColor(150, 155, 162);
const BASELINE: RGBColor = BLUE;
const QUANTIZED: RGBColor = RED;
/// Most points of a curve.
const POINTS: usize = 1000;

/// Both curves of an audit, from the labels and probabilities that it was made of.
///
/// # Errors
/// [`Error::Input`] if there are not as many of each as the audit has rows.
pub fn svg(audit: &Audit, labels: &[bool], baseline: &[f32], quantized: &[f32]) -> Result<String> {
    if [labels.len(), baseline.len(), quantized.len()] != [audit.rows; 3] {
        return Err(Error::Input(format!("the curves need the {} rows of their audit", audit.rows)));
    }
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|e| fault(&e))?;
        let mut chart = ChartBuilder::on(&root)
            .caption("ROC curves, f32 and INT8", (FONT, 22).into_font().color(&TEXT))
            .margin(16)
            .x_label_area_size(52)
            .y_label_area_size(60)
            .build_cartesian_2d(0f64..1f64, 0f64..1f64)
            .map_err(|e| fault(&e))?;
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(TEXT)
            .label_style((FONT, 15).into_font().color(&TEXT))
            .x_labels(6)
            .y_labels(6)
            .x_desc("false positive rate")
            .y_desc("true positive rate")
            .draw()
            .map_err(|e| fault(&e))?;
        let diagonal = [(0.0, 0.0), (1.0, 1.0)];
        chart
            .draw_series(DashedLineSeries::new(diagonal, 4, 4, CHANCE.stroke_width(1)))
            .map_err(|e| fault(&e))?;
        // The wide line lies below, so that it is seen where both are the same.
        let curves = [
            ("f32", baseline, audit.auc_fp32_baseline, BASELINE, 5),
            ("INT8", quantized, audit.auc_int8_quantized, QUANTIZED, 2),
        ];
        for (name, scores, area, colour, width) in curves {
            let style = colour.stroke_width(width);
            chart
                .draw_series(LineSeries::new(curve(labels, scores), style))
                .map_err(|e| fault(&e))?
                .label(format!("{name}: AUC {area:.5}"))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .legend_area_size(30)
            .margin(16)
            .border_style(GRID)
            .background_style(WHITE)
            .label_font((FONT, 16).into_font().color(&TEXT))
            .draw()
            .map_err(|e| fault(&e))?;
        root.present().map_err(|e| fault(&e))?;
    }
    Ok(svg)
}

/// Corners of the curve, as rates; of more than [`POINTS`] some, at equal distances along it.
fn curve(labels: &[bool], scores: &[f32]) -> Vec<(f64, f64)> {
    let all = roc(labels, scores);
    let mut corners: Vec<(u64, u64)> = Vec::new();
    for (i, &point) in all.iter().enumerate() {
        let straight = match (i.checked_sub(1).and_then(|i| all.get(i)), all.get(i + 1)) {
            (Some(before), Some(next)) => {
                let (x, y) = (point.0 - before.0, point.1 - before.1);
                u128::from(next.0 - point.0) * u128::from(y) == u128::from(next.1 - point.1) * u128::from(x)
            }
            _ => false,
        };
        if !straight {
            corners.push(point);
        }
    }
    let &(negatives, positives) = all.last().unwrap_or(&(1, 1));
    let rate = |point: (u64, u64)| (point.0 as f64 / negatives as f64, point.1 as f64 / positives as f64);
    let corners: Vec<(f64, f64)> = corners.into_iter().map(rate).collect();
    if corners.len() <= POINTS {
        return corners;
    }
    // Rates only grow, so that their sum, from 0 to 2, is the way along the curve.
    let step = 2.0 / (POINTS - 2) as f64;
    let mut next = 0.0;
    let last = corners.len() - 1;
    let keep = |(i, point): (usize, (f64, f64))| {
        let way = point.0 + point.1;
        let kept = way >= next || i == last;
        if kept {
            next = way + step;
        }
        kept.then_some(point)
    };
    corners.into_iter().enumerate().filter_map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn thinned_curves_keep_their_ends_and_their_points() {
        let mut random = Random::new(3);
        let labels: Vec<bool> = (0..30_000).map(|_| random.below(10) == 0).collect();
        let scores: Vec<f32> =
            labels.iter().map(|&label| (random.unit() + 0.3 * f64::from(u8::from(label))) as f32).collect();
        let thin = curve(&labels, &scores);
        assert!(thin.len() > 100 && thin.len() <= POINTS, "{}", thin.len());
        assert_eq!((thin[0], thin[thin.len() - 1]), ((0.0, 0.0), (1.0, 1.0)));
        let all = roc(&labels, &scores);
        let &(negatives, positives) = all.last().unwrap();
        let all: Vec<_> =
            all.iter().map(|p| (p.0 as f64 / negatives as f64, p.1 as f64 / positives as f64)).collect();
        assert!(thin.iter().all(|point| all.contains(point)));
    }
}
