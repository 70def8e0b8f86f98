//! Points in several files: folders, patterns of names, and lists of paths.

use std::fs;
use std::path::{Path, PathBuf};

use lowbit::internals::Result;
use lowbit::internals::io::npy::{Matrix, write_matrix as write};
use lowbit::internals::io::vecs::{Element, How, Vectors, files_of};
use tempfile::TempDir;

/// Rows that count on from `first`.
fn rows(first: usize, rows: usize, cols: usize) -> Matrix {
    let values = (first * cols..(first + rows) * cols).map(|value| value as f32).collect();
    Matrix { rows, cols, values }
}

fn write_matrix(path: &Path, matrix: &Matrix) {
    write(path, matrix.rows, matrix.cols, &matrix.values).unwrap();
}

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    // In another order than their names have.
    for (name, first, count) in [("c.npy", 5, 4), ("a.npy", 0, 3), ("b.npy", 3, 2)] {
        write_matrix(&folder.path().join(name), &rows(first, count, 3));
    }
    for other in ["README.md", ".hidden.npy", "_SUCCESS", "_part.npy"] {
        fs::write(folder.path().join(other), "no points").unwrap();
    }
    fs::create_dir(folder.path().join("more.npy")).unwrap();
    folder
}

fn read(vectors: &Vectors, from: u64, to: u64) -> Vec<f32> {
    let mut values = vec![0.0; (to - from) as usize * vectors.cols()];
    vectors.read(from..to, &mut values).unwrap();
    values
}

fn open(path: impl AsRef<Path>) -> Result<Vectors> {
    Vectors::open(path.as_ref(), &How::default())
}

fn problem(opened: Result<Vectors>) -> String {
    opened.unwrap_err().to_string()
}

#[test]
fn files_follow_in_the_order_of_their_names() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let listed = Vectors::open_all(&["a.npy", "b.npy", "c.npy"].map(path), &How::default()).unwrap();
    assert!(listed.path().ends_with("a.npy and 2 more"));
    for vectors in [open(folder.path()), open(path("*.npy")), open(path("[a-c].npy")), Ok(listed)] {
        let vectors = vectors.unwrap();
        assert_eq!((vectors.rows(), vectors.cols(), vectors.problems()), (9, 3, 1));
        assert!(vectors.conversion().unwrap().contains("3 files, one behind the other"));
        let all = rows(0, 9, 3).values;
        for from in 0..9 {
            for to in from..=9 {
                assert_eq!(read(&vectors, from, to), all[3 * from as usize..3 * to as usize]);
                let mut packed = vec![0; 12 * (to - from) as usize];
                vectors.read_packed(from..to, &mut packed).unwrap();
                assert!(
                    packed
                        .as_chunks()
                        .0
                        .iter()
                        .zip(&all[3 * from as usize..])
                        .all(|(a, b)| *a == b.to_le_bytes())
                );
            }
        }
        assert!(vectors.read(0..10, &mut [0.0; 30]).is_err());
        assert!(vectors.read(0..2, &mut [0.0; 5]).is_err());
    }
    let listed = Vectors::open_all(&["c.npy", "a.npy"].map(path), &How::default()).unwrap();
    assert_eq!(read(&listed, 3, 5), [24.0, 25.0, 26.0, 0.0, 1.0, 2.0]);
    let one = open(path("?.npy")).unwrap();
    assert_eq!(one.rows(), 9);
    assert!(open(path("a.npy")).unwrap().conversion().is_none());
}

#[test]
fn types_that_differ_become_float32() {
    let folder = TempDir::new().unwrap();
    let bytes = |name: &str, values: &[u8]| {
        let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 3), }";
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.bytes().chain(values.iter().copied()));
        fs::write(folder.path().join(name), file).unwrap();
    };
    bytes("a.npy", &[1, 2, 255]);
    bytes("b.npy", &[4, 5, 6]);
    assert_eq!(open(folder.path()).unwrap().element(), Element::U8);
    write_matrix(&folder.path().join("c.npy"), &rows(1, 1, 3));
    let mixed = open(folder.path()).unwrap();
    assert_eq!((mixed.element(), mixed.row_bytes()), (Element::F32, 12));
    assert!(mixed.conversion().unwrap().contains("of different types, which become float32"));
    let expected = [1.0, 2.0, 255.0, 4.0, 5.0, 6.0, 3.0, 4.0, 5.0];
    assert_eq!(read(&mixed, 0, 3), expected);
    let mut packed = vec![0; 36];
    mixed.read_packed(0..3, &mut packed).unwrap();
    assert!(
        packed.as_chunks().0.iter().zip(expected).all(|(bytes, value)| f32::from_le_bytes(*bytes) == value)
    );
}

#[test]
fn columns_of_several_tables() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.csv"), "x,y\n1,2\n3,4\n").unwrap();
    fs::write(folder.path().join("b.csv"), "x,y\n5,6\n").unwrap();
    let how = How { without: vec!["x".into()], ..How::default() };
    assert_eq!(read(&Vectors::open(folder.path(), &how).unwrap(), 0, 3), [2.0, 4.0, 6.0]);
    let named = files_of(&folder.path().join("*.csv:y"), false).unwrap();
    assert!(
        named.iter().map(PathBuf::as_path).eq(["a.csv:y", "b.csv:y"].map(|name| folder.path().join(name)))
    );
}

#[test]
fn what_does_not_fit_together_is_said() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    write_matrix(&path("d.npy"), &rows(0, 2, 4));
    let error = problem(open(folder.path()));
    assert!(
        error.contains("d.npy: its rows have 4 values, and those of") && error.contains("a.npy 3"),
        "{error}"
    );
    let batch = How { batch: true, ..How::default() };
    assert!(problem(Vectors::open(folder.path(), &batch)).contains("leave out `batch`"));
    assert!(problem(open(path("*.fvecs"))).contains("no file whose name fits this pattern"));
    assert!(problem(open(path("***.npy"))).contains("this is no pattern of names"));
    assert!(problem(open(path("none.npy"))).contains("none.npy"));
    assert!(problem(Vectors::open_all(&[], &How::default())).contains("no file"));
    let empty = TempDir::new().unwrap();
    assert!(problem(open(empty.path())).contains("no file of this folder has points: none is a .npy"));
    // A damaged one is named.
    fs::write(path("b.npy"), b"\x93NUMPY damaged").unwrap();
    assert!(problem(open(path("[ab].npy"))).contains("b.npy"));
    // A name that is a pattern, of a file that there is.
    write_matrix(&path("[x].npy"), &rows(0, 1, 3));
    assert_eq!(open(path("[x].npy")).unwrap().rows(), 1);
}

#[test]
fn a_file_counts_once_and_columns_are_the_same() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("deep/_temporary")).unwrap();
    write_matrix(&path("deep/a.npy"), &rows(0, 1, 3));
    write_matrix(&path("deep/_temporary/b.npy"), &rows(1, 1, 3));
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path(), path("latest")).unwrap();
    assert_eq!(open(path("**/*.npy")).unwrap().rows(), 10);
    assert_eq!(open(path("deep/_*/*.npy")).unwrap().rows(), 1);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(path("none"), path("deep/c.npy")).unwrap();
        assert!(problem(open(path("deep"))).contains("c.npy"));
    }
    let tables = TempDir::new().unwrap();
    let table = |name: &str, text: &str| fs::write(tables.path().join(name), text).unwrap();
    table("a.csv", "x,y\n1,2\n");
    table("b.csv", "x,y\n3,4\n");
    assert_eq!(open(tables.path()).unwrap().rows(), 2);
    table("c.csv", "y,x\n5,6\n");
    let error = problem(open(tables.path()));
    assert!(
        error.contains("c.csv: its columns are 'y', 'x', and those of") && error.contains("'x', 'y'"),
        "{error}"
    );
}
