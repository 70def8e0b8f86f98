//! `lowbit bench kmeans`

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::{Session, Traced, check_outputs};
use lowbit::internals::report::clustering::{self, Shape};

/// Time to measure a stage in.
const BUDGET: Duration = Duration::from_millis(500);

#[derive(Args, Debug)]
pub struct Arguments {
    /// Points, clusters and dimensions; if none are given, shapes that suit the adapter
    #[arg(long, value_name = "N,K,D", value_parser = shape)]
    shape: Vec<Shape>,
    #[command(flatten)]
    traced: Traced,
}

fn shape(text: &str) -> Result<Shape, String> {
    let numbers: Option<Vec<u64>> =
        text.split(',').map(|n| n.trim().parse().ok().filter(|&n| n > 0)).collect();
    match numbers.as_deref() {
        Some(&[n, k, d]) if k <= n && n <= 1 << 28 && d <= 4096 && n * d <= 1 << 32 => Ok(Shape { n, k, d }),
        _ => Err("give points, clusters and dimensions, such as 65536,256,64: clusters at most the points, at most \
                  4096 dimensions, at most 2^32 values"
            .into()),
    }
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    check_outputs(Vec::new(), &[], &arguments.traced)?;
    let terminal = &session.terminal;
    session.with_device(&arguments.traced, |gpu| {
        let roofs = session.roofs(gpu)?;
        let spinner = terminal.spinner();
        let shapes =
            if arguments.shape.is_empty() { clustering::shapes(gpu) } else { arguments.shape.clone() };
        let mut rows = Vec::new();
        for shape in shapes {
            spinner.set_message(shape.to_string());
            rows.push(clustering::measure(gpu, &roofs, shape, BUDGET)?);
        }
        spinner.finish_and_clear();
        let document = json!({ "adapter": roofs.adapter, "version": roofs.version, "commit": roofs.commit,
            "roofs": roofs, "kernels": rows });
        terminal.result(&document, || clustering::text(&rows))?;
        Ok(Some(roofs))
    })
}
