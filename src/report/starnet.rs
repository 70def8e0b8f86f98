//! Networks in few bits: proofs that no sum leaves its register, and what the bits cost in accuracy.

use std::path::Path;

use serde::Serialize;

use crate::Result;
use crate::audit::Paired;
use crate::classify::starnet::{self, Accuracy, Limits, calibrated};
use crate::gpu::Context;
use crate::io::{npy, onnx, quoted};
use crate::network::low_bit::Budgets;
use crate::network::lower::{Names, lower};
use crate::network::registers::{Budget, Conversion, Proof, check, prove};
use crate::table;

/// A network of assets/starnet: what its registers may be asked for; see assets/README.md.
struct Asset {
    name: &'static str,
    model: &'static [u8],
    budget: Budget,
    products: usize,
}

macro_rules! asset {
    ($file:literal) => {
        include_bytes!(concat!("../../assets/", $file))
    };
}

static ASSETS: [Asset; 3] = [
    Asset {
        name: "32 products of 3 x 1",
        model: asset!("starnet/budget_96.onnx"),
        budget: Budget { register_bits: 8, activation_bits: 2, weight_bits: 1 },
        products: 32,
    },
    Asset {
        name: "16 products of 7 x 1",
        model: asset!("starnet/budget_112.onnx"),
        budget: Budget { register_bits: 8, activation_bits: 3, weight_bits: 1 },
        products: 16,
    },
    Asset {
        name: "8 products of 3 x 3",
        model: asset!("starnet/budget_72.onnx"),
        budget: Budget { register_bits: 8, activation_bits: 2, weight_bits: 2 },
        products: 8,
    },
];

/// The halves of scikit-learn's digits, and the classes of the second one.
static CALIBRATION: &[u8] = asset!("classifier/digits_8/calibration.npy");
static TEST: &[u8] = asset!("classifier/digits_8/test.npy");
static CLASSES: &[u8] = asset!("starnet/labels.npy");

/// A StarNet in its budget.
#[derive(Debug, Serialize)]
pub struct StarNetRow {
    /// The budget in words.
    pub name: &'static str,
    /// What its layers have, but the first.
    pub budget: Budget,
    /// What so many products can come to, whatever the weights are.
    pub worst: i64,
    /// A proof for each layer.
    pub proofs: Vec<Proof>,
    /// On the half of the digits that training has not seen.
    pub accuracy: Accuracy,
}

impl StarNetRow {
    /// Whether no sum can leave its register.
    pub fn proven(&self) -> bool {
        self.proofs.iter().all(|proof| proof.overflow.is_none())
    }
}

/// Every StarNet of assets/starnet.
///
/// # Errors
/// The device's.
pub fn rows(gpu: &Context, progress: &mut dyn FnMut(&str)) -> Result<Vec<StarNetRow>> {
    let matrix = |name: &str, bytes| npy::parse_examples(Path::new(name), bytes);
    let (calibration, test) = (matrix("calibration.npy", CALIBRATION)?.0, matrix("test.npy", TEST)?.0);
    let classes = npy::parse_labels(Path::new("labels.npy"), CLASSES)?;
    let row = |asset: &Asset| {
        let &Asset { name, model, budget, products } = asset;
        progress(&format!("a StarNet of {name}"));
        let network = lower(&onnx::parse(Path::new(name), model)?, &Names::default())?;
        let budgets = Budgets { first: Budget::FIRST, rest: budget };
        let low_bit = calibrated(gpu, &network, &budgets, &calibration.values)?;
        let accuracy = starnet::accuracy(gpu, &network, &low_bit, &test.values, &classes)?;
        Ok(StarNetRow { name, budget, worst: budget.worst(products), proofs: prove(&low_bit), accuracy })
    };
    ASSETS.iter().map(row).collect()
}

/// The header of [`cells`].
pub const HEADER: [&str; 8] = [
    "StarNet on 8-bit registers",
    "any weights",
    "worst sum",
    "headroom",
    "overflow",
    "accuracy f32, %",
    "in few bits, %",
    "frames/s",
];

/// A row for people.
pub fn cells(row: &StarNetRow) -> [String; 8] {
    let accuracy = &row.accuracy;
    // The layers behind the first, whose registers are the budget's.
    let own = || row.proofs.iter().filter(|proof| proof.register_bits == row.budget.register_bits);
    let worst = own().flat_map(|proof| proof.sums.map(i64::abs)).max().unwrap_or(0);
    [
        row.name.into(),
        row.worst.to_string(),
        worst.to_string(),
        own().map(|proof| proof.headroom).min().unwrap_or(0).to_string(),
        if row.proven() { "impossible" } else { "possible" }.into(),
        format!("{:.2}", accuracy.f32() * 100.0),
        format!("{:.2}", accuracy.low_bit() * 100.0),
        accuracy.stream.map_or("-".into(), |time| format!("{:.0}", time.frames as f64 / time.seconds)),
    ]
}

/// What the columns mean.
pub const NOTE: &str = "digits of 8 x 8 in ten classes (real data), the half that training has not seen; any weights: products \
                        times the largest activation and weight; worst sum: of the weights as stored, with biases and zero points; \
                        first layer: pixels of 8 bits in registers of 16, on the CPU";

/// The rows as a table.
pub fn text(rows: &[StarNetRow]) -> String {
    let table = table::render(&HEADER, rows.iter().map(|row| cells(row).to_vec()).collect());
    format!("{table}{NOTE}\n")
}

/// Fails if a sum can leave its register, or if too much of the accuracy is lost.
///
/// # Errors
/// [`crate::Error::Gate`] with the budget, the layer and the channel; those of [`Accuracy::gate`].
pub fn gate(rows: &[StarNetRow]) -> Result<()> {
    rows.iter().try_for_each(|row| {
        check(&row.proofs)?;
        row.accuracy.gate(&Limits::default())
    })
}

/// What the bits cost, and what they may.
pub fn accuracy(accuracy: &Accuracy, limits: &Limits) -> String {
    let Accuracy { rows, right_f32, right_low_bit, changed, stream, .. } = accuracy;
    let mut text = format!(
        "right of {rows} rows: {right_f32} in f32 ({:.2} %), {right_low_bit} in few bits ({:.2} %); {changed} get another class\n",
        accuracy.f32() * 100.0,
        accuracy.low_bit() * 100.0
    );
    let Limits { max_drop, max_flipped, confidence, point } = *limits;
    let Paired { drop, upper_bound, .. } = accuracy.drop(confidence);
    let check = |name: &str, value: f64, limit: f64, gates: bool| {
        let outcome = if value <= limit { "holds" } else { "FAILS" };
        let gates = if gates { "yes" } else { "no" };
        vec![name.into(), format!("{value:.5}"), format!("<= {limit}"), outcome.into(), gates.into()]
    };
    text += "\n";
    text += &table::render(
        &["check", "value", "limit", "outcome", "decides"],
        vec![
            check("accuracy drop", drop, max_drop, true),
            check("accuracy drop, upper bound", upper_bound, max_drop, !point),
            check("another class", accuracy.changed(), max_flipped, true),
        ],
    );
    text += "\n";
    if let Some(time) = stream {
        text += &format!(
            "{:.0} frames/s in a stream: {:.1} us a frame, the first layer on the CPU {:.1}, the others on the GPU {:.1} beside it\n",
            time.frames as f64 / time.seconds,
            time.seconds * 1e6 / time.frames as f64,
            time.first_seconds * 1e6 / time.frames as f64,
            time.rest_seconds * 1e6 / time.frames as f64
        );
    }
    text
}

/// Proofs, layer by layer.
pub fn proofs(proofs: &[Proof]) -> String {
    let range = |[low, high]: [i64; 2]| format!("{low} to {high}");
    let row = |proof: &Proof| {
        vec![
            quoted(&proof.layer).trim_matches('\'').to_owned(),
            proof.operator.into(),
            proof.groups.to_string(),
            proof.products.to_string(),
            proof.register_bits.to_string(),
            range(proof.activations.map(i64::from)),
            range(proof.weights.map(i64::from)),
            proof.any_weights.to_string(),
            range(proof.sums),
            format!("{} of {}", proof.headroom, proof.limit),
            match proof.overflow {
                None => "no".into(),
                Some(overflow) => format!("channel {}", overflow.channel),
            },
            match proof.conversion {
                Conversion::LeftOut => "left out",
                Conversion::Shift => "shift",
                Conversion::FixedPoint => "integers",
                Conversion::Float => "f32",
                Conversion::Dequantized => "to f32",
                Conversion::Sum => "none",
                Conversion::Unknown => "-",
            }
            .into(),
        ]
    };
    let header = [
        "layer",
        "operator",
        "groups",
        "products",
        "bits",
        "activations",
        "weights",
        "any weights",
        "partial sums",
        "headroom",
        "overflow",
        "conversion",
    ];
    table::render(&header, proofs.iter().map(row).collect())
}
