//! `lowbit matmul`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::bench_matmul::PathName;
use super::{Session, Traced, check_outputs};
use lowbit::internals::Error;
use lowbit::internals::io::gguf::Gguf;
use lowbit::internals::io::{arrays, npy};
use lowbit::internals::matmul::{Activations, Weights};
use lowbit::internals::table;

#[derive(Args, Debug)]
pub struct Arguments {
    /// A .gguf file
    file: PathBuf,
    /// The weights W [rows, cols]: a tensor of the file; see `lowbit inspect`
    tensor: String,
    /// X, [cols, n] or [cols]: .npy, .npz or .csv
    x: PathBuf,
    /// Write Y = W X here: .npy or .csv, float32, [rows, n] or [rows]
    #[arg(short, long, value_name = "Y.npy")]
    output: PathBuf,
    /// Add this to each column, [rows]: .npy, .npz or .csv
    #[arg(long, value_name = "B.npy")]
    bias: Option<PathBuf>,
    /// What is multiplied
    #[arg(long, value_enum, default_value_t = PathName::Auto)]
    path: PathName,
    /// Take weights that are infinite or no numbers as they are
    #[arg(long)]
    allow_nonfinite: bool,
    #[command(flatten)]
    traced: Traced,
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { file: path, x: x_path, output, .. } = arguments;
    let inputs: Vec<&std::path::Path> =
        [path, x_path].into_iter().chain(&arguments.bias).map(PathBuf::as_path).collect();
    check_outputs(vec![output], &inputs, &arguments.traced)?;
    arrays::check(output, 2)?;
    session.say_conversions([x_path.as_path()].into_iter().chain(arguments.bias.as_deref()));
    let file = Gguf::open(path)?;
    // Once more, with all files of the model.
    check_outputs(vec![output], &file.files().collect::<Vec<_>>(), &arguments.traced)?;
    let tensor = file.tensor(&arguments.tensor)?;
    let (rows, cols) = (tensor.rows(), tensor.cols());
    let (x, one) = npy::read_columns(x_path)?;
    if x.rows as u64 != cols {
        let shape = if one { format!("[{}]", x.rows) } else { format!("[{}, {}]", x.rows, x.cols) };
        let problem = format!("X is {shape}; W is [{rows}, {cols}], so X must be [{cols}] or [{cols}, n]");
        return Err(Error::file(x_path, problem).into());
    }
    let bias = match &arguments.bias {
        Some(path) => {
            let (bias, _) = npy::read_columns(path)?;
            if bias.cols != 1 || bias.rows as u64 != rows {
                return Err(
                    Error::file(path, format!("the bias must be [{rows}], one for each row of W")).into()
                );
            }
            bias.values
        }
        None => Vec::new(),
    };
    let n = x.cols;
    // Column by column, as the device takes them.
    let columns: Vec<f32> =
        (0..n).flat_map(|column| x.values.iter().skip(column).step_by(n).copied()).collect();
    session.with_device(&arguments.traced, |gpu| {
        let weights = Weights::from_gguf(gpu, &file, tensor, arguments.allow_nonfinite)?;
        let x = Activations::upload(gpu, &columns, cols as usize)?;
        let product = weights.times(gpu, &x, &bias, arguments.path.into())?;
        let shape = [rows as usize, n];
        arrays::write(output, if one { &shape[..1] } else { &shape }, &product.values)?;
        let document = json!({
            "tensor": tensor.name, "format": weights.format.name, "rows": rows, "cols": cols, "n": n,
            "device_bytes": weights.bytes(), "variant": product.variant, "output": output,
        });
        session.terminal.result(&document, || {
            let shape = |rows: u64, cols: u64| format!("[{rows}, {cols}]");
            let row = vec![
                weights.format.name.to_owned(),
                shape(rows, cols),
                shape(cols, n as u64),
                product.variant.clone(),
            ];
            table::render(&["format", "W", "X", "variant"], vec![row])
                + &format!("written: {}\n", output.display())
        })?;
        Ok(None)
    })
}
