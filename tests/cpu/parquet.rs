//! Points of Parquet files that pyarrow wrote, and what is said of each that has none.

use std::fs;
use std::path::{Path, PathBuf};

use lowbit::internals::io::npy::read_columns;
use lowbit::internals::io::vecs::{Element, How, Vectors};
use lowbit::internals::random::Random;
use tempfile::TempDir;

use super::assets::{bits, expected, files, part, stem};

fn bad(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("assets/kmeans/parquet/bad-{case}.parquet"))
}

#[test]
fn every_file_of_pyarrow_gives_its_points() {
    let found = files("parquet", false);
    assert!(found.len() > 20, "{found:?}");
    for path in found {
        let (kind, expected) = expected(&path);
        let vectors = Vectors::open(&path, &How::default()).unwrap();
        assert_eq!((vectors.rows(), vectors.cols()), (7, 5), "{path:?}");
        assert_eq!(bits(&vectors), expected, "{path:?}");
        let said = vectors.conversion().unwrap_or_default();
        let lists = !["columns", "mixed", "required"].iter().any(|case| stem(&path).ends_with(case));
        assert_eq!(
            said.contains("the rows are the lists of column 'embedding', without 'id', 'text'"),
            lists,
            "{said}"
        );
        let element = match kind {
            "float16" => Element::F16,
            "uint8" => Element::U8,
            "int8" if lists => Element::I8,
            _ => Element::F32,
        };
        assert_eq!(vectors.element(), element, "{path:?}");
        let named = if lists { "embedding" } else { "c2" };
        let (one, _) = read_columns(&part(&path, named)).unwrap();
        let cols = if lists { 5 } else { 1 };
        assert_eq!((one.rows, one.cols), (7, cols));
        let whole = expected.chunks(5).flat_map(|row| if lists { row } else { &row[2..3] });
        assert!(one.values.iter().map(|value| value.to_bits()).eq(whole.copied()), "{path:?}");
    }
}

#[test]
fn what_cannot_be_points_is_said() {
    let of = |path: PathBuf, without: &[&str]| {
        let without = without.iter().map(|&name| name.to_owned()).collect();
        let error = Vectors::open(&path, &How { without, ..How::default() }).unwrap_err().to_string();
        assert!(error.contains("bad-"), "it does not name the file: {error}");
        error
    };
    for (case, expected) in [
        ("null-row", "row 4 (from 0) of column 'x' is null"),
        ("null-value", "row 5 (from 0) of column 'x' has a null in its list, value 2"),
        ("empty-list", "row 3 (from 0) of column 'x' has an empty list"),
        ("ragged", "row 6 (from 0) of column 'x' has 2 values, and the first 5"),
        ("nested", "column 'x' cannot be read as numbers: it is nested: lists of lists"),
        ("struct", "column 'x' cannot be read as numbers: it is nested: a struct"),
        ("two-lists", "several columns have lists of numbers: 'x', 'y'"),
        (
            "text",
            "column 'name' cannot be read as numbers: it has text or bytes; `without` NAME leaves it out",
        ),
        ("null-number", "row 2 (from 0) of column 'y' is null"),
        ("dates", "column 'x' cannot be read as numbers: it has dates"),
        ("large-number", "row 4 (from 0) of column 'x' is 16777217: beyond 16777216 (2^24)"),
        ("no-rows", "the array is empty"),
    ] {
        let error = of(bad(case), &[]);
        assert!(error.contains(expected), "{case}: {error}");
    }
    assert_eq!(files("parquet", true).len(), 12);
    assert!(of(bad("text"), &["nam"]).contains("no column is called 'nam'; near it are 'name'"));
    assert!(of(bad("text"), &["x", "name"]).contains("no column is left"));
    assert!(
        of(part(&bad("text"), "other"), &[]).contains("no column is called 'other'; there are 'x', 'name'")
    );
    let kept = Vectors::open(&bad("text"), &How { without: vec!["name".into()], ..How::default() }).unwrap();
    assert_eq!((kept.rows(), kept.cols()), (7, 1));
    let both = How { without: vec!["x".into()], ..How::default() };
    let error = Vectors::open(&part(&bad("two-lists"), "y"), &both).unwrap_err().to_string();
    assert!(error.contains("leave out `without`"), "{error}");
    let one = Vectors::open(&part(&bad("two-lists"), "y"), &How::default()).unwrap();
    assert_eq!((one.rows(), one.cols()), (7, 5));
    let how = How { batch: true, ..How::default() };
    assert!(
        Vectors::open(&files("parquet", false)[0], &how)
            .unwrap_err()
            .to_string()
            .contains("leave out `batch`")
    );
}

#[test]
fn damaged_files_are_errors() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("damaged.parquet");
    let mut random = Random::new(5);
    let try_file = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Vectors::open(&path, &How::default()).map(|vectors| bits(&vectors))
    };
    let mut read = 0;
    for file in files("parquet", false).iter().step_by(4) {
        let whole = fs::read(file).unwrap();
        for cut in (0..whole.len()).step_by(61).skip(1) {
            assert!(try_file(&whole[..cut]).is_err(), "{file:?} cut to {cut} bytes is read");
        }
        for _ in 0..100 {
            let mut bytes = whole.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.below(256) as u8;
            }
            match try_file(&bytes) {
                Ok(_) => read += 1,
                Err(error) => assert!(error.to_string().contains("damaged.parquet"), "{error}"),
            }
        }
    }
    // Values and what says nothing of them can be anything.
    assert!((50..600).contains(&read), "{read}");
}
