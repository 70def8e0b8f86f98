//! `lowbit kv eval`

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Session, Traced, about, tokens};
use lowbit::internals::codec::Pair;
use lowbit::internals::gpu::{Context, adapters};
use lowbit::internals::quality::Inputs;
use lowbit::internals::report::attention::{EvaluationOptions, Form, MAX_KL, MAX_L2, evaluate};
use lowbit::internals::report::decode;
use lowbit::internals::roofline::{self, Effort, MeasureOptions};
use lowbit::internals::{Error, Result};

/// Time to measure a decode step in.
const BUDGET: Duration = Duration::from_millis(300);

/// Errors are measured in f64, against the attention of the inputs as they are, which takes no device. Decode steps are timed
/// where there is a GPU; a software device, which compiles each type for seconds, times them only with --time.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The queries, [heads, tokens, head_dim] or [layers, heads, tokens, head_dim], of any head_dim: .npy or .npz, of any
    /// numbers. Fewer tokens than keys have (a decode step, a prompt's chunk) are the newest ones
    #[arg(long, value_name = "Q.npy")]
    q: PathBuf,
    /// The keys, as they are cached (after RoPE); fewer heads than queries have is grouped-query attention
    #[arg(long, value_name = "K.npy")]
    k: PathBuf,
    /// The values, of the keys' shape, but for the head_dim, which may be another
    #[arg(long, value_name = "V.npy")]
    v: PathBuf,
    /// Types, such as q8_0,q8_0:turbo3 (keys:values); all nine and a few pairs if none is given
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    types: Vec<Pair>,
    /// A token sees itself and those before it, and queries are the newest tokens; without this, each query sees all
    #[arg(long)]
    causal: bool,
    /// Keep the W newest tokens in f16; queries still see the others
    #[arg(long, value_name = "W", default_value_t = 0)]
    window: usize,
    /// Keep the S first tokens, the attention sinks, in f16
    #[arg(long, value_name = "S", default_value_t = 0)]
    sinks: usize,
    /// Centre the keys of every type; without this, --rotate and --plain each type is shown in its best form
    #[arg(long)]
    center: bool,
    /// Rotate whatever is q8_0 or q4_0; alone it means without centring
    #[arg(long)]
    rotate: bool,
    /// Neither centre nor rotate
    #[arg(long, conflicts_with_all = ["center", "rotate"])]
    plain: bool,
    /// Recommend the smallest type whose attention diverges by no more than this, in nats, in the mean. Without this and
    /// --max-l2 both have a limit: 0.01 here, which leaves at least 93 % of the attention where it was
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = limit)]
    max_kl: Option<f64>,
    /// Recommend the smallest type whose outputs have no more than this relative L2: 0.1 without this and --max-kl
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = limit)]
    max_l2: Option<f64>,
    /// Count the cache of so many tokens, such as 8192 or 8k, in as many layers and heads; those of the files if not given
    #[arg(long, value_name = "N", value_parser = tokens)]
    context: Option<u64>,
    /// Time decode steps of this context in software too; without any device this is an error
    #[arg(long)]
    time: bool,
    /// Time no decode steps, and look for no device
    #[arg(long, conflicts_with = "time")]
    no_time: bool,
}

/// What can be allowed.
fn limit(text: &str) -> std::result::Result<f64, &'static str> {
    match text.parse() {
        Ok(value) if value >= 0.0 && f64::is_finite(value) => Ok(value),
        _ => Err("give a number of 0 or more, such as 0.01"),
    }
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { q, k, v, center, rotate, .. } = arguments;
    session.say_conversions([q.as_path(), k, v]);
    let inputs = Inputs::read(q, k, v)?;
    let fixed = arguments.plain || *center || *rotate;
    // Whoever gives a limit gets that one alone.
    let (max_kl, max_l2) = match (arguments.max_kl, arguments.max_l2) {
        (None, None) => (Some(MAX_KL), Some(MAX_L2)),
        given => given,
    };
    let gpu = match decode::check_timed(&inputs) {
        Ok(()) => device(arguments, session)?,
        Err(_) if arguments.no_time => Timing::Off(None),
        Err(why) => Timing::Off(Some(why.to_string())),
    };
    let options = EvaluationOptions {
        types: arguments.types.clone(),
        causal: arguments.causal,
        sinks: arguments.sinks,
        window: arguments.window,
        form: fixed.then_some(Form { center: *center, rotate: *rotate }),
        max_kl,
        max_l2,
        context: arguments.context,
    };
    let spinner = session.terminal.spinner();
    spinner.set_message("attention");
    let progress = |done, of| spinner.set_message(format!("attention: {done} of {of} heads"));
    let evaluation = evaluate(&inputs, &options, &progress, &|| Ok(()));
    let mut evaluation = evaluation.map_err(about(k))?;
    match gpu {
        Timing::On(gpu) => {
            let progress = &mut |step: &str| spinner.set_message(step.to_owned());
            let options = MeasureOptions { effort: Effort::Quick, peak_gbs: None, sweep: false };
            let roofs = roofline::measure(&gpu, &options, progress)?;
            decode::add_times(&gpu, &roofs, &inputs, &mut evaluation, &|_| true, BUDGET, progress)?;
        }
        Timing::Off(why) => evaluation.untimed = why,
    }
    spinner.finish_and_clear();
    session.terminal.result(&evaluation, || evaluation.text())
}

/// The device that times, or why there is none, if there should be one.
enum Timing {
    On(Box<Context>),
    Off(Option<String>),
}

fn device(arguments: &Arguments, session: &Session) -> Result<Timing> {
    let off = |why: &str| Ok(Timing::Off(Some(why.into())));
    const SOFTWARE: &str = "this is a software device: --time times it all the same";
    if arguments.no_time {
        return Ok(Timing::Off(None));
    }
    // A software device takes long to open as well.
    if !arguments.time && session.adapter.is_none() {
        let found = adapters();
        if found.is_empty() {
            return off("there is no GPU");
        }
        if found.iter().all(|adapter| adapter.is_software()) {
            return off(SOFTWARE);
        }
    }
    let options = session.options(session.adapter.as_deref(), &Traced::default());
    match Context::open(&options) {
        Ok(gpu) if gpu.adapter.is_software() && !arguments.time => off(SOFTWARE),
        Ok(gpu) => Ok(Timing::On(Box::new(gpu))),
        // A wrong name is the caller's fault, no device is not.
        Err(Error::NoAdapter { found, .. }) if found.is_empty() && !arguments.time => off("there is no GPU"),
        Err(error @ Error::NoDevice { .. }) if !arguments.time => Ok(Timing::Off(Some(error.to_string()))),
        Err(error) => Err(error),
    }
}
