//! `lowbit plan`

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use serde_json::json;

use super::bench_matmul::format;
use super::{Session, Traced, about, bandwidth, check_outputs, tokens};
use lowbit::internals::Error;
use lowbit::internals::codec::Pair;
use lowbit::internals::format::Format;
use lowbit::internals::io::gguf::Gguf;
use lowbit::internals::plan::cache::{self, CacheOptions};
use lowbit::internals::plan::geometry::{FORM, Geometry, Layers};
use lowbit::internals::plan::input::{Input, weights};
use lowbit::internals::plan::model::Model;
use lowbit::internals::plan::{PlanOptions, make};
use lowbit::internals::roofline::Effort;

#[derive(Args, Debug)]
pub struct Arguments {
    /// A .gguf model; or a config.json, whose KV cache alone is planned, without a device; or a folder with a config.json and
    /// .safetensors files, whose weights count too
    #[arg(value_name = "MODEL.gguf|config.json|FOLDER", required_unless_present = "layers")]
    file: Option<PathBuf>,
    /// Count the KV cache of so many tokens, such as 131072 or 128k
    #[arg(long, value_name = "N", value_parser = tokens)]
    context: Option<u64>,
    #[arg(long, value_name = "LIST", value_delimiter = ',', requires = "context", help = format!("The layers of the cache, in place of what the file says: {FORM}"))]
    layers: Vec<Layers>,
    /// Types of the cache, such as f16,q8_0,q8_0:turbo3 (keys:values); the usual ones if none is given
    #[arg(long, value_name = "LIST", value_delimiter = ',', requires = "context")]
    kv: Vec<Pair>,
    /// Tokens that stay f16 in each layer of the cache: attention sinks and the newest ones. lowbit's own cache keeps 4 and 64
    /// unless told otherwise: --residual 68
    #[arg(long, value_name = "N", default_value_t = 0, requires = "context")]
    residual: u64,
    /// Read the cache at so many GB/s, or at the read roof that is measured now; it is for a .gguf file if not given
    #[arg(long, value_name = "GB/s|measure", allow_negative_numbers = true, value_parser = speed, requires = "context")]
    bandwidth: Option<Bandwidth>,
    /// Compare the cache with another model's
    #[arg(long, value_name = "MODEL.gguf|config.json|FOLDER", requires = "context")]
    against: Option<PathBuf>,
    /// Formats of the weights, such as Q8_0,Q4_K; of a .gguf file the file as it is and the usual ones if none is given; of
    /// a config.json one, with --parameters
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = format)]
    weights: Vec<&'static Format>,
    /// How many weights the model has, such as 8.03B, where the file does not say: for --weights
    #[arg(long, value_name = "N", value_parser = parameters, requires = "weights")]
    parameters: Option<u64>,
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

/// A number of weights, M for millions of them, B for billions.
fn parameters(text: &str) -> Result<u64, &'static str> {
    let (number, unit) = match text.char_indices().last() {
        Some((end, 'M' | 'm')) => (&text[..end], 1e6),
        Some((end, 'B' | 'b')) => (&text[..end], 1e9),
        _ => (text, 1.0),
    };
    match number.parse::<f64>().map(|number| (number * unit).round()) {
        Ok(count) if (1.0..=1e16).contains(&count) => Ok(count as u64),
        _ => Err("give a number of weights, such as 8.03B, 355M or 8030261248"),
    }
}

/// What can be done about a cache that is not known.
fn by_hand(path: &Path, problem: &str) -> Error {
    Error::file(
        path,
        format!(
            "{problem}\ngive its layers by hand: --layers COUNTxKV_HEADSxHEAD_DIM, such as --layers 32x8x128; lowbit plan --help has \
             the other forms"
        ),
    )
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let inputs: Vec<&Path> = arguments.file.iter().chain(&arguments.against).map(PathBuf::as_path).collect();
    check_outputs(Vec::new(), &inputs, &arguments.traced)?;
    let against = arguments
        .against
        .as_deref()
        .map(|path| Ok::<_, Error>((path.display().to_string(), Input::of(path)?.geometry(by_hand)?)));
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
    match arguments.file.as_deref().map(Input::of).transpose()? {
        Some(Input::Gguf(path)) => model(arguments, session, path, cache),
        input => cache_alone(arguments, session, input, cache),
    }
}

/// The cache that a config.json describes, or layers that are given.
fn cache_alone(
    arguments: &Arguments,
    session: &Session,
    input: Option<Input>,
    options: Option<CacheOptions>,
) -> anyhow::Result<()> {
    let terminal = &session.terminal;
    let path = arguments.file.as_deref().unwrap_or(Path::new("--layers"));
    let Some(mut options) = options else {
        bail!("{}: give --context N, the tokens whose KV cache is to be planned", path.display());
    };
    let measures = arguments.bandwidth == Some(Bandwidth::Measured);
    if arguments.traced.trace.is_some() && !measures {
        bail!("--trace: nothing runs on a device here, unless --bandwidth measure is given");
    }
    let geometry = match input {
        Some(input) if arguments.layers.is_empty() => input.geometry(by_hand)?,
        _ => Geometry::by_hand(&arguments.layers),
    };
    let weights = weights(input, &arguments.weights, arguments.parameters)?;
    geometry.notices.iter().for_each(|notice| terminal.notice(notice));
    // What is wrong with the sizes is said before anything is measured.
    let plan = cache::make(geometry.clone(), weights.clone(), &options).map_err(about(path))?;
    let print = |plan: &cache::CachePlan, adapter| {
        let document = json!({
            "adapter": adapter,
            "version": env!("CARGO_PKG_VERSION"),
            "commit": option_env!("LOWBIT_COMMIT").filter(|commit| !commit.is_empty()),
            "not_counted": plan.not_counted,
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
        let roofs = session.roofs(gpu)?;
        options.bandwidth_gb_s = Some(roofs.read.value);
        let plan = cache::make(geometry.clone(), weights.clone(), &options)?;
        print(&plan, Some(gpu.adapter.clone()))?;
        Ok(Some(roofs))
    })
}

/// The weights of a .gguf file, and its cache.
fn model(
    arguments: &Arguments,
    session: &Session,
    path: &Path,
    cache: Option<CacheOptions>,
) -> anyhow::Result<()> {
    let terminal = &session.terminal;
    if arguments.parameters.is_some() {
        bail!("--parameters: {} says how many weights there are; leave it out", path.display());
    }
    let mut model = Model::of(&Gguf::open(path)?)?;
    if !arguments.layers.is_empty() {
        model.kv = Ok(Geometry::by_hand(&arguments.layers));
    }
    if let (Some(_), Err(problem)) = (&cache, &model.kv) {
        return Err(by_hand(path, problem).into());
    }
    let mut options = PlanOptions {
        formats: arguments.weights.clone(),
        cache,
        vram_gb: arguments.vram,
        effort: if arguments.quick { Effort::Quick } else { Effort::Full },
    };
    session.with_device(&arguments.traced, |gpu| {
        let mut measured = None;
        if let Some(cache) = &mut options.cache
            && cache.bandwidth_gb_s.is_none()
        {
            let roofs = measured.insert(session.roofs(gpu)?);
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
