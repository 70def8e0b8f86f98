//! Every kernel at its bench size, as one JSON document on standard output. The sizes are the cases' own.

use lowbit::internals::gpu::Context;
use lowbit::internals::roofline::kernels;
use lowbit::internals::roofline::{self, Effort, MeasureOptions};

fn main() -> Result<(), lowbit::internals::Error> {
    let gpu = Context::open(&lowbit::internals::gpu::Options::default())?;
    let mut say = |step: &str| eprintln!("{step}");
    let roofs = roofline::measure(&gpu, &MeasureOptions::default(), &mut say)?;
    let rows = kernels::measure(&gpu, &roofs, Effort::Full, &mut say)?;
    let document = serde_json::json!({ "roofs": roofs, "kernels": rows });
    println!("{document:#}");
    Ok(())
}
