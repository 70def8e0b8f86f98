//! `lowbit plan`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::bench_matmul::format;
use super::{Session, Traced, about, bandwidth, check_outputs};
use lowbit::Error;
use lowbit::codec::Pair;
use lowbit::format::Format;
use lowbit::gpu::Context;
use lowbit::io::gguf::{Gguf, is_gguf};
use lowbit::report::cache::{self, CacheOptions};
use lowbit::report::geometry::Geometry;
use lowbit::report::model::Model;
use lowbit::report::plan::{PlanOptions, make};
use lowbit::roofline::{Effort, MeasureOptions, Roofs, measure};

#[derive(Args, Debug)]
pub struct Arguments {
    /// The model, or the config.json of one, whose KV cache alone is planned, without a device
    #[arg(value_name = "MODEL.gguf|config.json")]
    file: PathBuf,
    /// Count the KV cache of so many tokens
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    context: Option<u64>,
    /// Types of the cache, such as f16,q8_0,q8_0:turbo3 (keys:values); the usual ones if none is given
    #[arg(long, value_name = "LIST", value_delimiter = ',', requires = "context")]
    kv: Vec<Pair>,
    /// Tokens that stay f16 in each layer of the cache: attention sinks and the newest ones
    #[arg(long, value_name = "N", default_value_t = 0, requires = "context")]
    residual: u64,
    /// Read the cache at so many GB/s, or at the read roof that is measured now; it is for a .gguf file if not given
    #[arg(long, value_name = "GB/s|measure", allow_negative_numbers = true, value_parser = speed, requires = "context")]
    bandwidth: Option<Bandwidth>,
    /// Compare the cache with another model's
    #[arg(long, value_name = "MODEL.gguf|config.json", requires = "context")]
    against: Option<PathBuf>,
    /// Formats to compare, such as Q8_0,Q4_K; the file as it is and the usual ones if none is given
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = format)]
    weights: Vec<&'static Format>,
    /// The memory in GB (of 10^9 bytes): what fits in it with 5 % head room, and the best of that
    #[arg(long, value_name = "GB", allow_negative_numbers = true, value_parser = gigabytes)]
    vram: Option<f64>,
    /// Measure one shape in each format, and take the others to be as fast
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    traced: Traced,
}

/// Where a bandwidth comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bandwidth {
    Measured,
    Given(f64),
}

fn speed(text: &str) -> Result<Bandwidth, &'static str> {
    match text {
        "measure" => Ok(Bandwidth::Measured),
        number => bandwidth(number)
            .map(Bandwidth::Given)
            .map_err(|_| "give `measure`, or a number above 0, such as 936 for 936 GB/s"),
    }
}

/// A memory that there can be.
fn gigabytes(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(value) if value > 0.0 && f64::is_finite(value) => Ok(value),
        _ => Err("give a number above 0, such as 24 for 24 GB"),
    }
}

/// Whether a file is a config.json. What is neither that nor a GGUF file is left to the reader of those to refuse.
fn is_config(path: &Path) -> lowbit::Result<bool> {
    let json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    Ok(json && !is_gguf(path)?)
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let inputs: Vec<&Path> =
        [&arguments.file].into_iter().chain(&arguments.against).map(PathBuf::as_path).collect();
    check_outputs(Vec::new(), &inputs, &arguments.traced)?;
    let against = arguments.against.as_deref().map(|path| {
        let other = if is_config(path)? {
            Geometry::read_config(path)
        } else {
            Geometry::of_gguf(&Gguf::open(path)?).map_err(|problem| Error::file(path, problem))
        };
        Ok::<_, Error>((path.display().to_string(), other?))
    });
    let against = against.transpose()?;
    for notice in against.iter().flat_map(|(_, other)| &other.notices) {
        session.terminal.notice(&format!("the other model: {notice}"));
    }
    let cache = arguments.context.map(|context| CacheOptions {
        types: arguments.kv.clone(),
        context,
        residual: arguments.residual,
        vram_gb: arguments.vram,
        bandwidth_gb_s: match arguments.bandwidth {
            Some(Bandwidth::Given(gb_s)) => Some(gb_s),
            _ => None,
        },
        against,
    });
    if is_config(&arguments.file)? {
        config(arguments, session, cache)
    } else {
        model(arguments, session, cache)
    }
}

/// The cache that a config.json describes.
fn config(arguments: &Arguments, session: &Session, options: Option<CacheOptions>) -> anyhow::Result<()> {
    let (path, terminal) = (&arguments.file, &session.terminal);
    let Some(mut options) = options else {
        anyhow::bail!("{}: give --context N, the tokens whose KV cache is to be planned", path.display());
    };
    if !arguments.weights.is_empty() {
        anyhow::bail!("{}: this has no weights to compare formats of; give a .gguf file", path.display());
    }
    let measures = arguments.bandwidth == Some(Bandwidth::Measured);
    if arguments.traced.trace.is_some() && !measures {
        anyhow::bail!("--trace: nothing runs on a device here, unless --bandwidth measure is given");
    }
    let geometry = Geometry::read_config(path)?;
    geometry.notices.iter().for_each(|notice| terminal.notice(notice));
    // What is wrong with the sizes is said before anything is measured.
    let plan = cache::make(geometry.clone(), None, &options).map_err(about(path))?;
    let print = |plan: &cache::CachePlan, adapter| {
        let document = json!({
            "adapter": adapter,
            "version": env!("CARGO_PKG_VERSION"),
            "commit": option_env!("LOWBIT_COMMIT").filter(|commit| !commit.is_empty()),
            "context": plan.context,
            "vram_gb": plan.vram_gb,
            "cache": plan,
            "notices": geometry.notices,
        });
        terminal.result(&document, || plan.text())
    };
    if !measures {
        return print(&plan, None);
    }
    session.with_device(&arguments.traced, |gpu| {
        let roofs = roofs(gpu, session)?;
        options.bandwidth_gb_s = Some(roofs.read.value);
        let plan = cache::make(geometry.clone(), None, &options)?;
        print(&plan, Some(gpu.adapter.clone()))?;
        Ok(Some(roofs))
    })
}

/// The roofs, with a spinner.
fn roofs(gpu: &Context, session: &Session) -> lowbit::Result<Roofs> {
    let spinner = session.terminal.spinner();
    let options = MeasureOptions { effort: Effort::Quick, peak_gbs: None, sweep: false };
    let roofs = measure(gpu, &options, &mut |step| spinner.set_message(step.to_owned()));
    spinner.finish_and_clear();
    roofs
}

/// The weights of a .gguf file, and its cache.
fn model(arguments: &Arguments, session: &Session, cache: Option<CacheOptions>) -> anyhow::Result<()> {
    let terminal = &session.terminal;
    let model = Model::of(&Gguf::open(&arguments.file)?)?;
    let mut options = PlanOptions {
        formats: arguments.weights.clone(),
        cache,
        vram_gb: arguments.vram,
        effort: if arguments.quick { Effort::Quick } else { Effort::Full },
    };
    session.with_device(&arguments.traced, |gpu| {
        let mut measured = None;
        if let (Some(cache), true) = (&mut options.cache, model.kv.is_ok())
            && cache.bandwidth_gb_s.is_none()
        {
            let roofs = measured.insert(roofs(gpu, session)?);
            cache.bandwidth_gb_s = Some(roofs.read.value);
        }
        let spinner = terminal.spinner();
        let plan = make(gpu, model, &options, &mut |step| spinner.set_message(step.to_owned()));
        spinner.finish_and_clear();
        let plan = plan?;
        // Those of the device have been said as they came.
        let heard = gpu.notices().len();
        plan.notices.iter().skip(heard).for_each(|notice| terminal.notice(notice));
        terminal.result(&plan, || plan.text())?;
        Ok(measured)
    })
}
