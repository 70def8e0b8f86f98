//! `lowbit kv eval`

use std::path::PathBuf;

use clap::Args;

use super::{Session, about};
use lowbit::codec::Pair;
use lowbit::codec::quality::Inputs;
use lowbit::report::attention::{EvaluationOptions, Form, MAX_KL, MAX_L2, evaluate};

/// All that is measured is measured in f64, against the attention of the inputs as they are; no device is needed.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The queries: .npy, float32 or float16, [heads, tokens, head_dim] or [layers, heads, tokens, head_dim]
    #[arg(long, value_name = "Q.npy")]
    q: PathBuf,
    /// The keys, as they are cached (after RoPE); fewer heads than queries have is grouped-query attention
    #[arg(long, value_name = "K.npy")]
    k: PathBuf,
    /// The values, of the keys' shape
    #[arg(long, value_name = "V.npy")]
    v: PathBuf,
    /// Types, such as q8_0,q8_0:turbo3 (keys:values); all nine and a few pairs if none is given
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    types: Vec<Pair>,
    /// A token sees itself and those before it; without this, each sees all
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
    /// Count the cache of so many tokens, in as many layers and heads; those of the files if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    context: Option<u64>,
}

/// What can be allowed.
fn limit(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(value) if value >= 0.0 && f64::is_finite(value) => Ok(value),
        _ => Err("give a number of 0 or more, such as 0.01"),
    }
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { q, k, v, center, rotate, .. } = arguments;
    let inputs = Inputs::read(q, k, v)?;
    let fixed = arguments.plain || *center || *rotate;
    // Whoever gives a limit gets that one alone.
    let (max_kl, max_l2) = match (arguments.max_kl, arguments.max_l2) {
        (None, None) => (Some(MAX_KL), Some(MAX_L2)),
        given => given,
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
    let evaluation = evaluate(&inputs, &options, &|done, of| {
        spinner.set_message(format!("attention: {done} of {of} heads"))
    });
    spinner.finish_and_clear();
    let evaluation = evaluation.map_err(about(k))?;
    session.terminal.result(&evaluation, || evaluation.text())
}
