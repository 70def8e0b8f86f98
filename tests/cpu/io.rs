//! Files in, files out: round trips, and what is said about each kind of bad file.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

use lowbit::internals::io::npy::{Matrix, read_labels, read_matrix, write_labels, write_matrix};
use lowbit::internals::io::output::{check_writable, write_whole};
use lowbit::internals::io::picture::{self, Picture, check_png_path, encode_png, write_png};
use lowbit::internals::{Error, Result};
use tempfile::TempDir;

/// A folder for one test, with files made of bytes.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// Every name in it, hidden ones too.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// The message of an error about a file: one line, that names the file and has all the `words`.
#[track_caller]
fn refused<T>(result: Result<T>, path: &Path, words: &[&str]) {
    let error = result.err().expect("this should have been refused");
    assert!(matches!(error, Error::File { .. } | Error::Io { .. }), "{error:?}");
    assert_eq!(error.exit_code(), 2);
    let message = error.to_string();
    let problem = message.strip_prefix(&format!("{}: ", path.display())).expect(&message);
    assert!(!problem.contains('\n') && problem.len() < 250, "{message}");
    for word in words {
        assert!(problem.contains(word), "\"{word}\" is not in: {problem}");
    }
}

// ---- npy

/// A .npy file, as numpy would write it.
fn npy(version: u8, descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    raw_npy(version, &format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"), data)
}

fn raw_npy(version: u8, dictionary: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    let text = format!("{dictionary:<117}\n");
    match version {
        1 => bytes.extend(u16::try_from(text.len()).unwrap().to_le_bytes()),
        _ => bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes()),
    }
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    bytes
}

const SIX: [f32; 6] = [1.0, -2.5, 0.0, 65504.0, 6.0e-8, -0.125];

fn six(of: impl Fn(f32) -> Vec<u8>) -> Vec<u8> {
    SIX.into_iter().flat_map(of).collect()
}

fn six_le() -> Vec<u8> {
    six(|v| v.to_le_bytes().into())
}

#[test]
fn matrices_of_every_version_type_and_byte_order_are_read() {
    let folder = Folder::new();
    let half = half::f16::from_f32;
    for version in 1..=3 {
        for (descr, data) in [
            ("<f4", six_le()),
            (">f4", six(|v| v.to_be_bytes().into())),
            ("<f2", six(|v| half(v).to_le_bytes().into())),
            (">f2", six(|v| half(v).to_be_bytes().into())),
        ] {
            let path = folder.file("a.npy", &npy(version, descr, "False", "(2, 3)", &data));
            let matrix = read_matrix(&path).unwrap();
            assert_eq!((matrix.rows, matrix.cols), (2, 3));
            let expected = SIX.map(|v| if descr.ends_with('2') { half(v).to_f32() } else { v });
            assert_eq!(matrix.values, expected, "version {version}, {descr}");
        }
    }
}

#[test]
fn the_dictionary_may_be_written_in_other_ways() {
    let folder = Folder::new();
    for dictionary in [
        r#"{"shape":(2,3),"fortran_order":False,"descr":"<f4"}"#,
        " { 'fortran_order' : False , 'descr' : '<f4' , 'shape' : ( 2 , 3 , ) , } ",
    ] {
        let path = folder.file("a.npy", &raw_npy(1, dictionary, &six_le()));
        assert_eq!(read_matrix(&path).unwrap().values, SIX, "{dictionary}");
    }
}

#[test]
fn half_floats_longer_than_a_block_are_read() {
    let folder = Folder::new();
    let (rows, cols) = (701, 1009);
    let halves: Vec<_> = (0..rows * cols).map(|i| half::f16::from_f32((i % 2039) as f32)).collect();
    let data: Vec<u8> = halves.iter().flat_map(|h| h.to_le_bytes()).collect();
    let path = folder.file("a.npy", &npy(1, "<f2", "False", &format!("({rows}, {cols})"), &data));
    let matrix = read_matrix(&path).unwrap();
    assert_eq!((matrix.rows, matrix.cols, matrix.values.len()), (rows, cols, rows * cols));
    assert!(matrix.values.iter().enumerate().all(|(i, &v)| v == (i % 2039) as f32));
}

#[test]
fn written_matrices_and_labels_come_back() {
    let folder = Folder::new();
    let path = folder.path("a.npy");
    let values = [f32::NAN, f32::INFINITY, -0.0, f32::MIN_POSITIVE, 5.0, 6.0];
    write_matrix(&path, 3, 2, &values).unwrap();
    let matrix = read_matrix(&path).unwrap();
    assert_eq!((matrix.rows, matrix.cols), (3, 2));
    assert_eq!(bits(&matrix.values), bits(&values));

    for labels in [vec![], vec![7], vec![i32::MIN, -1, 0, i32::MAX]] {
        write_labels(&path, &labels).unwrap();
        assert_eq!(read_labels(&path).unwrap(), labels);
    }
    assert_eq!(folder.names(), ["a.npy"]);
}

/// Floats as bits, so that NaN and the sign of zero count.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn the_bytes_written_are_those_of_numpy() {
    let folder = Folder::new();
    let path = folder.path("a.npy");
    write_matrix(&path, 2, 3, &SIX).unwrap();
    assert_eq!(fs::read(&path).unwrap(), npy(1, "<f4", "False", "(2, 3)", &six_le()));
    write_labels(&path, &[1, -2]).unwrap();
    let data = [1i32.to_le_bytes(), (-2i32).to_le_bytes()].concat();
    assert_eq!(fs::read(&path).unwrap(), npy(1, "<i4", "False", "(2,)", &data));
}

#[test]
fn a_matrix_of_another_size_is_not_written() {
    let folder = Folder::new();
    let path = folder.path("a.npy");
    for (rows, cols) in [(2, 2), (usize::MAX, 2)] {
        let error = write_matrix(&path, rows, cols, &SIX).unwrap_err();
        assert!(error.is_input());
        assert!(
            error.to_string().contains(&format!("an array of shape [{rows}, {cols}] cannot have 6 values")),
            "{error}"
        );
    }
    assert!(folder.names().is_empty());
}

#[test]
fn labels_of_both_widths_and_byte_orders_are_read() {
    let folder = Folder::new();
    let labels = [3i32, -1, i32::MAX, i32::MIN];
    let data = |of: fn(i32) -> Vec<u8>| labels.into_iter().flat_map(of).collect::<Vec<u8>>();
    for (descr, data) in [
        ("<i4", data(|v| v.to_le_bytes().into())),
        (">i4", data(|v| v.to_be_bytes().into())),
        ("<i8", data(|v| i64::from(v).to_le_bytes().into())),
        (">i8", data(|v| i64::from(v).to_be_bytes().into())),
    ] {
        let path = folder.file("a.npy", &npy(1, descr, "False", "(4,)", &data));
        assert_eq!(read_labels(&path).unwrap(), labels, "{descr}");
    }
}

#[test]
fn bad_labels_are_refused_by_name() {
    let folder = Folder::new();
    let too_large = [1i64.to_le_bytes(), (1i64 << 31).to_le_bytes()].concat();
    for (bytes, words) in [
        (npy(1, "<i8", "False", "(2,)", &too_large), &["index 1", "2147483648", "int32"][..]),
        (npy(1, "<i8", "False", "(3,)", &too_large), &["truncated", "24 bytes", "16"]),
        (npy(1, "<i4", "False", "(2, 2)", &too_large), &["2-D", "(2, 2)", "1-D"]),
        (npy(1, "<U2", "False", "(2,)", &too_large), &["text ('<U2')", "not numbers"]),
        (npy(1, "<f4", "False", "(4,)", &[0, 0, 0xc0, 0x7f].repeat(4)), &["index 0 is NaN", "int32"]),
        (npy(1, "<f4", "False", "(4,)", &0.5f32.to_le_bytes().repeat(4)), &["index 0 is 0.5", "int32"]),
    ] {
        let path = folder.file("a.npy", &bytes);
        refused(read_labels(&path), &path, words);
    }
}

#[test]
fn bad_matrices_are_refused_by_name() {
    let folder = Folder::new();
    let data = six_le();
    let c = |descr, shape| npy(1, descr, "False", shape, &data);
    let with = |end: &[u8]| [c("<f4", "(2, 3)"), end.to_vec()].concat();
    let mut huge_header = npy(2, "<f4", "False", "(2, 3)", &data);
    huge_header[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut version = c("<f4", "(2, 3)");
    version[6] = 9;
    for (bytes, words) in [
        // Not .npy, or only the beginning of one.
        (vec![], &["empty"][..]),
        (b"\x93NUMPX\x01\x00".to_vec(), &["not a .npy file"]),
        (b"\x93NUM".to_vec(), &["ends inside", "header"]),
        (c("<f4", "(2, 3)")[..60].to_vec(), &["ends inside", "header"]),
        (b"PK\x03\x04 and so on".to_vec(), &["zip", "truncated or damaged"]),
        (b"rows,cols\n1,x\n".to_vec(), &["line 2, column 2 ('cols'): 'x' is no number"]),
        (b"\x1f\x8b\x08 and so on".to_vec(), &["gzip", "not an array (.npy, .npz, .parquet, .h5 or .csv)"]),
        (version, &["version 9.0"]),
        (huge_header, &["4294967295 bytes long"]),
        // The data is not what the header says.
        (c("<f4", "(2, 4)"), &["truncated", "(2, 4)", "takes 32 bytes", "found 24"]),
        (c("<f4", "(4000000000, 1000000000)"), &["truncated", "16000000000000000000 bytes", "found 24"]),
        (c("<f4", "(4294967296, 4294967296)"), &["(4294967296, 4294967296)", "no file is that large"]),
        (c("<f4", "(4294967296, 1073741824)"), &["no file is that large"]),
        (c("<f4", "(99999999999999999999, 1)"), &["header is damaged", "'shape'"]),
        (with(b"x"), &["after the data", "takes 24 bytes", "found 25"]),
        // Other arrays.
        (c("<c8", "(1, 3)"), &["complex64", ".real"]),
        (c("<f16", "(1, 3)"), &["float128 ('<f16')", ".astype(numpy.float32)"]),
        (c("f4", "(2, 3)"), &["('f4')"]),
        (c("<M8[ns]", "(1, 3)"), &["datetime64 ('<M8[ns]')"]),
        (c("|O", "(2, 3)"), &["object ('|O')", "Python objects are not read"]),
        (c("", "(2, 3)"), &["dtype is ('')"]),
        (c("\u{1}é<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<", "(2, 3)"), &["\\u{1}é<<"]),
        (
            c("<f4", "(6,)"),
            &["1-D", "(6,)", "2-D, [rows, columns]", "reshape(-1, 1) makes 6 rows", "reshape(1, -1)"],
        ),
        (c("<f4", "(1, 2, 3)"), &["3-D", "(1, 2, 3)", "2-D", "reshape(1, -1)"]),
        (c("<f4", "()"), &["0-D", "()", "2-D"]),
        (npy(1, "<f4", "False", "(0, 3)", &[]), &["empty", "(0, 3)"]),
        (npy(1, "<f4", "False", "(3, 0)", &[]), &["empty", "(3, 0)"]),
        // Damaged dictionaries.
        (raw_npy(1, "", &data), &["header is damaged", "dictionary"]),
        (raw_npy(1, "{", &data), &["header is damaged", "key"]),
        (raw_npy(1, "{'descr' '<f4'}", &data), &["header is damaged", "colon"]),
        (raw_npy(1, "{'descr': '<f4' 'shape': (2, 3)}", &data), &["header is damaged", "comma"]),
        (
            raw_npy(
                1,
                "{'descr': [('x', '<f4'), ('y]', '<i8')], 'fortran_order': False, 'shape': (2, 1)}",
                &data,
            ),
            &["structured ('[('x', '<f4'), ('y]', '<i8')]')", "structured_to_unstructured"],
        ),
        (
            raw_npy(1, "{'descr': [('x', '<f4'), 'shape': (6,)}", &data),
            &["header is damaged", "'descr' has no end"],
        ),
        (raw_npy(1, "{'descr': 4}", &data), &["header is damaged", "'descr'"]),
        (raw_npy(1, "{'fortran_order': 0}", &data), &["header is damaged", "'fortran_order'"]),
        (raw_npy(1, "{'color': 'red'}", &data), &["header is damaged", "unknown key"]),
        (raw_npy(1, "{'descr': '<f4'}", &data), &["header is damaged", "missing"]),
        (c("<f4", "(2, -3)"), &["header is damaged", "'shape'"]),
        (c("<f4", "(2 3)"), &["header is damaged", "'shape'"]),
        (c("<f4", "[2, 3]"), &["header is damaged", "'shape'"]),
        (c("<f4", "(,)"), &["header is damaged", "'shape'"]),
        (c("<f4", &format!("({})", "1,".repeat(100))), &["header is damaged", "'shape'"]),
        (c("<f4", &"(".repeat(60000)), &["header is damaged", "'shape'"]),
        (c("<f4", "(2, 3)}, {'x': ("), &["header is damaged", "follows"]),
    ] {
        let path = folder.file("a.npy", &bytes);
        refused(read_matrix(&path), &path, words);
    }
}

#[test]
fn what_is_not_a_file_is_refused() {
    let folder = Folder::new();
    let missing = folder.path("none.npy");
    let results = [read_matrix(&missing).err(), read_labels(&missing).err(), picture::read(&missing).err()];
    for error in results {
        let Some(Error::Io { path, reason }) = error else { unreachable!("{error:?}") };
        assert_eq!((path, reason.kind()), (missing.clone(), std::io::ErrorKind::NotFound));
    }
    let directory = folder.0.path();
    refused(read_matrix(directory), directory, &["folder"]);
    refused(read_labels(directory), directory, &["folder"]);
    refused(picture::read(directory), directory, &["folder"]);
    if cfg!(unix) {
        let null = Path::new("/dev/null");
        refused(read_matrix(null), null, &["not a regular file"]);
    }
}

#[test]
fn a_truncated_matrix_is_refused_at_every_length() {
    let folder = Folder::new();
    let whole = npy(1, "<f4", "False", "(2, 3)", &six_le());
    for length in 0..whole.len() {
        let path = folder.file("a.npy", &whole[..length]);
        let word = match length {
            0 => "empty",
            _ if length < 128 => "truncated",
            _ => "24 bytes",
        };
        refused(read_matrix(&path), &path, &[word]);
    }
}

#[test]
fn a_damaged_header_never_panics() {
    let folder = Folder::new();
    for (version, descr) in [(1, "<f4"), (2, ">f2"), (3, "<i8")] {
        let whole = npy(version, descr, "False", "(2, 3)", &six_le());
        for at in 0..whole.len() - 24 {
            for flip in [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                let path = folder.file("a.npy", &bytes);
                if let Ok(matrix) = read_matrix(&path) {
                    assert_eq!(matrix.values.len(), matrix.rows * matrix.cols);
                }
                let _ = read_labels(&path);
            }
        }
    }
}

#[test]
fn the_first_value_that_is_not_finite_is_found() {
    let (rows, cols) = (70, 97);
    let clean = Matrix { rows, cols, values: vec![f32::MAX; rows * cols] };
    assert_eq!(clean.first_non_finite(), None);
    for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for index in [0, 1, 96, 97, 1023, 1024, 1025, 5000, rows * cols - 1] {
            let mut matrix = clean.clone();
            matrix.values[index] = bad;
            assert_eq!(matrix.first_non_finite(), Some((index / cols, index % cols)));
            matrix.values[rows * cols - 1] = f32::NAN;
            assert_eq!(matrix.first_non_finite(), Some((index / cols, index % cols)));
        }
    }
    let odd = Matrix { rows: 0, cols: 0, values: vec![f32::NAN] };
    assert_eq!(odd.first_non_finite(), None);
}

// ---- output

fn write_text(path: &Path, text: &str) -> Result<()> {
    write_whole(path, |out| out.write_all(text.as_bytes()))
}

#[test]
fn an_output_is_whole_and_replaces_an_older_one() {
    let folder = Folder::new();
    let path = folder.path("out.txt");
    for text in ["first, and longer", "second", ""] {
        check_writable(&path).unwrap();
        write_text(&path, text).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(folder.names(), ["out.txt"]);
    }
}

#[test]
fn a_failed_write_leaves_nothing_and_keeps_the_older_file() {
    let folder = Folder::new();
    let path = folder.path("out.txt");
    let fail = || {
        write_whole(&path, |out| {
            out.write_all(&[0; 100_000])?;
            Err(std::io::Error::other("the disk caught fire"))
        })
    };
    refused(fail(), &path, &["the disk caught fire"]);
    assert!(folder.names().is_empty());
    write_text(&path, "old").unwrap();
    refused(fail(), &path, &["the disk caught fire"]);
    assert_eq!(folder.names(), ["out.txt"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
}

#[test]
fn outputs_that_cannot_be_are_refused_early_and_late() {
    let folder = Folder::new();
    folder.file("plain", b"");
    let no_folder = folder.path("none/out.txt");
    let not_a_folder = folder.path("plain/out.txt");
    let slash = folder.path("new/");
    for (path, words) in [
        (folder.0.path(), &["is a folder"][..]),
        (&slash, &["is a folder"]),
        (&no_folder, &["the folder", "none does not exist"]),
        (&not_a_folder, &["plain is not a folder"]),
        (Path::new(""), &["not the name of a file"]),
        (Path::new(".."), &["is a folder"]),
    ] {
        refused(check_writable(path), path, words);
        refused(write_text(path, "text"), path, words);
    }
    assert_eq!(folder.names(), ["plain"]);
}

#[test]
fn checking_an_output_changes_nothing() {
    let folder = Folder::new();
    check_writable(&folder.path("new.txt")).unwrap();
    assert!(folder.names().is_empty());
    let old = folder.file("old.txt", b"old");
    check_writable(&old).unwrap();
    assert_eq!(folder.names(), ["old.txt"]);
    assert_eq!(fs::read(&old).unwrap(), b"old");
    // A bare name is in the current folder.
    check_writable(Path::new("lowbit-io-test-that-is-not-written")).unwrap();
}

#[test]
fn a_read_only_file_is_not_replaced() {
    let folder = Folder::new();
    let path = folder.file("out.txt", b"old");
    let ordinary = fs::metadata(&path).unwrap().permissions();
    let mut read_only = ordinary.clone();
    read_only.set_readonly(true);
    fs::set_permissions(&path, read_only).unwrap();
    refused(check_writable(&path), &path, &["read-only"]);
    refused(write_text(&path, "new"), &path, &["read-only"]);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    // Windows removes no read-only file with the folder.
    fs::set_permissions(&path, ordinary).unwrap();
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn permissions_are_those_of_an_ordinary_file() {
        let folder = Folder::new();
        let (ordinary, path) = (folder.file("ordinary", b""), folder.path("out"));
        write_text(&path, "new").unwrap();
        assert_eq!(mode(&path), mode(&ordinary));
        for kept in [0o600, 0o666, 0o755] {
            fs::set_permissions(&path, fs::Permissions::from_mode(kept)).unwrap();
            write_text(&path, "newer").unwrap();
            assert_eq!(mode(&path), kept);
        }
    }

    #[test]
    fn a_link_is_followed() {
        let folder = Folder::new();
        fs::create_dir(folder.path("elsewhere")).unwrap();
        let real = folder.file("elsewhere/real", b"old");
        let link = folder.path("link");
        symlink(&real, &link).unwrap();
        write_text(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(folder.names(), ["elsewhere", "link"]);
    }

    #[test]
    fn a_device_is_written_and_not_replaced() {
        let null = Path::new("/dev/null");
        check_writable(null).unwrap();
        write_text(null, "text").unwrap();
        assert!(fs::metadata(null).unwrap().file_type().is_char_device());
    }
}

// ---- pictures

fn gradient(width: u32, height: u32) -> Picture {
    let pixel =
        |i: u32| [(i % width * 7) as u8, (i / width * 5) as u8, (i * i % 251) as u8, 255 - (i % 3) as u8];
    Picture { width, height, rgba: (0..width * height).map(pixel).collect() }
}

/// A JPEG whose left half is white and whose right half is black.
fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let gray: Vec<u8> = (0..width * height).map(|i| if i % width < width / 2 { 255 } else { 0 }).collect();
    let mut bytes = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
    image::ImageEncoder::write_image(encoder, &gray, width, height, image::ExtendedColorType::L8).unwrap();
    bytes
}

#[test]
fn pictures_come_back_pixel_for_pixel() {
    let folder = Folder::new();
    for (width, height) in [(1, 1), (1, 9), (9, 1), (33, 20)] {
        let picture = gradient(width, height);
        let path = folder.path("a.PNG");
        write_png(&path, &picture).unwrap();
        assert_eq!(picture::read(&path).unwrap(), picture);
        assert_eq!(fs::read(&path).unwrap(), encode_png(&picture).unwrap());
        assert_eq!(folder.names(), ["a.PNG"]);
    }
}

#[test]
fn other_kinds_of_png_become_rgba() {
    let folder = Folder::new();
    for (color, data, expected) in [
        (image::ExtendedColorType::L8, &[100][..], [100, 100, 100, 255]),
        (image::ExtendedColorType::La8, &[100, 7], [100, 100, 100, 7]),
        (image::ExtendedColorType::Rgb8, &[1, 2, 3], [1, 2, 3, 255]),
        (image::ExtendedColorType::Rgb16, &[255, 255, 0, 0, 128, 128], [255, 0, 128, 255]),
    ] {
        let mut bytes = Vec::new();
        let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
        image::ImageEncoder::write_image(encoder, data, 1, 1, color).unwrap();
        let path = folder.file("a.png", &bytes);
        assert_eq!(picture::read(&path).unwrap(), Picture { width: 1, height: 1, rgba: vec![expected] });
    }
}

#[test]
fn a_jpeg_is_known_by_its_content() {
    let folder = Folder::new();
    let picture = picture::read(&folder.file("a.png", &jpeg(32, 16))).unwrap();
    assert_eq!((picture.width, picture.height, picture.rgba.len()), (32, 16, 512));
    let [white, black] = [picture.rgba[0], picture.rgba[31]];
    assert!(white[0] > 250 && black[0] < 5 && white[3] == 255 && black[3] == 255);
}

#[test]
fn a_jpeg_is_turned_as_its_exif_data_says() {
    let folder = Folder::new();
    // Orientation 6: the right edge of the scene is the bottom row of the pixels as stored.
    let exif = b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let stored = jpeg(32, 16);
    let bytes = [&stored[..2], exif, &stored[2..]].concat();
    let picture = picture::read(&folder.file("a.jpg", &bytes)).unwrap();
    assert_eq!((picture.width, picture.height), (16, 32));
    let (top, bottom) = (picture.rgba[0], picture.rgba[16 * 31]);
    assert!(top[0] > 250 && bottom[0] < 5, "{top:?} {bottom:?}");
}

#[test]
fn bad_pictures_are_refused_by_name() {
    let folder = Folder::new();
    let png = encode_png(&gradient(16, 16)).unwrap();
    let jpeg = jpeg(32, 16);
    let mut damaged = png.clone();
    damaged[50] ^= 0xff;
    // The size is at 16; the CRC of its chunk, at 29, has to agree.
    let sized = |width: u32, height: u32| {
        let mut bytes = png.clone();
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let crc = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        bytes
    };
    for (bytes, words) in [
        (vec![], &["empty"][..]),
        (b"not a picture at all".to_vec(), &["neither a PNG nor a JPEG"]),
        (b"GIF89a\x01\x00\x01\x00".to_vec(), &["neither a PNG nor a JPEG"]),
        (png[..8].to_vec(), &["PNG", "truncated"]),
        (png[..png.len() / 2].to_vec(), &["PNG", "truncated"]),
        (damaged, &["PNG", "cannot be decoded"]),
        (sized(0x7fff_ffff, 0x7fff_ffff), &["PNG", "more than 2 GiB"]),
        (sized(30_000, 30_000), &["PNG", "more than 2 GiB"]),
        (sized(0, 16), &["PNG", "cannot be decoded"]),
        (jpeg[..jpeg.len() - 2].to_vec(), &["JPEG", "truncated"]),
        (jpeg[..jpeg.len() / 2].to_vec(), &["JPEG", "truncated"]),
        ([&jpeg[..2], &jpeg[jpeg.len() - 2..]].concat(), &["JPEG", "cannot be decoded"]),
    ] {
        let path = folder.file("a.png", &bytes);
        refused(picture::read(&path), &path, words);
    }
}

/// The checksum of a PNG chunk.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    })
}

#[test]
fn a_damaged_picture_never_panics() {
    let folder = Folder::new();
    for whole in [encode_png(&gradient(5, 5)).unwrap(), jpeg(16, 8)] {
        for at in 0..whole.len() {
            let path = folder.file("a.png", &whole[..at]);
            let _ = picture::read(&path);
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                if let Ok(picture) = picture::read(&folder.file("a.png", &bytes)) {
                    assert_eq!(
                        picture.rgba.len() as u64,
                        u64::from(picture.width) * u64::from(picture.height)
                    );
                }
            }
        }
    }
}

#[test]
fn a_picture_is_only_written_as_png() {
    let folder = Folder::new();
    for name in ["a.jpg", "a", ".png", "png"] {
        let path = folder.path(name);
        refused(check_png_path(&path), &path, &["PNG", "ends in .png"]);
        refused(write_png(&path, &gradient(2, 2)), &path, &["PNG", "ends in .png"]);
    }
    check_png_path(Path::new("some/a.png")).unwrap();
    assert!(folder.names().is_empty());
}

#[test]
fn a_picture_without_its_pixels_is_not_written() {
    let folder = Folder::new();
    for (width, height, pixels) in [(0, 0, 0), (2, 2, 3), (0, 4, 0), (u32::MAX, u32::MAX, 1)] {
        let picture = Picture { width, height, rgba: vec![[0; 4]; pixels] };
        let error = write_png(&folder.path("a.png"), &picture).unwrap_err();
        assert!(error.is_input());
        let words = format!("a {width} x {height} picture cannot have {pixels} pixels");
        assert_eq!(error.to_string(), words);
    }
    assert!(folder.names().is_empty());
}
