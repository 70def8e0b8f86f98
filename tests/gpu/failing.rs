//! Points that cannot be read any more, at any moment, and fits that are asked to end at any moment: whatever the other side
//! of a channel does then, the call ends, with the error that belongs to it.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lowbit::internals::io::npy::{self, Matrix};
use lowbit::internals::io::vecs::{How, Vectors};
use lowbit::internals::kmeans::frame::Transform;
use lowbit::internals::kmeans::points::{Points, Room};
use lowbit::internals::kmeans::product::ProductQuantizer;
use lowbit::internals::kmeans::{Checkpoints, Init, KMeans, Metric, MiniBatchKMeans, Source};
use lowbit::internals::random::Random;
use lowbit::internals::{Error, Result};

use crate::harness::device;
use crate::kmeans::bits_of;

/// What happens before a read.
type Before<'a> = &'a (dyn Fn(usize) -> Result<()> + Sync);

/// A source that counts how often it is read.
struct Counted<'a> {
    of: &'a dyn Source,
    reads: AtomicUsize,
    before: Before<'a>,
}

impl<'a> Counted<'a> {
    fn new(of: &'a dyn Source, before: Before<'a>) -> Self {
        Self { of, reads: AtomicUsize::new(0), before }
    }
}

impl Source for Counted<'_> {
    fn rows(&self) -> u64 {
        self.of.rows()
    }

    fn cols(&self) -> usize {
        self.of.cols()
    }

    fn read(&self, rows: Range<u64>, out: &mut [f32]) -> Result<()> {
        (self.before)(self.reads.fetch_add(1, Ordering::Relaxed))?;
        self.of.read(rows, out)
    }
}

fn broken(side: &str, at: usize) -> Error {
    Error::Input(format!("{side} {at} failed"))
}

/// One chunk of 50 stays on the device, the others are streamed.
const ROOM: Room = Room { bytes: 10_000, chunk: 50 };
const ROWS: usize = 240;

fn points() -> Matrix {
    Matrix { rows: ROWS, cols: 5, values: Random::new(77).floats(ROWS * 5) }
}

/// For what reads them one by one.
fn few_points() -> Matrix {
    Matrix { rows: 20, cols: 5, values: Random::new(78).floats(100) }
}

#[test]
fn a_sweep_ends_whichever_side_fails_and_wherever() {
    let (gpu, x) = (device(), points());
    let chunks = ROWS.div_ceil(ROOM.chunk as usize);
    let places = || (0..chunks).map(Some).chain([None]);
    for panics in [false, true] {
        for (read, seen) in places().flat_map(|read| places().map(move |seen| (read, seen))) {
            // What stays is read before the sweep.
            let resident = AtomicUsize::new(usize::MAX);
            let before = |at: usize| {
                let fails = read == Some(at) && at >= resident.load(Ordering::Relaxed);
                assert!(!(fails && panics), "read {at} failed");
                if fails { Err(broken("read", at)) } else { Ok(()) }
            };
            let source = Counted::new(&x, &before);
            let transform = Transform::Plain;
            let points = Points::new(&gpu, &source, None, &transform, ROOM).unwrap();
            let stay = source.reads.load(Ordering::Relaxed);
            assert!((1..chunks - 2).contains(&stay), "{stay} of {chunks} chunks stay");
            resident.store(stay, Ordering::Relaxed);
            let read = read.filter(|&read| read >= stay);
            let mut at = 0;
            let swept = points.sweep(
                &gpu,
                &|_, _| Vec::new(),
                Some(&mut |_, _| {
                    at += 1;
                    if seen == Some(at - 1) { Err(broken("chunk", at - 1)) } else { Ok(()) }
                }),
            );
            let first = match (read, seen) {
                (None, None) => None,
                (Some(read), Some(seen)) if seen < read => Some(format!("chunk {seen} failed")),
                (Some(read), _) => Some(format!("read {read} failed")),
                (None, Some(seen)) => Some(format!("chunk {seen} failed")),
            };
            match (&first, swept) {
                (None, swept) => swept.unwrap(),
                (Some(first), swept) => {
                    let error = swept.unwrap_err();
                    assert!(error.to_string().contains(first), "{first}: {error}");
                    let fault = panics && first.starts_with("read");
                    assert_eq!(matches!(error, Error::Fault(_)), fault, "{error}");
                }
            }
            // It can be swept again: nothing is left locked or half taken.
            resident.store(usize::MAX, Ordering::Relaxed);
            points.sweep(&gpu, &|_, _| Vec::new(), None).unwrap();
        }
    }
}

/// Calls `work` with a source that fails at its first read, at its second, and so on, until it needs no more reads; how many
/// there were.
fn fails_at_every_read(name: &str, x: &Matrix, work: impl Fn(&dyn Source) -> Result<()>) -> usize {
    for at in 0.. {
        let before = |read: usize| if read == at { Err(broken("read", at)) } else { Ok(()) };
        match work(&Counted::new(x, &before)) {
            Ok(()) => return at,
            Err(error) => {
                assert!(error.to_string().contains(&format!("read {at} failed")), "{name}: {error}")
            }
        }
    }
    unreachable!()
}

#[test]
fn a_read_that_fails_ends_every_use_of_points_at_every_read() {
    let (gpu, x) = (device(), points());
    let streamed = |k| KMeans::new(k).memory(ROOM.bytes).chunk_rows(ROOM.chunk).max_iter(2);
    let first = Matrix { rows: 4, cols: 5, values: x.values[..20].to_vec() };
    let none = |_| ();
    let unit = |found: Result<_>| found.map(|_| ());
    let reads = [
        fails_at_every_read("fit", &x, |x| unit(streamed(4).fit(&gpu, x, none))),
        fails_at_every_read("random", &x, |x| unit(streamed(4).init(Init::Random).fit(&gpu, x, none))),
        fails_at_every_read("parallel", &x, |x| unit(streamed(2).init(Init::Parallel).fit(&gpu, x, none))),
        fails_at_every_read("bisecting", &few_points(), |x| {
            unit(streamed(3).init(Init::Bisecting).fit(&gpu, x, none))
        }),
        fails_at_every_read("cosine", &x, |x| {
            let kmeans =
                streamed(4).metric(Metric::Cosine).history(true).init(Init::Centroids(first.clone()));
            unit(kmeans.fit(&gpu, x, none))
        }),
        fails_at_every_read("adapters", &x, |x| {
            let kmeans = streamed(4).init(Init::Centroids(first.clone()));
            unit(kmeans.fit_on(&[&gpu, &gpu], x, None, none))
        }),
        fails_at_every_read("predict", &x, |x| streamed(4).predict(&gpu, x, &first).map(|_| ())),
        fails_at_every_read("transform", &x, |x| streamed(4).transform(&gpu, x, &first).map(|_| ())),
        fails_at_every_read("pq", &x, |x| {
            ProductQuantizer::new(5).bits(4).max_iter(1).fit(&gpu, x, |_, _| ()).map(|_| ())
        }),
        fails_at_every_read("batch", &x, |x| streamed(2).fit_batch(&gpu, x, 3, none).map(|_| ())),
        fails_at_every_read("mini-batch", &x, |x| {
            let kmeans = MiniBatchKMeans::new(3).batch_size(20).init_size(Some(20)).max_iter(1);
            unit(kmeans.memory(ROOM.bytes).fit(&gpu, x, none))
        }),
    ];
    println!("{reads:?} reads");
    assert!(reads.iter().all(|&reads| reads > 2), "{reads:?}");
}

#[test]
fn a_file_that_is_cut_short_while_it_is_streamed_is_an_error_that_names_it() {
    let (gpu, x, folder) = (device(), points(), tempfile::tempdir().unwrap());
    let path: PathBuf = folder.path().join("x.npy");
    for at in 1.. {
        npy::write_matrix(&path, x.rows, x.cols, &x.values).unwrap();
        let vectors = Vectors::open(&path, &How::default()).unwrap();
        let cut = |read: usize| {
            if read == at {
                let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
                file.set_len(1000).unwrap();
            }
            Ok(())
        };
        let source = Counted::new(&vectors, &cut);
        let kmeans = KMeans::new(4).init(Init::Random).memory(ROOM.bytes).chunk_rows(ROOM.chunk).max_iter(2);
        let fitted = kmeans.fit(&gpu, &source, |_| ());
        let read = source.reads.into_inner();
        if read <= at {
            fitted.unwrap();
            assert!(at > 10);
            return;
        }
        let error = fitted.unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("x.npy"), "{error}");
    }
}

#[test]
fn asked_to_end_at_any_read_a_fit_ends_and_goes_on_to_the_same_bits() {
    let (gpu, x, few, folder) = (device(), &points(), &few_points(), tempfile::tempdir().unwrap());
    let path = folder.path().join("state.safetensors");
    for (name, x, kmeans) in [
        ("k-means++", x, KMeans::new(4).n_init(2).seed(5)),
        ("k-means||", x, KMeans::new(2).init(Init::Parallel)),
        ("bisecting", few, KMeans::new(3).init(Init::Bisecting)),
        ("history", x, KMeans::new(3).init(Init::Random).metric(Metric::Cosine).history(true)),
    ] {
        let kmeans = kmeans.memory(ROOM.bytes).chunk_rows(ROOM.chunk).max_iter(2).tol(0.0);
        let whole = bits_of(&kmeans.fit(&gpu, x, |_| ()).unwrap());
        let mut interrupted = 0;
        for at in 0.. {
            let _ = std::fs::remove_file(&path);
            let stop = Arc::new(AtomicBool::new(false));
            let ask = |read: usize| {
                if read == at {
                    stop.store(true, Ordering::Relaxed);
                }
                Ok(())
            };
            let source = Counted::new(x, &ask);
            let every = Duration::from_secs(1 << 20);
            let keep = |stop: &Arc<AtomicBool>, resume| {
                let checkpoints = Checkpoints { path: path.clone(), every, stop: Arc::clone(stop), resume };
                kmeans.clone().checkpoints(checkpoints)
            };
            let fitted = keep(&stop, false).fit(&gpu, &source, |_| ());
            let read = source.reads.into_inner();
            match fitted {
                Ok(fitted) => assert_eq!(bits_of(&fitted), whole, "{name}: not ended at {at} of {read}"),
                Err(error) => {
                    assert_eq!(error.exit_code(), 130, "{error}");
                    assert!(
                        matches!(&error, Error::Interrupted { path: Some(kept), .. } if *kept == path),
                        "{error}"
                    );
                    interrupted += 1;
                    let resumed = keep(&Arc::default(), true).fit(&gpu, x, |_| ()).unwrap();
                    assert_eq!(bits_of(&resumed), whole, "{name}: ended at {at}: {error}");
                }
            }
            if read <= at {
                // Reads of few points at a time do not end it by themselves, nor does the very last one.
                assert!(interrupted * 2 > at && at > 10, "{name}: {interrupted} of {at}");
                break;
            }
        }
        // Before all points were read once there is no state; one that was there stays.
        let asked = Arc::new(AtomicBool::new(true));
        for there in [true, false] {
            let every = Duration::ZERO;
            let checkpoints =
                Checkpoints { path: path.clone(), every, stop: Arc::clone(&asked), resume: there };
            if there {
                let kept = Checkpoints { stop: Arc::default(), ..checkpoints.clone() };
                kmeans
                    .clone()
                    .checkpoints(Checkpoints { resume: false, ..kept })
                    .fit(&gpu, x, |_| ())
                    .unwrap();
            } else {
                std::fs::remove_file(&path).unwrap();
            }
            let before = std::fs::read(&path).ok();
            let error = kmeans.clone().checkpoints(checkpoints).fit(&gpu, x, |_| ()).unwrap_err();
            assert!(matches!(&error, Error::Interrupted { path, .. } if path.is_some() == there), "{error}");
            assert_eq!(std::fs::read(&path).ok(), before);
        }
    }
}
