//! GGUF: round trips, and what is said about each kind of damaged or hostile file.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

use lowbit::internals::io::gguf::{Array, Gguf, TYPES, TensorType, Text, Value, Writer, is_gguf};
use lowbit::internals::random::Random;
use lowbit::internals::{Error, Result};
use tempfile::TempDir;

/// The bytes of a GGUF file, written down one by one and not with the writer under test.
#[derive(Clone)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn new(tensors: u64, pairs: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(3).u64(tensors).u64(pairs)
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn u32(self, value: u32) -> Self {
        self.raw(&value.to_le_bytes())
    }

    fn u64(self, value: u64) -> Self {
        self.raw(&value.to_le_bytes())
    }

    fn string(self, text: &str) -> Self {
        self.u64(text.len() as u64).raw(text.as_bytes())
    }

    /// A key-value pair whose value has the type number `kind`.
    fn pair(self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.string(key).u32(kind).raw(value)
    }

    fn tensor(self, name: &str, dims: &[u64], ty: u32, offset: u64) -> Self {
        let described = self.string(name).u32(dims.len() as u32);
        dims.iter().fold(described, |bytes, &n| bytes.u64(n)).u32(ty).u64(offset)
    }

    fn pad(mut self, alignment: usize) -> Self {
        self.0.resize(self.0.len().next_multiple_of(alignment), 0);
        self
    }
}

/// A folder for one test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.path("a.gguf");
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// One line about the file, that has all the words.
#[track_caller]
fn says(error: &Error, path: &Path, words: &[&str]) {
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    let message = error.to_string();
    let problem = message.strip_prefix(&format!("{}: ", path.display())).expect(&message);
    assert!(!problem.contains(char::is_control) && problem.len() < 250, "{message}");
    for word in words {
        assert!(problem.contains(word), "\"{word}\" is not in: {problem}");
    }
}

#[track_caller]
fn refused(bytes: &[u8], words: &[&str]) {
    let folder = Folder::new();
    let path = folder.file(bytes);
    says(&Gguf::open(&path).expect_err("this should have been refused"), &path, words);
}

/// An array as a value: the type of its elements, their number, their bytes.
fn array(kind: u32, count: u64, elements: &[u8]) -> Vec<u8> {
    Bytes(Vec::new()).u32(kind).u64(count).raw(elements).0
}

fn string(text: &str) -> Vec<u8> {
    Bytes(Vec::new()).string(text).0
}

/// Every type of value, and two tensors: 4 x 2 of F32, one row of Q8_0.
fn example() -> Vec<u8> {
    let nested = array(9, 2, &[array(0, 2, &[1, 2]), array(8, 1, &string("in"))].concat());
    Bytes::new(2, 19)
        .pair("u8", 0, &[200])
        .pair("i8", 1, &[200])
        .pair("u16", 2, &[1, 2])
        .pair("i16", 3, &[1, 0xff])
        .pair("u32", 4, &7u32.to_le_bytes())
        .pair("i32", 5, &(-7i32).to_le_bytes())
        .pair("f32", 6, &1e-5f32.to_le_bytes())
        .pair("bool", 7, &[1])
        .pair("string", 8, &string("ü and\nmore"))
        .pair("u64", 10, &u64::MAX.to_le_bytes())
        .pair("i64", 11, &i64::MIN.to_le_bytes())
        .pair("f64", 12, &0.1f64.to_le_bytes())
        .pair("bytes", 9, &array(0, 3, &[1, 2, 3]))
        .pair("bools", 9, &array(7, 2, &[0, 1]))
        .pair("strings", 9, &array(8, 2, &[string("a"), string("")].concat()))
        .pair("nothing", 9, &array(6, 0, &[]))
        .pair("nested", 9, &nested)
        .pair("not UTF-8", 8, &array_of_bytes(&[0xff, 0xfe]))
        .pair("general.alignment", 4, &64u32.to_le_bytes())
        .tensor("blk.0.ffn_down.weight", &[4, 2], 0, 0)
        .tensor("blk.0.ffn_up.weight", &[32], 8, 64)
        .pad(64)
        .raw(&[7; 32])
        .pad(64)
        .raw(&[9; 34])
        .pad(64)
        .0
}

/// A string of any bytes.
fn array_of_bytes(bytes: &[u8]) -> Vec<u8> {
    Bytes(Vec::new()).u64(bytes.len() as u64).raw(bytes).0
}

/// Writes what was read.
fn copy(gguf: &Gguf, to: &Path) -> Result<()> {
    let mut writer = Writer::new();
    for (key, value) in gguf.metadata() {
        writer.metadata(key, value.clone())?;
    }
    for tensor in gguf.tensors() {
        assert_eq!(writer.tensor(&tensor.name, &tensor.dims, tensor.ty)?, tensor.bytes);
    }
    writer.write(to, |tensor, out| {
        let source = gguf.tensor(&tensor.name)?;
        let mut done = 0;
        while done < source.bytes {
            let end = source.bytes.min(done + 10);
            let mut block = vec![0; (end - done) as usize];
            gguf.read(source, done..end, &mut block)?;
            out.write(&block)?;
            done = end;
        }
        Ok(())
    })
}

// ---- what is in a file

#[test]
fn everything_in_a_file_is_read() {
    let folder = Folder::new();
    let path = folder.file(&example());
    assert!(is_gguf(&path).unwrap());
    let gguf = Gguf::open(&path).unwrap();
    assert_eq!((gguf.version(), gguf.alignment(), gguf.path()), (3, 64, path.as_path()));
    let expected = [
        ("u8", Value::U8(200)),
        ("i8", Value::I8(-56)),
        ("u16", Value::U16(0x201)),
        ("i16", Value::I16(-255)),
        ("u32", Value::U32(7)),
        ("i32", Value::I32(-7)),
        ("f32", Value::F32(1e-5)),
        ("bool", Value::Bool(true)),
        ("string", Value::from("ü and\nmore")),
        ("u64", Value::U64(u64::MAX)),
        ("i64", Value::I64(i64::MIN)),
        ("f64", Value::F64(0.1)),
        ("bytes", Value::Array(Array::U8(vec![1, 2, 3]))),
        ("bools", Value::Array(Array::Bool(vec![false, true]))),
        ("strings", Value::Array(Array::String(vec!["a".into(), "".into()]))),
        ("nothing", Value::Array(Array::F32(vec![]))),
        ("nested", Value::Array(Array::Array(vec![Array::U8(vec![1, 2]), Array::String(vec!["in".into()])]))),
        ("not UTF-8", Value::String(Text(vec![0xff, 0xfe]))),
        ("general.alignment", Value::U32(64)),
    ];
    assert_eq!(gguf.metadata().len(), expected.len());
    for ((key, value), (found_key, found)) in expected.iter().zip(gguf.metadata()) {
        assert_eq!((key, value), (&found_key.as_str(), found));
        assert_eq!(gguf.get(key), Some(value));
    }
    assert_eq!(gguf.get("none"), None);

    let [down, up] = gguf.tensors() else { panic!("{:?}", gguf.tensors()) };
    assert_eq!((down.name.as_str(), down.ty.name), ("blk.0.ffn_down.weight", "F32"));
    assert_eq!((down.dims.as_slice(), down.shape()), (&[4, 2][..], vec![2, 4]));
    assert_eq!((down.cols(), down.rows(), down.values(), down.row_bytes(), down.bytes), (4, 2, 8, 16, 32));
    assert_eq!((up.ty.name, up.cols(), up.rows(), up.row_bytes(), up.bytes), ("Q8_0", 32, 1, 34, 34));
    assert_eq!(up.offset, down.offset + 64);
    assert_eq!(gguf.tensor("blk.0.ffn_up.weight").unwrap(), up);
    let mut data = [0; 34];
    gguf.read(up, 0..34, &mut data).unwrap();
    assert_eq!(data, [9; 34]);
    gguf.read(down, 31..32, &mut data[..1]).unwrap();
    assert_eq!(data[0], 7);
    gguf.read(down, 32..32, &mut []).unwrap();
}

#[test]
fn values_convert_where_they_fit() {
    let numbers = [Value::U8(5), Value::I8(5), Value::U16(5), Value::I16(5), Value::U32(5), Value::I32(5)];
    assert!(numbers.iter().chain(&[Value::U64(5), Value::I64(5)]).all(|value| value.as_u64() == Some(5)));
    for value in [Value::I8(-1), Value::I64(-1), Value::F32(5.0), Value::Bool(true), "5".into()] {
        assert_eq!(value.as_u64(), None);
    }
    assert_eq!(Value::from("text").as_str(), Some("text"));
    assert_eq!(Value::String(Text(vec![0xff])).as_str(), None);
    assert_eq!(Text(vec![b'a', 0xff]).to_string(), "a\u{fffd}");
    let array = Array::I16(vec![1, 2, 3]);
    assert_eq!((array.len(), array.is_empty(), array.type_name()), (3, false, "i16"));
    assert_eq!(array.first(2), [Value::I16(1), Value::I16(2)]);
}

#[test]
fn types_have_the_sizes_of_ggml() {
    let size = |name| TensorType::by_name(name).map(|ty| (ty.id, ty.block, ty.bytes));
    assert_eq!(size("f32"), Some((0, 1, 4)));
    assert_eq!(size("Q4_K"), Some((12, 256, 144)));
    assert_eq!(size("mxfp4"), Some((39, 32, 17)));
    assert_eq!(size("NVFP4"), Some((40, 64, 36)));
    assert_eq!(size("Q4_2"), None);
    assert_eq!(TensorType::by_name("Q8_0").unwrap().bits(), 8.5);
    for ty in TYPES {
        assert_eq!((TensorType::by_id(ty.id), TensorType::by_name(ty.name)), (Some(ty), Some(ty)));
    }
    assert!([4, 5, 31, 36, 38, 43, u32::MAX].iter().all(|&id| TensorType::by_id(id).is_none()));
}

#[test]
fn version_2_and_files_without_anything_are_read() {
    let folder = Folder::new();
    let mut two = example();
    two[4] = 2;
    let gguf = Gguf::open(&folder.file(&two)).unwrap();
    assert_eq!((gguf.version(), gguf.tensors().len()), (2, 2));
    let empty = Gguf::open(&folder.file(&Bytes::new(0, 0).0)).unwrap();
    assert_eq!((empty.alignment(), empty.metadata().len(), empty.tensors().len()), (32, 0, 0));
}

#[test]
fn scalars_and_empty_tensors_are_read_and_written() {
    let folder = Folder::new();
    let types = Bytes::new(5, 0)
        .tensor("one", &[], 0, 0)
        .tensor("none", &[0], 0, 32)
        .tensor("no rows", &[256, 0, 3], 8, 32)
        .tensor("w", &[8], 0, 32)
        // Where nothing is, behind the end of the file.
        .tensor("last", &[0, u64::MAX], 24, 96)
        .pad(32);
    let path = folder.file(&types.raw(&1.5f32.to_le_bytes()).pad(32).raw(&[3; 32]).0);
    let gguf = Gguf::open(&path).unwrap();
    let found: Vec<_> =
        gguf.tensors().iter().map(|t| (t.shape(), t.values(), t.bytes, t.rows(), t.cols())).collect();
    let expected = [
        (vec![], 1, 4, 1, 1),
        (vec![0], 0, 0, 1, 0),
        (vec![3, 0, 256], 0, 0, 0, 256),
        (vec![8], 8, 32, 1, 8),
        (vec![u64::MAX, 0], 0, 0, u64::MAX, 0),
    ];
    assert_eq!(found, expected);
    for tensor in gguf.tensors() {
        gguf.read(tensor, 0..tensor.bytes, &mut vec![0; tensor.bytes as usize]).unwrap();
    }
    let again = folder.path("again.gguf");
    copy(&gguf, &again).unwrap();
    let back = Gguf::open(&again).unwrap();
    let described = |gguf: &Gguf| {
        gguf.tensors().iter().map(|t| (t.name.clone(), t.dims.clone(), t.ty)).collect::<Vec<_>>()
    };
    assert_eq!(described(&back), described(&gguf));
    let mut one = [0; 4];
    back.read(back.tensor("one").unwrap(), 0..4, &mut one).unwrap();
    assert_eq!(f32::from_le_bytes(one), 1.5);
}

#[test]
fn tensors_may_lie_in_any_order_with_gaps() {
    let folder = Folder::new();
    let bytes = Bytes::new(2, 0).tensor("late", &[1], 24, 96).tensor("early", &[2], 24, 0).pad(32);
    let start = bytes.0.len();
    let gguf = Gguf::open(&folder.file(&bytes.raw(&[1; 97]).0)).unwrap();
    let offsets: Vec<_> = gguf.tensors().iter().map(|tensor| tensor.offset).collect();
    assert_eq!(offsets, [start as u64 + 96, start as u64]);
}

#[test]
fn an_unknown_tensor_is_answered_with_near_names() {
    let folder = Folder::new();
    let path = folder.file(&example());
    let gguf = Gguf::open(&path).unwrap();
    for (name, words) in [
        (
            "blk.0.ffn_dwon.weight",
            &["no tensor", "'blk.0.ffn_dwon.weight'", "near", "'blk.0.ffn_down.weight'"][..],
        ),
        ("BLK.0.FFN_UP.WEIGHT", &["'blk.0.ffn_up.weight', 'blk.0.ffn_down.weight'"]),
        ("ffn_up", &["near it are 'blk.0.ffn_up.weight'"]),
        ("weight", &["'blk.0.ffn_down.weight'", "'blk.0.ffn_up.weight'"]),
        ("output", &["lowbit inspect", "all 2"]),
        ("", &["no tensor is called ''"]),
        ("\u{1b}[2J", &["\\u{1b}[2J"]),
    ] {
        says(&gguf.tensor(name).unwrap_err(), &path, words);
    }
}

#[test]
fn what_is_not_within_a_tensor_is_not_read() {
    let folder = Folder::new();
    let path = folder.file(&example());
    let gguf = Gguf::open(&path).unwrap();
    let up = &gguf.tensors()[1];
    #[allow(clippy::reversed_empty_ranges)]
    for (range, room) in [(0..35, 35), (34..35, 1), (0..u64::MAX, 1), (5..4, 0), (0..34, 33), (0..1, 2)] {
        let error = gguf.read(up, range, &mut vec![0; room]).unwrap_err();
        assert!(error.is_input() && error.to_string().contains("'blk.0.ffn_up.weight'"));
    }
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(up.offset + 33).unwrap();
    let error = gguf.read(up, 0..34, &mut [0; 34]).unwrap_err();
    says(&error, &path, &["'blk.0.ffn_up.weight'", "become shorter"]);
}

// ---- damaged and hostile files

#[test]
fn what_is_no_gguf_file_is_refused() {
    refused(&[], &["empty"]);
    refused(b"GG", &["not a GGUF file"]);
    refused(b"\x93NUMPY and so on, and on", &["not a GGUF file", "begin with GGUF"]);
    refused(b"GGUF\x01\0\0\0\0\0\0\0\0\0\0\0", &["version 1", "2 and 3"]);
    refused(b"GGUF\x04\0\0\0\0\0\0\0\0\0\0\0", &["version 4"]);
    refused(b"GGUF\0\0\0\x03\0\0\0\0\0\0\0\0", &["big-endian"]);
    refused(b"GGUF\0\0\0\0\0\0\0\0\0\0\0\0", &["version 0"]);
    let folder = Folder::new();
    assert!(Gguf::open(folder.0.path()).unwrap_err().to_string().contains("folder"));
    assert!(matches!(Gguf::open(&folder.path("none")), Err(Error::Io { .. })));
    assert!(!is_gguf(&folder.file(b"GGU")).unwrap());
}

#[test]
fn huge_counts_are_refused_before_they_are_used() {
    for count in [1 << 40, 1 << 63, u64::MAX] {
        let text = count.to_string();
        refused(&Bytes::new(count, 0).0, &[&text, "tensors"]);
        refused(&Bytes::new(0, count).0, &[&text, "key-value pairs"]);
        let long = |key: &str, kind, value: &[u8]| Bytes::new(0, 1).pair(key, kind, value).pad(64).0;
        refused(&long("k", 8, &count.to_le_bytes()), &["'k'", &text, "string"]);
        for kind in (0..=12).filter(|&kind| kind != 9) {
            refused(&long("k", 9, &array(kind, count, &[])), &["'k'", &text, "array elements"]);
        }
        refused(&long("k", 9, &array(9, 1, &array(0, count, &[]))), &["'k'", &text]);
        let key = Bytes::new(0, 1).u64(count).pad(64).0;
        refused(&key, &["key-value pair 0", &text]);
        let name = Bytes::new(1, 0).u64(count).pad(128).0;
        refused(&name, &["tensor 0", "its name", &text]);
    }
}

#[test]
fn more_than_models_have_is_refused_even_if_it_is_there() {
    let folder = Folder::new();
    let path = folder.path("sparse.gguf");
    // Sparse, so that these are large only for who reads them.
    for (bytes, words) in [
        (Bytes::new(1 << 21, 0), &["2097152 tensors", "1048576 can be"][..]),
        (Bytes::new(0, 1 << 17), &["131072 key-value pairs", "65536 can be"]),
        (Bytes::new(0, 1).u64(1 << 17), &["its key has 131072 bytes", "65535 can be"]),
        (Bytes::new(1, 0).u64(2048), &["its name has 2048 bytes", "1024 can be"]),
        (Bytes::new(0, 1).pair("k", 8, &(100u64 << 20).to_le_bytes()), &["'k'", "67108864 can be"]),
        (Bytes::new(0, 1).pair("k", 9, &array(0, 1 << 25, &[])), &["'k'", "16777216 can be"]),
        (Bytes::new(0, 1).pair("k", 9, &array(10, 1 << 26, &[])), &["'k'", "header larger than 256 MiB"]),
    ] {
        fs::write(&path, bytes.0).unwrap();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 29).unwrap();
        says(&Gguf::open(&path).unwrap_err(), &path, words);
    }
}

#[test]
fn bad_metadata_is_refused_by_name() {
    let one = |kind, value: &[u8]| Bytes::new(0, 1).pair("k", kind, value).pad(64).0;
    refused(&one(13, &[]), &["'k'", "13", "unknown"]);
    refused(&one(u32::MAX, &[]), &["'k'", "4294967295"]);
    refused(&one(9, &array(13, 1, &[0])), &["'k'", "13", "unknown"]);
    refused(&one(7, &[2]), &["'k'", "boolean is 2"]);
    refused(&one(9, &array(7, 3, &[0, 1, 255])), &["'k'", "boolean is 255"]);
    refused(&Bytes::new(0, 1).pair("", 0, &[1]).pad(64).0, &["key-value pair 0", "empty"]);
    refused(&Bytes::new(0, 1).u64(2).raw(&[0xff, 0xff]).u32(0).pad(64).0, &["key-value pair 0", "UTF-8"]);
    let twice = Bytes::new(0, 3).pair("same", 0, &[1]).pair("k", 0, &[1]).pair("same", 0, &[1]);
    refused(&twice.0, &["'same'", "twice"]);
    let control = Bytes::new(0, 1).pair("\u{1b}]0;\n", 13, &[1]);
    refused(&control.pad(64).0, &["\\u{1b}]0;\\n"]);
    let long = "k".repeat(10_000);
    refused(&Bytes::new(0, 1).pair(&long, 13, &[1]).0, &["kkk…'"]);
}

#[test]
fn deep_arrays_are_refused() {
    let nested = |depth| (1..depth).fold(array(0, 1, &[5]), |inside, _| array(9, 1, &inside));
    let file = |depth| Bytes::new(0, 1).pair("k", 9, &nested(depth)).0;
    let folder = Folder::new();
    assert!(Gguf::open(&folder.file(&file(4))).is_ok());
    for depth in [5, 6, 2000] {
        refused(&file(depth), &["'k'", "nested more than 4 deep"]);
    }
}

#[test]
fn a_bad_alignment_is_refused() {
    let aligned = |kind, value: &[u8]| Bytes::new(0, 1).pair("general.alignment", kind, value).pad(64).0;
    for bytes in [0, 3, 48, (1 << 21) + 1, 1 << 22, 1 << 31, u32::MAX] {
        refused(
            &aligned(4, &bytes.to_le_bytes()),
            &["general.alignment", &bytes.to_string(), "power of two"],
        );
    }
    refused(&aligned(10, &32u64.to_le_bytes()), &["general.alignment", "u32"]);
}

#[test]
fn bad_tensors_are_refused_by_name() {
    let file = |dims: &[u64], ty, offset| {
        Bytes::new(1, 0).tensor("the.weight", dims, ty, offset).pad(32).raw(&[0; 64]).0
    };
    let folder = Folder::new();
    assert!(Gguf::open(&folder.file(&file(&[32, 1, 1, 1], 8, 0))).is_ok());
    let max = u64::MAX;
    for (bytes, words) in [
        (file(&[1, 1, 1, 1, 1], 0, 0), &["5 dimensions", "0 to 4"][..]),
        (file(&[], 8, 0), &["1 values", "Q8_0"]),
        (file(&[0, max, max], 0, 0), &["no file is as large"]),
        (file(&[max, 2, 0], 0, 0), &["no file is as large"]),
        (file(&[33], 8, 0), &["33 values", "Q8_0", "32"]),
        (file(&[16, 2], 8, 0), &["16 values", "Q8_0"]),
        (file(&[max], 0, 0), &["no file is as large"]),
        (file(&[1 << 63], 24, 0), &["end behind"]),
        (file(&[1 << 32, 1 << 32], 24, 0), &["no file is as large"]),
        (file(&[max, max, max, max], 24, 0), &["no file is as large"]),
        // The bytes fit into a u64, the values do not.
        (file(&[1 << 33, 1 << 31], 41, 0), &["no file is as large"]),
        (file(&[4], 4, 0), &["its type is 4"]),
        (file(&[4], max as u32, 0), &["its type is 4294967295"]),
        (file(&[4], 0, 8), &["offset 8", "alignment 32"]),
        (file(&[4], 0, 64), &["16 bytes at 64", "truncated"]),
        (file(&[17], 0, 0), &["68 bytes at 0", "truncated"]),
        (file(&[4], 0, max - 31), &["18446744073709551584", "truncated"]),
        (file(&[4], 0, 1 << 63), &["9223372036854775808", "truncated"]),
    ] {
        refused(&bytes, &[&["'the.weight'"], words].concat());
    }
    let two = |first: (&str, u64), second: (&str, u64)| {
        let bytes = Bytes::new(2, 0).tensor(first.0, &[9], 0, first.1).tensor(second.0, &[8], 0, second.1);
        bytes.pad(32).raw(&[0; 128]).0
    };
    assert!(Gguf::open(&folder.file(&two(("a", 0), ("b", 64)))).is_ok());
    assert!(Gguf::open(&folder.file(&two(("a", 32), ("b", 0)))).is_ok());
    refused(&two(("a", 0), ("a", 64)), &["'a'", "twice"]);
    refused(&two(("a", 0), ("b", 32)), &["'a' and 'b'", "overlap"]);
    refused(&two(("a", 32), ("b", 64)), &["'a' and 'b'", "overlap"]);
    refused(&two(("a", 0), ("b", 0)), &["overlap"]);
    refused(&two(("", 0), ("b", 0)), &["tensor 0", "empty"]);
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let folder = Folder::new();
    let whole = example();
    // Padding behind the last tensor may be missing.
    let end = whole.len() - 64 + 34;
    for length in 0..=whole.len() {
        let path = folder.file(&whole[..length]);
        let opened = Gguf::open(&path);
        assert_eq!(opened.is_ok(), length >= end, "{length}: {opened:?}");
        if let Err(error) = opened {
            says(&error, &path, &[]);
        }
    }
}

/// Opens what may be anything, and uses it as far as that goes.
fn exercise(path: &Path, whole: &[u8]) {
    let Ok(gguf) = Gguf::open(path) else { return };
    for tensor in gguf.tensors() {
        assert_eq!(tensor.row_bytes() * tensor.rows(), tensor.bytes);
        let mut data = vec![0; tensor.bytes as usize];
        gguf.read(tensor, 0..tensor.bytes, &mut data).unwrap();
        assert_eq!(data, whole[tensor.offset as usize..][..data.len()]);
    }
    let again = path.with_extension("again");
    copy(&gguf, &again).unwrap();
    let copied = Gguf::open(&again).unwrap();
    // As text, because NaN equals nothing.
    assert_eq!(format!("{:?}", copied.metadata()), format!("{:?}", gguf.metadata()));
    assert_eq!(copied.tensors().len(), gguf.tensors().len());
}

#[test]
fn a_damaged_file_never_panics() {
    let folder = Folder::new();
    let whole = example();
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            exercise(&folder.file(&bytes), &bytes);
        }
    }
    // Some of many; each is a few damages at once.
    let mut random = Random::new(3);
    for _ in 0..500 {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = [0, 1, 9, 0x7f, 0x80, 0xff][random.below(6) as usize];
        }
        exercise(&folder.file(&bytes), &bytes);
    }
}

// ---- writing

#[test]
fn what_is_read_is_written_with_the_same_bytes() {
    let folder = Folder::new();
    let plain = Bytes::new(1, 1)
        .pair("general.architecture", 8, &string("llama"))
        .tensor("w", &[256, 3], 12, 0)
        .pad(32)
        .raw(&[5; 3 * 144])
        .pad(32)
        .0;
    for bytes in [example(), plain, Bytes::new(0, 0).pad(32).0] {
        let out = folder.path("out.gguf");
        copy(&Gguf::open(&folder.file(&bytes)).unwrap(), &out).unwrap();
        assert_eq!(fs::read(&out).unwrap(), bytes);
    }
}

#[test]
fn what_could_not_be_read_is_not_taken() {
    let ty = |name| TensorType::by_name(name).unwrap();
    let mut writer = Writer::new();
    writer.metadata("k", Value::U8(1)).unwrap();
    writer.tensor("t", &[32], ty("Q8_0")).unwrap();
    let deep = (0..4).fold(Array::U8(vec![1]), |inside, _| Array::Array(vec![inside]));
    let long = "k".repeat(0x10000);
    let aligned = |bytes| ("general.alignment", Value::U32(bytes), "power of two");
    for (key, value, words) in [
        ("k", Value::U8(1), "'k': it is there twice"),
        ("", Value::U8(1), "empty"),
        (&long, Value::U8(1), "65535 can be"),
        ("deep", Value::Array(deep), "nested more than 4 deep"),
        aligned(0),
        aligned(24),
        ("general.alignment", Value::U64(32), "u32"),
    ] {
        let error = writer.metadata(key, value).unwrap_err();
        assert!(error.is_input() && error.to_string().contains(words), "{error}");
    }
    let stranger = Box::leak(Box::new(TensorType { id: 0, name: "F32", block: 1, bytes: 2 }));
    for (name, dims, ty, words) in [
        ("t", &[32][..], ty("F32"), "'t': it is there twice"),
        ("", &[32], ty("F32"), "empty"),
        ("u", &[], ty("Q4_0"), "1 values"),
        ("u", &[1, 1, 1, 1, 1], ty("F32"), "5 dimensions"),
        ("u", &[u64::MAX, 2, 0], ty("F32"), "no file is as large"),
        ("u", &[31], ty("Q4_0"), "31 values"),
        ("u", &[u64::MAX, 2], ty("F32"), "no file is as large"),
        ("u", &[4], stranger, "none of ggml's"),
    ] {
        let error = writer.tensor(name, dims, ty).unwrap_err();
        assert!(error.is_input() && error.to_string().contains(words), "{error}");
    }
    // None of them left anything behind.
    let folder = Folder::new();
    let path = folder.path("a.gguf");
    writer.write(&path, |_, out| out.write(&[0; 34])).unwrap();
    let gguf = Gguf::open(&path).unwrap();
    assert_eq!((gguf.metadata().len(), gguf.tensors().len()), (1, 1));
}

#[test]
fn tensors_that_no_file_holds_together_are_refused() {
    let mut writer = Writer::new();
    for name in ["a", "b", "c"] {
        writer.tensor(name, &[1 << 62], TensorType::by_name("I8").unwrap()).unwrap();
    }
    let folder = Folder::new();
    let error = writer.write(&folder.path("a"), |_, _| panic!("too late")).unwrap_err();
    assert!(error.is_input() && error.to_string().contains("no file is as large"), "{error}");
}

#[test]
fn a_tensor_gets_exactly_its_bytes_or_there_is_no_file() {
    let folder = Folder::new();
    let path = folder.path("a.gguf");
    let mut writer = Writer::new();
    writer.tensor("first", &[32], TensorType::by_name("Q8_0").unwrap()).unwrap();
    writer.tensor("second", &[4], TensorType::by_name("F32").unwrap()).unwrap();
    let write = |first: usize, second: usize| {
        writer.write(&path, |tensor, out| match tensor.name.as_str() {
            "first" => out.write(&vec![1; first]),
            // In two pieces.
            _ => out.write(&[2; 3]).and_then(|()| out.write(&vec![2; second - 3])),
        })
    };
    for (first, second, words) in [
        (33, 16, &["'first'", "1 of its 34 bytes"][..]),
        (35, 16, &["'first'", "more data than its 34 bytes"]),
        (34, 15, &["'second'", "1 of its 16 bytes"]),
        (34, 17, &["'second'", "more data"]),
    ] {
        let error = write(first, second).unwrap_err();
        assert!(error.is_input(), "{error}");
        assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
        assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 0);
    }
    let failed = writer.write(&path, |_, _| Err(Error::Input("the weights have a NaN".into())));
    assert_eq!(failed.unwrap_err().to_string(), "the weights have a NaN");
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 0);

    write(34, 16).unwrap();
    let bytes = Bytes::new(2, 0).tensor("first", &[32], 8, 0).tensor("second", &[4], 0, 64).pad(32);
    assert_eq!(fs::read(&path).unwrap(), bytes.raw(&[1; 34]).pad(32).raw(&[2; 16]).pad(32).0);
}
