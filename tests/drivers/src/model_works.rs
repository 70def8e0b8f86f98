//! The pieces of work that machines are predicted for.

use lowbit::internals::format;
use lowbit::internals::gpu::Spec;
use lowbit::internals::gpu::dispatch::Class;
use lowbit::internals::kmeans::assign;
use lowbit::internals::matmul::{matmul, matmul_integer, matvec, matvec_integer};

/// A piece of work, as the variants of one kernel do it.
pub struct Work {
    pub what: String,
    /// What the table of variants is asked for.
    pub class: Class,
    pub list: Vec<Spec>,
    pub rows: u64,
    pub columns: u64,
    pub bytes: f64,
    /// Multiply-adds.
    pub products: f64,
}

const FORMATS: [&str; 5] = ["f16", "q8_0", "q4_0", "q4_k", "tq2_0"];

/// The bench shapes that matter most.
pub fn works() -> Vec<Work> {
    const ROWS: u64 = 4096;
    const COLS: u64 = 14_336;
    let mut works = Vec::new();
    for name in FORMATS {
        let Some(format) = format::ALL.iter().find(|format| format.name.eq_ignore_ascii_case(name)) else {
            continue;
        };
        let weights = (ROWS * COLS) as f64 * format.bytes as f64 / format.elements as f64;
        let fill =
            |list: &[Spec]| list.iter().map(|spec| spec.slot("format", format.decoder)).collect::<Vec<_>>();
        for n in [1, 512] {
            let (float, integer) = match n {
                1 => (matvec::VARIANTS, matvec_integer::VARIANTS),
                _ => (matmul::VARIANTS, matmul_integer::VARIANTS),
            };
            let paths = [("Float", float), ("Integer", integer)];
            for (path, list) in paths.iter().filter(|(path, _)| *path == "Float" || format.integer) {
                let x_bytes = if *path == "Float" { 4.0 } else { 1.25 };
                let class = Class::new(&[("m", ROWS), ("k", COLS.next_power_of_two()), ("n", n)]);
                works.push(Work {
                    what: format!("[{ROWS}, {COLS}] x {n} {name} {}", path.to_lowercase()),
                    class: class.of(path).of(format.name),
                    list: fill(list),
                    rows: ROWS,
                    columns: n,
                    bytes: weights + n as f64 * (COLS as f64 * x_bytes + 4.0 * ROWS as f64),
                    products: (ROWS * COLS * n) as f64,
                });
            }
        }
    }
    for (n, k, d) in [(1 << 20, 256, 64), (1 << 20, 1024, 128)] {
        works.push(Work {
            what: format!("assign n={n} k={k} d={d}"),
            class: Class::new(&[("k", k), ("d", d)]),
            list: assign::VARIANTS.iter().map(|spec| spec.slot("points", "lib/points_f32")).collect(),
            rows: n,
            columns: 1,
            bytes: (4 * n * d + 8 * n) as f64,
            products: (n * k * d) as f64,
        });
    }
    works
}
