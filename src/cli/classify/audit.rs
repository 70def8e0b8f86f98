//! `lowbit classify audit`

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use serde::Serialize;

use super::super::place;
use super::gate::Gate;
use super::{Calibrated, Loaded, ModelArguments, Session, Traced, about, check_outputs, files, method};
use lowbit::internals::Error;
use lowbit::internals::audit::{check_groups, check_labels};
use lowbit::internals::calibration::{Manifest, Method, Range};
use lowbit::internals::classify::calibrate;
use lowbit::internals::classify::judge::{Judgement, Test, judge};
use lowbit::internals::gpu::{AdapterReport, Context};
use lowbit::internals::io::hash::sha256_file;
use lowbit::internals::io::labels::{Column, Labels};
use lowbit::internals::io::output;
use lowbit::internals::io::table::{Features, check_left};
use lowbit::internals::report::{classify, roc};

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("scales").required(true).args(["calibration", "cache"]))]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Calibrate with these rows, [rows, …]: .npy, .npz or .csv
    #[arg(long, value_name = "DATA")]
    calibration: Option<PathBuf>,
    /// Take the scales of this calibration cache
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Take a cache that has no manifest beside it
    #[arg(long, requires = "cache")]
    accept_cache: bool,
    /// The rows to judge by, which calibration has not seen: as --calibration
    #[arg(long, value_name = "X")]
    test: PathBuf,
    /// Their labels, of two values (numbers, bools or text) or one-hot: .npy, .npz, or a column of a table, as data.csv:label
    #[arg(long, value_name = "Y")]
    labels: Column,
    /// Which label is the positive class [default: the last one when sorted, as scikit-learn has it]
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    positive: Option<String>,
    /// Which print, layer or patient each row belongs to, if rows are not independent: as --labels
    #[arg(long, value_name = "G")]
    groups: Option<Column>,
    /// How ranges are chosen: entropy, min-max, percentile:99.99 or mse [default: entropy]
    #[arg(long, value_parser = method, conflicts_with = "cache")]
    method: Option<Method>,
    #[command(flatten)]
    gate: Gate,
    /// Which output is the probability of a positive, from 0 [default: the only one, or the second of two]
    #[arg(long)]
    class: Option<usize>,
    /// A column of the tables that is no feature
    #[arg(long, value_name = "COLUMN")]
    without: Vec<String>,
    /// Draw the ROC curves here
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    traced: Traced,
}

/// The verdict, and what it is about.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    judgement: &'a Judgement,
    model: &'a Path,
    model_sha256: &'a str,
    class: usize,
    /// The label of a positive, and that of a negative.
    positive: &'a str,
    negative: &'a str,
    /// None for a cache that does not say.
    method: Option<Method>,
    /// None for a cache that does not say.
    calibration_rows: Option<u64>,
    cache: Option<&'a Path>,
    test: &'a Path,
    adapter: &'a AdapterReport,
    version: &'static str,
}

/// Where scales come from.
enum Source {
    Data { path: PathBuf, features: Features },
    Cache(Calibrated),
}

impl Source {
    /// Whether it was made of this very test set.
    fn is(&self, path: &Path, test: &Features) -> lowbit::internals::Result<bool> {
        match self {
            Self::Data { features, .. } => Ok(features.matrix == test.matrix),
            Self::Cache(Calibrated { manifest, .. }) => match manifest {
                Some(Manifest { data, .. }) if data.rows == test.matrix.rows as u64 => {
                    Ok(sha256_file(path)? == data.sha256)
                }
                _ => Ok(false),
            },
        }
    }
}

/// Scales, and what is known of their making.
struct Scales {
    scales: Vec<(String, f32)>,
    ranges: Vec<Range>,
    method: Option<Method>,
    rows: Option<u64>,
    warnings: Vec<String>,
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let options = arguments.gate.options()?;
    let inputs = [&arguments.model.model, &arguments.test, &arguments.labels.path].into_iter();
    let cache: Vec<PathBuf> = files(arguments.cache.as_ref()).collect();
    let inputs = inputs.chain(&arguments.calibration).chain(&cache);
    let inputs = inputs.chain(arguments.groups.iter().map(|groups| &groups.path));
    let inputs: Vec<&Path> = inputs.map(PathBuf::as_path).collect();
    check_outputs(arguments.svg.iter().map(PathBuf::as_path).collect(), &inputs, &arguments.traced)?;
    arguments
        .svg
        .iter()
        .try_for_each(|path| output::check_ending(path, "svg", "an SVG picture is written"))?;
    let loaded = arguments.model.load()?;
    loaded.check_floats()?;
    let class = arguments.model.class(&loaded, arguments.class)?;
    let Labels { values: labels, positive, negative, notice } =
        arguments.labels.read_labels(arguments.positive.as_deref())?;
    notice.iter().for_each(|text| session.terminal.notice(text));
    check_labels(&labels).map_err(about(&arguments.labels.path))?;
    let groups = arguments.groups.as_ref().map(Column::read_groups).transpose()?;
    if let (Some(column), Some(groups)) = (&arguments.groups, &groups) {
        check_groups(groups).map_err(about(&column.path))?;
    }
    let source = arguments.source(&loaded, session)?;
    let names = match &source {
        Source::Data { features, .. } => features.names.as_deref(),
        Source::Cache(found) => found.features(),
    };
    let without = arguments.without();
    let test = loaded.examples(&arguments.test, names, &without, &session.terminal)?;
    let mut read = vec![(arguments.test.as_path(), &test)];
    if let Source::Data { path, features } = &source {
        read.push((path, features));
    }
    // A column may be in one of the two tables alone; what --calibration names, is without them already.
    let features = if arguments.cache.is_some() { names } else { None };
    check_left(&arguments.without, features, &read)?;
    let seen = source.is(&arguments.test, &test)?;
    let groups_rows = groups.as_ref().map(|groups| ("groups", groups.len()));
    for (what, count) in [Some(("labels", labels.len())), groups_rows].into_iter().flatten() {
        if count != test.matrix.rows {
            let problem = format!("it has {} rows, but there are {count} {what}", test.matrix.rows);
            return Err(Error::file(&arguments.test, problem).into());
        }
    }
    let mut verdict = None;
    session.with_device(&arguments.traced, |gpu| {
        let spinner = session.terminal.spinner();
        spinner.set_message("calibrating");
        let scales = arguments.scales(gpu, &loaded, &source)?;
        let scale_of =
            |name: &str| scales.scales.iter().find(|(tensor, _)| tensor == name).map(|(_, scale)| *scale);
        let data = Test { rows: &test.matrix.values, labels: &labels, groups: groups.as_deref(), class };
        let mut progress = |step: &str| spinner.set_message(step.to_owned());
        let judgement =
            judge(gpu, &loaded.network, &scales.ranges, &scale_of, &data, &options, &mut progress);
        spinner.finish_and_clear();
        let mut judgement = judgement.map_err(about(&arguments.model.model))?;
        judgement.audit.warnings.extend(scales.warnings);
        if seen {
            judgement.audit.warnings.push(
                "the test set is the calibration data: scales that fit it say little about other rows, so judge by rows \
                 that calibration has not seen"
                    .into(),
            );
        }
        if let Some(path) = &arguments.svg {
            let picture = roc::svg(&judgement.audit, &labels, &judgement.baseline, &judgement.quantized)?;
            output::write_whole(path, |out| out.write_all(picture.as_bytes()))?;
            session.terminal.notice(&format!("written: {}", path.display()));
        }
        let document = Document {
            judgement: &judgement,
            model: &arguments.model.model,
            model_sha256: &loaded.model.sha256,
            class,
            positive: &positive,
            negative: &negative,
            method: scales.method,
            calibration_rows: scales.rows,
            cache: arguments.cache.as_deref(),
            test: &arguments.test,
            adapter: &gpu.adapter,
            version: env!("CARGO_PKG_VERSION"),
        };
        session.terminal.result(&document, || classify::judgement(&judgement))?;
        verdict = Some(judgement.audit);
        Ok(None)
    })?;
    verdict.map_or(Ok(()), |audit| Ok(audit.gate()?))
}

impl Arguments {
    /// Columns that are no features: labels and groups from the table of the features too.
    fn without(&self) -> Vec<String> {
        let test = place(&self.test);
        let columns = [Some(&self.labels), self.groups.as_ref()].into_iter().flatten();
        let own =
            columns.filter(|column| place(&column.path) == test).filter_map(|column| column.name.clone());
        self.without.iter().cloned().chain(own).collect()
    }

    fn source(&self, loaded: &Loaded, session: &Session) -> anyhow::Result<Source> {
        Ok(match (&self.cache, &self.calibration) {
            (Some(path), _) => Source::Cache(loaded.cache(path, self.accept_cache)?),
            (None, Some(path)) => {
                let features = loaded.examples(path, None, &self.without(), &session.terminal)?;
                Source::Data { path: path.clone(), features }
            }
            (None, None) => anyhow::bail!("give --calibration DATA or --cache CACHE"),
        })
    }

    fn scales(&self, gpu: &Context, loaded: &Loaded, source: &Source) -> anyhow::Result<Scales> {
        Ok(match source {
            Source::Cache(Calibrated { cache, manifest, warning }) => {
                let ranges = manifest.as_ref().map_or(Vec::new(), |manifest| manifest.ranges.clone());
                let rows = manifest.as_ref().map(|manifest| manifest.data.rows);
                let mut warnings = rows.map_or(Vec::new(), |rows| classify::warnings(&ranges, rows));
                warnings.extend(warning.clone());
                let method = manifest.as_ref().map(|manifest| manifest.method);
                Scales { scales: cache.entries.clone(), ranges, method, rows, warnings }
            }
            Source::Data { path, features } => {
                let method = self.method.unwrap_or(Method::Entropy);
                let ranges = calibrate::ranges(gpu, &loaded.network, &features.matrix.values, method)
                    .map_err(about(path))?;
                let rows = features.matrix.rows as u64;
                let warnings = classify::warnings(&ranges, rows);
                let scales = ranges.iter().map(|range| (range.name.clone(), range.scale)).collect();
                Scales { scales, ranges, method: Some(method), rows: Some(rows), warnings }
            }
        })
    }
}
