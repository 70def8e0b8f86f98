//! `lowbit quantize`

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::inspect::{CHARACTERS, printable, shape};
use super::{Session, Traced, check_outputs};
use lowbit::internals::io::output::check_ending;
use lowbit::internals::quantize::{Options, Plan, Quantized, format_by_name, source};
use lowbit::internals::table;

#[derive(Args, Debug)]
pub struct Arguments {
    /// The weights: .gguf, .safetensors (floats, FP8, int8, GPTQ, AWQ), a folder or index of such files, or a .npy matrix
    /// of float32 or float16; of a model in several files, any of them stands for all
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Write the quantized weights here
    #[arg(value_name = "OUT.gguf")]
    output: PathBuf,
    /// The number format that they get, such as Q4_K or Q8_0
    #[arg(long, value_name = "TYPE")]
    to: String,
    /// Leave tensors with such names as they are: * stands for any characters, ? for one; may be given again
    #[arg(long, value_name = "PATTERN")]
    keep: Vec<String>,
    /// Leave tensors with such names out; may be given again
    #[arg(long, value_name = "PATTERN")]
    drop: Vec<String>,
    /// Take 8-bit floats without a scale as values, if they were cast without one
    #[arg(long)]
    unscaled: bool,
    /// The name of the tensor that a .npy matrix becomes [default: the file's name without .npy]
    #[arg(long)]
    name: Option<String>,
    /// Read the written file again and compare its weights with what was meant
    #[arg(long)]
    verify: bool,
    /// Store NaN and infinity, which only F32, F16 and BF16 can hold, instead of refusing them
    #[arg(long)]
    allow_nonfinite: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    input: &'a Path,
    output: &'a Path,
    #[serde(flatten)]
    quantized: &'a Quantized,
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let (input, output, terminal) = (&arguments.input, &arguments.output, &session.terminal);
    let format = format_by_name(&arguments.to)?;
    check_ending(output, "gguf", "a GGUF file is written")?;
    check_outputs(vec![output], &[input], &Traced::default())?;
    let source = source::open(input, arguments.name.as_deref())?;
    // Once more, with all files of the model.
    check_outputs(vec![output], &source.files(), &Traced::default())?;
    let options = Options {
        format,
        keep: arguments.keep.clone(),
        drop: arguments.drop.clone(),
        unscaled: arguments.unscaled,
        allow_nonfinite: arguments.allow_nonfinite,
    };
    let plan = Plan::new(source.as_ref(), &options)?;
    for notice in &plan.notices {
        terminal.notice(notice);
    }
    let follow = |what: &str| {
        let template =
            format!("{what} {{bar:20}} {{bytes}} of {{total_bytes}} {{bytes_per_sec}} ETA {{eta}}");
        terminal.bar(plan.bytes(), &template)
    };
    let bar = follow("quantizing");
    let written = plan.write(output, &mut |bytes| bar.set_position(bytes));
    bar.finish_and_clear();
    let mut written = written?;
    if arguments.verify {
        let bar = follow("verifying");
        bar.set_length(written.quantized.bytes_after);
        let verified = plan.verify(&mut written, output, &mut |bytes| bar.set_position(bytes));
        bar.finish_and_clear();
        verified?;
    }
    let quantized = &written.quantized;
    terminal.result(&Document { input, output, quantized }, || text(quantized, output))
}

fn text(quantized: &Quantized, output: &Path) -> String {
    let error = |error: Option<f64>| error.map_or_else(|| "-".into(), |error| format!("{error:.3e}"));
    let rows = quantized.tensors.iter().map(|row| {
        vec![
            printable(&row.name, CHARACTERS),
            shape(&row.shape),
            if row.from == row.to { row.to.into() } else { format!("{} -> {}", row.from, row.to) },
            row.bytes_before.to_string(),
            row.bytes_after.to_string(),
            error(row.relative_squared_error),
            printable(&row.note, CHARACTERS),
        ]
    });
    let header = ["tensor", "shape [rows, cols]", "type", "bytes before", "after", "rel. squared error", ""];
    let mut text = table::render(&header, rows.collect());
    text += "\nrel. squared error: the sum of (before - after)^2 over the sum of before^2\n";
    let Quantized { weights, bytes_before, bytes_after, .. } = quantized;
    let (bits_before, bits_after) = (quantized.bits_per_weight_before, quantized.bits_per_weight_after);
    text += &format!(
        "{} tensors, {weights} weights: {bytes_before} -> {bytes_after} bytes, {bits_before:.3} -> {bits_after:.3} \
         bits per weight",
        quantized.tensors.len()
    );
    if let Some(all) = quantized.relative_squared_error {
        text += &format!(", rel. squared error {all:.3e}");
    }
    for line in quantized.left_out() {
        text += &format!("\nleft out: {line}");
    }
    let rate = *bytes_before as f64 / quantized.seconds.max(1e-9) / 1e6;
    let verified = if quantized.verified { ", read back and equal" } else { "" };
    text + &format!("\n{}: {:.2} s, {rate:.1} MB/s{verified}\n", output.display(), quantized.seconds)
}
