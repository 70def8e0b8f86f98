//! Points of every kind of file, whole and by pieces, and what is said about each kind of bad file.

use std::fs;
use std::path::{Path, PathBuf};

use lowbit::internals::io::vecs::{Element, How, Vectors};
use lowbit::internals::random::Random;
use lowbit::internals::{Error, Result};
use tempfile::TempDir;

/// A folder for one test, with files made of bytes.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/kmeans/vecs")
}

fn as_it_is() -> How {
    How::default()
}

fn batch() -> How {
    How { batch: true, ..How::default() }
}

fn dim(dim: u64) -> How {
    How { dim: Some(dim), ..How::default() }
}

fn raw(element: Element, dim: u64) -> How {
    How { raw: Some(element), dim: Some(dim), ..How::default() }
}

fn tensor(name: &str) -> How {
    How { tensor: Some(name.into()), ..How::default() }
}

/// As bits, so that NaN and the sign of zero count.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn read_all(vectors: &Vectors) -> Result<Vec<f32>> {
    let mut values = vec![0.0; vectors.rows() as usize * vectors.cols()];
    vectors.read(0..vectors.rows(), &mut values)?;
    Ok(values)
}

fn packed(vectors: &Vectors) -> Result<Vec<u8>> {
    let mut bytes = vec![0; vectors.rows() as usize * vectors.row_bytes()];
    vectors.read_packed(0..vectors.rows(), &mut bytes)?;
    Ok(bytes)
}

/// Little-endian values, widened.
fn widened(element: Element, bytes: &[u8]) -> Vec<f32> {
    let values = bytes.chunks_exact(element.bytes());
    let wide = |value: &[u8]| match (element, value) {
        (Element::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
        (Element::F16, &[a, b]) => half::f16::from_le_bytes([a, b]).to_f32(),
        (Element::U8, &[a]) => f32::from(a),
        (Element::I8, &[a]) => f32::from(a as i8),
        _ => unreachable!(),
    };
    values.map(wide).collect()
}

/// Rows that begin with their length.
fn with_lengths(cols: usize, rows: &[u8], row_bytes: usize) -> Vec<u8> {
    let row = |row: &[u8]| [&(cols as i32).to_le_bytes(), row].concat();
    rows.chunks_exact(row_bytes).flat_map(row).collect()
}

/// A .npy file.
fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes(), data].concat()
}

/// A safetensors file: names, types, shapes, and bytes of data for all of them.
fn safetensors(tensors: &[(&str, &str, &str, usize)]) -> Vec<u8> {
    let mut at = 0;
    let describe = |&(name, dtype, shape, bytes): &(&str, &str, &str, usize)| {
        let begin = at;
        at += bytes;
        format!("{name:?}:{{\"dtype\":{dtype:?},\"shape\":{shape},\"data_offsets\":[{begin},{at}]}}")
    };
    let header = format!("{{{}}}", tensors.iter().map(describe).collect::<Vec<_>>().join(","));
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; at]].concat()
}

// ---- what is in a file

#[test]
fn every_kind_of_file_gives_what_numpy_does() {
    use Element::{F16, F32, I8, U8};
    for (name, how, element) in [
        ("float32.npy", as_it_is(), F32),
        ("float32_big_endian.npy", as_it_is(), F32),
        ("float16.npy", as_it_is(), F16),
        ("float16_big_endian.npy", as_it_is(), F16),
        ("uint8.npy", as_it_is(), U8),
        ("int8.npy", dim(5), I8),
        ("float32.fvecs", as_it_is(), F32),
        ("uint8.bvecs", dim(5), U8),
        ("int32.ivecs", as_it_is(), F32),
        ("one.safetensors", dim(5), F16),
        ("several.safetensors", tensor("float32"), F32),
        ("several.safetensors", tensor("float16"), F16),
        ("several.safetensors", tensor("uint8"), U8),
        ("several.safetensors", tensor("int8"), I8),
        ("float32.f32", raw(F32, 5), F32),
    ] {
        let path = assets().join(name);
        let vectors = Vectors::open(&path, &how).unwrap();
        assert_eq!((vectors.rows(), vectors.cols(), vectors.element()), (7, 5, element), "{name}");
        assert_eq!((vectors.row_bytes(), vectors.path()), (5 * element.bytes(), path.as_path()));

        let expected = match element {
            F32 if name.starts_with("int32") => "int32.f32",
            F32 => "float32.f32",
            F16 => "float16.f32",
            U8 => "uint8.f32",
            I8 => "int8.f32",
        };
        let expected = widened(F32, &fs::read(assets().join(expected)).unwrap());
        let whole = read_all(&vectors).unwrap();
        assert_eq!(bits(&whole), bits(&expected), "{name}");
        assert_eq!(bits(&widened(element, &packed(&vectors).unwrap())), bits(&expected), "{name}");
        pieces_equal_the_whole(&vectors, &whole);
    }
}

/// Every range of a few rows.
fn pieces_equal_the_whole(vectors: &Vectors, whole: &[f32]) {
    let cols = vectors.cols();
    for start in 0..=vectors.rows() {
        for end in start..=vectors.rows() {
            let expected = &whole[start as usize * cols..end as usize * cols];
            let mut values = vec![0.0; expected.len()];
            vectors.read(start..end, &mut values).unwrap();
            assert_eq!(bits(&values), bits(expected), "{start}..{end}");
            let mut bytes = vec![0; (end - start) as usize * vectors.row_bytes()];
            vectors.read_packed(start..end, &mut bytes).unwrap();
            assert_eq!(bits(&widened(vectors.element(), &bytes)), bits(expected), "{start}..{end}");
        }
    }
}

#[test]
fn large_files_and_long_rows_are_read_from_many_threads() {
    let folder = Folder::new();
    let mut random = Random::new(3);
    // Some rows more than one read has, and rows longer than that.
    for (rows, cols) in [(4001, 67), (3, 300_007)] {
        for (name, element) in [
            ("a.fvecs", Element::F32),
            ("a.bvecs", Element::U8),
            ("a.npy", Element::F16),
            ("b.npy", Element::I8),
            ("a.ivecs", Element::F32),
            ("f8.npy", Element::F32),
        ] {
            let mut data: Vec<u8> =
                (0..rows * cols * element.bytes()).map(|_| random.below(120) as u8).collect();
            let shape = format!("({rows}, {cols})");
            let mut expected = widened(element, &data);
            let bytes = match name {
                "a.fvecs" => with_lengths(cols, &data, 4 * cols),
                "a.bvecs" => with_lengths(cols, &data, cols),
                "a.npy" => npy("<f2", &shape, &data),
                "b.npy" => npy("|i1", &shape, &data),
                "f8.npy" => {
                    let wide: Vec<u8> = expected.iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect();
                    npy("<f8", &shape, &wide)
                }
                _ => {
                    // Not beyond 2^24, some of them negative.
                    data.chunks_exact_mut(4).for_each(|value| value[3] = [0, 255][usize::from(value[0] % 2)]);
                    expected =
                        data.as_chunks().0.iter().map(|&value| i32::from_le_bytes(value) as f32).collect();
                    with_lengths(cols, &data, 4 * cols)
                }
            };
            let vectors = Vectors::open(&folder.file(name, &bytes), &as_it_is()).unwrap();
            assert_eq!((vectors.rows(), vectors.cols(), vectors.element()), (rows as u64, cols, element));
            assert!(bits(&widened(element, &packed(&vectors).unwrap())) == bits(&expected), "{name}");
            assert!(bits(&read_all(&vectors).unwrap()) == bits(&expected), "{name}");
            std::thread::scope(|scope| {
                for first in 0..3 {
                    let (vectors, expected) = (&vectors, &expected);
                    scope.spawn(move || {
                        for row in (first..rows).step_by(3) {
                            let end = rows.min(row + 2);
                            let mut values = vec![0.0; (end - row) * cols];
                            vectors.read(row as u64..end as u64, &mut values).unwrap();
                            assert!(bits(&values) == bits(&expected[row * cols..end * cols]), "row {row}");
                        }
                    });
                }
            });
        }
    }
}

#[test]
fn a_file_is_what_its_first_bytes_say_and_then_what_its_name_says() {
    let folder = Folder::new();
    let array = fs::read(assets().join("uint8.npy")).unwrap();
    let one = fs::read(assets().join("several.safetensors")).unwrap();
    for name in ["a.fvecs", "a.safetensors", "a.bin", "a"] {
        assert_eq!(
            Vectors::open(&folder.file(name, &array), &as_it_is()).unwrap().element(),
            Element::U8,
            "{name}"
        );
    }
    for name in ["a.npz.old", "a.bin", "a"] {
        let path = folder.file(name, &one);
        assert_eq!(Vectors::open(&path, &tensor("int8")).unwrap().element(), Element::I8, "{name}");
    }
    // It could be the beginning of a safetensors file: a length of 8, and a brace.
    let bytes = with_lengths(8, &[0, 0, 0, 0, b'{', 0, 0, 0], 8);
    let vectors = Vectors::open(&folder.file("A.BVECS", &bytes), &as_it_is()).unwrap();
    assert_eq!(read_all(&vectors).unwrap(), [0.0, 0.0, 0.0, 0.0, 123.0, 0.0, 0.0, 0.0]);
    // Raw values may have any name that says nothing else.
    for name in ["a.f32", "a.raw", "a.bin", "a"] {
        let path = folder.file(name, &[1.0, 2.0, 3.0, f32::NAN].map(f32::to_le_bytes).concat());
        let vectors = Vectors::open(&path, &raw(Element::F32, 2)).unwrap();
        assert_eq!((vectors.rows(), vectors.cols()), (2, 2));
        assert!(read_all(&vectors).unwrap()[3].is_nan());
    }
    // A byte has no order, and a type may be written with one.
    for descr in ["<u1", ">u1", "u1", "|u1"] {
        let path = folder.file("a.npy", &npy(descr, "(1, 2)", &[1, 255]));
        assert_eq!(read_all(&Vectors::open(&path, &as_it_is()).unwrap()).unwrap(), [1.0, 255.0], "{descr}");
    }
}

// ---- bad files

/// One line about the file: exactly `problem`.
#[track_caller]
fn says(error: &Error, path: &Path, problem: &str) {
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    assert_eq!(error.exit_code(), 2);
    assert_eq!(error.to_string(), format!("{}: {problem}", path.display()));
    assert!(!problem.contains(char::is_control) && problem.len() < 250, "{problem}");
}

#[test]
fn files_that_are_not_points_are_refused() {
    let folder = Folder::new();
    let long = "x".repeat(100);
    let six = ["a", "b", "c", "d", "e", "f", "g", &long].map(|name| (name, "F32", "[1,1]", 4));
    let max = u64::MAX;
    let row = |length: i32, values: &[u8]| [&length.to_le_bytes(), values].concat();
    let cases: &[(&str, Vec<u8>, How, &str)] = &[
        ("a.npy", vec![], as_it_is(), "the file is empty"),
        ("a.fvecs", vec![], as_it_is(), "the file is empty"),
        ("a.bin", vec![], dim(3), "the file is empty"),
        (
            "a.bin",
            vec![0; 12],
            as_it_is(),
            "what is in this file is unknown: it is no .npy, .npz, .csv, .parquet, .h5 or .safetensors, and does not end in .fvecs, .bvecs \
             or .ivecs; if it is values and nothing else, say of which type and how many a row has, such as `raw` f32 `dim` \
             128",
        ),
        // Arrays.
        (
            "a.npz",
            b"PK\x03\x04....".into(),
            dim(2),
            "the zip archive is truncated or damaged: it has no directory at its end",
        ),
        (
            "a.npy",
            vec![0; 8],
            dim(2),
            "its name is that of a .npy array, but it does not begin like one: it is damaged, or misnamed",
        ),
        (
            "a.npy",
            npy("<c8", "(1, 1)", &[0; 8]),
            as_it_is(),
            "the dtype is complex64 ('<c8'), not numbers: take .real, .imag or abs()",
        ),
        (
            "a.npy",
            npy("|O", "(1, 1)", &[0; 4]),
            as_it_is(),
            "the dtype is object ('|O'), not numbers: Python objects are not read: convert with .astype(numpy.float32), or \
             .astype(str) for labels",
        ),
        (
            "a.npy",
            npy("<U3", "(1, 1)", &[0; 12]),
            as_it_is(),
            "the dtype is text ('<U3'), not numbers: where these are numbers, convert with .astype(numpy.float32)",
        ),
        (
            "a.npy",
            npy("<f4", "(3,)", &[0; 12]),
            as_it_is(),
            "the array is 1-D, its shape is (3,); it has to be 2-D, [rows, columns], or 3-D with `batch`; array.reshape(-1, 1) \
             makes 3 rows of one value, array.reshape(1, -1) one row",
        ),
        (
            "a.npy",
            npy("<f4", "(1, 2)", &[0; 8]),
            batch(),
            "the array is 2-D, its shape is (1, 2); it has to be 3-D, [problems, rows, columns], as `batch` says",
        ),
        ("a.npy", npy("|u1", "(0, 2, 1)", &[]), batch(), "the array is empty: its shape is (0, 2, 1)"),
        (
            "a.fvecs",
            vec![0; 20],
            batch(),
            "this is neither an array (.npy, .npz, .h5) nor a safetensors file, so it cannot be 3-D, [problems, rows, columns]: leave out \
             `batch`",
        ),
        (
            "a.safetensors",
            safetensors(&[("a", "F32", "[1,2]", 8)]),
            batch(),
            "no tensor in it is 3-D, [problems, rows, columns], as `batch` says; `lowbit inspect` lists them all",
        ),
        ("a.npy", npy("|u1", "(0, 2)", &[]), as_it_is(), "the array is empty: its shape is (0, 2)"),
        ("a.npy", npy("|u1", "(2, 0)", &[]), as_it_is(), "the array is empty: its shape is (2, 0)"),
        (
            "a.npy",
            npy("<f2", "(2, 3)", &[0; 11]),
            as_it_is(),
            "the file is truncated: shape (2, 3) of '<f2' takes 12 bytes of data, found 11",
        ),
        (
            "a.npy",
            npy("|u1", "(18446744073709551615, 3)", &[0; 11]),
            as_it_is(),
            "the header says shape (18446744073709551615, 3): no file is that large",
        ),
        (
            "a.npy",
            npy("|u1", "(1, 2)", &[0; 2]),
            dim(3),
            "its rows have 2 values, not 3 as `dim` says: only raw values need `dim`",
        ),
        (
            "a.npy",
            npy("|u1", "(1, 2)", &[0; 2]),
            tensor("x"),
            "this is not a safetensors file, so it has no names of tensors: leave out `tensor`",
        ),
        // Rows with lengths.
        (
            "a.fvecs",
            vec![1, 0, 0],
            as_it_is(),
            "it has 3 bytes: not even the length of a row, 4 bytes; it is truncated",
        ),
        (
            "a.ivecs",
            row(0, &[]),
            as_it_is(),
            "its first row says that it has 0 values: it is damaged, or not what its name says",
        ),
        (
            "a.bvecs",
            row(-2, &[1, 2]),
            as_it_is(),
            "its first row says that it has -2 values: it is damaged, or not what its name says",
        ),
        (
            "a.fvecs",
            row(i32::MAX, &[0; 4]),
            as_it_is(),
            "it has 8 bytes, which is less than one row of 2147483647 values, as its first row says: it is truncated, \
             or not such a file",
        ),
        (
            "a.bvecs",
            [row(2, &[1, 2]), row(2, &[3])].concat(),
            as_it_is(),
            "a row of 2 values, as its first row says, takes 6 bytes, and its 11 bytes are 1 rows and 5 bytes: it is \
             truncated, or not such a file",
        ),
        (
            "a.ivecs",
            row(1, &[0; 4]),
            dim(2),
            "its rows have 1 values, not 2 as `dim` says: only raw values need `dim`",
        ),
        // Raw values.
        (
            "a.raw",
            vec![0; 8],
            raw(Element::F32, 0),
            "a row cannot have 0 values: say with `dim` how many it has",
        ),
        (
            "a.raw",
            vec![0; 8],
            raw(Element::F32, 3),
            "it has 8 bytes, which is less than one row of 3 values, as `dim` says: it is truncated, or not such a file",
        ),
        (
            "a.raw",
            vec![0; 8],
            raw(Element::F32, max),
            "it has 8 bytes, which is less than one row of 18446744073709551615 values, as `dim` says: it is truncated, \
             or not such a file",
        ),
        (
            "a.raw",
            vec![0; 21],
            raw(Element::F32, 2),
            "a row of 2 values, as `dim` says, takes 8 bytes, and its 21 bytes are 2 rows and 5 bytes: it is truncated, \
             or not such a file",
        ),
        // Tensors.
        (
            "a.safetensors",
            vec![0; 20],
            dim(1),
            "its name is that of a safetensors file, but it does not begin like one: it is damaged, or misnamed",
        ),
        (
            "a.safetensors",
            safetensors(&[]),
            as_it_is(),
            "no tensor in it is 2-D, [rows, columns], or 3-D with `batch`; `lowbit inspect` lists them all",
        ),
        (
            "a.safetensors",
            safetensors(&six),
            as_it_is(),
            "it has 8 2-D tensors: say with `tensor` which one has the points: 'a', 'b', 'c', 'd', 'e', 'f', 2 more",
        ),
        (
            "a.safetensors",
            safetensors(&six),
            tensor("h"),
            "no tensor is called 'h'; near it are 'a', 'b', 'c'",
        ),
        (
            "a.safetensors",
            safetensors(&[("a", "F8_E4M3", "[1,2]", 2)]),
            as_it_is(),
            "tensor 'a' is F8_E4M3: convert it to a type of numbers such as F32",
        ),
        (
            "a.safetensors",
            safetensors(&[("a", "F32", "[1,2,1]", 8)]),
            tensor("a"),
            "tensor 'a' has the shape [1, 2, 1]; it has to be 2-D, [rows, columns], or 3-D with `batch`",
        ),
        (
            "a.safetensors",
            safetensors(&[("a", "F32", "[0,2]", 0)]),
            as_it_is(),
            "tensor 'a' is empty: its shape is [0, 2]",
        ),
        (
            "a.safetensors",
            safetensors(&[("a", "I8", "[3,2]", 6)]),
            dim(3),
            "its rows have 2 values, not 3 as `dim` says: only raw values need `dim`",
        ),
    ];
    for (name, bytes, how, problem) in cases {
        let path = folder.file(name, bytes);
        says(&Vectors::open(&path, how).expect_err(problem), &path, problem);
    }
    let path = folder.0.path();
    assert!(matches!(Vectors::open(&path.join("none.npy"), &as_it_is()), Err(Error::Io { .. })));
}

#[test]
fn a_row_of_another_length_is_refused_where_it_is() {
    let folder = Folder::new();
    // In a block of many rows, and where a row is longer than a block.
    for (rows, cols) in [(1000, 300), (3, 300_000)] {
        let mut bytes = with_lengths(cols, &vec![7; rows * cols], cols);
        let wrong = rows - 2;
        bytes[wrong * (cols + 4)] += 1;
        let path = folder.file("a.bvecs", &bytes);
        let vectors = Vectors::open(&path, &as_it_is()).unwrap();
        let problem = format!(
            "row {wrong} (from 0) says that it has {} values, and the first row {cols}: all have to be of one length",
            cols + 1
        );
        says(&read_all(&vectors).unwrap_err(), &path, &problem);
        says(&packed(&vectors).unwrap_err(), &path, &problem);
        let wrong = wrong as u64;
        let mut row = vec![0.0; cols];
        assert!(vectors.read(wrong..wrong + 1, &mut row).is_err());
        vectors.read(wrong - 1..wrong, &mut row).unwrap();
        vectors.read(wrong + 1..wrong + 2, &mut row).unwrap();
        assert_eq!(row, vec![7.0; cols]);
    }
}

#[test]
fn whole_numbers_that_f32_does_not_have_are_refused_where_they_are() {
    let folder = Folder::new();
    for value in [(1 << 24) + 1, -(1 << 24) - 1, i32::MAX, i32::MIN + 1] {
        let mut values = vec![1 << 24; 70_000 * 2];
        values[0] = -(1 << 24);
        values[2 * 66_000 + 1] = value;
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let path = folder.file("a.ivecs", &with_lengths(2, &data, 8));
        let vectors = Vectors::open(&path, &as_it_is()).unwrap();
        let problem = format!(
            "the value in row 66000, column 1 (from 0) is {value}: beyond 16777216 (2^24), f32 does not have every \
             whole number; subtract an offset, or round with .astype(numpy.float32)"
        );
        says(&read_all(&vectors).unwrap_err(), &path, &problem);
        says(&vectors.read(65_999..66_001, &mut [0.0; 4]).unwrap_err(), &path, &problem);
        says(&packed(&vectors).unwrap_err(), &path, &problem);
        vectors.read(66_001..70_000, &mut vec![0.0; 2 * 3999]).unwrap();
    }
}

#[test]
fn what_is_not_in_the_file_is_not_read() {
    let folder = Folder::new();
    for (name, bytes) in
        [("a.bvecs", with_lengths(2, &[1, 2, 3, 4], 2)), ("a.npy", npy("|i1", "(2, 2)", &[0; 4]))]
    {
        let path = folder.file(name, &bytes);
        let vectors = Vectors::open(&path, &as_it_is()).unwrap();
        #[allow(clippy::reversed_empty_ranges)]
        for (range, room, problem) in [
            (0..3, 6, "the rows 0..3 are not within its 2"),
            (2..1, 0, "the rows 2..1 are not within its 2"),
            (0..u64::MAX, 0, "the rows 0..18446744073709551615 are not within its 2"),
            (0..2, 3, "the rows 0..2 of 2 do not fit into 3"),
            (1..1, 1, "the rows 1..1 of 2 do not fit into 1"),
        ] {
            let problem = format!("{}: {problem}", path.display());
            let error = vectors.read(range.clone(), &mut vec![0.0; room]).unwrap_err();
            assert!(error.is_input(), "{error:?}");
            assert_eq!(error.to_string(), problem);
            assert_eq!(vectors.read_packed(range, &mut vec![0; room]).unwrap_err().to_string(), problem);
        }
        vectors.read(2..2, &mut []).unwrap();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(bytes.len() as u64 - 1).unwrap();
        vectors.read(0..1, &mut [0.0; 2]).unwrap();
        says(&read_all(&vectors).unwrap_err(), &path, "the file has become shorter");
        says(&packed(&vectors).unwrap_err(), &path, "the file has become shorter");
    }
}

// ---- any bytes

/// Opens bytes under every name, with and without help: rows that are the same however they are read, or an error.
/// How many were opened.
fn rows_or_errors(folder: &Folder, bytes: &[u8]) -> usize {
    let mut opened = 0;
    for (name, how) in [
        ("a.npy", as_it_is()),
        ("a.safetensors", as_it_is()),
        ("a.safetensors", tensor("w")),
        ("a.fvecs", as_it_is()),
        ("a.bvecs", as_it_is()),
        ("a.ivecs", as_it_is()),
        ("a.f32", as_it_is()),
        ("a.f32", raw(Element::F32, 3)),
        ("a.f32", raw(Element::I8, 1)),
        ("a.csv", as_it_is()),
        ("a.npz", as_it_is()),
    ] {
        let path = folder.file(name, bytes);
        let vectors = match Vectors::open(&path, &how) {
            Ok(vectors) => vectors,
            Err(error) => {
                let message = error.to_string();
                let problem = message.strip_prefix(&format!("{}: ", path.display())).expect(&message);
                assert!(!problem.contains(char::is_control) && problem.len() < 700, "{message}");
                continue;
            }
        };
        opened += 1;
        let (rows, cols) = (vectors.rows(), vectors.cols());
        // A digit and its separator become an f32; nothing here is deflated.
        assert!(rows > 0 && cols > 0 && rows * cols as u64 <= bytes.len() as u64);
        let (whole, packed) = (read_all(&vectors), packed(&vectors));
        if let (Ok(whole), Ok(packed)) = (&whole, &packed) {
            assert_eq!(bits(whole), bits(&widened(vectors.element(), packed)));
        }
        let mut row_errors = 0;
        for row in 0..rows {
            let mut values = vec![0.0; cols];
            match (vectors.read(row..row + 1, &mut values), &whole) {
                (Ok(()), Ok(whole)) => assert_eq!(bits(&values), bits(&whole[row as usize * cols..][..cols])),
                (Ok(()), Err(_)) => {}
                (Err(error), whole) => {
                    row_errors += 1;
                    let first = whole.as_ref().expect_err("a row that cannot be read").to_string();
                    assert!(row_errors > 1 || error.to_string() == first, "{error}, and before: {first}");
                }
            }
        }
        assert_eq!(row_errors == 0, whole.is_ok());
        assert!(packed.is_ok() || whole.is_err());
    }
    opened
}

#[test]
fn any_damage_gives_rows_or_an_error() {
    let folder = Folder::new();
    let mut random = Random::new(11);
    let mut below = |n: usize| random.below(n as u64) as usize;
    let mut opened = 0;
    let mut files: Vec<_> = fs::read_dir(assets()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_none_or(|extension| extension != "py"));
    files.sort();
    assert!(files.len() > 10);
    for path in files {
        let whole = fs::read(&path).unwrap();
        for _ in 0..60 {
            let mut bytes = whole.clone();
            for _ in 0..below(4) {
                let at = below(bytes.len());
                bytes[at] = [0, 1, 255, below(256) as u8][below(4)];
            }
            match below(3) {
                0 => bytes.truncate(below(bytes.len())),
                1 => bytes.extend(vec![0; below(5)]),
                _ => {}
            }
            opened += rows_or_errors(&folder, &bytes);
        }
    }
    for _ in 0..300 {
        let bytes: Vec<u8> = (0..below(64)).map(|at| if at % 4 == 0 { below(4) as u8 } else { 0 }).collect();
        opened += rows_or_errors(&folder, &bytes);
    }
    assert!(opened > 500, "{opened}");
}

#[test]
fn every_seed_gives_rows_or_an_error() {
    let folder = Folder::new();
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds/vecs");
    let seeds = fs::read_dir(seeds).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let opened: Vec<_> = seeds.map(|bytes| rows_or_errors(&folder, &bytes)).collect();
    assert!(opened.contains(&0) && opened.iter().filter(|&&opened| opened > 0).count() > 10, "{opened:?}");
}

#[test]
fn problems_lie_one_behind_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let values: Vec<u8> = (0..24).collect();
    for (name, bytes) in [
        ("a.npy", npy("|u1", "(2, 3, 4)", &values)),
        ("a.safetensors", safetensors(&[("other", "U8", "[1,2]", 2), ("a", "U8", "[2,3,4]", 24)])),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let vectors = Vectors::open(&path, &batch()).unwrap();
        assert_eq!((vectors.problems(), vectors.rows(), vectors.cols()), (2, 6, 4), "{name}");
    }
}
