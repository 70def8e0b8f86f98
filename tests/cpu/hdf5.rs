//! Points of HDF5 files that h5py wrote, and what is said of each that has none.

use std::fs;
use std::path::{Path, PathBuf};

use lowbit::internals::io::npy::read_columns;
use lowbit::internals::io::vecs::{Element, How, Vectors};
use lowbit::internals::random::Random;
use tempfile::TempDir;

use super::assets::{bits, expected, files, part, stem};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/kmeans/hdf5")
}

#[test]
fn every_file_of_h5py_gives_its_points() {
    let found = files("h5", false);
    assert!(found.len() > 15, "{found:?}");
    for path in found {
        let (kind, expected) = expected(&path);
        let vectors = Vectors::open(&path, &How::default()).unwrap();
        assert_eq!((vectors.rows(), vectors.cols()), (7, 5), "{path:?}");
        assert_eq!(bits(&vectors), expected, "{path:?}");
        let element = match kind {
            "float16" => Element::F16,
            "uint8" => Element::U8,
            "int8" => Element::I8,
            _ => Element::F32,
        };
        assert_eq!(vectors.element(), element, "{path:?}");
        let said = vectors.conversion().unwrap_or_default();
        let (name, chosen) = match stem(&path) {
            "float32-train" => {
                ("train", "the rows are those of dataset 'train', without 'distances', 'neighbors', 'test'")
            }
            "float32-labels" => ("x", "the rows are those of dataset 'x', without 'labels', 'names'"),
            "float32-group" => ("a/b/x", ""),
            _ => ("x", ""),
        };
        assert!(said.contains(chosen) && said.contains("dataset") != chosen.is_empty(), "{said}");
        for name in [name.to_owned(), format!("/{name}")] {
            assert_eq!(bits(&Vectors::open(&part(&path, &name), &How::default()).unwrap()), expected);
        }
    }
    let (labels, _) = read_columns(&part(&folder().join("float32-labels.h5"), "labels")).unwrap();
    assert_eq!((labels.rows, labels.values.as_slice()), (7, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0][..]));
}

#[test]
fn what_cannot_be_points_is_said() {
    let of = |path: PathBuf| Vectors::open(&path, &How::default()).unwrap_err().to_string();
    let bad = |case: &str| folder().join(format!("bad-{case}.h5"));
    for (case, expected) in [
        ("several", "it has several datasets of numbers: 'x', 'y'; give one as FILE.h5:NAME"),
        ("text", "it has no dataset of numbers"),
        ("complex", "it has no dataset of numbers"),
        ("empty", "the array is empty: its shape is (0, 5)"),
        ("flat", "the array is 1-D, its shape is (5,)"),
        ("virtual", "the dataset has its values in other files"),
        ("unwritten", "the dataset is said to be larger than what such a file can have"),
    ] {
        let error = of(bad(case));
        assert!(error.contains(expected) && error.contains("bad-"), "{case}: {error}");
    }
    let large = Vectors::open(&bad("large"), &How::default()).unwrap();
    let error = large.read(0..1, &mut [0.0; 2]).unwrap_err().to_string();
    assert!(error.contains("row 0, column 1 (from 0) is 16777217"), "{error}");
    assert!(of(part(&bad("several"), "z")).contains("no dataset is called 'z'; there are 'x', 'y'"));
    assert!(of(part(&bad("several"), "names")).contains("dataset 'names' has no numbers"));
    assert_eq!(Vectors::open(&part(&bad("several"), "y"), &How::default()).unwrap().rows(), 7);
    let how = How { without: vec!["x".into()], ..How::default() };
    let error = Vectors::open(&bad("several"), &how).unwrap_err().to_string();
    assert!(error.contains("only the columns of a table have names"), "{error}");
}

#[test]
fn damaged_files_are_errors() {
    let temporary = TempDir::new().unwrap();
    let path = temporary.path().join("damaged.h5");
    let mut random = Random::new(7);
    let try_file = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let vectors = Vectors::open(&path, &How::default())?;
        let mut values = vec![0.0; (vectors.rows().min(64) as usize) * vectors.cols().min(64)];
        if values.len() == vectors.rows() as usize * vectors.cols() {
            vectors.read(0..vectors.rows(), &mut values)?;
        }
        Ok::<_, lowbit::Error>(())
    };
    let mut read = 0;
    for file in files("h5", false).iter().step_by(3) {
        let whole = fs::read(file).unwrap();
        for cut in (0..whole.len()).step_by(97).skip(1) {
            assert!(try_file(&whole[..cut]).is_err(), "{file:?} cut to {cut} bytes is read");
        }
        for _ in 0..100 {
            let mut bytes = whole.clone();
            for _ in 0..=random.below(6) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.below(256) as u8;
            }
            match try_file(&bytes) {
                Ok(()) => read += 1,
                Err(error) => assert!(error.to_string().contains("damaged.h5"), "{error}"),
            }
        }
    }
    // Most of such a file is empty, and values can be anything.
    assert!(read > 50, "{read}");
}
