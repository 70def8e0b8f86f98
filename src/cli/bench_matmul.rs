//! `lowbit bench matmul`

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Session, Traced, check_outputs};
use lowbit::internals::format::{ALL, Format};
use lowbit::internals::matmul::Path;
use lowbit::internals::report::products;
use lowbit::internals::roofline::products::{self as timed, Shape};
use lowbit::internals::roofline::{self, Effort, MeasureOptions};

#[derive(Args, Debug)]
pub struct Arguments {
    /// Formats to measure, such as Q8_0,Q4_K; all of them if none is given
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = format)]
    format: Vec<&'static Format>,
    /// Rows and columns of the weights, and columns of x
    #[arg(long, value_name = "M,K,N", value_parser = shape, default_value = "4096,14336,1")]
    shape: Vec<Shape>,
    /// What is multiplied
    #[arg(long, value_enum, default_value_t = PathName::Auto)]
    path: PathName,
    #[command(flatten)]
    traced: Traced,
}

/// [`Path`] by name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum PathName {
    /// The fastest of all, as measured
    Auto,
    /// f32 products
    Float,
    /// Activations as int8
    Integer,
    /// f16 products by cooperative matrices, where the adapter has them
    Half,
}

impl From<PathName> for Path {
    fn from(name: PathName) -> Self {
        match name {
            PathName::Auto => Self::Auto,
            PathName::Float => Self::Float,
            PathName::Integer => Self::Integer,
            PathName::Half => Self::Half,
        }
    }
}

/// A format by its name, or the names that there are.
pub fn format(name: &str) -> Result<&'static Format, String> {
    let names: Vec<&str> = ALL.iter().map(|format| format.name).collect();
    Format::by_name(name).ok_or_else(|| format!("there is {}", names.join(", ")))
}

fn shape(text: &str) -> Result<Shape, String> {
    let numbers: Option<Vec<u64>> =
        text.split(',').map(|n| n.trim().parse().ok().filter(|&n| n > 0)).collect();
    match numbers.as_deref() {
        Some(&[m, k, n]) if m.max(k).max(n) <= 1 << 24 => Ok(Shape { m, k, n }),
        _ => Err("give three numbers from 1 to 16777216, such as 4096,14336,1".into()),
    }
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    check_outputs(Vec::new(), &[], &arguments.traced)?;
    let terminal = &session.terminal;
    let path = Path::from(arguments.path);
    let formats: Vec<&Format> =
        if arguments.format.is_empty() { ALL.iter().collect() } else { arguments.format.clone() };
    session.with_device(&arguments.traced, |gpu| {
        let spinner = terminal.spinner();
        let options = MeasureOptions { effort: Effort::Quick, peak_gbs: None, sweep: false };
        let roofs = roofline::measure(gpu, &options, &mut |step| spinner.set_message(step.to_owned()))?;
        let mut rows = Vec::new();
        for &shape in &arguments.shape {
            for format in &formats {
                spinner.set_message(format!("{} {} x {} x {}", format.name, shape.m, shape.k, shape.n));
                let fits = shape.k.is_multiple_of(format.elements as u64);
                if !fits || (path == Path::Integer && !format.integer) {
                    let why = if fits {
                        "it has no integer path"
                    } else {
                        "a row is no whole number of its blocks"
                    };
                    terminal.notice(&format!("{} is left out for k={}: {why}", format.name, shape.k));
                    continue;
                }
                rows.push(timed::measure(gpu, &roofs, format, shape, path)?);
            }
        }
        spinner.finish_and_clear();
        let document = json!({ "adapter": roofs.adapter, "version": roofs.version, "commit": roofs.commit,
            "roofs": roofs, "kernels": rows });
        terminal.result(&document, || products::text(&rows))?;
        Ok(Some(roofs))
    })
}
