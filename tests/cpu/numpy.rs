//! Numpy's habits: arrays of any numbers, in either order, in archives and tables; labels of any two values; what is taken for
//! data and what is not; and arrays written as their names say.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use lowbit::internals::io::labels::Column;
use lowbit::internals::io::npy::{self, read_columns, read_examples, read_labels, read_matrix};
use lowbit::internals::io::vecs::{Element, How, Vectors};
use lowbit::internals::io::{arrays, kind::Kind};
use lowbit::internals::random::Random;
use lowbit::internals::{Error, Result};
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }
}

fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/numpy").join(name)
}

#[track_caller]
fn refused<T>(result: Result<T>, words: &[&str]) {
    let error = result.err().expect("this should have been refused");
    assert!(error.is_input() || matches!(error, Error::File { .. }), "{error:?}");
    let message = error.to_string();
    assert!(!message.contains('\n') && error.exit_code() == 2, "{message}");
    for word in words {
        assert!(message.contains(word), "\"{word}\" is not in: {message}");
    }
}

fn array(descr: &str, fortran: bool, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let sizes: String = shape.iter().map(|n| format!("{n},")).collect();
    let text = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({sizes}), }}\n");
    [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes(), data].concat()
}

/// A zip archive, as APPNOTE.TXT describes it.
fn zip(members: &[(&str, &[u8], bool)]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for &(name, data, deflated) in members {
        let packed = if deflated {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        } else {
            data.to_vec()
        };
        let name = format!("{name}.npy");
        let method = if deflated { 8u16 } else { 0 };
        let mut fields = [20u16, 0, method, 0, 0].map(u16::to_le_bytes).concat();
        let sizes = [crc32fast::hash(data), packed.len() as u32, data.len() as u32];
        fields.extend(sizes.map(u32::to_le_bytes).concat());
        fields.extend([name.len() as u16, 0].map(u16::to_le_bytes).concat());
        let at = bytes.len() as u32;
        bytes.extend([b"PK\x03\x04", fields.as_slice(), name.as_bytes(), &packed].concat());
        directory.extend(
            [b"PK\x01\x02\x14\x00", fields.as_slice(), &[0; 10], &at.to_le_bytes(), name.as_bytes()].concat(),
        );
    }
    let (at, length, count) = (bytes.len() as u32, directory.len() as u32, members.len() as u16);
    bytes.extend(directory);
    let end = [
        &[0; 4][..],
        &[count; 2].map(u16::to_le_bytes).concat(),
        &length.to_le_bytes(),
        &at.to_le_bytes(),
        &[0; 2],
    ];
    bytes.extend([b"PK\x05\x06", end.concat().as_slice()].concat());
    bytes
}

/// The bytes of a value that every type has, in a type of numpy's.
fn encoded(code: &str, value: i32) -> Vec<u8> {
    let mut bytes = match &code[1..] {
        "b1" => vec![u8::from(value != 0)],
        "u1" => vec![value as u8],
        "i1" => vec![value as i8 as u8],
        "u2" => (value as u16).to_le_bytes().to_vec(),
        "i2" => (value as i16).to_le_bytes().to_vec(),
        "u4" => (value as u32).to_le_bytes().to_vec(),
        "i4" => value.to_le_bytes().to_vec(),
        "u8" => (value as u64).to_le_bytes().to_vec(),
        "i8" => i64::from(value).to_le_bytes().to_vec(),
        "f2" => half::f16::from_f32(value as f32).to_le_bytes().to_vec(),
        "f4" => (value as f32).to_le_bytes().to_vec(),
        "f8" => f64::from(value).to_le_bytes().to_vec(),
        other => panic!("{other}"),
    };
    if code.starts_with('>') {
        bytes.reverse();
    }
    bytes
}

const CODES: [&str; 21] = [
    "|b1", "|u1", "|i1", "<u2", ">u2", "<i2", ">i2", "<u4", ">u4", "<i4", ">i4", "<u8", ">u8", "<i8", ">i8",
    "<f2", ">f2", "<f4", ">f4", "<f8", ">f8",
];

/// The place of a value in Fortran order, whose index in C order is this.
fn fortran_place(shape: &[usize], index: usize) -> usize {
    let (mut rest, mut places) = (index, vec![0; shape.len()]);
    for axis in (0..shape.len()).rev() {
        places[axis] = rest % shape[axis];
        rest /= shape[axis];
    }
    (0..shape.len()).rev().fold(0, |place, axis| place * shape[axis] + places[axis])
}

/// Random values that every type has, and an array of them.
fn random_array(code: &str, fortran: bool, shape: &[usize], random: &mut Random) -> (Vec<f32>, Vec<u8>) {
    let count: usize = shape.iter().product();
    let values: Vec<i32> =
        (0..count).map(|_| random.below(if code == "|b1" { 2 } else { 128 }) as i32).collect();
    let width = encoded(code, 0).len();
    let mut data = vec![0; count * width];
    for (index, &value) in values.iter().enumerate() {
        let place = if fortran { fortran_place(shape, index) } else { index };
        data[place * width..][..width].copy_from_slice(&encoded(code, value));
    }
    (values.into_iter().map(|value| value as f32).collect(), array(code, fortran, shape, &data))
}

#[test]
fn every_type_order_and_container_gives_the_same_values() {
    let folder = Folder::new();
    let mut random = Random::new(4);
    for code in CODES {
        for fortran in [false, true] {
            for shape in [&[7, 5][..], &[1, 6], &[6, 1], &[3, 4, 5], &[2, 3, 4, 2]] {
                let (values, bytes) = random_array(code, fortran, shape, &mut random);
                let other = array("<f4", false, &[1, 1], &[0; 4]);
                let both = |deflated| zip(&[("other", &other, false), ("x", &bytes, deflated)]);
                folder.file("a.npy", &bytes);
                folder.file("one.npz", zip(&[("arr_0", &bytes, true)]));
                folder.file("stored.npz", both(false));
                folder.file("deflated.npz", both(true));
                for name in ["a.npy", "one.npz", "stored.npz:x", "deflated.npz:x"] {
                    let path = folder.path(name);
                    let (matrix, example) = read_examples(&path).unwrap();
                    assert_eq!((matrix.rows, example.as_slice()), (shape[0], &shape[1..]), "{name}");
                    assert_eq!(matrix.values, values, "{name} {code} {fortran} {shape:?}");
                    if shape.len() < 4 {
                        let how = How { batch: shape.len() == 3, ..How::default() };
                        pieces(&Vectors::open(&path, &how).unwrap(), &values);
                    }
                }
            }
        }
    }
}

/// Every range of rows is that of the whole.
fn pieces(vectors: &Vectors, values: &[f32]) {
    let (rows, cols) = (vectors.rows(), vectors.cols());
    for begin in 0..rows {
        for end in begin..=rows {
            let mut found = vec![0.0; (end - begin) as usize * cols];
            vectors.read(begin..end, &mut found).unwrap();
            assert_eq!(found, values[begin as usize * cols..end as usize * cols]);
            let mut packed = vec![0; (end - begin) as usize * vectors.row_bytes()];
            vectors.read_packed(begin..end, &mut packed).unwrap();
            let widened: Vec<f32> = match vectors.element() {
                Element::F32 => packed.as_chunks().0.iter().map(|&x| f32::from_le_bytes(x)).collect(),
                Element::F16 => {
                    packed.as_chunks().0.iter().map(|&x| half::f16::from_le_bytes(x).to_f32()).collect()
                }
                Element::U8 | Element::I8 => packed.iter().map(|&x| x.into()).collect(),
            };
            assert_eq!(widened, found);
        }
    }
}

#[test]
fn a_fortran_matrix_of_many_blocks_is_read() {
    let folder = Folder::new();
    let (values, bytes) = random_array("<f8", true, &[70_001, 41], &mut Random::new(8));
    let path = folder.file("a.npy", bytes);
    assert!(read_matrix(&path).unwrap().values == values);
    let vectors = Vectors::open(&path, &How::default()).unwrap();
    let mut rows = vec![0.0; 3 * 41];
    vectors.read(69_998..70_001, &mut rows).unwrap();
    assert_eq!(rows, values[69_998 * 41..]);
}

#[test]
fn what_f32_does_not_hold_is_refused_with_its_place() {
    let folder = Folder::new();
    let mut wide = vec![1.0f64; 3 * 100_000];
    wide[3 * 70_000 + 2] = -3.5e38;
    let data: Vec<u8> = wide.iter().flat_map(|x| x.to_le_bytes()).collect();
    let path = folder.file("a.npy", array("<f8", false, &[100_000, 3], &data));
    refused(read_matrix(&path), &["in row 70000, column 2 (from 0) is -3.5e38", "beyond f32"]);
    // Infinity and NaN are values; the smallest numbers become 0; the largest f32 stays.
    let kept = [f64::INFINITY, f64::NAN, 1e-300, f64::from(f32::MAX)].map(f64::to_le_bytes);
    let found =
        read_matrix(&folder.file("a.npy", array("<f8", false, &[4, 1], kept.as_flattened()))).unwrap();
    assert!(found.values[0].is_infinite() && found.values[1].is_nan());
    assert_eq!(found.values[2..], [0.0, f32::MAX]);
    let whole = |values: [i64; 3]| {
        let data = values.map(i64::to_be_bytes);
        read_examples(&folder.file("a.npy", array(">i8", false, &[1, 1, 3], data.as_flattened())))
    };
    assert_eq!(whole([1 << 25, i64::MIN, -3]).unwrap().0.values, [33_554_432.0, -9.223_372e18, -3.0]);
    refused(whole([0, (1 << 25) + 1, 0]), &["at [0, 0, 1] (from 0) is 33554433", "2^24"]);
    refused(whole([0, 0, i64::MAX]), &["at [0, 0, 2]", "9223372036854775807"]);
    let data = [u64::MAX, 0].map(u64::to_le_bytes);
    refused(
        read_columns(&folder.file("a.npy", array("<u8", false, &[2], data.as_flattened()))),
        &["18446744073709551615"],
    );
}

#[test]
fn archives_of_numpy_are_read_and_wrong_names_are_listed() {
    let (stored, deflated) = (asset("stored.npz"), asset("deflated.npz"));
    let part = |path: &Path, name: &str| PathBuf::from(format!("{}:{name}", path.display()));
    let points: Vec<f32> = (0..12).map(|i| i as f32 * 0.5 - 2.0).collect();
    assert_eq!(read_matrix(&part(&stored, "points")).unwrap().values, points);
    let whole: Vec<f32> = points.iter().map(|x| x.trunc()).collect();
    assert_eq!(read_matrix(&part(&deflated, "points")).unwrap().values, whole);
    assert_eq!(read_matrix(&asset("one.npz")).unwrap().values, points);
    assert_eq!(
        npy::conversion(&part(&deflated, "points")).unwrap().split(": ").last(),
        Some("int16 is converted to float32")
    );
    assert_eq!(npy::conversion(&asset("one.npz")), None);
    let names: Vec<String> = npy::read_infos(&stored).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["points", "labels"]);
    refused(
        read_matrix(&stored),
        &["it has 2 arrays: say which", "stored.npz:points; there are 'points', 'labels'"],
    );
    refused(read_matrix(&part(&stored, "point")), &["no array is called 'point'; near it are 'points'"]);
    refused(read_matrix(&part(&stored, "labels")), &["text ('<U9')", "not numbers"]);
    refused(read_matrix(&asset("structured.npy")), &["structured ('[('x', '<f4'), ('name', '<U3')]')"]);
    refused(read_matrix(&asset("object.npy")), &["object ('|O')"]);
    let folder = Folder::new();
    refused(read_matrix(&folder.file("a.zip", zip(&[]))), &["without any .npy"]);
    // A file that is called like the whole comes first.
    let odd = folder.file("a.npz:x", array("<f4", false, &[1, 1], &2f32.to_le_bytes()));
    assert_eq!(read_matrix(&odd).unwrap().values, [2.0]);
}

#[test]
fn damaged_archives_are_refused_or_read_as_they_were() {
    let folder = Folder::new();
    let mut random = Random::new(6);
    let (values, bytes) = random_array("<i2", true, &[9, 4], &mut random);
    let archives =
        [zip(&[("x", &bytes, true), ("y", &bytes, false)]), fs::read(asset("stored.npz")).unwrap()];
    let mut below = |n: usize| random.below(n as u64) as usize;
    let (mut read, mut not) = (0, 0);
    for turn in 0..600 {
        let mut bytes = archives[turn % 2].clone();
        for _ in 0..1 + below(3) {
            let at = below(bytes.len());
            bytes[at] = [0, 1, 255, below(256) as u8][below(4)];
        }
        if below(3) == 0 {
            bytes.truncate(below(bytes.len()).max(1));
        }
        folder.file("a.npz", &bytes);
        for name in ["a.npz:x", "a.npz:y", "a.npz:points", "a.npz"] {
            let path = folder.path(name);
            let _ = npy::read_infos(&folder.path("a.npz"));
            match read_matrix(&path) {
                Ok(matrix) => {
                    read += 1;
                    assert_eq!(matrix.values.len(), matrix.rows * matrix.cols);
                    // What is deflated has a checksum.
                    assert!(name != "a.npz:x" || matrix.values == values || turn % 2 == 1);
                }
                Err(error) => {
                    not += 1;
                    assert!(!error.to_string().contains(char::is_control), "{error}");
                }
            }
        }
    }
    assert!(read > 100 && not > 600, "{read} {not}");
}

#[test]
fn a_hostile_header_is_refused_by_every_reader() {
    let folder = Folder::new();
    let others = [
        "<U1",
        "<U4000000000",
        "<U18446744073709551615",
        "|S0",
        "|S64",
        "|S9223372036854775807",
        "|O",
        "<f16",
        "",
    ];
    let shapes: [&[usize]; 11] = [
        &[],
        &[0],
        &[usize::MAX],
        &[1 << 62],
        &[0, 1 << 60],
        &[1 << 60, 0],
        &[1 << 32, 1 << 32],
        &[1 << 40, 1],
        &[1, 1 << 40],
        &[0, 2, 1 << 50],
        &[1 << 20, 1 << 20, 1 << 20, 1 << 20],
    ];
    for code in CODES.iter().chain(&others) {
        for shape in shapes {
            for fortran in [false, true] {
                for bytes in [0, 64] {
                    let path = folder.file("a.npy", array(code, fortran, shape, &vec![0; bytes]));
                    let column = Column { path: path.clone(), name: None };
                    let none = |read: bool| assert!(!read, "{code} {shape:?} {bytes}");
                    none(read_matrix(&path).is_ok());
                    none(read_examples(&path).is_ok());
                    none(read_columns(&path).is_ok());
                    none(npy::Floats::open(&path).is_ok());
                    none(column.read_labels(None).is_ok());
                    for batch in [false, true] {
                        none(Vectors::open(&path, &How { batch, ..How::default() }).is_ok());
                    }
                    // Nothing at all is what some of these ask for.
                    let found = [
                        npy::read_tensor(&path).map_or(0, |(_, values)| values.len()),
                        read_labels(&path).map_or(0, |labels| labels.len()),
                        column.read_classes().map_or(0, |(classes, _)| classes.len()),
                        column.read_groups().map_or(0, |groups| groups.len()),
                    ];
                    assert!(found.iter().all(|&count| count <= 16), "{code} {shape:?} {found:?}");
                    let _ = (npy::conversion(&path), npy::read_info(&path));
                }
            }
        }
    }
}

#[test]
fn tables_are_arrays_too() {
    let folder = Folder::new();
    let path = folder.file("t.csv", "id,a,w,b\nx,1,0.5,2\ny,3,2.5,4\n");
    let part = |name: &str| PathBuf::from(format!("{}:{name}", path.display()));
    let (weights, flat) = read_columns(&part("w")).unwrap();
    assert_eq!((weights.values.as_slice(), flat), (&[0.5, 2.5][..], true));
    let error = read_matrix(&path).unwrap_err().to_string();
    assert!(error.ends_with("line 2, column 1 ('id'): 'x' is no number"), "{error}");
    refused(Vectors::open(&path, &How::default()), &["'x' is no number; `without` NAME leaves a column out"]);
    refused(read_matrix(&part("v")), &["no column is called 'v'"]);
    let without =
        |names: &[&str]| How { without: names.iter().map(|&name| name.into()).collect(), ..How::default() };
    let vectors = Vectors::open(&path, &without(&["id", "w"])).unwrap();
    pieces(&vectors, &[1.0, 2.0, 3.0, 4.0]);
    refused(Vectors::open(&path, &without(&["idd"])), &["no column is called 'idd'"]);
    let array = folder.file("a.npy", array("|u1", false, &[1, 1], &[1]));
    refused(Vectors::open(&array, &without(&["id"])), &["`without` 'id'", "the columns of a table"]);
}

#[test]
fn labels_of_any_two_values_have_a_positive() {
    let folder = Folder::new();
    let read = |text: &str, positive: Option<&str>| {
        let column = Column { path: folder.file("y.csv", text), name: None };
        column.read_labels(positive).map(|labels| (labels.values, labels.positive, labels.notice.is_some()))
    };
    let (no, yes) = (false, true);
    for (text, positive, expected) in [
        ("0\n1\n1\n", None, (vec![no, yes, yes], "1", false)),
        ("-1\n1\n-1.0\n", None, (vec![no, yes, no], "1", true)),
        ("2\n1\n1\n", None, (vec![yes, no, no], "2", true)),
        ("10\n9\n9\n", None, (vec![yes, no, no], "10", true)),
        ("0.25\n0.75\n.75\n", None, (vec![no, yes, yes], "0.75", true)),
        ("True\nfalse\nTRUE\n", None, (vec![yes, no, yes], "True", false)),
        ("y\nb\nm\n", Some("m"), (vec![no, yes], "m", true)),
        // What occurs again is no name.
        ("M\nB\nM\n", None, (vec![yes, no, yes], "M", true)),
        ("label\nB\nM\nB\n", None, (vec![no, yes, no], "M", true)),
        ("label\nB\nM\nB\n", Some("B"), (vec![yes, no, yes], "B", true)),
        ("0\n1\n1\n", Some("0"), (vec![yes, no, no], "0", true)),
        ("0\n1\n1\n", Some("1"), (vec![no, yes, yes], "1", false)),
        ("1\n-1\n", Some("-1"), (vec![no, yes], "-1", true)),
    ] {
        let (values, name, notice) = read(text, positive).unwrap();
        assert_eq!((values, name.as_str(), notice), expected, "{text:?} {positive:?}");
    }
    refused(read("a\nx\ny\nz\n", None), &["3 different labels, 'x', 'y', 'z'"]);
    refused(read("0\n1\n2\n", Some("2")), &["3 different labels, 0, 1, 2"]);
    refused(read("label\nx\nx\n", None), &["all 2 labels are 'x'"]);
    refused(read("3\n3\n", None), &["all 2 labels are 3"]);
    refused(read("0\n1\n", Some("yes")), &["`positive` 'yes'", "there are 0 and 1"]);
    // That all are 0 or 1 is for the audit to say, which counts both.
    assert_eq!(read("1\n1\n", None).unwrap().0, [yes, yes]);

    let arrays = |bytes: Vec<u8>, positive: Option<&str>| {
        let column = Column { path: folder.file("y.npy", bytes), name: None };
        column.read_labels(positive).map(|labels| (labels.values, labels.positive))
    };
    for code in CODES.iter().filter(|code| **code != "|b1") {
        let data: Vec<u8> = [7, 3, 7].iter().flat_map(|&value| encoded(code, value)).collect();
        let expected = (vec![yes, no, yes], "7".to_owned());
        for shape in [&[3][..], &[3, 1]] {
            assert_eq!(arrays(array(code, false, shape, &data), None).unwrap(), expected, "{code}");
        }
        for fortran in [false, true] {
            let hot = if fortran { [0, 1, 0, 1, 0, 1] } else { [0, 1, 1, 0, 0, 1] };
            let hot: Vec<u8> = hot.iter().flat_map(|&value| encoded(code, value)).collect();
            assert_eq!(
                arrays(array(code, fortran, &[3, 2], &hot), None).unwrap(),
                (vec![yes, no, yes], "1".into())
            );
        }
    }
    let bools = arrays(array("|b1", false, &[2], &[1, 0]), Some("false")).unwrap();
    assert_eq!(bools, (vec![no, yes], "False".into()));
    let text = |big: bool| -> Vec<u8> {
        let codes = "ja\0\0neinja\0\0".chars().map(u32::from);
        codes.flat_map(|code| if big { code.to_be_bytes() } else { code.to_le_bytes() }).collect()
    };
    assert_eq!(
        arrays(array("<U4", false, &[3], &text(false)), None).unwrap(),
        (vec![no, yes, no], "nein".into())
    );
    assert_eq!(
        arrays(array(">U4", false, &[3], &text(true)), Some("ja")).unwrap(),
        (vec![yes, no, yes], "ja".into())
    );
    refused(arrays(array("<U4", false, &[4], &text(false)), None), &["truncated"]);
    refused(
        arrays(array("<i4", false, &[1, 2], &[1, 0, 0, 0].repeat(2)), None),
        &["row 0 (from 0) is not one 1"],
    );
    refused(arrays(array("<f4", false, &[1], &f32::NAN.to_le_bytes()), None), &["row 0", "NaN"]);
    let numpy = |path: PathBuf, name: Option<&str>| Column { path, name: name.map(str::to_owned) };
    let labels = numpy(asset("stored.npz"), Some("labels")).read_labels(None).unwrap();
    assert_eq!((labels.values, labels.negative.as_str()), (vec![yes, no, no, yes], "benign"));
    assert_eq!(numpy(asset("bytes.npy"), None).read_labels(None).unwrap().values, [no, yes, yes]);
    refused(numpy(asset("object.npy"), None).read_labels(None), &["object ('|O')", ".astype(str)"]);
    refused(numpy(asset("structured.npy"), None).read_labels(None), &["structured"]);
}

#[test]
fn classes_and_groups_may_be_text() {
    let folder = Folder::new();
    let column = |text: &str| Column { path: folder.file("y.csv", text), name: None };
    let (classes, notice) = column("kind\nrose\naster\nlily\naster\n").read_classes().unwrap();
    assert_eq!(classes, [2, 0, 1, 0]);
    assert!(notice.unwrap().contains("0 is 'aster', 1 is 'lily', 2 is 'rose'"));
    assert_eq!(column("3\n0\n7.0\n").read_classes().unwrap(), (vec![3, 0, 7], None));
    refused(column("0.5\n1\n").read_classes(), &["0.5 is no class"]);
    let hot: Vec<u8> = vec![0, 0, 1, 1, 0, 0];
    let hot = Column { path: folder.file("y.npy", array("|b1", false, &[2, 3], &hot)), name: None };
    assert_eq!(hot.read_classes().unwrap(), (vec![2, 0], None));
    assert_eq!(column("g\nb\na\nb\n").read_groups().unwrap(), [0, 1, 0]);
    let text = Column { path: asset("bytes.npy"), name: None };
    assert_eq!(text.read_groups().unwrap(), [0, 1, 1]);
}

#[test]
fn nothing_is_taken_for_values_that_is_something_else() {
    let folder = Folder::new();
    let raw = |element| How { raw: Some(element), dim: Some(2), ..How::default() };
    let known: [(&str, &[u8], &str); 12] = [
        ("a.bin", b"1,2\n3,4\n", "text"),
        ("a.bin", b"{\"rows\": [[1, 2], [3, 4]]}", "JSON text"),
        ("a.bin", b"PK\x03\x04............", "zip archive"),
        ("a.bin", b"\x1f\x8b\x08\0........", "gzip"),
        ("a.bin", b"GGUF\x03\0\0\0........", "GGUF"),
        ("a.bin", b"\x89HDF\r\n\x1a\n........", "HDF5"),
        ("a.bin", b"PAR1....\0\0\0\0....", "Parquet"),
        ("a.bin", b"\x89PNG\r\n\x1a\n........", "PNG"),
        ("a.bin", b"\x80\x04\x95\x10\0\0\0\0\0\0\0", "pickle"),
        ("a.bin", b"\xff\xfe1\0,\x002\0\r\0\n\0", "UTF-16"),
        ("a.bin", b"\x10\0\0\0\0\0\0\0{\"a\":1}.", "safetensors"),
        ("a.parquet", &[0; 16], "Parquet file, by its name"),
    ];
    for (name, bytes, word) in known {
        let path = folder.file(name, bytes);
        for element in [Element::F32, Element::F16, Element::U8, Element::I8] {
            refused(Vectors::open(&path, &raw(element)), &[word, &format!("leave out `raw` {element}")]);
        }
    }
    // Without being asked for, nothing is raw.
    for (name, bytes) in [("a.bin", [0, 0, 128, 63].repeat(2)), ("a.csv", vec![0; 8]), ("a.h5", vec![1; 8])] {
        let how = How { dim: Some(2), ..How::default() };
        refused(Vectors::open(&folder.file(name, bytes), &how), &["a."]);
    }
    // What is in a file counts more than its name.
    for name in ["a.npy", "a.fvecs", "a.bin", "a"] {
        let vectors = Vectors::open(&folder.file(name, "1,2\n3,4\n"), &How::default()).unwrap();
        pieces(&vectors, &[1.0, 2.0, 3.0, 4.0]);
    }
    for (element, bytes) in [
        (Element::F32, [1f32, -2.0].map(f32::to_le_bytes).concat()),
        (Element::F16, [1f32, -2.0].map(|x| half::f16::from_f32(x).to_le_bytes()).concat()),
        (Element::I8, vec![1, 254]),
    ] {
        let vectors = Vectors::open(&folder.file("a.bin", bytes), &raw(element)).unwrap();
        let mut values = [0.0; 2];
        vectors.read(0..1, &mut values).unwrap();
        assert_eq!((values, vectors.element()), ([1.0, -2.0], element));
    }
    let path = folder.file("a.bin", [0; 8]);
    refused(Vectors::open(&path, &How { raw: Some(Element::U8), ..How::default() }), &["`dim`"]);
    assert_eq!(Kind::of(&path).unwrap(), Kind::Unknown);
    for (text, kind) in [
        ("[a],[b]\n1,2\n", Kind::Text),
        ("<TICKER>,<DATE>\n1,2\n", Kind::Text),
        ("[[1, 2],\n[3, 4]]", Kind::Foreign("JSON text")),
        ("<?xml version=\"1.0\"?>", Kind::Foreign("XML or HTML text")),
        ("1,2", Kind::Unknown),
    ] {
        assert_eq!(Kind::sniff(text.as_bytes(), false), kind, "{text}");
    }
    assert_eq!(Kind::of(&folder.file("small.csv", "1,2")).unwrap(), Kind::Text);
    assert_eq!(Kind::of(&folder.file("small.bin", "1,2")).unwrap(), Kind::Unknown);
    // Random values are no text and no archive.
    let mut random = Random::new(1);
    for _ in 0..2000 {
        let values: Vec<u8> = random.floats(4).iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(Kind::sniff(&values, false), Kind::Unknown, "{values:?}");
    }
}

#[test]
fn arrays_are_written_as_their_names_say() {
    let folder = Folder::new();
    let values = [1.0, -0.5, f32::MIN_POSITIVE, 1e30, 0.1, 16_777_216.0];
    for name in ["a.npy", "a.csv", "A.CSV"] {
        let path = folder.path(name);
        arrays::check(&path, 2).unwrap();
        arrays::write(&path, &[2, 3], &values).unwrap();
        let matrix = read_matrix(&path).unwrap();
        assert_eq!((matrix.rows, matrix.cols, matrix.values.as_slice()), (2, 3, &values[..]), "{name}");
    }
    let labels = folder.path("l.csv");
    arrays::write(&labels, &[3], &[2, -1, 0]).unwrap();
    assert_eq!(fs::read_to_string(&labels).unwrap(), "2\n-1\n0\n");
    assert_eq!(read_labels(&labels).unwrap(), [2, -1, 0]);
    let table = folder.path("t.csv");
    arrays::write_pieces(&table, &[2, 2], |take| {
        take(&[1u8])?;
        take(&[2, 3, 4])
    })
    .unwrap();
    assert_eq!(fs::read_to_string(&table).unwrap(), "1,2\n3,4\n");
    refused(arrays::write(&folder.path("b.npy"), &[2, 3], &values[..5]), &["cannot have 5 values"]);
    refused(arrays::check(&folder.path("b.csv"), 3), &["3 dimensions", ".npy"]);
    for name in ["b.npz", "b.txt", "b.json", "b", "b.npy.gz", "b.parquet"] {
        refused(arrays::check(&folder.path(name), 1), &[name, "written as .npy or .csv"]);
        refused(arrays::write(&folder.path(name), &[1], &[1i32]), &["written as .npy or .csv"]);
    }
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 5);
}
