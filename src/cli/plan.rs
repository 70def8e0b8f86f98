//! `lowbit plan`

use std::path::PathBuf;

use clap::Args;

use super::bench_matmul::format;
use super::{Session, Traced, check_outputs};
use lowbit::format::Format;
use lowbit::io::gguf::Gguf;
use lowbit::report::model::Model;
use lowbit::report::plan::{PlanOptions, make};
use lowbit::roofline::Effort;

#[derive(Args, Debug)]
pub struct Arguments {
    /// The model
    #[arg(value_name = "MODEL.gguf")]
    file: PathBuf,
    /// Count the f16 KV cache of so many tokens
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    context: Option<u64>,
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

/// A memory that there can be.
fn gigabytes(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(value) if value > 0.0 && f64::is_finite(value) => Ok(value),
        _ => Err("give a number above 0, such as 24 for 24 GB"),
    }
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    check_outputs(Vec::new(), &[&arguments.file], &arguments.traced)?;
    let terminal = &session.terminal;
    let model = Model::of(&Gguf::open(&arguments.file)?)?;
    let options = PlanOptions {
        formats: arguments.weights.clone(),
        context: arguments.context,
        vram_gb: arguments.vram,
        effort: if arguments.quick { Effort::Quick } else { Effort::Full },
    };
    session.with_device(&arguments.traced, |gpu| {
        let spinner = terminal.spinner();
        let plan = make(gpu, model, &options, &mut |step| spinner.set_message(step.to_owned()));
        spinner.finish_and_clear();
        let plan = plan?;
        // Those of the device have been said as they came.
        let heard = gpu.notices().len();
        plan.notices.iter().skip(heard).for_each(|notice| terminal.notice(notice));
        terminal.result(&plan, || plan.text())?;
        Ok(None)
    })
}
