//! The pieces of work that machines are predicted for, and the dispatches that they become.

use anyhow::Result;
use lowbit::internals::format;
use lowbit::internals::gpu::dispatch::Class;
use lowbit::internals::gpu::{Reflection, Spec};
use lowbit::internals::kmeans::assign;
use lowbit::internals::matmul::split_sum::paying;
use lowbit::internals::matmul::{Path, choice, matmul, matmul_integer, matvec, matvec_fixed, matvec_integer};

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

/// Rows and columns of weights and columns of x: those of a decoder's layers for one sequence, for a prompt, and for as many as few
/// tiles cover.
const SHAPES: [[u64; 3]; 5] =
    [[4096, 14_336, 1], [4096, 14_336, 512], [1024, 4096, 64], [4096, 4096, 32], [4096, 14_336, 64]];

/// The bench shapes that matter most.
pub fn works() -> Result<Vec<Work>> {
    let mut works = Vec::new();
    for name in FORMATS {
        let Some(format) = format::ALL.iter().find(|format| format.name.eq_ignore_ascii_case(name)) else {
            continue;
        };
        let fill =
            |list: &[Spec]| list.iter().map(|spec| spec.slot("format", format.decoder)).collect::<Vec<_>>();
        for [rows, cols, n] in SHAPES {
            let weights = (rows * cols) as f64 * format.bytes as f64 / format.elements as f64;
            let (mut float, integer) = match n {
                1 => (matvec::VARIANTS.to_vec(), matvec_integer::VARIANTS),
                _ => (matmul::VARIANTS.to_vec(), matmul_integer::VARIANTS),
            };
            if n == 1 && format.integer {
                float.extend(matvec_fixed::VARIANTS);
            }
            let paths = [(Path::Float, &float[..]), (Path::Integer, integer)];
            for (path, list) in paths.iter().filter(|(path, _)| *path == Path::Float || format.integer) {
                let x_bytes = if *path == Path::Float { 4.0 } else { 1.25 };
                let shape = [rows, cols, n];
                works.push(Work {
                    what: format!("[{rows}, {cols}] x {n} {name} {}", format!("{path:?}").to_lowercase()),
                    class: choice::class(*path, format, shape),
                    list: paying(&fill(list), shape)?,
                    rows,
                    columns: n,
                    bytes: weights + n as f64 * (cols as f64 * x_bytes + 4.0 * rows as f64),
                    products: (rows * cols * n) as f64,
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
    Ok(works)
}

/// A dispatch of a shader.
#[derive(Clone, Copy, Debug)]
pub struct Dispatch {
    pub groups: u64,
    /// Lanes of a workgroup, and its workgroup memory in bytes.
    pub lanes: u64,
    pub shared: u64,
    /// Least bytes.
    pub bytes: f64,
    /// Multiply-adds that are asked for.
    pub products: f64,
    /// Multiply-adds that are done for one that is asked for: tiles and columns are whole, and x may have several digits.
    pub padding: f64,
    /// Bytes of sums that several workgroups of a tile leave, which a pass of its own adds up; 0 for one workgroup.
    pub sums: f64,
}

impl Dispatch {
    pub fn new(shader: &Reflection, [rows, columns]: [u64; 2], bytes: f64, products: f64) -> Option<Self> {
        let rows_each = u64::from(shader.rows_per_group?);
        // Columns of a workgroup, or of a lane in a loop over all of them.
        let across = shader.columns_per_group.map(u64::from);
        let held = shader.constant("COLUMNS").ok().map(u64::from);
        let splits = u64::from(shader.groups_per_tile.unwrap_or(1));
        let digits = shader.constant("DIGITS").map_or(1.0, f64::from);
        let padded = |n: u64, each: u64| n.next_multiple_of(each.max(1)) as f64 / n.max(1) as f64;
        Some(Self {
            groups: rows.div_ceil(rows_each) * across.map_or(1, |across| columns.div_ceil(across)) * splits,
            lanes: u64::from(shader.workgroup.iter().product::<u32>()),
            shared: u64::from(shader.workgroup_bytes),
            bytes,
            products,
            padding: padded(rows, rows_each) * padded(columns, across.or(held).unwrap_or(1)) * digits,
            sums: if splits > 1 { (4 * splits * rows * columns) as f64 } else { 0.0 },
        })
    }
}
