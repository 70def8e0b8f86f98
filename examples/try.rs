use lowbit::classify::engine::{Engine, Keep};
use lowbit::gpu::{Context, Options};
use lowbit::io::{npy, onnx};
use lowbit::network::lower::{Names, lower};
use lowbit::{
    audit,
    calibration::Method,
    classify::{calibrate, judge},
};
use std::path::PathBuf;
fn main() {
    let gpu = Context::open(&Options::default()).unwrap();
    for name in ["breast_cancer", "digits_8", "paragraphs", "delamination"] {
        let d = PathBuf::from("/work/shared/data/classifier").join(name);
        let net = lower(&onnx::read(&d.join("model.onnx")).unwrap(), &Names::default()).unwrap();
        let (cal, x, labels, groups) = if name == "delamination" {
            let (c, t) = (audit::telemetry::calibration(), audit::telemetry::test());
            (c.features, t.features, t.labels, Some(t.groups))
        } else {
            let x = npy::read_matrix(&d.join("test.npy")).unwrap();
            let p = npy::read_columns(&d.join("probability_fp32.npy")).unwrap().0;
            for (b, keep) in [(1u64, Keep::Output), (64, Keep::Output), (64, Keep::All), (4096, Keep::Output)]
            {
                let e = Engine::new(&gpu, &net, b, keep).unwrap();
                let rows = if b == 1 { 100 } else { x.rows };
                let y = e.run(&gpu, &x.values[..rows * x.cols]).unwrap();
                let worst = y.iter().zip(&p.values).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
                println!("{name} batch {b} {keep:?}: {} passes, max diff {worst:e}", e.passes().len());
            }
            (
                npy::read_matrix(&d.join("calibration.npy")).unwrap(),
                x,
                npy::read_binary_labels(&d.join("labels.npy")).unwrap(),
                None,
            )
        };
        for method in [Method::Entropy, Method::MinMax, Method::Percentile(99.99), Method::Mse] {
            let ranges = calibrate::ranges(&gpu, &net, &cal.values, method).unwrap();
            let scale = |n: &str| ranges.iter().find(|r| r.name == n).map(|r| r.scale);
            let b = std::time::Instant::now();
            let j = judge::judge(
                &gpu,
                &net,
                &ranges,
                &scale,
                &judge::Test { rows: &x.values, labels: &labels, groups: groups.as_deref(), class: 0 },
                &audit::Options::default(),
                &mut |_| (),
            )
            .unwrap();
            println!(
                "{name} {method}: {} -> {} drop {:.5} SE {:.5} UB {:.5} {:?} layers {:?} sat {:?} {:.1} s",
                j.audit.auc_fp32_baseline,
                j.audit.auc_int8_quantized,
                j.audit.auc_degradation_gap,
                j.audit.standard_error,
                j.audit.upper_bound,
                j.audit.status,
                j.layers
                    .iter()
                    .map(|l| (l.plan.layer.clone(), l.plan.int8, l.drop_alone))
                    .collect::<Vec<_>>(),
                j.tensors
                    .iter()
                    .map(|t| (t.name.clone(), t.threshold, t.saturated, t.codes))
                    .collect::<Vec<_>>(),
                b.elapsed().as_secs_f64()
            );
        }
    }
}
