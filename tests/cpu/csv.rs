//! Tables of text, labels in files, and what is said about each kind of bad table.

use std::path::{Path, PathBuf};

use lowbit::internals::io::labels::Column;
use lowbit::internals::io::table::{check_left, read_features};
use lowbit::internals::io::{csv, npy};
use lowbit::internals::{Error, Result};
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

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

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn column(path: &Path, name: &str) -> Column {
    format!("{}:{name}", path.display()).parse().unwrap()
}

#[test]
fn tables_are_read_however_they_are_written() {
    let folder = Folder::new();
    for text in [
        "a,b,c\n1,-2.5,3e2\n0.1,5,.5\n",
        "a,b,c\r\n1,-2.5,3e2\r\n0.1,5,.5",
        "\u{feff}a,b,c\n1,-2.5,3e2\n0.1,5,.5\n",
        "a;b;c\n1;-2.5;3e2\n0.1;5;.5\n",
        "a\tb\tc\n1\t-2.5\t3e2\n0.1\t5\t.5\n",
        "# from somewhere\na,b,c\n1,-2.5,3e2\n# between\n0.1,5,.5\n",
        "\n\n\"a\" , b ,c\n\n1, -2.5 ,+300\n   \n\"0.1\",\"5\",0.5\n\n",
        "\r\n\"a\";\"b\";\"c\"\r\n\"1\";\"-2.5\";\"3e2\"\r\n0.1;5;.5\r\n\r\n",
    ] {
        let path = folder.file("a.csv", text);
        let (names, matrix) = csv::read(&path).unwrap();
        assert_eq!(names.as_deref(), Some(texts(&["a", "b", "c"]).as_slice()), "{text:?}");
        assert_eq!((matrix.rows, matrix.cols), (2, 3));
        assert_eq!(matrix.values, [1.0, -2.5, 300.0, 0.1, 5.0, 0.5], "{text:?}");
    }
    let (names, matrix) = csv::read(&folder.file("b.csv", "1,2\n3,4\n5,6\n")).unwrap();
    assert_eq!((names, matrix.rows, matrix.values.len()), (None, 3, 6));
    let (names, matrix) = csv::read(&folder.file("c.csv", "\"x, y; z\",\"a \"\"b\"\"\"\n1,2\n")).unwrap();
    assert_eq!((names, matrix.cols), (Some(texts(&["x, y; z", "a \"b\""])), 2));
}

#[test]
fn bad_cells_are_named_by_line_and_column() {
    let folder = Folder::new();
    for (text, words) in [
        ("a,b\n1,2\n3,x\n", &["line 3, column 2 ('b'): 'x' is no number"][..]),
        ("a,b\n1,2\n\n3,\n", &["line 4, column 2 ('b'): the cell is empty"]),
        ("a,b\r\n1,2\r\n\r\n3,y\r\n", &["line 4, column 2 ('b'): 'y' is no number"]),
        ("\u{feff}a,b\r\n1,2\r\n3,y\r\n", &["line 3, column 2 ('b'): 'y' is no number"]),
        ("a,\"b\n c\"\n1,2\n3,y\n", &["line 4, column 2"]),
        ("1,2\n,4\n", &["line 2, column 1: the cell is empty"]),
        (",2\n3,4\n", &["line 1, column 1: the cell is empty"]),
        ("1,2\nNaN,4\n", &["line 2, column 1: 'NaN' is no finite number"]),
        ("nan,2\n3,4\n", &["line 1, column 1: 'nan' is no finite number"]),
        ("1,-inf\n", &["line 1, column 2: '-inf' is no finite number"]),
        ("1,1e39\n", &["line 1, column 2: '1e39' is no finite number"]),
        ("a;b\n0,5;1\n", &["line 2, column 1 ('a'): '0,5' is no number", "decimal point"]),
        ("a,b\n1,2\n1,2,3\n", &["line 3 has 3 cells; the first line has 2"]),
        ("a,b\n1\n", &["line 2 has 1 cells"]),
        ("a,b\n1,\"2\n3,4\n", &["line 2, column 2 ('b')"]),
        ("a,b\n", &["no line behind the names"]),
        ("\n\n", &["no line in it"]),
        ("", &["empty"]),
    ] {
        let path = folder.file("bad.csv", text);
        refused(csv::read(&path), &path, words);
    }
    let path = folder.file("bad.csv", b"a,b\n1,2\n\xff\xfe,3\n");
    refused(csv::read(&path), &path, &["line 3 is no UTF-8 text"]);
    refused(csv::read(folder.0.path()), folder.0.path(), &["folder"]);
    let missing = folder.0.path().join("missing.csv");
    refused(csv::read(&missing), &missing, &["o such file"]);
}

#[test]
fn features_are_matched_by_name() {
    let folder = Folder::new();
    let path = folder.file("x.csv", "label,speed,note,heat\n1,2,fine,3\n0,4,\"so, so\",5\n");
    let found = read_features(&path, Some(&texts(&["heat", "speed"])), &[]).unwrap();
    assert_eq!((found.matrix.rows, found.matrix.cols), (2, 2));
    assert_eq!(found.matrix.values, [3.0, 2.0, 5.0, 4.0]);
    assert_eq!(found.names, Some(texts(&["heat", "speed"])));
    assert_eq!(found.notices.len(), 2);
    assert!(found.notices[0].contains("'label', 'note'") && found.notices[1].contains("order"));
    refused(
        read_features(&path, Some(&texts(&["heat", "sped"])), &[]),
        &path,
        &["no column is called 'sped'; near it are 'speed'"],
    );
    refused(
        read_features(&path, Some(&texts(&["pressure"])), &[]),
        &path,
        &["'pressure'; there are 'label', 'speed'"],
    );
    // Without names of the model everything is a feature, except what the user says is not.
    refused(read_features(&path, None, &[]), &path, &["line 2, column 3 ('note'): 'fine' is no number"]);
    let found = read_features(&path, None, &texts(&["label", "note"])).unwrap();
    assert_eq!((&found.matrix.values, found.notices.len()), (&vec![2.0, 3.0, 4.0, 5.0], 2));
    assert!(
        found.notices[1].contains("taken in their order, 'speed', 'heat': nothing names"),
        "{:?}",
        found.notices
    );
    // What is left out has to be there, and to be no feature.
    let check =
        |names: &[&str], features: Option<&[String]>| check_left(&texts(names), features, &[(&path, &found)]);
    check(&["label", "note"], Some(&texts(&["heat", "speed"]))).unwrap();
    refused(
        check(&["lable"], None),
        &path,
        &["`without` 'lable': no column is called so; there are 'speed', 'heat', 'label', 'note'"],
    );
    refused(check(&["heat"], Some(&texts(&["heat"]))), &path, &["`without` 'heat'", "is a feature"]);
    refused(
        read_features(&path, None, &texts(&["label", "note", "heat", "speed"])),
        &path,
        &["no column is left"],
    );
    let twice = folder.file("twice.csv", "a,a\n1,2\n");
    refused(read_features(&twice, Some(&texts(&["a"])), &[]), &twice, &["two columns are called 'a'"]);

    let bare = folder.file("bare.csv", "1,2\n3,4\n");
    let found = read_features(&bare, Some(&texts(&["heat", "speed"])), &[]).unwrap();
    assert_eq!((found.matrix.values, found.names, found.notices.len()), (vec![1.0, 2.0, 3.0, 4.0], None, 0));
    let array = folder.0.path().join("x.npy");
    npy::write_matrix(&array, 2, 1, &[7.0, 8.0]).unwrap();
    let found = read_features(&array, None, &[]).unwrap();
    assert_eq!(found.matrix.values, [7.0, 8.0]);
    refused(
        check_left(&texts(&["label"]), None, &[(&array, &found)]),
        &array,
        &["`without` 'label'", "have no names"],
    );

    let wide: Vec<String> = (0..25).map(|at| format!("c{at}")).collect();
    let wide = folder.file("wide.csv", &(wide.join(",") + "\n"));
    refused(
        read_features(&wide, Some(&texts(&["pressure"])), &[]),
        &wide,
        &["'c0', 'c1', ", ", 'c19' and 5 more"],
    );
}

#[test]
fn columns_are_split_from_paths() {
    let parse = |text: &str| -> (String, Option<String>) {
        let column: Column = text.parse().unwrap();
        assert_eq!(column.to_string(), text);
        (column.path.display().to_string(), column.name)
    };
    assert_eq!(parse("d.csv:label"), ("d.csv".into(), Some("label".into())));
    assert_eq!(parse("C:\\d.CSV:a:b c"), ("C:\\d.CSV".into(), Some("a:b c".into())));
    assert_eq!(parse("a.csv:b/c.tsv:x"), ("a.csv:b/c.tsv".into(), Some("x".into())));
    assert_eq!(parse("C:\\d.csv"), ("C:\\d.csv".into(), None));
    assert_eq!(parse("y.npy"), ("y.npy".into(), None));
}

#[test]
fn labels_and_groups_come_from_columns() {
    let folder = Folder::new();
    let path = folder.file("x.csv", "label,print,x\n1,P-7,0.5\nFalse,P-2,1\n0.0,P-7,2\nTRUE,9,3\n");
    assert_eq!(labels(&column(&path, "label")).unwrap(), [true, false, false, true]);
    assert_eq!(column(&path, "print").read_groups().unwrap(), [0, 1, 0, 2]);
    refused(labels(&column(&path, "x")), &path, &["4 different labels, 0.5, 1, 2, 3: an AUC takes two"]);
    refused(labels(&column(&path, "y")), &path, &["no column is called 'y'"]);
    let whole: Column = path.display().to_string().parse().unwrap();
    refused(labels(&whole), &path, &["3 columns", ":NAME"]);
    let single = folder.file("y.csv", "0\n1\n\n1\n");
    let whole: Column = single.display().to_string().parse().unwrap();
    assert_eq!(labels(&whole).unwrap(), [false, true, true]);
    assert_eq!(whole.read_groups().unwrap(), [0, 1, 1]);
    refused(column(&single, "y").read_groups(), &single, &["'y' in it is missing"]);

    let array = folder.0.path().join("y.npy");
    npy::write_labels(&array, &[0, 1, 1, 5]).unwrap();
    let whole = Column { path: array.clone(), name: None };
    assert_eq!(whole.read_groups().unwrap(), [0, 1, 1, 5]);
    refused(labels(&whole), &array, &["3 different labels, 0, 1, 5"]);
    let named = Column { path: array.clone(), name: Some("y".into()) };
    let error = named.read_groups().unwrap_err().to_string();
    assert!(error.contains("no .npz archive"), "{error}");
}

/// Labels with the default positive.
fn labels(column: &Column) -> Result<Vec<bool>> {
    column.read_labels(None).map(|labels| labels.values)
}

fn array(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let dictionary = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let text = format!("{dictionary:<117}\n");
    let length = (text.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", length.as_slice(), text.as_bytes(), data].concat()
}

#[test]
fn binary_labels_of_every_type_are_read() {
    let folder = Folder::new();
    let read = |descr: &str, data: &[u8]| {
        npy::read_binary_labels(&folder.file("y.npy", array(descr, "(2,)", data))).unwrap()
    };
    for descr in ["|b1", "|u1", "|i1", "<u1"] {
        assert_eq!(read(descr, &[0, 1]), [false, true], "{descr}");
    }
    for descr in ["<i2", "<u4", "<i4", "<i8", "<u8"] {
        let width = usize::from(descr.as_bytes()[2] - b'0');
        let mut data = vec![0; 2 * width];
        data[width] = 1;
        assert_eq!(read(descr, &data), [false, true], "{descr}");
        data.reverse();
        assert_eq!(read(&descr.replace('<', ">"), &data), [true, false], "{descr}");
    }
    let (f4, f8) = ([-0.0f32, 1.0], [0.0f64, 1.0]);
    assert_eq!(read("<f4", f4.map(f32::to_le_bytes).as_flattened()), [false, true]);
    assert_eq!(read("<f8", f8.map(f64::to_le_bytes).as_flattened()), [false, true]);
    assert_eq!(read(">f8", f8.map(f64::to_be_bytes).as_flattened()), [false, true]);
    let column = folder.file("y.npy", array("|u1", "(2, 1)", &[1, 1]));
    assert_eq!(npy::read_binary_labels(&column).unwrap(), [true, true]);
}

#[test]
fn other_labels_are_refused_with_row_and_value() {
    let folder = Folder::new();
    let nan = [0.0, f32::NAN].map(f32::to_le_bytes);
    for (descr, shape, data, words) in [
        ("|u1", "(2,)", &[1u8, 2][..], "the label of row 1 (from 0) is 2"),
        ("|i1", "(2,)", &[255, 1], "the label of row 0 (from 0) is -1"),
        ("<f4", "(2,)", nan.as_flattened(), "the label of row 1 (from 0) is NaN"),
        ("<c8", "(1,)", &[0; 8], "the dtype is complex64"),
        ("|u1", "(1, 2)", &[0, 1], "2-D"),
        ("|u1", "(3,)", &[0, 1], "truncated"),
    ] {
        let path = folder.file("y.npy", array(descr, shape, data));
        refused(npy::read_binary_labels(&path), &path, &[words]);
    }
}

#[test]
fn damaged_tables_are_read_or_refused_but_nothing_else() {
    let folder = Folder::new();
    let whole = b"\xef\xbb\xbf\"a\",b,c\r\n1,\"2\",3\n\n0,5,-7e1\n\"1\",6,7\r\n0,9,.5\n";
    let mut random = lowbit::internals::random::Random::new(2);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..1000 {
        let mut bytes = whole.to_vec();
        for _ in 0..1 + random.below(6) {
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(4) {
                0 => bytes.truncate(at + 1),
                1 => drop(bytes.remove(at)),
                2 => bytes[at] = b"\",;\t\r\n0\xff"[random.below(8) as usize],
                _ => bytes.insert(at, b"\",;\t\r\n0\xff"[random.below(8) as usize]),
            }
            if bytes.is_empty() {
                bytes.push(b',');
            }
        }
        let path = folder.file("x.csv", &bytes);
        let label = Column { path: path.clone(), name: Some("a".into()) };
        for error in [csv::read(&path).err(), labels(&label).err(), label.read_groups().err()] {
            match error {
                None => read += 1,
                Some(error) => {
                    assert!(
                        !error.to_string().trim_start_matches(path.to_str().unwrap()).contains('\n'),
                        "{error}"
                    );
                    refused += 1;
                }
            }
        }
    }
    assert!(read > 200 && refused > 1000, "{read} {refused}");
}

#[test]
fn examples_are_held_against_the_model() {
    let folder = Folder::new();
    let path = folder.file("x.csv", "a,b,c\n1,2,3\n4,5,6\n");
    let found = read_features(&path, None, &[]).unwrap();
    found.check(&path, "x", &[3]).unwrap();
    found.check(&path, "x", &[1, 1, 3]).unwrap();
    refused(
        found.check(&path, "x", &[2]),
        &path,
        &["it has 3 features; the model's input 'x' takes 2", "`without`"],
    );

    let write = |shape: &str| {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.bytes());
        (0..24).for_each(|i| bytes.extend((if i == 17 { f32::NAN } else { i as f32 }).to_le_bytes()));
        folder.file("x.npy", bytes)
    };
    let path = write("(2, 3, 2, 2)");
    let found = read_features(&path, None, &[]).unwrap();
    assert_eq!((found.matrix.rows, found.matrix.cols, found.shape.as_deref()), (2, 12, Some(&[3, 2, 2][..])));
    refused(found.check(&path, "x", &[3, 2, 2]), &path, &["row 1, column 5 (counted from 0) is NaN"]);
    refused(found.check(&path, "x", &[2, 2, 3]), &path, &["[3, 2, 2]", "takes [2, 2, 3]"]);
    // A network counts axes behind the second as one.
    let folded = read_features(&write("(1, 3, 2, 2, 2)"), None, &[]).unwrap();
    refused(folded.check(&path, "x", &[3, 2, 4]), &path, &["row 0, column 17"]);
    let plain = read_features(&write("(2, 12)"), None, &[]).unwrap();
    assert_eq!(plain.shape, None);
    for (shape, word) in [("(24,)", "1-D"), ("()", "0-D"), ("(0, 24)", "empty"), ("(24, 0)", "empty")] {
        let path = write(shape);
        refused(read_features(&path, None, &[]), &path, &[word]);
    }
}

#[test]
fn numbers_with_blanks_between_are_a_table() {
    let folder = Folder::new();
    for text in [
        // As numpy.savetxt writes them, and as people do.
        "1.000000e+00 -2.500000e+00 3.000000e+02\n1.0e-01 5 .5\n",
        "# a b c\n1 -2.5 3e2\n0.1 5 .5\n",
        "  1   -2.5  3e2  \n\n 0.1 5     .5\n",
    ] {
        let path = folder.file("a.txt", text);
        let (names, matrix) = csv::read(&path).unwrap();
        assert_eq!((names, matrix.rows, matrix.cols), (None, 2, 3), "{text:?}");
        assert_eq!(matrix.values, [1.0, -2.5, 300.0, 0.1, 5.0, 0.5], "{text:?}");
    }
    let ragged = folder.file("b.txt", "1 2 3\n4 5\n");
    refused(csv::read(&ragged), &ragged, &["line 2 has 2 cells; the first line has 3"]);
    // Words are no numbers: one column of texts.
    let words = folder.file("c.csv", "big cat\nsmall dog\n");
    assert_eq!(csv::Csv::open(&words).unwrap().columns(), 1);
    let lonely = folder.file("d.csv", "hello\n");
    refused(csv::read(&lonely), &lonely, &["there is no number in it: its only line is 'hello'"]);
}
