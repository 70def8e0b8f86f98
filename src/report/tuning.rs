//! The variants of every kernel that has several, measured at the shapes that tables answer for: `lowbit tune`.

use serde::Serialize;

use crate::Result;
use crate::classify::engine::{Engine, Keep};
use crate::codec::{CacheType, Codec, Side};
use crate::format::ALL;
use crate::gpu::dispatch::{Row, ranked};
use crate::gpu::tune::Choice;
use crate::gpu::{AdapterReport, Context};
use crate::kmeans::assign;
use crate::kmeans::centroid::{Centroid, Scales};
use crate::kmeans::element::{Element, Layout};
use crate::kmeans::frame::Transform;
use crate::kmeans::seed::Seed;
use crate::kv::attend::{self, Heads};
use crate::matmul::{self, Path};
use crate::network::{self, Affine, Dense, Integer, Layer, Network, Op, Output, Unary, Value, Window};
use crate::percentile::{percentile, sorted};
use crate::random::Random;
use crate::roofline::Effort;
use crate::table;

/// What is measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Domain {
    /// Assignments, sums and seeds of k-means.
    Kmeans,
    /// Products with quantized weights.
    Matmul,
    /// Attention over a KV cache.
    Kv,
    /// Layers of classifiers.
    Classify,
}

impl Domain {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Kmeans, Self::Matmul, Self::Kv, Self::Classify];
}

/// Measures the variants of these domains on a device that was opened to measure. Quickly, fewer formats, types and shapes.
///
/// # Errors
/// The device's; [`crate::Error::Mismatch`] for a kernel of which no variant gives right results.
pub fn measure(gpu: &Context, domains: &[Domain], effort: Effort) -> Result<Vec<Choice>> {
    for domain in domains {
        match domain {
            Domain::Kmeans => kmeans(gpu, effort)?,
            Domain::Matmul => products(gpu, effort)?,
            Domain::Kv => attention(gpu, effort)?,
            Domain::Classify => layers(gpu, effort)?,
        }
    }
    Ok(gpu.take_choices())
}

fn kmeans(gpu: &Context, effort: Effort) -> Result<()> {
    const MANY: u64 = 1 << 20;
    let dims: &[u64] =
        if effort == Effort::Full { &[4, 16, 32, 64, 128, 256, 512] } else { &[4, 16, 64, 256] };
    let clusters: &[u64] = if effort == Effort::Full { &[16, 64, 256, 1024] } else { &[16, 256] };
    for &d in dims {
        for &k in clusters {
            assign::tuned(gpu, Layout::F32, MANY, k, d)?;
        }
        Centroid::tuned(gpu, Layout::F32, d, Scales::new(1.0, None))?;
        for k in [16, 256] {
            Seed::tuned(gpu, Layout::F32, MANY, d, k)?;
        }
    }
    // Small problems, and points as files have them.
    for d in [4, 64] {
        assign::tuned(gpu, Layout::F32, 64, 16, d)?;
    }
    for (element, transform) in [
        (Element::U8, Transform::Centred(vec![0.0; 64])),
        (Element::I8, Transform::Unit),
        (Element::F16, Transform::Plain),
    ] {
        let layout = Layout::new(element, &transform);
        assign::tuned(gpu, layout, MANY, 256, 64)?;
        Centroid::tuned(gpu, layout, 64, Scales::new(1.0, None))?;
        Seed::tuned(gpu, layout, MANY, 64, 256)?;
    }
    Ok(())
}

/// Formats that stand for their kinds where not all are measured.
const FORMATS: [&str; 5] = ["Q8_0", "Q4_0", "Q4_K", "TQ2_0", "F16"];

fn products(gpu: &Context, effort: Effort) -> Result<()> {
    let columns: &[u64] =
        if effort == Effort::Full { &[1, 2, 3, 4, 6, 8, 16, 32, 128, 512] } else { &[1, 4, 8, 64] };
    for format in ALL.iter().filter(|format| effort == Effort::Full || FORMATS.contains(&format.name)) {
        let mut paths = vec![Path::Float];
        if format.integer && gpu.integer_dot {
            paths.extend([Path::Integer, Path::Auto]);
        }
        if gpu.adapter.has_matrices(16) || gpu.adapter.has_matrices(8) {
            paths.push(Path::Half);
        }
        for (path, &n) in paths.iter().flat_map(|&path| columns.iter().map(move |n| (path, n))) {
            matmul::tuned(gpu, format, [4096, 4096, n], path)?;
        }
        matmul::tuned(gpu, format, [512, 1024, 1], Path::Auto)?;
        // So few tiles that workgroups may share them.
        matmul::tuned(gpu, format, [1024, 4096, 64], Path::Auto)?;
    }
    Ok(())
}

fn attention(gpu: &Context, effort: Effort) -> Result<()> {
    use CacheType::{F16, Kivi4, Q4_0, Q8_0, Turbo4};
    let types: &[CacheType] =
        if effort == Effort::Full { &[F16, Q8_0, Q4_0, Kivi4, Turbo4] } else { &[Q8_0, Turbo4] };
    for &ty in types {
        let [keys, values] = [Side::Keys, Side::Values].map(|side| Codec::new(ty, side, 128));
        let (keys, values) = (keys?, values?);
        for (each, queries) in [(1, 1), (4, 1), (8, 1), (4, 64)] {
            attend::fastest(gpu, &keys, &values, Heads { kv: 2, each, dim: 128 }, queries)?;
        }
    }
    Ok(())
}

fn layers(gpu: &Context, effort: Effort) -> Result<()> {
    let batches: &[u64] = if effort == Effort::Full { &[1, 64, 1024, 16_384] } else { &[1, 1024] };
    let widths: &[usize] = if effort == Effort::Full { &[16, 64, 256] } else { &[64] };
    for &width in widths {
        for &batch in batches {
            Engine::new(gpu, &network(width), batch, Keep::Output)?;
        }
    }
    Ok(())
}

/// Two layers of `width` times `width` weights, of floats and of integers.
pub fn network(width: usize) -> Network {
    let mut random = Random::new(4);
    let value = |name: &str, element| Value { name: name.into(), shape: vec![width, 1, 1], element };
    let layer = |name: &str, operator, input, op| Layer {
        name: name.into(),
        operator,
        inputs: vec![input],
        output: input + 1,
        op,
    };
    let dense = Dense {
        weights: random.floats(width * width),
        bias: random.floats(width),
        window: Window::POINT,
        groups: 1,
        quantized: None,
    };
    let integer = Integer {
        weights: random.words(width * width).iter().map(|&word| word as i8).collect(),
        weight_zero: vec![0; width],
        input_zero: 3,
        bias: vec![100; width],
        window: Window::POINT,
        groups: 1,
        register: 32,
        output: Output::Scaled { scale: vec![0.001; width] },
    };
    let quantize = Op::Quantize(Affine { scale: vec![0.01], zero: vec![3] });
    Network {
        values: vec![
            value("x", network::Element::F32),
            value("a", network::Element::F32),
            value("b", network::Element::F32),
            value("q", network::Element::I8),
            value("y", network::Element::F32),
        ],
        layers: vec![
            layer("dense", "Gemm", 0, Op::Dense(dense)),
            layer("tanh", "Tanh", 1, Op::Unary(Unary::Tanh)),
            layer("quantize", "QuantizeLinear", 2, quantize),
            layer("integer", "QLinearMatMul", 3, Op::Integer(integer)),
        ],
        input: 0,
        output: 4,
    }
}

/// A row is left out of a table whose other rows cost no more than this share of time.
const ALIKE: f64 = 1.05;

/// A small table with what was measured, for adapters called `on`: a choice has a row only where the rows before it would name a
/// variant that is slower.
pub fn table_of(choices: &[Choice], adapter: &AdapterReport, on: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for choice in choices {
        let first = ranked(&[&rows], adapter, &choice.list, &choice.class).first().map(|spec| spec.label());
        let known = rows.iter().any(|row| row.kernel == choice.kernel);
        if known && first.and_then(|label| choice.cost_of(&label)).is_some_and(|cost| cost <= ALIKE) {
            continue;
        }
        let mut row = choice.row(on);
        // The first of its sizes speaks for all formats.
        if !rows.iter().any(|other| other.kernel == row.kernel && other.sizes == row.sizes) {
            row.of.clear();
        }
        rows.push(row);
    }
    rows
}

/// Rows of `table` with what is to change; what was said of the same work before is replaced.
pub fn changed(table: &[Row], choices: &[Choice], place: &str) -> Vec<Row> {
    let mut rows = table.to_vec();
    for new in choices.iter().filter(|choice| choice.best != choice.taken).map(|choice| choice.row(place)) {
        let same = |row: &Row| {
            (&row.on, &row.kernel, &row.of, &row.sizes) == (&new.on, &new.kernel, &new.of, &new.sizes)
        };
        rows.retain(|row| !same(row));
        rows.push(new);
    }
    rows
}

/// What the variants that are taken cost against the fastest, over all that was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Summary {
    /// Pieces of work.
    pub measured: usize,
    /// Those in which another variant was faster in every round.
    pub changes: usize,
    /// Time over the fastest's, at the median.
    pub median: f64,
    /// At the worst.
    pub worst: f64,
}

impl Summary {
    /// Of these; none if nothing was measured.
    pub fn of(choices: &[Choice]) -> Option<Self> {
        let costs = choices.iter().map(|choice| choice.cost.map_or(f64::INFINITY, |[median, ..]| median));
        let costs = sorted(costs.collect());
        Some(Self {
            measured: costs.len(),
            changes: choices.iter().filter(|choice| choice.best != choice.taken).count(),
            median: percentile(&costs, 0.5)?,
            worst: *costs.last()?,
        })
    }
}

/// The choices for people.
pub fn text(choices: &[Choice]) -> String {
    let row = |choice: &Choice| {
        let fastest = &choice.tried[0].variant;
        let cost = match choice.cost {
            None => "wrong".into(),
            Some([median, ..]) if *fastest == choice.taken => format!("{median:.2}"),
            Some([median, least, most]) => format!("{median:.2} ({least:.2} to {most:.2})"),
        };
        let verdict = if choice.best == choice.taken { "stays" } else { "changes" };
        let fastest = if *fastest == choice.taken { "the same".to_owned() } else { fastest.clone() };
        vec![choice.class.to_string(), choice.taken.clone(), fastest, cost, verdict.to_owned()]
    };
    let mut text = table::render(
        &["work", "taken", "fastest", "time over the fastest's", ""],
        choices.iter().map(row).collect(),
    );
    if let Some(Summary { measured, changes, median, worst }) = Summary::of(choices) {
        text += &format!(
            "\n{measured} pieces of work: what is taken needs {median:.2} times the fastest's time at the median, {worst:.2} at worst; {changes} would change\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Spec;
    use crate::gpu::dispatch::Class;
    use crate::gpu::tune::Tried;

    const LIST: [Spec; 2] = [Spec::new("x/a"), Spec::new("x/a").consts(&[("ROWS", 2)])];

    fn choice(n: u64, format: &str, us: [f64; 2]) -> Choice {
        let tried = |at: usize| Tried { variant: LIST[at].label(), us: vec![us[at]; 5] };
        let class = Class::new(&[("n", n)]).of(format);
        Choice::of("x/a", class, "a", &LIST, vec![tried(0), tried(1)])
    }

    #[test]
    fn a_table_says_nothing_twice() {
        let adapter = AdapterReport::sample("discrete");
        let choices = [
            choice(1, "Q4_0", [1.0, 2.0]),
            // As the first has it.
            choice(1, "Q8_0", [1.0, 2.0]),
            choice(1, "F16", [2.0, 1.0]),
            // Nearly as fast.
            choice(2, "Q4_0", [1.04, 1.0]),
            choice(64, "Q4_0", [3.0, 1.0]),
        ];
        let rows = table_of(&choices, &adapter, "gpu");
        let told: Vec<String> =
            rows.iter().map(|row| format!("{:?} {:?} {}", row.of, row.sizes.get("n"), row.variant)).collect();
        assert_eq!(told, ["[] Some(1) a", "[\"F16\"] Some(1) a ROWS=2", "[] Some(64) a ROWS=2"]);
    }

    #[test]
    fn only_what_changes_is_written_and_replaces_what_was_said() {
        let choices = [choice(1, "Q4_0", [1.0, 2.0]), choice(2, "Q4_0", [2.0, 1.0])];
        let before = [Row { variant: "a".into(), ..choices[1].row("Card") }, choices[0].row("Other")];
        let rows = changed(&before, &choices, "Card");
        assert_eq!(rows, [choices[0].row("Other"), choices[1].row("Card")]);
        let summary = Summary::of(&choices).unwrap();
        assert_eq!((summary.measured, summary.changes, summary.worst), (2, 1, 2.0));
        assert!(Summary::of(&[]).is_none());
    }
}
