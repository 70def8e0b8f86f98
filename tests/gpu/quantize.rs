//! `lowbit quantize` and `lowbit bench compare`, as their users meet them. Neither needs a device.

use std::fs;
use std::path::Path;
use std::process::Command;

use lowbit::internals::format::{ALL, Format};
use lowbit::internals::io::gguf::{self, Gguf, TensorType, Writer};
use lowbit::internals::io::npy;
use serde_json::{Value, json as value};

use super::cli::{BAD_INPUT, DONE, done, json, lowbit, refused, run, write_npy};

const GATE: i32 = 1;

fn asset() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/gguf/F32.npy").to_str().unwrap().to_owned()
}

/// What a GGUF file can hold.
fn of_ggml() -> impl Iterator<Item = &'static Format> {
    ALL.iter().filter(|format| format.ggml_type.is_some())
}

#[test]
fn a_matrix_becomes_a_file_of_any_type() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    for format in of_ggml() {
        let document =
            json(folder, &["quantize", &asset(), "a.gguf", "--to", format.name, "--verify", "--json"]);
        assert_eq!((&document["format"], &document["verified"]), (&format.name.into(), &true.into()));
        assert_eq!((&document["output"], &document["weights"]), (&"a.gguf".into(), &3072.into()));
        assert_eq!(document["bits_per_weight_after"], format.bits_per_weight());
        let row = &document["tensors"][0];
        assert_eq!(
            (&row["name"], &row["from"], &row["to"]),
            (&"F32".into(), &"F32".into(), &format.name.into())
        );
        assert_eq!(row["shape"], value!([2, 1536]));
        assert!(row["relative_squared_error"].as_f64().is_some_and(|error| error < 0.75), "{row}");
        let gguf = Gguf::open(&folder.join("a.gguf")).unwrap();
        assert_eq!(gguf.tensor("F32").unwrap().ty.name, format.name);
        let quantized = gguf.get("general.quantization_version").is_some();
        assert_eq!(quantized, format.elements > 1);
    }
    let ran = run(&mut lowbit(
        folder,
        &["quantize", &asset(), "a.gguf", "--to", "q4_k", "--name", "w", "--keep", "x*"],
    ));
    assert_eq!(ran.code, Some(DONE), "{ran:?}");
    assert!(ran.err.contains("--keep x*: no tensor has such a name"), "{ran:?}");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in [
        "w [2, 1536] F32 -> Q4_K 12288 1728",
        "1 tensors, 3072 weights: 12288 -> 1728 bytes, 32.000 -> 4.500 bits",
    ] {
        assert!(
            ran.out.lines().any(|found| words(found).starts_with(line)),
            "{line:?} is not in\n{}",
            ran.out
        );
    }
    // From file to file, and quietly; a line of values is one dimension, which stays.
    let ran = run(&mut lowbit(folder, &["quantize", "a.gguf", "b.gguf", "--to", "F16", "-q", "--verify"]));
    assert_eq!((ran.code, ran.err.as_str()), (Some(DONE), ""), "{ran:?}");
    assert!(ran.out.contains("read back and equal"));
    write_npy(&folder.join("line.npy"), "<f2", false, "(8,)", &[0; 16]);
    assert!(
        done(folder, &["quantize", "line.npy", "c.gguf", "--to", "Q8_0"]).contains("kept: one dimension")
    );
}

/// Writes a safetensors file of tensors by name, type, shape and data.
fn write_safetensors(path: &Path, tensors: &[(&str, &str, &[u64], Vec<u8>)]) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    header.insert("__metadata__".into(), value!({ "format": "pt" }));
    for (name, dtype, shape, bytes) in tensors {
        let begin = data.len();
        data.extend(bytes);
        let offsets = [begin, data.len()];
        header.insert((*name).into(), value!({ "dtype": dtype, "shape": shape, "data_offsets": offsets }));
    }
    let header = serde_json::to_string(&header).unwrap();
    fs::write(path, [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()).unwrap();
}

#[test]
fn a_safetensors_file_becomes_a_gguf() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let gptq = |stem: &str| {
        let name = |suffix: &str| format!("{stem}.{suffix}");
        [name("qweight"), name("qzeros"), name("scales")]
    };
    let [qweight, qzeros, scales] = gptq("q");
    let half = |value: f32| half::f16::from_f32(value).to_le_bytes();
    let packed = [
        (qweight.as_str(), "I32", &[8u64, 8][..], vec![0x9a; 256]),
        (qzeros.as_str(), "I32", &[1, 1], vec![0x77; 4]),
        (scales.as_str(), "F16", &[1, 8], half(0.25).repeat(8)),
    ];
    let plain = [
        ("f.weight", "F8_E4M3", &[2u64, 64][..], vec![0x38; 128]),
        ("f.weight_scale_inv", "F32", &[1, 1], 0.5f32.to_le_bytes().to_vec()),
        ("h.weight", "BF16", &[2, 32], [0x80, 0x3f].repeat(64)),
        ("norm.weight", "F16", &[32], half(2.0).repeat(32)),
    ];
    write_safetensors(&folder.join("model.safetensors"), &[&packed[..], &plain].concat());
    fs::write(folder.join("quantize_config.json"), r#"{ "bits": 4, "group_size": 64 }"#).unwrap();
    let ran =
        run(&mut lowbit(folder, &["quantize", "model.safetensors", "a.gguf", "--to", "q8_0", "--verify"]));
    assert_eq!(ran.code, Some(DONE), "{ran:?}");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in [
        "q.weight [8, 64] F32 -> Q8_0 2048 544",
        "f.weight [2, 64] F32 -> Q8_0 512 136",
        "h.weight [2, 32] BF16 -> Q8_0 128 68",
        "norm.weight [32] F16 64 64",
        "4 tensors, 736 weights",
    ] {
        assert!(ran.out.lines().any(|found| words(found).starts_with(line)), "{line:?}\n{}", ran.out);
    }
    assert!(ran.out.contains("read back and equal"), "{ran:?}");
    for words in ["llama.cpp needs its own names", "'q.weight': quantized already"] {
        assert_eq!(ran.err.matches(words).count(), 1, "{words}: {ran:?}");
    }
    let gguf = Gguf::open(&folder.join("a.gguf")).unwrap();
    assert_eq!(gguf.get("safetensors.format").unwrap().as_str(), Some("pt"));
    for (name, expected) in [("q.weight", &[0.5, 0.25][..]), ("f.weight", &[0.5]), ("h.weight", &[1.0])] {
        let tensor = gguf.tensor(name).unwrap();
        let (mut bytes, mut values) = (vec![0; tensor.bytes as usize], vec![0.0; tensor.values() as usize]);
        gguf.read(tensor, 0..tensor.bytes, &mut bytes).unwrap();
        Format::by_type(tensor.ty.id).unwrap().dequantize(&bytes, &mut values).unwrap();
        let wanted = expected.iter().cycle();
        assert!(values.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 0.01), "{name} {values:?}");
    }

    let mut codes = vec![0x38; 128];
    codes[70] = 0xff;
    write_safetensors(&folder.join("nan.safetensors"), &[("w", "F8_E4M3", &[2, 64], codes)]);
    write_safetensors(&folder.join("part.safetensors"), &packed[..2]);
    write_safetensors(&folder.join("bytes.safetensors"), &[("w", "U8", &[2, 2], vec![0; 4])]);
    write_safetensors(&folder.join("none.safetensors"), &[]);
    fs::write(folder.join("cut.safetensors"), b"\x40\0\0\0\0\0\0\0{\"w\":").unwrap();
    for (input, more, words) in [
        ("model.safetensors", &["--name", "w"][..], &["tensors of a safetensors file have names"][..]),
        ("nan.safetensors", &[], &["tensor 'w'", "scale is missing", "--unscaled"]),
        ("nan.safetensors", &["--unscaled"], &["tensor 'w': row 1, column 6 (counted from 0) is NaN"]),
        ("part.safetensors", &[], &["part.safetensors: tensor 'q.qweight': 'q.scales'", "is missing"]),
        ("bytes.safetensors", &[], &["bytes.safetensors: tensor 'w'", "U8"]),
        ("none.safetensors", &[], &["no tensors"]),
        ("cut.safetensors", &[], &["cut.safetensors", "truncated"]),
    ] {
        let arguments = [&["quantize", input, "b.gguf", "--to", "Q8_0"], more].concat();
        refused(&mut lowbit(folder, &arguments), BAD_INPUT, words);
    }
    assert!(!folder.join("b.gguf").exists());
    let help = words(&done(folder, &["quantize", "--help"]));
    assert!(help.contains(".safetensors (floats, FP8, int8, GPTQ, AWQ)"), "{help}");
}

#[test]
fn a_model_in_parts_is_whole_and_what_is_left_out_is_said() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    for (i, name) in ["a.weight", "b.weight"].into_iter().enumerate() {
        let mut writer = Writer::new();
        writer.metadata("split.no", gguf::Value::U16(i as u16)).unwrap();
        writer.metadata("split.count", gguf::Value::U16(2)).unwrap();
        writer.tensor(name, &[32, 2], TensorType::by_name("F32").unwrap()).unwrap();
        writer.tensor(&format!("{name}.none"), &[0], TensorType::by_name("F32").unwrap()).unwrap();
        let path = folder.join(format!("m-0000{}-of-00002.gguf", i + 1));
        writer.write(&path, |tensor, out| out.write(&vec![0; tensor.bytes as usize])).unwrap();
    }
    let [one, two] = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"];
    refused(
        &mut lowbit(folder, &["quantize", one, two, "--to", "Q8_0"]),
        BAD_INPUT,
        &[two, "overwrite an input"],
    );
    let document = json(folder, &["quantize", two, "all.gguf", "--to", "Q8_0", "--verify", "--json"]);
    assert_eq!(document["tensors"].as_array().unwrap().len(), 2);
    let left = &document["left_out"];
    assert_eq!((&left[0]["name"], &left[1]["name"]), (&"a.weight.none".into(), &"b.weight.none".into()));
    assert_eq!((&left[0]["type"], &left[0]["shape"]), (&"F32".into(), &value!([0])));
    let text = done(folder, &["quantize", one, "all.gguf", "--to", "Q8_0"]);
    assert!(text.contains("left out: 'a.weight.none' and 1 other: it has no values"), "{text}");
    let document = json(folder, &["inspect", two, "--json"]);
    assert_eq!(document["files"], value!([one, two]));
    assert_eq!(document["tensors"][2]["file"], 1);
    assert!(done(folder, &["inspect", one]).contains(&format!("in 2 files: {one}, {two}")));
    fs::remove_file(folder.join(one)).unwrap();
    for command in [&["inspect", two][..], &["quantize", two, "b.gguf", "--to", "Q8_0"], &["plan", two]] {
        refused(&mut lowbit(folder, command), BAD_INPUT, &["part 2 of 2", "missing", one]);
    }
}

#[test]
fn what_cannot_be_quantized_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    fs::write(folder.join("notes.gguf"), "some text").unwrap();
    fs::write(folder.join("empty.gguf"), "").unwrap();
    fs::write(folder.join("cut.gguf"), b"GGUF\x03\0\0\0\x01").unwrap();
    Writer::new().write(&folder.join("none.gguf"), |_, _| Ok(())).unwrap();
    let mut writer = Writer::new();
    writer.metadata("general.architecture", gguf::Value::from("llama")).unwrap();
    writer.tensor("w\u{1b}[2J", &[32, 2], TensorType::by_name("F32").unwrap()).unwrap();
    writer.write(&folder.join("nan.gguf"), |_, out| out.write(&[0xff; 256])).unwrap();
    let whole = fs::read(folder.join("nan.gguf")).unwrap();
    fs::write(folder.join("short.gguf"), &whole[..whole.len() - 33]).unwrap();
    write_npy(&folder.join("c8.npy"), "<c8", false, "(2, 2)", &[0; 32]);
    write_npy(&folder.join("cube.npy"), "<f4", false, "(2, 2, 2)", &[0; 32]);
    let mut values = vec![0.5; 64];
    values[40] = f32::INFINITY;
    npy::write_matrix(&folder.join("inf.npy"), 2, 32, &values).unwrap();
    values[40] = 1e9;
    npy::write_matrix(&folder.join("far.npy"), 2, 32, &values).unwrap();
    fs::create_dir(folder.join("folder.gguf")).unwrap();
    fs::write(folder.join("out.gguf"), "precious").unwrap();

    let cases: &[(&str, &str, &[&str], &[&str])] = &[
        ("none.gguf", "out.gguf", &["--to", "Q4"], &["no type is called 'Q4'", "F32, F16, Q4_0", "MXFP4"]),
        (
            "none.gguf",
            "out.gguf",
            &["--to", "Q4_K_m"],
            &["'Q4_K_m' is a mixture", "such as Q4_K; there is F32"],
        ),
        ("none.gguf", "out.gguf", &["--to", "iq2_xxs"], &["IQ2_XXS", "not written", "F32, F16"]),
        ("none.gguf", "out.gguf", &["--to", "F16"], &["no tensors"]),
        ("none.gguf", "out.npy", &["--to", "F16"], &["out.npy", "ends in .gguf"]),
        ("none.gguf", "no/out.gguf", &["--to", "F16"], &["the folder no does not exist"]),
        ("none.gguf", "folder.gguf", &["--to", "F16"], &["folder.gguf", "folder"]),
        ("none.gguf", "none.gguf", &["--to", "F16"], &["none.gguf", "overwrite an input"]),
        ("none.gguf", "./none.gguf", &["--to", "F16"], &["overwrite an input"]),
        ("missing.gguf", "out.gguf", &["--to", "F16"], &["missing.gguf", "No such file"]),
        (
            "notes.gguf",
            "out.gguf",
            &["--to", "F16"],
            &["notes.gguf", "neither a GGUF, a safetensors nor a .npy file"],
        ),
        ("empty.gguf", "out.gguf", &["--to", "F16"], &["empty.gguf", "the file is empty"]),
        ("cut.gguf", "out.gguf", &["--to", "F16"], &["cut.gguf", "truncated"]),
        ("short.gguf", "out.gguf", &["--to", "F16"], &["short.gguf", "truncated"]),
        ("c8.npy", "out.gguf", &["--to", "F16"], &["c8.npy", "complex64"]),
        ("cube.npy", "out.gguf", &["--to", "F16"], &["cube.npy", "3-D"]),
        ("nan.gguf", "out.gguf", &["--to", "F16", "--name", "w"], &["tensors of a GGUF file have names"]),
        (
            "nan.gguf",
            "out.gguf",
            &["--to", "F16"],
            &["'w\\u{1b}[2J'", "row 0, column 0", "NaN", "--allow-nonfinite"],
        ),
        ("inf.npy", "out.gguf", &["--to", "F32"], &["tensor 'inf': row 1, column 8 (counted from 0) is inf"]),
        (
            "inf.npy",
            "out.gguf",
            &["--to", "Q8_0", "--allow-nonfinite"],
            &["row 1, column 8", "Q8_0 cannot", "--keep"],
        ),
        ("far.npy", "out.gguf", &["--to", "F16"], &["row 1, column 8", "1000000000", "too large for F16"]),
        ("far.npy", "out.gguf", &["--to", "Q4_0"], &["row 1, column ", "its block", "too large for Q4_0"]),
        ("inf.npy", "out.gguf", &["--to", "F32", "--name", ""], &["its name is empty"]),
    ];
    for (input, output, more, words) in cases {
        let arguments = [&["quantize", input, output], *more].concat();
        refused(&mut lowbit(folder, &arguments), BAD_INPUT, words);
    }
    done(folder, &["quantize", "inf.npy", "out.gguf", "--to", "BF16", "--allow-nonfinite", "--verify"]);
    done(folder, &["quantize", "inf.npy", "out.gguf", "--to", "Q8_0", "--keep", "inf"]);
    let ran = run(&mut lowbit(folder, &["quantize", "inf.npy", "out.gguf"]));
    assert!(ran.code == Some(BAD_INPUT) && ran.err.contains("--to <TYPE>"), "{ran:?}");
}

/// Reads pairs of files by the gguf package: each tensor of the first, dequantized, is the tensor of the second.
const SCRIPT: &str = "
import sys, gguf, numpy
for quantized, floats in zip(sys.argv[1::2], sys.argv[2::2]):
    quantized, floats = gguf.GGUFReader(quantized), gguf.GGUFReader(floats)
    assert len(quantized.tensors) == len(floats.tensors) > 0
    number = int(quantized.fields['general.file_type'].contents())
    for ours, plain in zip(quantized.tensors, floats.tensors):
        assert ours.name == plain.name and list(ours.shape) == list(plain.shape)
        theirs = gguf.quants.dequantize(ours.data, ours.tensor_type)
        same = theirs.reshape(-1).view(numpy.uint32) == plain.data.reshape(-1).view(numpy.uint32)
        assert same.all(), (ours.name, ours.tensor_type, int((~same).sum()))
    print(ours.tensor_type.name, gguf.LlamaFileType(number).name, len(floats.tensors), 'tensors,', theirs.size, 'values')
";

#[test]
#[ignore = "needs the gguf package, and reads LOWBIT_SHARED: make check-gguf-py"]
fn gguf_py_reads_what_is_written_to_the_bit() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let python = std::env::var_os("LOWBIT_PYTHON").expect("LOWBIT_PYTHON names Python with the gguf package");
    let shared = std::env::var_os("LOWBIT_SHARED").expect("LOWBIT_SHARED names the folder");
    let weights = Path::new(&shared).join("data/gguf/ffn_down_all_types.gguf");
    for input in [weights.to_str().unwrap(), &asset()] {
        for format in of_ggml() {
            done(folder, &["-q", "quantize", input, "q.gguf", "--to", format.name, "--verify"]);
            done(folder, &["-q", "quantize", "q.gguf", "f.gguf", "--to", "F32", "--verify"]);
            let mut script = Command::new(&python);
            let output =
                script.args(["-c", SCRIPT, "q.gguf", "f.gguf"]).current_dir(folder).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {said}", format.name);
            print!("{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

/// A file of measurements: kernel, median, and its interval.
fn results(folder: &Path, name: &str, adapter: &str, rows: &[(&str, f64, f64, f64)]) {
    let rows = rows.iter().map(|(kernel, low, us, high)| {
        value!({ "kernel": kernel, "case": "n = 7", "us": us, "low_us": low, "high_us": high, "gb_s": 1 })
    });
    let document = value!({ "adapter": { "name": adapter }, "kernels": rows.collect::<Vec<Value>>() });
    fs::write(folder.join(name), document.to_string()).unwrap();
}

#[test]
fn measurements_are_compared() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let old = [("a", 9.0, 10.0, 11.0), ("b", 9.0, 10.0, 11.0), ("gone", 1.0, 1.0, 1.0)];
    results(folder, "old.json", "one", &old);
    results(
        folder,
        "same.json",
        "one",
        &[("b", 5.0, 6.0, 7.0), ("a", 8.0, 10.1, 12.0), ("new", 1.0, 1.0, 1.0)],
    );
    results(folder, "slow.json", "one", &[("a", 12.0, 13.0, 14.0), ("b", 10.0, 11.5, 12.0)]);
    results(folder, "other.json", "two", &old);

    let text = done(folder, &["bench", "compare", "old.json", "same.json"]);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in [
        "a n = 7 10.0 10.1 1.010 SAME",
        "b n = 7 10.0 6.0 0.600 FASTER",
        "gone n = 7 - - - only in the old file",
        "new n = 7 - - - only in the new file",
    ] {
        assert!(text.lines().any(|found| words(found) == line), "{line:?} is not in\n{text}");
    }
    let document = json(folder, &["bench", "compare", "old.json", "same.json", "--json"]);
    assert_eq!(
        (&document["rows"][0]["verdict"], &document["rows"][1]["verdict"]),
        (&"FASTER".into(), &"SAME".into())
    );
    assert_eq!((&document["only_old"][0][0], &document["only_new"][0][0]), (&"gone".into(), &"new".into()));

    let ran = run(&mut lowbit(folder, &["bench", "compare", "old.json", "slow.json"]));
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (Some(GATE), "error: 1 of 2 kernels slower: a n = 7\n"),
        "{ran:?}"
    );
    assert!(ran.out.contains("SLOWER") && ran.out.contains("AMBIGUOUS"), "{ran:?}");

    let compare = |new: &str| lowbit(folder, &["bench", "compare", "old.json", new]);
    refused(&mut compare("other.json"), BAD_INPUT, &["other.json", "two", "one", "--any-adapter"]);
    done(folder, &["bench", "compare", "old.json", "other.json", "--any-adapter"]);

    // A real report, with itself.
    let report = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results/llvmpipe/report.json");
    let report = report.to_str().unwrap();
    assert!(done(folder, &["bench", "compare", report, report]).contains("llvmpipe"));
    refused(&mut compare(report), BAD_INPUT, &["llvmpipe"]);

    for (name, text, words) in [
        ("broken.json", "{\"kernels\": [", &["broken.json", "not JSON", "line 1"][..]),
        ("empty.json", "", &["empty.json", "the file is empty"]),
        ("list.json", "[]", &["list.json", "not a report"]),
        ("none.json", r#"{"adapter": {"name": "one"}, "kernels": []}"#, &["none.json", "no kernels"]),
        ("field.json", r#"{"adapter": {"name": "one"}}"#, &["field.json", "missing field `kernels`"]),
        ("nan.json", r#"{"adapter": {"name": "one"}, "kernels": [NaN]}"#, &["nan.json", "not JSON"]),
        (
            "negative.json",
            r#"{"adapter": {"name": "one"}, "kernels": [{"kernel":"a","case":"b","us":-1,"low_us":-1,"high_us":1}]}"#,
            &["negative.json: a b: -1 us"],
        ),
        (
            "apart.json",
            r#"{"adapter": {"name": "one"}, "kernels": [{"kernel":"z","case":"b","us":1,"low_us":1,"high_us":1}]}"#,
            &["no kernel is in both files"],
        ),
    ] {
        fs::write(folder.join(name), text).unwrap();
        refused(&mut compare(name), BAD_INPUT, words);
    }
    fs::write(folder.join("latin.json"), [0x7b, 0xff]).unwrap();
    refused(&mut compare("latin.json"), BAD_INPUT, &["latin.json", "not JSON: it is not text"]);
    refused(&mut compare("missing.json"), BAD_INPUT, &["missing.json", "No such file"]);
    refused(&mut compare("."), BAD_INPUT, &[".: "]);
}

#[cfg(unix)]
#[test]
fn a_signal_leaves_nothing_half_written() {
    use std::os::unix::process::ExitStatusExt;
    use std::time::{Duration, Instant};

    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let values: Vec<u8> = vec![0x3c; 4 * 4096 * 4096];
    write_npy(&folder.join("w.npy"), "<f4", false, "(4096, 4096)", &values);
    fs::write(folder.join("old.gguf"), "what was there").unwrap();
    let hidden = || {
        let names = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(".lowbit-")).count()
    };
    for (name, number) in [("-INT", 2), ("-TERM", 15)] {
        let arguments = ["quantize", "w.npy", "old.gguf", "--to", "Q3_K", "--quiet"];
        let mut child = lowbit(folder, &arguments).spawn().unwrap();
        let from = Instant::now();
        while hidden() == 0 {
            assert!(from.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(1));
        }
        // What only tries whether it could write has gone by then.
        std::thread::sleep(Duration::from_millis(100));
        assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().signal(), Some(number), "{name}");
        assert_eq!(hidden(), 0, "{name}");
        assert_eq!(fs::read(folder.join("old.gguf")).unwrap(), b"what was there");
    }
}
