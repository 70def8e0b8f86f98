//! The report: roofs, every kernel against them, k-means, KV caches, classifiers in INT8 and in few bits, real pictures; as tables, as JSON, and as one HTML file.

pub mod attention;
pub mod audit;
pub mod caches;
pub mod choice;
pub mod classifiers;
pub mod classify;
pub mod clustering;
pub mod compare;
pub mod decode;
pub mod html;
pub mod identification;
pub mod kernels;
pub mod photo;
pub mod products;
pub mod roc;
pub mod roofs;
pub mod starnet;
mod style;
pub mod svg;
pub mod trace;
pub mod tuning;

use serde::Serialize;

use crate::Result;
use crate::gpu::Context;
use crate::roofline::kernels::{self as timed, KernelRow};
use crate::roofline::{self, Effort, MeasureOptions, Roofs};
use attention::Evaluation;
use classifiers::ClassifierRow;
use clustering::ClusteringRow;
use photo::PhotoRow;
use starnet::StarNetRow;

/// Everything that `lowbit report` found out.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The adapter's roofs.
    pub roofs: Roofs,
    /// A row for each kernel of the registry.
    pub kernels: Vec<KernelRow>,
    /// Iterations of k-means.
    pub clusterings: Vec<ClusteringRow>,
    /// Types of KV caches, on real vectors.
    pub kv_cache: Evaluation,
    /// Classifiers in INT8, judged.
    pub classifiers: Vec<ClassifierRow>,
    /// Networks in few bits, on registers of 8.
    pub starnets: Vec<StarNetRow>,
    /// Real pictures.
    pub photos: Vec<PhotoRow>,
    /// What must be known before trusting a number.
    pub notices: Vec<String>,
}

/// How to make a report.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReportOptions {
    /// How long to measure.
    pub effort: Effort,
    /// The datasheet's memory bandwidth in GB/s, if known.
    pub peak_gbs: Option<f64>,
}

/// Measures and verifies everything.
///
/// # Errors
/// [`crate::Error::Mismatch`] if a kernel gives a wrong result: a wrong kernel has no speed; the device's errors.
pub fn make(gpu: &Context, options: &ReportOptions, progress: &mut dyn FnMut(&str)) -> Result<Report> {
    let measure = MeasureOptions { effort: options.effort, peak_gbs: options.peak_gbs, sweep: true };
    let roofs = roofline::measure(gpu, &measure, progress)?;
    let kernels = timed::measure(gpu, &roofs, options.effort, progress)?;
    let clusterings = clustering::rows(gpu, &roofs, options.effort, progress)?;
    let kv_cache = caches::evaluate(gpu, &roofs, options.effort, progress)?;
    let classifiers = classifiers::rows(gpu, &roofs, options.effort, progress)?;
    let starnets = starnet::rows(gpu, progress)?;
    progress("drawing the pictures");
    let photos = photo::rows(gpu)?;
    let mut notices = gpu.notices();
    let shares = kernels.iter().map(|row| (row.kernel.to_owned(), row.share));
    let shares = shares.chain(clusterings.iter().map(|row| (format!("k-means {}", row.shape), row.share)));
    for (name, _) in shares.filter(|(_, share)| !share.valid) {
        notices.push(format!("{name}: more than its roof allows; this row is no measurement"));
    }
    Ok(Report { roofs, kernels, clusterings, kv_cache, classifiers, starnets, photos, notices })
}

impl Report {
    /// The report for a terminal.
    pub fn text(&self) -> String {
        let mut text = roofs::text(&self.roofs);
        text += "\n";
        text += &kernels::text(&self.kernels);
        text += "\n";
        text += &clustering::text(&self.clusterings);
        text += "\n";
        text += &caches::text(&self.kv_cache);
        text += "\n";
        text += &classifiers::text(&self.classifiers);
        text += "\n";
        text += &starnet::text(&self.starnets);
        for photo in &self.photos {
            text += "\n";
            text += &photo.text();
        }
        text
    }
}
