//! Synthetic telemetry of a 3D printer: made here, from no machine, for a model of delamination that needs more labelled
//! rows than any public data set has. Call it synthetic wherever it is shown.
//!
//! A row is a millisecond. Rows come in layers of 250 to 550, eight layers to a print; the layer is the group. The four
//! features, as the model takes them:
//!
//! | feature | normalised | in rest |
//! |---|---|---|
//! | nozzle temperature | `(C - 210) / 20` | 210, wandering by 1.5 |
//! | velocity deviation | `mm/s / 10` | 0 +- 1.5 |
//! | current drop rate | `A/s / 50`, negative where the current falls | 0 +- 18 |
//! | rotational stress | `index / 5` | 1 +- 0.4 |
//!
//! Into that come, all of them without a label of their own:
//! - at the start of a layer a current that rises and a nozzle that is cold (the colder at the start of a print), at its
//!   end a current that falls as steeply as in an event;
//! - three to six corners, where velocity and stress leave their range for some milliseconds.
//!
//! In every third layer or so there is a delamination. Its precursor is a nozzle that cools and a stress that grows; then
//! the current falls and the velocity deviates, with soft edges and a severity of its own; one in six is so weak that
//! the model cannot see it. The label is whether the delamination is under way, precursor excluded.
//!
//! Every number comes from sums, products and quotients, so that all machines make the same bits.

use crate::io::npy::Matrix;
use crate::random::Random;

/// The features' names, in their order.
pub const FEATURES: [&str; 4] =
    ["nozzle_temperature", "velocity_deviation", "current_drop_rate", "rotational_stress"];
/// Rows to calibrate with.
pub const CALIBRATION_ROWS: usize = 100_000;
/// Rows to judge by.
pub const TEST_ROWS: usize = 20_000;
/// The seed of the rows to calibrate with.
pub const CALIBRATION_SEED: u64 = 210;
/// The seed of the rows to judge by. They hold about 15 delaminations, and so differ much from seed to seed (an AUC of the
/// delamination model from 0.90 to 0.99): with this one its AUC and the positives are near those of the 100,000.
pub const TEST_SEED: u64 = 82;

const LAYERS_OF_A_PRINT: i32 = 8;

/// Rows of telemetry.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// `[rows, 4]`, normalised.
    pub features: Matrix,
    /// Whether a delamination is under way.
    pub labels: Vec<bool>,
    /// The number of the layer.
    pub groups: Vec<i32>,
}

/// The rows to calibrate with: 100,000.
pub fn calibration() -> Telemetry {
    generate(CALIBRATION_ROWS, CALIBRATION_SEED)
}

/// The rows to judge by: 20,000 others.
pub fn test() -> Telemetry {
    generate(TEST_ROWS, TEST_SEED)
}

/// Any number of rows, others for each seed.
pub fn generate(rows: usize, seed: u64) -> Telemetry {
    let mut random = Random::new(seed);
    let (mut values, mut labels, mut groups) = (Vec::with_capacity(4 * rows), Vec::new(), Vec::new());
    let (mut layer, mut drift) = (0, 0.0);
    while labels.len() < rows {
        let plan = Layer::draw(&mut random, layer % LAYERS_OF_A_PRINT == 0);
        for at in 0..plan.length.min(rows - labels.len()) {
            drift += -drift / 200.0 + 0.15 * normal(&mut random);
            let mut row = [
                210.0 + drift,
                1.5 * normal(&mut random),
                18.0 * normal(&mut random),
                1.0 + 0.4 * normal(&mut random),
            ];
            let label = plan.disturb(at as f64, &mut row);
            let [temperature, velocity, current, stress] = row;
            let normalised = [(temperature - 210.0) / 20.0, velocity / 10.0, current / 50.0, stress / 5.0];
            values.extend(normalised.map(|value| value as f32));
            labels.push(label);
            groups.push(layer);
        }
        layer += 1;
    }
    Telemetry { features: Matrix { rows, cols: FEATURES.len(), values }, labels, groups }
}

/// What happens in a layer. Times are in rows from its start.
struct Layer {
    length: usize,
    /// How cold the nozzle is, and for how long.
    cold: (f64, f64),
    /// The current that rises at the start and falls at the end, and for how long each.
    switching: [(f64, f64); 2],
    corners: Vec<Corner>,
    delamination: Option<Delamination>,
}

struct Corner {
    start: f64,
    length: f64,
    velocity: f64,
    stress: f64,
}

struct Delamination {
    start: f64,
    length: f64,
    precursor: f64,
    severity: f64,
}

impl Layer {
    fn draw(random: &mut Random, first: bool) -> Self {
        let length = 250 + random.below(301) as usize;
        let rows = length as f64;
        let coldest = if first { 45.0 } else { 18.0 };
        let cold = (between(random, 0.3, 1.0) * coldest, between(random, 40.0, 90.0));
        let switching =
            [180.0, -260.0].map(|current| (between(random, 0.5, 1.3) * current, between(random, 10.0, 30.0)));
        let corners = (0..3 + random.below(4))
            .map(|_| Corner {
                start: between(random, 20.0, rows - 30.0),
                length: between(random, 6.0, 14.0),
                velocity: between(random, 12.0, 45.0) * if random.below(2) == 0 { 1.0 } else { -1.0 },
                stress: between(random, 1.0, 6.0),
            })
            .collect();
        let delamination = (random.below(100) < 34).then(|| Delamination {
            start: between(random, 90.0, rows - 140.0),
            length: between(random, 50.0, 130.0),
            precursor: between(random, 30.0, 70.0),
            severity: if random.below(6) == 0 {
                between(random, 0.1, 0.5)
            } else {
                between(random, 1.2, 2.3)
            },
        });
        Self { length, cold, switching, corners, delamination }
    }

    /// Adds what happens at a time to `[temperature, velocity, current, stress]`; whether a delamination is under way.
    fn disturb(&self, at: f64, row: &mut [f64; 4]) -> bool {
        let [temperature, velocity, current, stress] = row;
        *temperature -= self.cold.0 * falling(at / self.cold.1);
        let [(rise, rise_length), (fall, fall_length)] = self.switching;
        *current += rise * falling(at / rise_length);
        *current += fall * falling((self.length as f64 - 1.0 - at) / fall_length);
        for corner in &self.corners {
            let shape = bump((at - corner.start) / corner.length, 0.5);
            *velocity += corner.velocity * shape;
            *stress += corner.stress * shape;
        }
        let Some(Delamination { start, length, precursor, severity }) = self.delamination else {
            return false;
        };
        // The precursor grows up to the start, and goes back over as long as it took after the end.
        let whole = length + 2.0 * precursor;
        let slow = severity * bump((at - start + precursor) / whole, precursor / whole);
        let fast = severity * bump((at - start) / length, 0.15);
        *temperature -= 12.0 * slow;
        *velocity += 6.0 * fast;
        *current -= 130.0 * fast;
        *stress += 1.5 * slow + 2.5 * fast;
        (start..start + length).contains(&at)
    }
}

/// From 1 at 0 down to 0 at 1, softly; 0 elsewhere.
fn falling(at: f64) -> f64 {
    if (0.0..1.0).contains(&at) { (1.0 - at) * (1.0 - at) * (1.0 + 2.0 * at) } else { 0.0 }
}

/// From 0 at 0 up to 1 and down to 0 at 1; each edge takes the share `edge`.
fn bump(at: f64, edge: f64) -> f64 {
    let inside = at.min(1.0 - at);
    if inside <= 0.0 { 0.0 } else { falling((1.0 - inside / edge).max(0.0)) }
}

fn between(random: &mut Random, low: f64, high: f64) -> f64 {
    low + (high - low) * random.unit()
}

/// Nearly normal: the sum of twelve uniform numbers, of variance 1.
fn normal(random: &mut Random) -> f64 {
    (0..12).map(|_| random.unit()).sum::<f64>() - 6.0
}
