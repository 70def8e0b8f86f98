//! Counts of sizes, and the observer that collects them over batches.

use lowbit::internals::calibration::{BINS, Histogram};
use lowbit::internals::classify::histogram::Observer;
use lowbit::internals::classify::layout::Layout;
use lowbit::internals::gpu::{Bound, Buffer, Context, Recorder};
use lowbit::internals::random::Random;
use lowbit::internals::{Result, oracle};

#[test]
fn agrees_with_the_oracle() {
    crate::harness::check("histogram");
}

/// A tensor of `data` rows in batches of `batch`, whose padding is not a number.
struct Data {
    values: Vec<f32>,
    layout: Layout,
    batch: usize,
}

impl Data {
    fn observe(&self, gpu: &Context) -> Result<Histogram> {
        let (row, place) = (self.layout.elements(), 4 * self.layout.words());
        let x = Buffer::new(gpu, "x", self.batch as u64, 4 * place as u64)?;
        let channels = self.layout.channels;
        let upload = |batch: &[f32]| {
            let mut padded = Vec::new();
            for position in batch.chunks(channels) {
                padded.extend(position);
                padded.resize(padded.len().next_multiple_of(4), f32::NAN);
            }
            x.write_rows(gpu, 0, &padded).map(|()| (batch.len() / row) as u64)
        };
        let submit = |bound: &Bound| {
            let mut record = Recorder::new(gpu);
            record.dispatch(bound);
            record.submit()
        };
        let mut observer = Observer::new(gpu, "layer one", self.layout)?;
        for batch in self.values.chunks(self.batch * row) {
            let rows = upload(batch)?;
            submit(observer.extent(gpu, &x, rows)?)?;
        }
        observer.finish_extent(gpu)?;
        for batch in self.values.chunks(self.batch * row) {
            let rows = upload(batch)?;
            submit(observer.histogram(gpu, &x, rows)?)?;
        }
        observer.finish(gpu)
    }
}

#[test]
fn a_million_values_in_batches_of_which_the_last_is_partial() {
    let gpu = crate::harness::device();
    let layout = Layout { positions: 9, channels: 30 };
    let mut values = Random::new(1).floats(3704 * 270);
    // The range grows in the last batch.
    values[1_000_000] = -17.5;
    let found = Data { values: values.clone(), layout, batch: 512 }.observe(&gpu).unwrap();
    let (bounds, _) = oracle::extent::extent(&values);
    assert_eq!([found.min, found.max], bounds.unwrap());
    assert_eq!((found.amax, found.count), (17.5, values.len() as u64));
    assert_eq!(found.bins, oracle::histogram::histogram(&values, 2048.0 / 17.5, BINS));
    assert_eq!(found, Histogram::of(&values).unwrap());
}

#[test]
fn one_value_that_is_not_finite_is_found() {
    let gpu = crate::harness::device();
    for (value, at) in [(f32::NAN, 0), (f32::INFINITY, 6 * 130 - 1), (f32::NEG_INFINITY, 300)] {
        let mut values = Random::new(2).floats(6 * 130);
        values[at] = value;
        let data = Data { values, layout: Layout { positions: 1, channels: 6 }, batch: 64 };
        let error = data.observe(&gpu).unwrap_err().to_string();
        assert!(error.starts_with("tensor 'layer one': 1 of its values are NaN or infinite"), "{error}");
    }
}

#[test]
fn zeros_and_no_rows() {
    let gpu = crate::harness::device();
    let layout = Layout { positions: 1, channels: 5 };
    let found = Data { values: vec![0.0; 50], layout, batch: 8 }.observe(&gpu).unwrap();
    assert_eq!((found.amax, found.bins[0], found.count), (0.0, 50, 50));
    let error = Data { values: vec![], layout, batch: 8 }.observe(&gpu).unwrap_err().to_string();
    assert!(error.contains("no values"), "{error}");
}

#[test]
fn the_passes_come_in_their_order() {
    let gpu = crate::harness::device();
    let layout = Layout { positions: 1, channels: 4 };
    let x = Buffer::from_slice(&gpu, "x", 2, &[1f32; 8]).unwrap();
    let mut observer = Observer::new(&gpu, "x", layout).unwrap();
    assert!(observer.histogram(&gpu, &x, 2).is_err());
    let mut record = Recorder::new(&gpu);
    record.dispatch(observer.extent(&gpu, &x, 2).unwrap());
    record.submit().unwrap();
    assert_eq!(observer.finish_extent(&gpu).unwrap(), (1.0, 1.0));
    assert!(observer.extent(&gpu, &x, 2).is_err());
    assert!(observer.histogram(&gpu, &x, 1 << 31).is_err(), "more values than a count can hold");
}
