//! Checkpoints of k-means: what was interrupted ends with the same bits; what does not belong is refused.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lowbit::internals::gpu::Context;
use lowbit::internals::io::npy::Matrix;
use lowbit::internals::io::safetensors::Safetensors;
use lowbit::internals::kmeans::{Checkpoints, Fitted, Init, KMeans, Metric, Progress};
use lowbit::internals::random::Random;
use lowbit::internals::{Error, Result};

use crate::harness::device;
use crate::kmeans::{bits_of, blobs, matrix};

/// One clustering, to be interrupted.
struct Problem<'a> {
    gpu: &'a Context,
    kmeans: KMeans,
    data: &'a Matrix,
    weights: Option<&'a [f32]>,
    path: &'a Path,
    every: Duration,
}

impl Problem<'_> {
    fn whole(&self) -> Fitted {
        self.kmeans.fit_weighted(self.gpu, self.data, self.weights, |_| ()).unwrap()
    }

    /// Stops at news number `at`, if it comes that far. News are those of iterations, or of seeding.
    fn fit(&self, resume: bool, at: usize, seeding: bool) -> Result<Fitted> {
        self.fit_logged(resume, at, seeding).0
    }

    /// The same, with the number, the changed labels and the shift of each iteration that the host learnt of.
    fn fit_logged(&self, resume: bool, at: usize, seeding: bool) -> (Result<Fitted>, Vec<[u32; 3]>) {
        let mut log = Vec::new();
        let stop = Arc::new(AtomicBool::new(false));
        let checkpoints =
            Checkpoints { path: self.path.to_owned(), every: self.every, stop: Arc::clone(&stop), resume };
        let mut seen = 0;
        let kmeans = self.kmeans.clone().checkpoints(checkpoints);
        let fitted = kmeans.fit_weighted(self.gpu, self.data, self.weights, |news| {
            if let Progress::Iterating { n_iter, changed, shift, .. } = news {
                log.push([n_iter, changed, shift.to_bits()]);
            }
            if matches!(news, Progress::Seeding { .. }) == seeding {
                seen += 1;
                if seen == at {
                    stop.store(true, Ordering::Relaxed);
                }
            }
        });
        (fitted, log)
    }

    /// Interrupted after any iteration, and after every one, it gives the same bits. Says how often it was interrupted.
    fn check(&self, name: &str) -> usize {
        let whole = bits_of(&self.whole());
        let all = self.fit_logged(false, 0, false).1;
        let mut interrupted = 0;
        for at in 1.. {
            let first = self.fit(false, at, false);
            let ended = first.is_ok();
            if !ended {
                interrupted += 1;
                check_interrupted(&first, self.path);
                let (resumed, log) = self.fit_logged(true, 0, false);
                assert_eq!(bits_of(&resumed.unwrap()), whole, "{name}: interrupted at {at}");
                // Elsewhere batches differ.
                assert!(!self.every.is_zero() || all.ends_with(&log), "{name}: {log:?} {all:?}");
            } else if let Ok(first) = first {
                assert_eq!(bits_of(&first), whole, "{name}: not interrupted");
                break;
            }
        }
        let _ = std::fs::remove_file(self.path);
        for _ in 0..1000 {
            match self.fit(true, 1, false) {
                Ok(last) => {
                    assert_eq!(bits_of(&last), whole, "{name}: interrupted after every iteration");
                    return interrupted;
                }
                again => check_interrupted(&again, self.path),
            }
        }
        panic!("{name}: it makes no progress");
    }
}

fn check_interrupted(result: &Result<Fitted>, path: &Path) {
    let error = result.as_ref().unwrap_err();
    assert!(matches!(error, Error::Interrupted { .. }), "{error}");
    assert_eq!(error.exit_code(), 130);
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}

const NEVER: Duration = Duration::from_secs(1 << 20);

#[test]
fn interrupted_after_any_iteration_the_result_is_the_same_to_the_bit() {
    let (gpu, folder) = (device(), tempfile::tempdir().unwrap());
    let path = folder.path().join("state.safetensors");
    let x = Matrix { rows: 1500, cols: 7, values: Random::new(41).floats(1500 * 7) };
    let weights: Vec<f32> = (0..1500).map(|i| (i % 5) as f32).collect();
    let kmeans = KMeans::new(9).seed(3).max_iter(9).tol(0.0);
    let problems = [
        ("euclidean", kmeans.clone(), None),
        ("weighted", kmeans.clone(), Some(weights.as_slice())),
        ("cosine", kmeans.clone().metric(Metric::Cosine).init(Init::Random).history(true), None),
        ("frozen", kmeans.clone().frozen(matrix(7, &x.values[7..21])), None),
    ];
    for (name, kmeans, weights) in problems {
        for (place, kmeans) in
            [("resident", kmeans.clone()), ("streamed", kmeans.clone().memory(60_000).chunk_rows(300))]
        {
            for every in [Duration::ZERO, NEVER] {
                let kmeans = kmeans.clone();
                let problem = Problem { gpu: &gpu, kmeans, data: &x, weights, path: &path, every };
                let interrupted = problem.check(&format!("{name}, {place}"));
                // Those that are kept by themselves are submitted one by one.
                assert!(interrupted >= if every.is_zero() { 8 } else { 2 }, "{name} {place} {interrupted}");
            }
        }
    }
}

#[test]
fn the_end_of_the_loop_and_empty_clusters_are_as_without_an_interruption() {
    let (gpu, folder) = (device(), tempfile::tempdir().unwrap());
    let path = folder.path().join("state.safetensors");
    // Ends by unchanged labels, by the tolerance, and with empty clusters at the first and at later iterations.
    let x = blobs(600, 3, 8, 0.8, 5);
    let far = Init::Centroids(matrix(3, &[&x.values[..12], &[50.0; 6]].concat()));
    let same = matrix(1, &[0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 2.0, 3.0, 4.0, 4.0]);
    let line = matrix(1, &(0..300).map(|i| if i == 217 { 1e3 } else { (i % 3) as f32 }).collect::<Vec<_>>());
    let lost = Init::Centroids(matrix(1, &[1.0, 1e5, 2e5, 3e5]));
    for (name, kmeans, data) in [
        ("unchanged labels", KMeans::new(8).seed(1).tol(0.0), &x),
        ("tolerance", KMeans::new(8).seed(1).tol(1e-2), &x),
        ("empty", KMeans::new(6).init(far), &x),
        ("duplicates", KMeans::new(10), &same),
        ("outlier", KMeans::new(4).init(lost), &line),
    ] {
        for kmeans in [kmeans.clone(), kmeans.clone().memory(20_000).chunk_rows(100)] {
            let every = Duration::ZERO;
            Problem { gpu: &gpu, kmeans, data, weights: None, path: &path, every }.check(name);
        }
    }
}

#[test]
fn several_starts_go_on_where_they_were() {
    let (gpu, folder) = (device(), tempfile::tempdir().unwrap());
    let path = folder.path().join("state.safetensors");
    let x = blobs(300, 2, 12, 2.0, 31);
    for init in [Init::Random, Init::PlusPlus, Init::Parallel, Init::Bisecting, Init::TwoLevel] {
        // Of these seeds' three starts another one is the best each time.
        for seed in [1, 2, 3] {
            let kmeans = KMeans::new(12).init(init.clone()).n_init(3).seed(seed).max_iter(4);
            let every = Duration::ZERO;
            let problem = Problem { gpu: &gpu, kmeans, data: &x, weights: None, path: &path, every };
            problem.check("n_init 3");
            if seed > 1 || matches!(init, Init::Random) {
                continue;
            }
            // While seeds are chosen, too: nothing of that start is kept, but all of the ones before.
            let whole = problem.whole();
            for at in 1.. {
                let first = problem.fit(false, at, true);
                if first.is_ok() {
                    break;
                }
                check_interrupted(&first, &path);
                let resumed = problem.fit(true, 0, false).unwrap();
                assert_eq!(bits_of(&resumed), bits_of(&whole), "while seeding, {at}");
                assert_eq!(resumed.notices, whole.notices);
            }
        }
    }
}

#[test]
fn a_checkpoint_is_a_file_for_other_tools_too() {
    let (gpu, folder) = (device(), tempfile::tempdir().unwrap());
    let path = folder.path().join("state.safetensors");
    let x = blobs(200, 3, 4, 9.0, 8);
    let kmeans = KMeans::new(4).max_iter(20);
    let problem = Problem { gpu: &gpu, kmeans, data: &x, weights: None, path: &path, every: Duration::ZERO };
    problem.fit(false, 1, false).unwrap_err();
    let file = Safetensors::open(&path).unwrap();
    let names: Vec<&str> = file.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["mean", "centroids", "centroids_before"]);
    assert_eq!(file.tensor("centroids").unwrap().shape, [4, 3]);
    let says = |key: &str| &file.metadata().iter().find(|(name, _)| name == key).unwrap().1;
    assert_eq!((says("n_iter").as_str(), says("n_clusters").as_str()), ("1", "4"));
    let bytes: Vec<u8> = x.values.iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(*says("data_sha256"), lowbit::internals::io::hash::sha256(&bytes));
}

#[test]
fn what_is_damaged_or_of_another_clustering_is_refused() {
    let (gpu, folder) = (device(), tempfile::tempdir().unwrap());
    let path = folder.path().join("state.safetensors");
    let x = blobs(200, 3, 4, 1.0, 8);
    let weights = vec![1.0; 200];
    let start = Init::Centroids(matrix(3, &x.values[..12]));
    let kmeans = KMeans::new(4).init(start).tol(0.0);
    let mut other = x.clone();
    other.values[599] += 1.0;
    let shorter = Matrix { rows: 199, values: x.values[..597].to_vec(), ..x };
    let moved = Init::Centroids(matrix(3, &x.values[3..15]));
    let one = matrix(3, &[0.5; 3]);
    let problem = |kmeans: &KMeans, data, weights| {
        let kmeans = kmeans.clone();
        Problem { gpu: &gpu, kmeans, data, weights, path: &path, every: Duration::ZERO }
    };
    let own = problem(&kmeans, &x, None);
    own.fit(false, 1, false).unwrap_err();
    for (word, problem) in [
        ("data_sha256 is '", problem(&kmeans, &other, None)),
        ("n_samples is '200' in it, and '199' here", problem(&kmeans, &shorter, None)),
        ("weights_sha256 is 'none' in it", problem(&kmeans, &x, Some(&weights))),
        ("seed is '0' in it, and '7' here", problem(&kmeans.clone().seed(7), &x, None)),
        ("tol is '0' in it, and '0.5' here", problem(&kmeans.clone().tol(0.5), &x, None)),
        ("max_iter is '300' in it, and '299' here", problem(&kmeans.clone().max_iter(299), &x, None)),
        ("n_init is '1' in it, and '2' here", problem(&kmeans.clone().n_init(2), &x, None)),
        ("metric is 'euclidean' in it, and 'dot'", problem(&kmeans.clone().metric(Metric::Dot), &x, None)),
        ("init is '", problem(&kmeans.clone().init(moved), &x, None)),
        ("and 'random' here", problem(&kmeans.clone().init(Init::Random), &x, None)),
        ("n_clusters is '4' in it, and '3' here", problem(&KMeans::new(3), &x, None)),
        (
            "and 'bisecting beside frozen ",
            problem(&kmeans.clone().init(Init::Bisecting).frozen(one), &x, None),
        ),
    ] {
        let error = problem.fit(true, 0, false).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let error = error.to_string();
        assert!(error.contains(word) && error.contains("state.safetensors"), "{word}: {error}");
    }
    // Where points lie is no setting of the result.
    let streamed = kmeans.clone().memory(10_000).chunk_rows(50);
    let resumed = problem(&streamed, &x, None).fit(true, 0, false).unwrap();
    assert_eq!(bits_of(&resumed), bits_of(&own.whole()));

    own.fit(false, 1, false).unwrap_err();
    let whole = std::fs::read(&path).unwrap();
    let refused = |bytes: &[u8], word: &str| {
        std::fs::write(&path, bytes).unwrap();
        let error = own.fit(true, 0, false).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let error = error.to_string();
        assert!(error.contains(word) && error.contains("state.safetensors"), "{word}: {error}");
    };
    for length in [1, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        refused(&whole[..length], "remove it, or give another checkpoint");
    }
    refused(&[], "the file is empty");
    // Any byte, except those of the padding behind the header.
    for at in (0..whole.len()).step_by(13).filter(|&at| whole[at] != b' ') {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        refused(&bytes, "state.safetensors");
    }
    let mut bytes = whole.clone();
    *bytes.last_mut().unwrap() ^= 1;
    refused(&bytes, "it is damaged");
    refused(b"\x15\0\0\0\0\0\0\0{\"__metadata__\":{}}  ", "it says nothing of format");
    refused(&x.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>(), "not a safetensors");

    // No file is no error: a job that is started again can always ask for it.
    std::fs::remove_file(&path).unwrap();
    assert_eq!(bits_of(&own.fit(true, 0, false).unwrap()), bits_of(&own.whole()));
}

/// Of the command line.
#[cfg(unix)]
mod command_line {
    use std::fs;
    use std::io::{BufRead, BufReader};
    use std::path::Path;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use lowbit::internals::io::npy;
    use lowbit::internals::random::Random;

    use crate::cli::{BAD_INPUT, done, lowbit, run};

    const FIT: [&str; 13] = [
        "kmeans",
        "fit",
        "x.npy",
        "-k",
        "40",
        "--tol",
        "0",
        "--n-init",
        "2",
        "--centroids",
        "c.npy",
        "--labels",
        "l.npy",
    ];

    fn spawn(folder: &Path, more: &[&str]) -> Child {
        let arguments = [&FIT[..], &["--checkpoint", "state.safetensors", "--resume"], more].concat();
        let mut child =
            lowbit(folder, &arguments).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        // Once it has said this, signals are handled.
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("from"), "{line}");
        child
    }

    fn signal(child: &Child, name: &str) {
        let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn outputs(folder: &Path) -> [Vec<u8>; 2] {
        ["c.npy", "l.npy"].map(|name| {
            let bytes = fs::read(folder.join(name)).unwrap();
            fs::remove_file(folder.join(name)).unwrap();
            bytes
        })
    }

    /// Waits until the checkpoint is another one `times` times.
    fn wait_for(path: &Path, times: usize) {
        let (from, state) = (Instant::now(), || fs::read(path).unwrap_or_default());
        for _ in 0..times {
            let before = state();
            while state() == before {
                assert!(from.elapsed() < Duration::from_secs(60), "no checkpoint is written");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn killed_or_asked_to_end_and_resumed_it_writes_the_same_bytes() {
        let temporary = tempfile::tempdir().unwrap();
        let (folder, path) = (temporary.path(), temporary.path().join("state.safetensors"));
        let values = Random::new(5).floats(8_000 * 6);
        npy::write_matrix(&folder.join("x.npy"), 8_000, 6, &values).unwrap();
        done(folder, &FIT);
        let whole = outputs(folder);

        // Nothing is asked of a process that is killed.
        let mut resume = vec![];
        for times in [1, 3, 5] {
            let mut child = spawn(folder, &["--checkpoint-every", "0"]);
            wait_for(&path, times);
            child.kill().unwrap();
            assert!(!child.wait().unwrap().success());
            assert!(!folder.join("c.npy").exists());
            resume = fs::read(&path).unwrap();
        }
        done(folder, &[&FIT[..], &["--checkpoint", "state.safetensors", "--resume"]].concat());
        assert!(outputs(folder) == whole);

        // A write that a kill cut off leaves a hidden file beside the checkpoint.
        for file in fs::read_dir(folder).unwrap().map(|file| file.unwrap()) {
            if file.file_name().to_string_lossy().starts_with(".lowbit-") {
                fs::remove_file(file.path()).unwrap();
            }
        }
        for name in ["-TERM", "-INT"] {
            fs::remove_file(&path).unwrap();
            // Before anything is computed, then in the loop.
            for every in ["3600", "0"] {
                let child = spawn(folder, &["--checkpoint-every", every]);
                if every == "0" {
                    wait_for(&path, 2);
                }
                signal(&child, name);
                let ended = child.wait_with_output().unwrap();
                let text = String::from_utf8(ended.stderr).unwrap();
                assert_eq!(ended.status.code(), Some(130), "{text}");
                // There is no state before all points were read once.
                let kept = text.contains("resume from the checkpoint state.safetensors");
                assert!(text.contains("interrupted") && kept == path.exists(), "{text}");
                assert!((kept || every == "3600") && !folder.join("c.npy").exists(), "{text}");
            }
            let ran = run(&mut lowbit(
                folder,
                &[&FIT[..], &["--checkpoint", "state.safetensors", "--resume"]].concat(),
            ));
            assert!(ran.code == Some(0) && ran.err.contains("resuming from state.safetensors"), "{ran:?}");
            assert!(outputs(folder) == whole);
        }

        // A second signal ends it at once: both are there when it goes on.
        fs::remove_file(&path).unwrap();
        let child = spawn(folder, &[]);
        for name in ["-STOP", "-TERM", "-INT", "-CONT"] {
            signal(&child, name);
        }
        let ended = child.wait_with_output().unwrap();
        assert!([Some(130), Some(143)].contains(&ended.status.code()), "{ended:?}");
        assert!(ended.stderr.is_empty() && !path.exists());

        // Without a checkpoint it ends as ever.
        let child = lowbit(folder, &FIT).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        signal(&child, "-TERM");
        assert_eq!(child.wait_with_output().unwrap().status.code(), None);

        // Refused before a device is opened, or before the data is clustered.
        fs::write(&path, &resume[..resume.len() - 5]).unwrap();
        for (more, word) in [
            (&["--checkpoint", "state.safetensors", "--resume"][..], "truncated or damaged"),
            (&["--checkpoint", "x.npy"], "overwrite an input"),
            (&["--checkpoint", "c.npy"], "two outputs"),
            (&["--checkpoint", "none/state.safetensors"], "does not exist"),
            (&["--resume"], "--checkpoint <FILE>"),
        ] {
            let ran = run(&mut lowbit(folder, &[&FIT[..], more].concat()));
            assert!(ran.code == Some(BAD_INPUT) && ran.err.contains(word), "{ran:?}");
        }
    }
}
