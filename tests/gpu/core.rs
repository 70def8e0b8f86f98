//! The GPU core: what it refuses, what it splits, and what becomes of a lost device.

use std::time::Duration;

use lowbit::internals::Error;
use lowbit::internals::cases::{Case, Expected, Prepared, Sample, verify};
use lowbit::internals::gpu::dispatch::Class;
use lowbit::internals::gpu::tune::Score;
use lowbit::internals::gpu::verify::{Answer, check};
use lowbit::internals::gpu::{Bound, Buffer, Context, Kernel, Options, Recorder, Spec, Work, params, tune};

use lowbit::internals::classify::{Classifier, Names};
use lowbit::internals::format::Format;
use lowbit::internals::io::npy::read_matrix;
use lowbit::internals::kmeans::{Columns, KMeans, Metric};
use lowbit::internals::kv::{Capacity, KvCache, Layout, Rule};
use lowbit::internals::matmul::{Activations, Order, Path, Weights};

use crate::harness::device;

params! {
    struct CheckParams {
        rows: u32,
        k: u32,
        d4: u32,
    }
}

/// `window_check` over `n` points of one vec4 and two centroids: labels 0, 1, 0, 1, …
struct Setting {
    kernel: Kernel<CheckParams>,
    points: Buffer,
    centroids: Buffer,
    labels: Buffer,
    distances: Buffer,
    n: u32,
}

impl Setting {
    fn new(gpu: &Context, n: u32, limit: u64) -> Self {
        let with = |label, row_bytes| Buffer::with_limit(gpu, label, u64::from(n), row_bytes, limit).unwrap();
        let (points, labels, distances) = (with("points", 16), with("labels", 4), with("distances", 4));
        points.write(gpu, &(0..n).flat_map(|i| [i as f32, 0.0, 0.0, 0.0]).collect::<Vec<_>>()).unwrap();
        labels.write(gpu, &(0..n).map(|i| i % 2).collect::<Vec<_>>()).unwrap();
        let centroids = [0.0f32, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
        Self {
            kernel: Kernel::load(gpu, &Spec::new("gpu/window_check")).unwrap(),
            points,
            centroids: Buffer::from_slice(gpu, "centroids", 2, &centroids).unwrap(),
            labels,
            distances,
            n,
        }
    }

    fn params(&self) -> CheckParams {
        CheckParams { rows: self.n, k: 2, d4: 1 }
    }

    fn buffers(&self) -> [(&'static str, &Buffer); 4] {
        [
            ("points", &self.points),
            ("centroids", &self.centroids),
            ("labels", &self.labels),
            ("distances", &self.distances),
        ]
    }

    fn problem(&self, gpu: &Context, buffers: &[(&str, &Buffer)]) -> String {
        self.kernel.bind(gpu, buffers, self.params(), Work::default()).unwrap_err().to_string()
    }
}

#[test]
fn wrong_bindings_are_refused_by_name() {
    let gpu = device();
    let s = Setting::new(&gpu, 100, 1 << 20);
    let all = s.buffers();
    assert!(s.problem(&gpu, &all[..3]).contains("binding distances: no buffer was given"));
    let mut extra = all.to_vec();
    extra.push(("colour", &s.points));
    assert!(s.problem(&gpu, &extra).contains("binding colour: the shader has no such binding"));
    let mut twice = all.to_vec();
    twice.push(all[0]);
    assert!(s.problem(&gpu, &twice).contains("points: it is given twice"));
    let small = Buffer::new(&gpu, "small", 99, 4).unwrap();
    let mut short = all;
    short[3].1 = &small;
    let problem = s.problem(&gpu, &short);
    assert!(
        problem.contains("distances") && problem.contains("400 bytes") && problem.contains("396"),
        "{problem}"
    );
    let mut wide = all;
    wide[3].1 = &s.points;
    assert!(s.problem(&gpu, &wide).contains("points"), "one buffer for two bindings, one of which writes");
    let mut other = all;
    let pairs = Buffer::new(&gpu, "pairs", 100, 8).unwrap();
    other[2].1 = &pairs;
    assert!(s.problem(&gpu, &other).contains("rows of 4 bytes are expected, buffer pairs has rows of 8"));
    let one = Buffer::new(&gpu, "one", 1, 16).unwrap();
    let mut few = all;
    few[1].1 = &one;
    assert!(s.problem(&gpu, &few).contains("[k, d4] takes 32 bytes, buffer one has 16"));
}

#[test]
fn parameters_that_do_not_match_the_shader_are_refused() {
    params! {
        struct Swapped {
            k: u32,
            rows: u32,
            d4: u32,
        }
    }
    params! {
        struct Typed {
            rows: u32,
            k: f32,
            d4: u32,
        }
    }
    let gpu = device();
    let spec = Spec::new("gpu/window_check");
    for error in [Kernel::<Swapped>::load(&gpu, &spec).err(), Kernel::<Typed>::load(&gpu, &spec).err()] {
        assert!(error.unwrap().to_string().contains("its Params are"));
    }
}

#[test]
fn a_workgroup_beyond_the_adapter_is_refused() {
    params! {
        struct Rows {
            rows: u32,
        }
    }
    let gpu = device();
    let error =
        Kernel::<Rows>::load(&gpu, &Spec::new("gpu/dot_check").overrides(&[("WG", 4096.0)])).unwrap_err();
    assert!(error.to_string().contains("4096 invocations"), "{error}");
}

#[test]
fn a_buffer_larger_than_a_binding_is_done_in_windows() {
    let gpu = device();
    // Limits that cut points, labels and distances at different rows, and one that cuts nothing.
    for (limit, windows) in [(2048, 8), (5000, 4), (1 << 20, 1)] {
        let s = Setting::new(&gpu, 1000, limit);
        let bound = s.kernel.bind(&gpu, &s.buffers(), s.params(), Work::default()).unwrap();
        assert_eq!(bound.windows(), windows, "limit {limit}");
        let mut record = Recorder::new(&gpu);
        record.dispatch(&bound);
        record.submit().unwrap();
        let expected: Vec<f32> = (0..1000).map(|i| (i as f32 - (i % 2) as f32).powi(2)).collect();
        assert_eq!(s.distances.read::<f32>(&gpu).unwrap(), expected);
        assert!(s.distances.guards_hold(&gpu).unwrap());
    }
}

#[test]
fn a_buffer_reads_back_what_was_written_across_its_parts() {
    let gpu = device();
    let values: Vec<u32> = (0..3 * 1000).collect();
    let buffer = Buffer::with_limit(&gpu, "parts", 1000, 12, 1024).unwrap();
    buffer.write(&gpu, &values).unwrap();
    assert_eq!(buffer.read::<u32>(&gpu).unwrap(), values);
    assert!(buffer.write(&gpu, &values[1..]).unwrap_err().to_string().contains("11996 bytes given"));
    let row = Buffer::with_limit(&gpu, "row", 1000, 1 << 10, 1 << 10).unwrap_err();
    assert!(row.to_string().contains("too large for this adapter's bindings"));
    assert!(Buffer::new(&gpu, "odd", 1, 3).is_err());
    assert!(Buffer::new(&gpu, "overflow", u64::MAX, 16).is_err());
    assert!(Buffer::new(&gpu, "empty", 0, 4).unwrap().read::<u32>(&gpu).unwrap().is_empty());
}

#[test]
fn fresh_buffers_are_poisoned_and_spoiled_guards_are_noticed() {
    let gpu = device();
    let buffer = Buffer::new(&gpu, "fresh", 5, 4).unwrap();
    assert!(buffer.read::<f32>(&gpu).unwrap().iter().all(|x| x.is_nan()));
    assert!(buffer.guards_hold(&gpu).unwrap());
    buffer.spoil_guard(&gpu);
    assert!(!buffer.guards_hold(&gpu).unwrap());
}

/// A case whose oracle is wrong, or whose kernel never runs.
struct Wrong {
    run: bool,
    expected: f64,
}

impl Case for Wrong {
    fn name(&self) -> String {
        "wrong".into()
    }

    fn prepare(&self, gpu: &Context, _: &Spec) -> lowbit::internals::Result<Prepared> {
        let s = Setting::new(gpu, 1, 1 << 20);
        let bound = s.kernel.bind(gpu, &s.buffers(), s.params(), Work::default())?;
        let passes = if self.run { vec![bound] } else { vec![] };
        Ok(Prepared { passes, outputs: vec![("distances", s.distances)], others: vec![], before: vec![] })
    }

    fn expected(&self, _: &Sample) -> Vec<Expected> {
        vec![Expected::Within { values: vec![self.expected], bounds: vec![1e-6] }]
    }
}

#[test]
fn a_wrong_kernel_fails_verification() {
    let gpu = device();
    let spec = Spec::new("gpu/window_check");
    assert!(verify(&gpu, &Wrong { run: true, expected: 0.0 }, &spec).is_ok());
    for wrong in [Wrong { run: true, expected: 1.0 }, Wrong { run: false, expected: 0.0 }] {
        let error = verify(&gpu, &wrong, &spec).unwrap_err();
        assert!(matches!(&error, Error::Mismatch { .. }), "{error}");
        assert_eq!(error.exit_code(), 1);
    }
}

#[test]
fn a_lost_device_is_an_error_and_no_panic() {
    let gpu = device();
    let s = Setting::new(&gpu, 10, 1 << 20);
    let bound = s.kernel.bind(&gpu, &s.buffers(), s.params(), Work::default()).unwrap();
    gpu.destroy_device();
    let mut record = Recorder::new(&gpu);
    record.dispatch(&bound);
    let submitted = record.submit();
    let read = s.distances.read::<f32>(&gpu);
    let made = Buffer::new(&gpu, "late", 1, 4);
    // The news can arrive with the next call only.
    assert!(submitted.is_ok() || submitted.is_err_and(|error| error.exit_code() == 3));
    assert_eq!(read.unwrap_err().exit_code(), 3);
    assert_eq!(made.unwrap_err().exit_code(), 3);
}

#[test]
fn an_unknown_adapter_is_refused_with_the_names_there_are() {
    let options = Options { adapter: Some("no such adapter".into()), ..Options::default() };
    let error = Context::open(&options).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains(&lowbit::internals::gpu::adapters()[0].name), "{error}");
}

#[test]
fn profiling_keeps_every_pass_with_its_time() {
    let gpu = Context::open(&Options { profile: true, ..Options::default() }).unwrap();
    gpu.take_passes();
    let s = Setting::new(&gpu, 1000, 1 << 20);
    let bound = s.kernel.bind(&gpu, &s.buffers(), s.params(), Work { bytes: 24_000, ops: 3_000 }).unwrap();
    let mut record = Recorder::new(&gpu);
    for _ in 0..3 {
        record.dispatch(&bound);
    }
    record.submit().unwrap();
    let passes = gpu.take_passes();
    assert_eq!(passes.len(), 3);
    for pass in &passes {
        assert!(pass.label == "gpu/window_check" && pass.duration_us > 0.0 && pass.work.bytes == 24_000);
    }
    assert!(passes.windows(2).all(|pair| pair[0].start_us < pair[1].start_us));
    assert!(gpu.take_passes().is_empty());
}

#[test]
fn where_it_is_measured_the_fastest_variant_that_runs_is_taken() {
    let gpu = Context::open(&Options { measure: true, ..Options::default() }).unwrap();
    let list = [
        Spec::new("gpu/dot_check").overrides(&[("WG", 32.0)]),
        Spec::new("gpu/dot_check"),
        Spec::new("gpu/dot_check").overrides(&[("WG", 4096.0)]),
    ];
    assert_eq!(tune::supported(&gpu, &list).unwrap().len(), 2);
    let fastest = |spec: &Spec| Ok(Score::forged(if spec.overrides.is_empty() { 1.0 } else { 2.0 }));
    let class = Class::new(&[("n", 1)]);
    assert_eq!(tune::choose(&gpu, &list, class.clone(), fastest).unwrap(), &list[1]);
    let [choice] = gpu.take_choices().try_into().unwrap();
    assert_eq!((choice.taken.as_str(), choice.best.as_str()), ("dot_check WG=32", "dot_check"));
    assert_eq!(choice.cost, Some([2.0; 3]));
    // Nothing is timed unless it is asked for, and what does not run is never taken.
    let untried = |_: &Spec| Err(Error::Input("it is tried".into()));
    assert_eq!(tune::choose(&device(), &list, class.clone(), untried).unwrap(), &list[0]);
    assert_eq!(tune::choose(&device(), &[list[2], list[1]], class, untried).unwrap(), &list[1]);
}

#[test]
fn a_wrong_variant_is_left_out_with_a_notice_that_names_it_and_the_driver() {
    let gpu = Context::open(&Options { measure: true, ..Options::default() }).unwrap();
    let list = [Spec::new("gpu/dot_check").overrides(&[("WG", 32.0)]), Spec::new("gpu/dot_check")];
    let attempt = |spec: &Spec| match spec.overrides {
        // The faster one by far.
        [] => Err(Error::Mismatch { case: spec.label(), problem: "[7] is 1, 2 expected".into() }),
        _ => Ok(Score::forged(9.0)),
    };
    assert_eq!(tune::choose(&gpu, &list, Class::default(), attempt).unwrap(), &list[0]);
    let told = |notice: &String| {
        notice.contains(&gpu.adapter.driver) && notice.contains("dot_check: wrong result: [7] is 1")
    };
    assert_eq!(gpu.notices().iter().filter(|notice| told(notice)).count(), 1);
}

#[test]
fn a_sample_that_is_wrong_or_not_written_fails_before_anything_is_timed() {
    let gpu = Context::open(&Options::default()).unwrap();
    let s = Setting::new(&gpu, 1000, 1 << 20);
    let bound = s.kernel.bind(&gpu, &s.buffers(), s.params(), Work::default()).unwrap();
    let sample = Sample::of(1000, [&bound]);
    let distance = |row: usize| (row as f64 - (row % 2) as f64).powi(2);
    let mut values: Vec<f64> = sample.rows().iter().map(|&row| distance(row)).collect();
    let tried = |passes: &[&Bound], values: &[f64]| {
        let expected = Expected::Within { values: values.to_vec(), bounds: vec![0.0; values.len()] };
        let answer =
            Answer { name: "distances", buffer: &s.distances, sample: Some(&sample), expected: &expected };
        tune::trial(&gpu, &Spec::new("gpu/window_check"), passes, &[answer], passes, Duration::ZERO)
    };
    tried(&[&bound], &values).unwrap();
    // Right results of an earlier run do not count.
    let error = tried(&[], &values).unwrap_err();
    assert!(matches!(&error, Error::Mismatch { case, .. } if case == "window_check"), "{error}");
    *values.last_mut().unwrap() += 1.0;
    assert!(matches!(tried(&[&bound], &values), Err(Error::Mismatch { .. })));
    let whole = Expected::Within { values: (0..1000).map(distance).collect(), bounds: vec![0.0; 1000] };
    let answer = Answer { name: "distances", buffer: &s.distances, sample: None, expected: &whole };
    check(&gpu, "all rows", [&bound], std::slice::from_ref(&answer)).unwrap();
    assert!(check(&gpu, "no pass", [], &[answer]).is_err());
}

#[test]
fn long_work_is_cut_into_windows() {
    let gpu = device();
    let s = Setting::new(&gpu, 1000, 1 << 20);
    // 0.2 s at 1 Tflop/s each, at most; windows begin at multiples of 64 rows.
    for (ops, windows) in
        [(0, 1), (200_000_000_000, 1), (200_000_000_001, 2), (700_000_000_000, 4), (u64::MAX, 16)]
    {
        let bound = s.kernel.bind(&gpu, &s.buffers(), s.params(), Work { bytes: 0, ops }).unwrap();
        assert_eq!(bound.windows(), windows, "{ops}");
        s.distances.poison(&gpu).unwrap();
        Recorder::run(&gpu, [&bound]).unwrap();
        let expected: Vec<f32> = (0..1000).map(|i| (i as f32 - (i % 2) as f32).powi(2)).collect();
        assert_eq!(s.distances.read::<f32>(&gpu).unwrap(), expected);
    }
}

#[test]
fn edges_are_where_windows_and_rows_of_a_grid_begin() {
    let plain = Context::open(&Options { guarded: true, ..Options::default() }).unwrap();
    let narrow = device();
    // 16 workgroups of 64 rows; 500 points to a part are cut to 448.
    for (gpu, limit, grid, edges) in [
        (&plain, 1 << 20, [16, 1], vec![0]),
        (&narrow, 1 << 20, [2, 8], (0..8).map(|y| 128 * y).collect()),
        (&plain, 16 * 500, [7, 1], vec![0, 448, 896]),
    ] {
        let s = Setting::new(gpu, 1000, limit);
        let bound = s.kernel.bind(gpu, &s.buffers(), s.params(), Work::default()).unwrap();
        assert_eq!((bound.rows(), bound.grid(), bound.edges()), (1000, grid, edges.as_slice()));
    }
}

#[test]
fn what_is_of_another_context_is_refused() {
    let [one, other] = [device(), device()];
    let buffer = Buffer::from_slice(&one, "values", 4, &[1u32, 2, 3, 4]).unwrap();
    let twin = Buffer::new(&other, "twin", 4, 4).unwrap();
    let refused = |done: lowbit::internals::Result<()>| {
        let error = done.unwrap_err();
        assert!(error.is_input() && error.to_string().contains("another context"), "{error:?}");
    };
    refused(buffer.read::<u32>(&other).map(drop));
    refused(buffer.write(&other, &[0u32; 4]));
    refused(buffer.copy_to(&one, &twin));
    refused(buffer.copy_rows(&other, &[(0..1, 2)]));

    let format = Format::by_name("Q8_0").unwrap();
    let weights = Weights::from_values(&one, format, &[0.5; 64], 32, Order::RowMajor).unwrap();
    let x = Activations::upload(&other, &[1.0; 32], 32).unwrap();
    refused(weights.times(&one, &x, &[], Path::Auto).map(drop));
    refused(weights.times(&other, &x, &[], Path::Auto).map(drop));

    let layout = Layout::new(1, 1, 1, 64);
    let room = Capacity { tokens: 64, sequences: 1 };
    let mut cache = KvCache::new(&one, &layout, "q8_0".parse().unwrap(), room).unwrap();
    let sequence = cache.create().unwrap();
    let mut step = cache.begin(&one, &[(sequence, 1)]).unwrap();
    refused(cache.append(&other, &mut step, 0, &[0.5; 64], &[0.5; 64]));
    cache.append(&one, &mut step, 0, &[0.5; 64], &[0.5; 64]).unwrap();
    // Nothing of it was lost on either device.
    assert_eq!(buffer.read::<u32>(&one).unwrap(), [1, 2, 3, 4]);
    assert!(cache.attend(&one, &mut step, 0, &[1.0; 64], &Rule::plain(64)).is_ok());
}

#[test]
fn a_device_that_a_program_requested_for_itself_is_enough() {
    let instance = wgpu::Instance::default();
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    let name = &device().adapter.name;
    let adapter = adapters.iter().find(|adapter| adapter.get_info().name == *name).unwrap();
    // No feature, and the limits that every adapter has.
    let (own, queue) =
        pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default())).unwrap();
    let gpu = Context::from_device(adapter, own, queue).unwrap();
    assert!(gpu.adapter.subgroup_size.is_none() && !gpu.adapter.shader_f16);

    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let points = read_matrix(&folder.join("kmeans/points.npy")).unwrap();
    let fit = |gpu: &Context| KMeans::new(5).metric(Metric::Cosine).fit(gpu, &points, |_| ()).unwrap();
    let fitted = fit(&gpu);
    assert_eq!(fitted.labels, fit(&device()).labels);
    assert_eq!(fitted.predict(&gpu, &points).unwrap().labels, fitted.labels);

    let folder = folder.join("classifier/breast_cancer");
    let rows = read_matrix(&folder.join("test.npy")).unwrap();
    let (model, names) = (folder.join("model.onnx"), Names::default());
    let classifier = Classifier::read(&gpu, &model, &names, 64).unwrap();
    let found = classifier.run(&gpu, &rows.values).unwrap();
    let whole = device();
    let other = Classifier::read(&whole, &model, &names, 64).unwrap();
    assert!(matches!(other.run(&gpu, &rows.values), Err(error) if error.is_input()));
    let right = other.run(&whole, &rows.values).unwrap();
    assert!(right.len() == rows.rows * classifier.outputs());
    assert!(found.iter().zip(&right).all(|(a, b)| (a - b).abs() < 1e-6));
    let mut strange = rows.values.clone();
    strange[7] = f32::NAN;
    assert!(
        matches!(classifier.run(&gpu, &strange), Err(Error::NotFinite(text)) if text.contains("value 7"))
    );
    assert!(matches!(classifier.run(&gpu, &rows.values[1..]), Err(Error::Shape(_))));

    let format = Format::by_name("F16").unwrap();
    let large = Weights::from_values(&gpu, format, &[1.0, 1e6], 2, Order::RowMajor);
    assert!(matches!(large, Err(Error::Input(text)) if text.contains("row 0, column 1 is 1000000")));
    let columns = Columns { of: &points, columns: 3..9999 };
    assert!(matches!(KMeans::new(2).fit(&gpu, &columns, |_| ()), Err(Error::Shape(_))));

    let none =
        wgpu::DeviceDescriptor { required_limits: wgpu::Limits::downlevel_defaults(), ..Default::default() };
    let (own, queue) = pollster::block_on(adapter.request_device(&none)).unwrap();
    assert!(matches!(Context::from_device(adapter, own, queue), Err(Error::Unsupported(_))));
}
