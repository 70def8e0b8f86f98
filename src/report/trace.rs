//! Chrome traces: every GPU pass with its bytes, operations and share of the roof.

use std::path::Path;

use serde_json::json;

use crate::Result;
use crate::gpu::record::PassRecord;
use crate::gpu::{Context, Work};
use crate::io::output::write_whole;
use crate::roofline::kernels::op_of;
use crate::roofline::{self, MeasureOptions, Roofs};

/// Writes the passes that `gpu` has recorded to `path`, compared with `roofs`, which are measured if not given.
pub fn write(path: &Path, gpu: &Context, roofs: Option<Roofs>) -> Result<()> {
    let passes = gpu.take_passes();
    let roofs = match roofs {
        Some(roofs) => roofs,
        None => {
            let options = MeasureOptions { effort: roofline::Effort::Quick, ..MeasureOptions::default() };
            let roofs = roofline::measure(gpu, &options, &mut |_| ())?;
            drop(gpu.take_passes());
            roofs
        }
    };
    let document = document(&passes, &roofs);
    write_whole(path, |out| serde_json::to_writer(out, &document).map_err(std::io::Error::from))
}

/// The trace in Chrome's format (the "Trace Event Format", complete events).
pub fn document(passes: &[PassRecord], roofs: &Roofs) -> serde_json::Value {
    let origin = passes.iter().map(|pass| pass.start_us).fold(f64::INFINITY, f64::min);
    let mut events = vec![
        json!({ "ph": "M", "pid": 1, "name": "process_name", "args": { "name": roofs.adapter.name } }),
        json!({ "ph": "M", "pid": 1, "tid": 1, "name": "thread_name", "args": { "name": "GPU passes" } }),
    ];
    for pass in passes {
        let Work { bytes, ops } = pass.work;
        let share = roofs.share(pass.work, op_of(&pass.label), pass.duration_us);
        events.push(json!({
            "ph": "X",
            "pid": 1,
            "tid": 1,
            "name": pass.label,
            "ts": pass.start_us - origin,
            "dur": pass.duration_us,
            "args": {
                "bytes": bytes,
                "operations": ops,
                "GB/s": bytes as f64 / pass.duration_us / 1e3,
                "Gop/s": ops as f64 / pass.duration_us / 1e3,
                "share of roof": share.value,
                "bound by": share.bound,
                "valid": share.valid,
            },
        }));
    }
    json!({
        "displayTimeUnit": "ms",
        "otherData": {
            "adapter": roofs.adapter.name,
            "driver": roofs.adapter.driver,
            "version": roofs.version,
            "commit": roofs.commit,
            "memory roof GB/s": roofs.memory_gb_s(),
        },
        "traceEvents": events,
    })
}
