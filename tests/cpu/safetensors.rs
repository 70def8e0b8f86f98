//! Safetensors: what is in a file, and what is said about each kind of damaged or hostile file.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

use lowbit::internals::Error;
use lowbit::internals::io::safetensors::{DTYPES, Dtype, Safetensors, is_safetensors};
use lowbit::internals::random::Random;
use serde_json::json;
use tempfile::TempDir;

/// A file of this header, which may be anything, with its right length.
fn file(header: impl AsRef<[u8]>, data: &[u8]) -> Vec<u8> {
    let header = header.as_ref();
    [&(header.len() as u64).to_le_bytes(), header, data].concat()
}

/// A file with one tensor of the name `w`, whose description is `inside`.
fn one(inside: &str, data: usize) -> Vec<u8> {
    file(format!("{{\"w\":{{{inside}}}}}"), &vec![0; data])
}

/// The same with the three fields; they are JSON.
fn described(dtype: &str, shape: &str, offsets: &str, data: usize) -> Vec<u8> {
    one(&format!("\"dtype\":{dtype},\"shape\":{shape},\"data_offsets\":{offsets}"), data)
}

/// The header of tensors of bytes at these offsets.
fn bytes_at(tensors: &[(&str, u64, u64)]) -> String {
    let tensors = tensors.iter().map(|(name, begin, end)| {
        format!(
            "{:?}:{{\"dtype\":\"U8\",\"shape\":[{}],\"data_offsets\":[{begin},{end}]}}",
            name,
            end - begin
        )
    });
    format!("{{{}}}", tensors.collect::<Vec<_>>().join(","))
}

/// A folder for one test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join("a.safetensors");
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// One line about the file: exactly `problem`.
#[track_caller]
fn says(error: &Error, path: &Path, problem: &str) {
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    assert_eq!(error.exit_code(), 2);
    assert_eq!(error.to_string(), format!("{}: {problem}", path.display()));
    assert!(!problem.contains(char::is_control) && problem.len() < 250, "{problem}");
}

#[track_caller]
fn refused(bytes: &[u8], problem: &str) {
    let folder = Folder::new();
    let path = folder.file(bytes);
    says(&Safetensors::open(&path).expect_err("this should have been refused"), &path, problem);
}

/// Two matrices, a scalar and an empty tensor, not in the order of their offsets, and padding as the format's own
/// writer has it.
fn example() -> Vec<u8> {
    let mut header = json!({
        "__metadata__": {"format": "pt", "ü and\nmore": ""},
        "b.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [16, 40]},
        "a.weight": {"dtype": "BF16", "shape": [4, 1, 2], "data_offsets": [0, 16]},
        "nothing": {"dtype": "F16", "shape": [7, 0], "data_offsets": [16, 16]},
        "scalar": {"dtype": "I64", "shape": [], "data_offsets": [40, 48]},
    })
    .to_string();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let data: Vec<u8> = (0..48).collect();
    file(header, &data)
}

// ---- what is in a file

#[test]
fn everything_in_a_file_is_read() {
    let folder = Folder::new();
    let bytes = example();
    let path = folder.file(&bytes);
    assert!(is_safetensors(&path).unwrap());
    let file = Safetensors::open(&path).unwrap();
    assert_eq!(file.path(), path);
    let text = |text: &str| text.to_owned();
    assert_eq!(file.metadata(), [(text("format"), text("pt")), (text("ü and\nmore"), text(""))]);

    let start = bytes.len() as u64 - 48;
    let found: Vec<_> = file
        .tensors()
        .iter()
        .map(|t| (t.name.as_str(), t.dtype.name, t.shape.as_slice(), t.offset - start, t.bytes, t.values()))
        .collect();
    let expected: [(_, _, &[u64], _, _, _); 4] = [
        ("a.weight", "BF16", &[4, 1, 2], 0, 16, 8),
        ("nothing", "F16", &[7, 0], 16, 0, 0),
        ("b.weight", "F32", &[2, 3], 16, 24, 6),
        ("scalar", "I64", &[], 40, 8, 1),
    ];
    assert_eq!(found, expected);
    for tensor in file.tensors() {
        assert_eq!(file.tensor(&tensor.name).unwrap(), tensor);
        let mut data = vec![0; tensor.bytes as usize];
        file.read(tensor, 0..tensor.bytes, &mut data).unwrap();
        assert_eq!(data, bytes[tensor.offset as usize..][..data.len()]);
    }
    let mut part = [0; 3];
    file.read(file.tensor("b.weight").unwrap(), 5..8, &mut part).unwrap();
    assert_eq!(part, [21, 22, 23]);
}

#[test]
fn types_have_their_sizes() {
    let sizes = |bytes| DTYPES.iter().filter(move |dtype| dtype.bytes == bytes).map(|dtype| dtype.name);
    assert_eq!(
        sizes(1).collect::<Vec<_>>(),
        ["BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"]
    );
    assert_eq!(sizes(2).collect::<Vec<_>>(), ["I16", "U16", "F16", "BF16"]);
    assert_eq!(sizes(4).collect::<Vec<_>>(), ["I32", "U32", "F32"]);
    assert_eq!(sizes(8).collect::<Vec<_>>(), ["I64", "U64", "F64", "C64"]);
    let folder = Folder::new();
    for dtype in DTYPES {
        assert_eq!(Dtype::by_name(dtype.name), Some(dtype));
        assert_eq!(dtype.bits(), f64::from(dtype.bytes) * 8.0);
        let bytes = 6 * dtype.bytes as usize;
        let path =
            folder.file(&described(&format!("{:?}", dtype.name), "[2,3]", &format!("[0,{bytes}]"), bytes));
        assert_eq!(Safetensors::open(&path).unwrap().tensors()[0].dtype, dtype);
    }
    assert_eq!(Dtype::by_name("f32"), None);
}

#[test]
fn unusual_files_are_read() {
    let folder = Folder::new();
    let open = |bytes: &[u8]| Safetensors::open(&folder.file(bytes)).unwrap();
    assert!(open(&file("{}", &[])).tensors().is_empty());
    assert!(open(&file("{ \"__metadata__\" : { } } \n", &[])).metadata().is_empty());
    assert_eq!(open(&file(bytes_at(&[("only", 0, 0)]), &[])).tensors().len(), 1);
    // Escapes are what they stand for.
    let escaped = open(&file(bytes_at(&[("w", 0, 1)]).replace("\"w\"", "\"\\u0077\\n\""), &[5]));
    assert_eq!(escaped.tensors()[0].name, "w\n");
    // Fields in any order; as many dimensions as can be; a 0 makes the others free.
    open(&one("\"data_offsets\":[0,2],\"shape\":[1],\"dtype\":\"F16\"", 2));
    open(&described("\"U8\"", &format!("[{}1]", "1,".repeat(63)), "[0,1]", 1));
    open(&described("\"U8\"", "[18446744073709551615,0]", "[0,0]", 0));
    // Empty tensors between, before and behind the others.
    let empty = [("z", 0, 0), ("a", 0, 2), ("c", 2, 4), ("b", 2, 2), ("y", 4, 4)];
    let file = open(&file(bytes_at(&empty), &[0; 4]));
    assert_eq!(file.tensors().iter().map(|t| t.name.as_str()).collect::<String>(), "zabcy");
}

#[test]
fn an_unknown_tensor_is_answered_with_near_names() {
    let folder = Folder::new();
    let path = folder.file(&example());
    let file = Safetensors::open(&path).unwrap();
    for (name, problem) in [
        ("b.wieght", "no tensor is called 'b.wieght'; near it are 'b.weight'"),
        ("output", "no tensor is called 'output'; `lowbit inspect` lists all 4"),
        ("\u{1b}[2J", "no tensor is called '\\u{1b}[2J'; `lowbit inspect` lists all 4"),
    ] {
        says(&file.tensor(name).unwrap_err(), &path, problem);
    }
}

#[test]
fn what_is_not_within_a_tensor_is_not_read() {
    let folder = Folder::new();
    let path = folder.file(&example());
    let file = Safetensors::open(&path).unwrap();
    let tensor = file.tensor("b.weight").unwrap();
    #[allow(clippy::reversed_empty_ranges)]
    for (range, room, problem) in [
        (0..25, 25, "the bytes 0..25 are not within its 24"),
        (0..u64::MAX, 1, "the bytes 0..18446744073709551615 are not within its 24"),
        (5..4, 0, "the bytes 5..4 are not within its 24"),
        (0..24, 23, "the bytes 0..24 do not fit into 23"),
    ] {
        let error = file.read(tensor, range, &mut vec![0; room]).unwrap_err();
        assert!(error.is_input(), "{error:?}");
        assert_eq!(error.to_string(), format!("tensor 'b.weight': {problem}"));
    }
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(tensor.offset + 23).unwrap();
    let error = file.read(tensor, 0..24, &mut [0; 24]).unwrap_err();
    says(&error, &path, "tensor 'b.weight': the file has become shorter");
}

// ---- damaged and hostile files

#[test]
fn what_is_no_safetensors_file_is_refused() {
    refused(&[], "the file is empty");
    refused(&[2, 0, 0, 0, 0, 0, 0], "this is not a safetensors file: it has 7 bytes");
    refused(
        b"GGUF\x03\0\0\0 and so on",
        "this is not a safetensors file: its header would have 14064895815 bytes; 100000000 can be",
    );
    refused(
        &[0xff; 9],
        "this is not a safetensors file: its header would have 18446744073709551615 bytes; 100000000 can be",
    );
    let brace = "this is not a safetensors file: its header does not begin with {";
    refused(&file("", &[0]), brace);
    refused(&file(" {}", &[]), brace);
    refused(&file("[{}]", &[]), brace);
    let folder = Folder::new();
    let error = Safetensors::open(folder.0.path()).unwrap_err();
    let none = "this folder has no .safetensors file; of a GGUF model, give one of its files";
    says(&error, folder.0.path(), none);
    assert!(matches!(Safetensors::open(&folder.0.path().join("none")), Err(Error::Io { .. })));
    for bytes in
        [&b"{}"[..], b"\x02\0\0\0\0\0\0\0", b"\x02\0\0\0\0\0\0\0[", b"\x01\0\0\0\0\0\0\0{", &[b'{'; 9]]
    {
        assert!(!is_safetensors(&folder.file(bytes)).unwrap());
    }
}

#[test]
fn a_header_that_is_not_there_is_refused_before_it_is_read() {
    let long = |length: u64| [&length.to_le_bytes()[..], b"{}"].concat();
    refused(
        &long(3),
        "its header of 3 bytes cannot be in the 2 bytes that are left: it is truncated or damaged",
    );
    refused(
        &long(100_000_000),
        "its header of 100000000 bytes cannot be in the 2 bytes that are left: it is truncated or damaged",
    );
    refused(
        &long(100_000_001),
        "this is not a safetensors file: its header would have 100000001 bytes; 100000000 can be",
    );
}

#[test]
fn what_is_not_json_is_refused() {
    let json = |header: &str, problem: &str| {
        refused(&file(header, &[]), &format!("the header is not JSON: {problem}"));
    };
    json("{", "EOF while parsing an object at line 1 column 1");
    json("{]", "key must be a string at line 1 column 2");
    json("{1:2}", "key must be a string at line 1 column 2");
    json("{}{}", "trailing characters at line 1 column 3");
    json("{}\0", "trailing characters at line 1 column 3");
    json("{\"w", "EOF while parsing a string at line 1 column 3");
    json("{\"\\ud800\":1}", "unexpected end of hex escape at line 1 column 9");
    json(
        "{\"\u{1}\":1}",
        "control character (\\u0000-\\u001F) found while parsing a string at line 1 column 3",
    );
    refused(
        &file(b"{\"\xff\xff\":1}", &[]),
        "the header is not JSON: invalid unicode code point at line 1 column 3",
    );
    refused(
        &file("{\"w\":{\"dtype\":\"U8\",\"shape\":[1", &[]),
        "tensor 'w', its shape: the header is not JSON: EOF while parsing a list at line 1 column 29",
    );
    refused(
        &file("{\"w\":", &[]),
        "tensor 'w': the header is not JSON: EOF while parsing a value at line 1 column 5",
    );
}

#[test]
fn deep_json_is_refused() {
    let deep = |open: &str| open.repeat(100_000);
    refused(
        &file(format!("{{\"w\":{}", deep("[")), &[]),
        "tensor 'w': invalid type: sequence, expected an object at line 1 column 5",
    );
    refused(&file(deep("{\"w\":"), &[]), "tensor 'w': its key 'w' is unknown");
    refused(
        &one(&format!("\"dtype\":\"U8\",\"shape\":{}", deep("[")), 0),
        "tensor 'w', its shape: invalid type: sequence, expected u64 at line 1 column 28",
    );
    refused(
        &one(&format!("\"dtype\":{}", deep("{\"dtype\":")), 0),
        "tensor 'w', its dtype: invalid type: map, expected a string at line 1 column 14",
    );
    refused(
        &file(format!("{{\"__metadata__\":{{\"k\":{}", deep("[")), &[]),
        "__metadata__: invalid type: sequence, expected a string at line 1 column 21",
    );
}

#[test]
fn bad_metadata_is_refused() {
    refused(
        &file("{\"__metadata__\":[]}", &[]),
        "__metadata__: invalid type: sequence, expected an object at line 1 column 16",
    );
    refused(
        &file("{\"__metadata__\":null}", &[]),
        "__metadata__: invalid type: null, expected an object at line 1 column 20",
    );
    refused(
        &file("{\"__metadata__\":{\"k\":1}}", &[]),
        "__metadata__: invalid type: integer `1`, expected a string at line 1 column 22",
    );
    refused(&file("{\"__metadata__\":{},\"__metadata__\":{}}", &[]), "__metadata__: it is there twice");
    refused(
        &file("{\"__metadata__\":{\"k\":\"1\",\"l\":\"2\",\"\\u006b\":\"1\"}}", &[]),
        "__metadata__: the key 'k' is there twice",
    );
    let long = "k".repeat(0x10000);
    refused(
        &file(format!("{{\"__metadata__\":{{\"{long}\":\"\"}}}}"), &[]),
        "__metadata__: a key has 65536 bytes; 65535 can be",
    );
    let pairs: Vec<_> = (0..=0x10000).map(|i| format!("\"{i}\":\"\"")).collect();
    refused(
        &file(format!("{{\"__metadata__\":{{{}}}}}", pairs.join(",")), &[]),
        "__metadata__: there are more than 65536 pairs",
    );
}

#[test]
fn bad_names_are_refused() {
    refused(&file(bytes_at(&[("a", 0, 1), ("", 1, 2)]), &[0; 2]), "tensor 1: its name is empty");
    let name = |length| bytes_at(&[(&"n".repeat(length), 0, 0)]);
    refused(&file(name(1025), &[]), "tensor 0: its name has 1025 bytes; 1024 can be");
    refused(&file(name(1024), &[0]), "the last 1 bytes of the file are in no tensor");
    let twice = bytes_at(&[("same", 0, 1), ("other", 1, 2), ("same", 2, 3)]);
    refused(&file(twice, &[0; 3]), "tensor 'same' is there twice");
    refused(&file(bytes_at(&[("same", 0, 1), ("same", 0, 1)]), &[0]), "tensor 'same' is there twice");
    // The same name, written in another way.
    let twice = bytes_at(&[("same", 0, 1), ("again", 1, 2)]).replace("again", "\\u0073ame");
    refused(&file(twice, &[0; 2]), "tensor 'same' is there twice");
    refused(
        &file("{\"\\u001b]0;\\n\":1}", &[]),
        "tensor '\\u{1b}]0;\\n': invalid type: integer `1`, expected an object at line 1 column 16",
    );
}

#[test]
fn bad_descriptions_are_refused_by_name() {
    let of = |dtype: &str, shape: &str, offsets: &str, problem: &str| {
        refused(&described(dtype, shape, offsets, 8), &format!("tensor 'w'{problem}"));
    };
    let u8 = "\"U8\"";
    of("\"F4\"", "[8]", "[0,8]", ": its dtype 'F4' is unknown");
    of("\"f32\"", "[2]", "[0,8]", ": its dtype 'f32' is unknown");
    of("\"\\u001b\"", "[2]", "[0,8]", ": its dtype '\\u{1b}' is unknown");
    of("7", "[8]", "[0,8]", ", its dtype: invalid type: integer `7`, expected a string at line 1 column 15");
    let numbers = |most| format!("an array of at most {most} whole numbers");
    let shape =
        format!(", its shape: invalid type: integer `8`, expected {} at line 1 column 28", numbers(64));
    of(u8, "8", "[0,8]", &shape);
    of(u8, "[-8]", "[0,8]", ", its shape: invalid value: integer `-8`, expected u64 at line 1 column 30");
    of(
        u8,
        "[8.0]",
        "[0,8]",
        ", its shape: invalid type: floating point `8.0`, expected u64 at line 1 column 31",
    );
    let large = ", its shape: invalid type: floating point `1.8446744073709552e+19`, expected u64 at line 1 column 48";
    of(u8, "[18446744073709551616]", "[0,8]", large);
    of(u8, "[\"8\"]", "[0,8]", ", its shape: invalid type: string \"8\", expected u64 at line 1 column 31");
    let many = format!("[{}8]", "1,".repeat(64));
    let long = format!(", its shape: invalid length 65, expected {} at line 1 column 158", numbers(64));
    of(u8, &many, "[0,8]", &long);
    let three = format!(", its data_offsets: invalid length 3, expected {} at line 1 column 53", numbers(2));
    of(u8, "[8]", "[0,8,8]", &three);
    of(u8, "[8]", "[8]", ": its data_offsets are 1 numbers, not 2");
    of(u8, "[8]", "[]", ": its data_offsets are 0 numbers, not 2");
    of(u8, "[8]", "[8,0]", ": its data_offsets 8..0 end before they begin");
    of(u8, "[7]", "[0,8]", ": its data_offsets 0..8 have 8 bytes; 7 are needed for U8 of shape [7]");
    of(
        "\"F32\"",
        "[2,3]",
        "[0,8]",
        ": its data_offsets 0..8 have 8 bytes; 24 are needed for F32 of shape [2, 3]",
    );
    of("\"F32\"", "[]", "[0,8]", ": its data_offsets 0..8 have 8 bytes; 4 are needed for F32 of shape []");
    of(u8, "[0]", "[0,8]", ": its data_offsets 0..8 have 8 bytes; 0 are needed for U8 of shape [0]");
    for shape in ["[4294967296, 4294967296]", "[0, 4294967296, 4294967296]", "[4294967296, 4294967296, 0]"] {
        of(u8, shape, "[0,8]", &format!(": no file is as large as its shape {shape}"));
    }
    let most = "[2305843009213693952]";
    of("\"F64\"", most, "[0,8]", &format!(": no file is as large as its shape {most}"));

    let fields = |inside: &str, problem: &str| refused(&one(inside, 0), &format!("tensor 'w': {problem}"));
    fields("", "its dtype is missing");
    fields("\"dtype\":\"U8\"", "its shape is missing");
    fields("\"shape\":[0],\"dtype\":\"U8\"", "its data_offsets are missing");
    fields("\"dtype\":\"U8\",\"dtype\":\"U8\"", "its dtype is there twice");
    fields("\"shape\":[],\"shape\":[]", "its shape is there twice");
    fields("\"data_offsets\":[],\"data_offsets\":[]", "its data_offsets is there twice");
    fields("\"dtype\":\"U8\",\"\\u001bstrides\":[1]", "its key '\\u{1b}strides' is unknown");
}

#[test]
fn a_message_stays_short() {
    let folder = Folder::new();
    let long = "x".repeat(10_000);
    let dimensions = "9999999999,".repeat(60);
    for bytes in [
        described("\"U8\"", &format!("[\"{long}\"]"), "[0,1]", 1),
        described("\"U8\"", &format!("[{dimensions}1]"), "[0,1]", 1),
        described(&format!("\"{long}\""), "[1]", "[0,1]", 1),
        file(format!("{{\"w\":\"{long}\"}}"), &[]),
    ] {
        let path = folder.file(&bytes);
        let message = Safetensors::open(&path).unwrap_err().to_string();
        let problem = message.strip_prefix(&format!("{}: tensor 'w'", path.display())).expect(&message);
        assert!(problem.chars().count() <= 160 && problem.contains('…'), "{problem}");
    }
}

#[test]
fn data_that_is_not_covered_once_is_refused() {
    let of = |tensors: &[(&str, u64, u64)], data: usize, problem: &str| {
        refused(&file(bytes_at(tensors), &vec![0; data]), problem);
    };
    of(&[("a", 0, 4), ("b", 4, 9)], 10, "the last 1 bytes of the file are in no tensor");
    of(&[], 3, "the last 3 bytes of the file are in no tensor");
    of(&[("a", 1, 4)], 4, "the bytes 0..1 of the data, before tensor 'a', are in no tensor");
    of(&[("b", 6, 9), ("a", 0, 4)], 9, "the bytes 4..6 of the data, before tensor 'b', are in no tensor");
    of(&[("b", 3, 9), ("a", 0, 4)], 9, "the data of tensors 'a' and 'b' overlaps");
    of(&[("a", 0, 4), ("b", 0, 4)], 4, "the data of tensors 'a' and 'b' overlaps");
    of(&[("a", 0, 4), ("b", 2, 2)], 4, "the data of tensors 'a' and 'b' overlaps");
    let behind = |name, range, data| {
        format!(
            "tensor '{name}': its data_offsets {range} end behind the {data} bytes of data: it is truncated or damaged"
        )
    };
    of(&[("a", 0, 4), ("b", 4, 9)], 8, &behind("b", "4..9", 8));
    let max = u64::MAX;
    of(&[("a", 0, max)], 8, &behind("a", "0..18446744073709551615", 8));
    of(&[("a", max, max)], 8, &behind("a", "18446744073709551615..18446744073709551615", 8));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let folder = Folder::new();
    let whole = example();
    for length in 0..=whole.len() {
        let opened = Safetensors::open(&folder.file(&whole[..length]));
        assert_eq!(opened.is_ok(), length == whole.len(), "{length}: {opened:?}");
        assert!(opened.is_ok() || matches!(opened, Err(Error::File { .. })), "{opened:?}");
    }
    refused(&[&whole[..], &[0]].concat(), "the last 1 bytes of the file are in no tensor");
}

#[test]
fn a_damaged_file_never_panics() {
    let folder = Folder::new();
    let whole = example();
    let header = whole.len() - 48;
    let mut random = Random::new(3);
    for round in 0..3 * header + 500 {
        let mut bytes = whole.clone();
        if let Some(at) = Some(round / 3).filter(|&at| at < header) {
            bytes[at] ^= [0x01, 0x80, 0xff][round % 3];
        } else {
            for _ in 0..=random.below(4) {
                bytes[random.below(header as u64) as usize] =
                    b"\0\x09\xff0{}[],\":"[random.below(11) as usize];
            }
        }
        let path = folder.file(&bytes);
        let Ok(file) = Safetensors::open(&path) else { continue };
        for tensor in file.tensors() {
            let mut data = vec![0; tensor.bytes as usize];
            file.read(tensor, 0..tensor.bytes, &mut data).unwrap();
            assert_eq!(data, bytes[tensor.offset as usize..][..data.len()]);
        }
    }
}
