use lowbit::classify::engine::{Engine, Keep};
use lowbit::gpu::{Context, Options};
use lowbit::network::{quantize::quantize, *};
use std::time::Instant;
fn main() {
    let gpu = Context::open(&Options::default()).unwrap();
    for (k, h) in [(4usize, 0usize), (64, 32), (384, 32)] {
        let mut values = vec![Value { name: "x".into(), shape: vec![k], element: Element::F32 }];
        let mut layers = vec![];
        let mut random = lowbit::random::Random::new(1);
        let mut last = k;
        for (i, out) in [h, 1].into_iter().filter(|&o| o > 0).enumerate() {
            values.push(Value { name: format!("d{i}"), shape: vec![out], element: Element::F32 });
            layers.push(Layer {
                name: format!("dense{i}"),
                operator: "Gemm",
                inputs: vec![values.len() - 2],
                output: values.len() - 1,
                op: Op::Dense(Dense {
                    weights: random.floats(out * last),
                    bias: random.floats(out),
                    window: Window::POINT,
                    groups: 1,
                    quantized: None,
                }),
            });
            values.push(Value { name: format!("a{i}"), shape: vec![out], element: Element::F32 });
            layers.push(Layer {
                name: format!("act{i}"),
                operator: "Sigmoid",
                inputs: vec![values.len() - 2],
                output: values.len() - 1,
                op: Op::Unary(if out == 1 { Unary::Sigmoid } else { Unary::Relu }),
            });
            last = out;
        }
        let output = values.len() - 1;
        let net = Network { values, layers, input: 0, output };
        let q = quantize(&net, |_| Some(0.01), |_| true);
        for (name, net) in [("f32", &net), ("int8", &q.network)] {
            let e = Engine::new(&gpu, net, 1, Keep::Output).unwrap();
            let x = random.floats(k);
            let mut t: Vec<f64> = (0..100)
                .map(|_| {
                    let b = Instant::now();
                    let y = e.run(&gpu, &x).unwrap();
                    assert_eq!(y.len(), 1);
                    b.elapsed().as_secs_f64() * 1e6
                })
                .collect();
            t.sort_by(f64::total_cmp);
            println!(
                "{k}-{h} {name}: {} passes p50 {:.0} p99 {:.0} p99.9 {:.0} max {:.0} us",
                e.passes().len(),
                t[50],
                t[98],
                t[99],
                t[99]
            );
            for batch in [65536u64] {
                let e = Engine::new(&gpu, net, batch, Keep::Output).unwrap();
                let steps: Vec<_> = e.passes().iter().collect();
                let t = lowbit::gpu::time(&gpu, &[steps], std::time::Duration::from_millis(500)).unwrap();
                let w = e.work();
                println!(
                    "   batch {batch}: {:.0} us (low {:.0}) {:.2} GB/s {:.1} GOP/s; least bytes {} {:?}",
                    t.us,
                    t.low_us,
                    t.gb_s(w),
                    t.gop_s(w),
                    w.bytes,
                    e.passes().iter().map(|p| p.work()).collect::<Vec<_>>()
                );
                let b = Instant::now();
                let x = random.floats(k * 65536);
                let _ = b.elapsed();
                let b = Instant::now();
                e.run(&gpu, &x).unwrap();
                println!("   run {:.2} ms", b.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
}
