//! The audit row: classifiers calibrated, quantized to INT8, and judged on rows that calibration has not seen.

use std::path::Path;

use serde::Serialize;

use super::classify::{Speed, SpeedOptions, speed};
use super::roc;
use crate::audit::{Options, Status, telemetry};
use crate::calibration::Method;
use crate::classify::calibrate;
use crate::classify::judge::{Judgement, Test, judge};
use crate::classify::latency::LEAST_RUNS;
use crate::gpu::Context;
use crate::io::{npy, onnx};
use crate::network::lower::{Names, lower};
use crate::network::quantize::quantize;
use crate::roofline::{Effort, Roofs};
use crate::table;
use crate::{Error, Result};

/// The batch whose throughput is shown.
const BATCH: u64 = 65_536;

/// Where a classifier's rows come from.
enum Rows {
    /// `.npy` files.
    Files { calibration: &'static [u8], test: &'static [u8], labels: &'static [u8] },
    /// [`telemetry`].
    Synthetic,
}

/// A classifier of assets/classifier; see assets/README.md.
struct Classifier {
    name: &'static str,
    data: &'static str,
    model: &'static [u8],
    rows: Rows,
    /// Whether its gate is the drop alone, because its test set is too small for a bound.
    point: bool,
}

macro_rules! asset {
    ($file:literal) => {
        include_bytes!(concat!("../../assets/classifier/", $file))
    };
}

static CLASSIFIERS: [Classifier; 3] = [
    Classifier {
        name: "breast cancer",
        data: "real",
        model: asset!("breast_cancer/model.onnx"),
        rows: Rows::Files {
            calibration: asset!("breast_cancer/calibration.npy"),
            test: asset!("breast_cancer/test.npy"),
            labels: asset!("breast_cancer/labels.npy"),
        },
        point: true,
    },
    Classifier {
        name: "digits, is it an 8",
        data: "real",
        model: asset!("digits_8/model.onnx"),
        rows: Rows::Files {
            calibration: asset!("digits_8/calibration.npy"),
            test: asset!("digits_8/test.npy"),
            labels: asset!("digits_8/labels.npy"),
        },
        point: true,
    },
    Classifier {
        name: "delamination",
        data: "synthetic",
        model: asset!("delamination/model.onnx"),
        rows: Rows::Synthetic,
        point: false,
    },
];

/// A classifier, its verdict and its speed.
#[derive(Debug, Serialize)]
pub struct ClassifierRow {
    /// Which classifier.
    pub name: &'static str,
    /// `real` or `synthetic`.
    pub data: &'static str,
    /// Rows of calibration, by [`Method::Entropy`].
    pub calibration_rows: usize,
    /// The audit, and where the drop comes from.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// The f32 engine and the INT8 engine.
    pub engines: Vec<Speed>,
    /// The ROC curves of both as SVG.
    #[serde(skip)]
    pub curves: String,
}

/// Every classifier.
///
/// # Errors
/// The device's.
pub fn rows(
    gpu: &Context,
    roofs: &Roofs,
    effort: Effort,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<ClassifierRow>> {
    CLASSIFIERS.iter().map(|classifier| row(gpu, roofs, classifier, effort, progress)).collect()
}

fn row(
    gpu: &Context,
    roofs: &Roofs,
    classifier: &Classifier,
    effort: Effort,
    progress: &mut dyn FnMut(&str),
) -> Result<ClassifierRow> {
    let &Classifier { name, data, model, ref rows, point } = classifier;
    progress(&format!("auditing {name}"));
    let path = Path::new(name);
    let network = lower(&onnx::parse(path, model)?, &Names::default())?;
    let (calibration, test, labels) = match *rows {
        Rows::Files { calibration, test, labels } => (
            npy::parse_examples(path, calibration)?.0,
            npy::parse_examples(path, test)?.0,
            npy::parse_binary_labels(path, labels)?,
        ),
        Rows::Synthetic => {
            let test = telemetry::test();
            (telemetry::calibration().features, test.features, test.labels)
        }
    };
    let ranges = calibrate::ranges(gpu, &network, &calibration.values, Method::Entropy)?;
    let scale_of = |tensor: &str| ranges.iter().find(|range| range.name == tensor).map(|range| range.scale);
    let of = Test { rows: &test.values, labels: &labels, groups: None, class: 0 };
    let options = Options { point, ..Options::default() };
    let judgement = judge(gpu, &network, &ranges, &scale_of, &of, &options, progress)?;
    let integers = quantize(&network, scale_of, |_| true).network;
    let runs = match effort {
        Effort::Quick => LEAST_RUNS,
        Effort::Full => 10_000,
    };
    let options = SpeedOptions { runs, batches: vec![BATCH], effort };
    let mut engines = Vec::new();
    for (engine, network) in [("f32", &network), ("INT8", &integers)] {
        let said = &mut |step: &str| progress(&format!("{name}, {step}"));
        engines.push(speed(gpu, roofs, engine, network, &options, said)?);
    }
    let curves = roc::svg(&judgement.audit, &labels, &judgement.baseline, &judgement.quantized)?;
    Ok(ClassifierRow { name, data, calibration_rows: calibration.rows, judgement, engines, curves })
}

/// The header of [`cells`].
pub const HEADER: [&str; 10] = [
    "INT8 classifier",
    "rows",
    "AUC f32",
    "AUC INT8",
    "drop",
    "upper bound",
    "gate",
    "verdict",
    "batch 1 p99, us",
    "% of read roof",
];

/// A row for people, f32 before INT8 where there is one of each.
pub fn cells(row: &ClassifierRow) -> [String; 10] {
    let audit = &row.judgement.audit;
    let both = |of: &dyn Fn(&Speed) -> String| row.engines.iter().map(of).collect::<Vec<_>>().join(", ");
    let shares = |speed: &Speed| {
        speed.throughput.iter().map(|batch| format!("{:.1}", batch.of_read_roof * 100.0)).collect()
    };
    [
        format!("{} ({} data)", row.name, row.data),
        audit.rows.to_string(),
        format!("{:.5}", audit.auc_fp32_baseline),
        format!("{:.5}", audit.auc_int8_quantized),
        format!("{:.5}", audit.auc_degradation_gap),
        format!("{:.5}", audit.upper_bound),
        if audit.point { "drops" } else { "drops + bounds" }.into(),
        match audit.status {
            Status::Pass => "PASS",
            Status::Fail => "FAIL",
        }
        .into(),
        both(&|speed| format!("{:.0}", speed.latency.p99_us)),
        both(&shares),
    ]
}

/// The rows as a table.
pub fn text(rows: &[ClassifierRow]) -> String {
    let mut text = table::render(&HEADER, rows.iter().map(|row| cells(row).to_vec()).collect());
    text += NOTE;
    text += "\n";
    text
}

/// What the columns mean.
pub const NOTE: &str = "entropy calibration; upper bound of the AUC's drop at 95 %, by DeLong; the verdict is over AUC, F1, recall, \
                        saturation and flips; where the gate is the drops alone, the test set is too small for bounds; times \
                        and shares: f32, INT8; share of the read roof in batches of 65,536";

/// Fails if a classifier's gate does.
///
/// # Errors
/// [`Error::Gate`] with its name and verdict.
pub fn gate(rows: &[ClassifierRow]) -> Result<()> {
    for row in rows {
        row.judgement.audit.gate().map_err(|error| match error {
            Error::Gate(verdict) => Error::Gate(format!("{}: {verdict}", row.name)),
            other => other,
        })?;
    }
    Ok(())
}
