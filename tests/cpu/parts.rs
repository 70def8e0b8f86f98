//! Models in several files: whichever file is given, all are read, or what is wrong with one of them is said by its name.

use std::fs;
use std::path::{Path, PathBuf};

use lowbit::internals::io::gguf::{Gguf, TensorType, Value, Writer};
use lowbit::internals::io::safetensors::Safetensors;
use lowbit::internals::quantize::source;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::checkpoint::{Described, bytes_of, f32s, options, tensor};

/// A part with tensors of 32 F32, all of which are the number behind the name.
fn part(path: &Path, tensors: &[(&str, f32)], pairs: &[(&str, Value)]) {
    let mut writer = Writer::new();
    for (key, value) in pairs {
        writer.metadata(key, value.clone()).unwrap();
    }
    for (name, _) in tensors {
        writer.tensor(name, &[32], TensorType::by_name("F32").unwrap()).unwrap();
    }
    let value = |name: &str| tensors.iter().find(|(found, _)| *found == name).unwrap().1;
    writer.write(path, |tensor, out| out.write(&f32s([value(&tensor.name); 32]))).unwrap();
}

fn split(no: u16, count: u16, tensors: i32) -> Vec<(&'static str, Value)> {
    vec![
        ("split.no", Value::U16(no)),
        ("split.count", Value::U16(count)),
        ("split.tensors.count", Value::I32(tensors)),
    ]
}

/// A model of four parts, whose first has no tensors, as `llama-gguf-split --no-tensor-first-split` writes them.
fn model(folder: &Path) -> Vec<PathBuf> {
    let paths: Vec<PathBuf> = (1..=4).map(|i| folder.join(format!("m-q8-0000{i}-of-00004.gguf"))).collect();
    let first = [
        vec![("general.architecture", "llama".into()), ("general.alignment", Value::U32(64))],
        split(0, 4, 5),
    ];
    part(&paths[0], &[], &first.concat());
    part(&paths[1], &[("b", 1.0), ("a", 2.0)], &split(1, 4, 5));
    part(&paths[2], &[("d", 3.0), ("c", 4.0)], &split(2, 4, 5));
    part(&paths[3], &[("e", 5.0)], &split(3, 4, 5));
    paths
}

fn values(gguf: &Gguf) -> Vec<(String, f32)> {
    let value = |tensor: &lowbit::internals::io::gguf::Tensor| {
        let mut bytes = [0; 4];
        gguf.read(tensor, 124..128, &mut bytes).unwrap();
        (tensor.name.clone(), f32::from_le_bytes(bytes))
    };
    gguf.tensors().iter().map(value).collect()
}

#[track_caller]
fn refused(path: &Path, about: &Path, words: &[&str]) {
    let error = Gguf::open(path).expect_err("this should have been refused").to_string();
    assert!(error.starts_with(&format!("{}: ", about.display())), "{error}");
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
}

#[test]
fn any_part_of_a_gguf_stands_for_all() {
    let folder = TempDir::new().unwrap();
    let paths = model(folder.path());
    let expected: Vec<(String, f32)> = [("b", 1.0), ("a", 2.0), ("d", 3.0), ("c", 4.0), ("e", 5.0)]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
    let mut given = paths.clone();
    #[cfg(unix)]
    {
        // Links with other names, beside the parts and elsewhere; a folder of links to files with other names.
        let (beside, elsewhere, blobs) =
            (folder.path().join("model.gguf"), TempDir::new().unwrap(), TempDir::new().unwrap());
        std::os::unix::fs::symlink(&paths[1], &beside).unwrap();
        let far = elsewhere.path().join("link.gguf");
        std::os::unix::fs::symlink(&paths[2], &far).unwrap();
        for (i, path) in paths.iter().enumerate() {
            let blob = blobs.path().join(format!("{i}"));
            fs::copy(path, &blob).unwrap();
            std::os::unix::fs::symlink(&blob, elsewhere.path().join(path.file_name().unwrap())).unwrap();
        }
        given.extend([beside, far, elsewhere.path().join("m-q8-00003-of-00004.gguf")]);
        let _ = (elsewhere.keep(), blobs.keep());
    }
    for path in &given {
        let gguf = Gguf::open(path).unwrap();
        assert_eq!(values(&gguf), expected, "{}", path.display());
        assert_eq!((gguf.path(), gguf.files().len(), gguf.alignment()), (path.as_path(), 4, 64));
        let keys: Vec<&str> = gguf.metadata().iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["general.architecture", "general.alignment"]);
        let source = source::open(path, None).unwrap();
        assert_eq!((source.tensors().len(), source.files().len()), (5, 4));
    }
}

#[test]
fn parts_that_do_not_make_one_model_are_named() {
    let folder = TempDir::new().unwrap();
    let paths = model(folder.path());
    let name = |i: usize| paths[i].file_name().unwrap().to_str().unwrap();
    let aside = |i: usize| fs::rename(&paths[i], folder.path().join(format!("aside{i}"))).unwrap();
    let back = |i: usize| fs::rename(folder.path().join(format!("aside{i}")), &paths[i]).unwrap();

    aside(1);
    aside(3);
    refused(&paths[2], &paths[2], &["part 3 of 4", "others are missing", name(1), name(3)]);
    back(1);
    back(3);
    // Another name, or that of another part.
    let renamed = folder.path().join("model.gguf");
    fs::copy(&paths[1], &renamed).unwrap();
    refused(&renamed, &renamed, &["part 2 of 4", "NAME-00002-of-00004.gguf"]);
    fs::copy(&paths[1], &paths[2]).unwrap();
    refused(&paths[2], &paths[2], &["part 2 of 4", "NAME-00002-of-00004.gguf"]);
    refused(&paths[0], &paths[2], &["not part 3 of 4"]);

    // What another model's part says: its count, its tensors, a key; and what is none at all.
    for (pairs, words) in [
        (split(2, 5, 5), &["not part 3 of 4"][..]),
        (split(2, 4, 6), &["not part 3 of 4", "5 tensors"]),
        (
            [split(2, 4, 5), vec![("general.architecture", "gemma".into())]].concat(),
            &["'general.architecture'", "another model"],
        ),
        (vec![], &["not part 3 of 4"]),
    ] {
        part(&paths[2], &[("d", 3.0), ("c", 4.0)], &pairs);
        refused(&paths[3], &paths[2], words);
    }
    part(&paths[2], &[("d", 3.0), ("a", 4.0)], &split(2, 4, 5));
    refused(&paths[0], &paths[2], &["tensor 'a' is in another part too"]);
    part(&paths[2], &[("d", 3.0)], &split(2, 4, 5));
    refused(&paths[1], &paths[1], &["4 parts have 4 tensors", "split.tensors.count is 5"]);
    part(&paths[2], &[("d", 3.0), ("c", 4.0)], &split(2, 4, 5));
    assert!(Gguf::open(&paths[1]).is_ok());

    // What a file says of itself.
    let alone = folder.path().join("alone.gguf");
    for (pairs, words) in [
        (vec![("split.count", Value::U16(3))], &["split.no is missing", "split.count is 3"][..]),
        (vec![("split.no", Value::U16(1))], &["split.count is missing"]),
        (split(3, 3, 1), &["split.no is 3"]),
        (vec![("split.count", "3".into())], &["'split.count'", "no whole number"]),
        (vec![("general.split_count", Value::U8(2))], &["general.split_count"]),
    ] {
        part(&alone, &[("a", 1.0)], &pairs);
        refused(&alone, &alone, words);
    }
    for count in [0, 1] {
        part(&alone, &[("a", 1.0)], &split(0, count, 1));
        assert_eq!(Gguf::open(&alone).unwrap().tensors().len(), 1);
    }
}

// ---- safetensors

/// A folder of safetensors files.
struct Shards(TempDir);

impl Shards {
    fn new(files: &[(&str, &[(&str, f32)])]) -> Self {
        let folder = Self(TempDir::new().unwrap());
        files.iter().for_each(|(name, tensors)| folder.file(name, tensors));
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, tensors: &[(&str, f32)]) {
        let of = |(name, value): &(&str, f32)| tensor(name, "F32", &[2], f32s([*value; 2]));
        let tensors: Vec<Described> = tensors.iter().map(of).collect();
        fs::write(self.path(name), bytes_of(&tensors, &[("format", "pt")])).unwrap();
    }

    fn index(&self, map: &Json) {
        let index = json!({ "metadata": { "total_size": 1 }, "weight_map": map }).to_string();
        fs::write(self.path("model.safetensors.index.json"), index).unwrap();
    }

    /// The values of the whole model.
    fn read(path: &Path) -> Vec<(String, f32)> {
        let model = Safetensors::open(path).unwrap();
        let value = |tensor: &lowbit::internals::io::safetensors::Tensor| {
            let mut bytes = [0; 4];
            model.read(tensor, 4..8, &mut bytes).unwrap();
            (tensor.name.clone(), f32::from_le_bytes(bytes))
        };
        model.tensors().iter().map(value).collect()
    }

    #[track_caller]
    fn refused(&self, name: &str, about: &str, words: &[&str]) {
        let error =
            Safetensors::open(&self.path(name)).expect_err("this should have been refused").to_string();
        assert!(error.starts_with(&format!("{}: ", self.path(about).display())), "{error}");
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
        assert!(source::open(&self.path(name), None).is_err());
    }
}

const INDEX: &str = "model.safetensors.index.json";

#[test]
fn any_shard_an_index_and_a_folder_stand_for_all() {
    let all = |names: &[(&str, f32)]| {
        names.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect::<Vec<_>>()
    };
    let expected = all(&[("b", 1.0), ("a", 2.0), ("c", 3.0)]);
    // By an index, whatever the names.
    for [one, other] in [
        ["x.safetensors", "y.safetensors"],
        ["model-00001-of-000002.safetensors", "model-00002-of-000002.safetensors"],
        ["1-of-2.safetensors", "2-of-2.safetensors"],
    ] {
        let folder = Shards::new(&[
            (one, &[("b", 1.0), ("a", 2.0)]),
            (other, &[("c", 3.0)]),
            ("else.safetensors", &[("b", 9.0)]),
        ]);
        folder.index(&json!({ "a": one, "b": one, "c": other }));
        for given in ["", one, other, INDEX] {
            assert_eq!(Shards::read(&folder.path(given)), expected, "{given}");
        }
        // One that the index does not name.
        assert_eq!(Shards::read(&folder.path("else.safetensors")), all(&[("b", 9.0)]));
    }
    // By their names.
    let names =
        ["m-00001-of-00003.safetensors", "m-00002-of-00003.safetensors", "m-00003-of-00003.safetensors"];
    let folder =
        Shards::new(&[(names[0], &[("b", 1.0)]), (names[1], &[("a", 2.0)]), (names[2], &[("c", 3.0)])]);
    for given in [names[0], names[1], names[2], ""] {
        assert_eq!(Shards::read(&folder.path(given)), expected, "{given}");
    }
    let folder = Shards::new(&[
        ("m-1-of-2.safetensors", &[("b", 1.0), ("a", 2.0)]),
        ("m-2-of-2.safetensors", &[("c", 3.0)]),
    ]);
    assert_eq!(Shards::read(&folder.path("m-2-of-2.safetensors")), expected);
    // The only file of a folder, and the only part.
    let folder = Shards::new(&[("w-00001-of-00001.safetensors", &[("a", 1.0)])]);
    assert_eq!(Shards::read(folder.0.path()), all(&[("a", 1.0)]));
    #[cfg(unix)]
    {
        let links = TempDir::new().unwrap();
        let folder = Shards::new(&[("x.safetensors", &[("a", 1.0)]), ("y.safetensors", &[("b", 2.0)])]);
        folder.index(&json!({ "a": "x.safetensors", "b": "y.safetensors" }));
        let link = links.path().join("link.safetensors");
        std::os::unix::fs::symlink(folder.path("y.safetensors"), &link).unwrap();
        assert_eq!(Shards::read(&link), all(&[("a", 1.0), ("b", 2.0)]));
    }
}

#[test]
fn shards_that_do_not_make_one_model_are_named() {
    let (one, other) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    let folder = Shards::new(&[(one, &[("a", 1.0), ("b", 2.0)])]);
    folder.refused(one, one, &["part 1 of 2", "others are missing", other]);
    folder.index(&json!({ "a": one, "b": one, "c": other }));
    for given in [one, INDEX, ""] {
        folder.refused(given, INDEX, &["of the 2 files", "missing", other]);
    }
    folder.file(other, &[("c", 3.0), ("a", 4.0)]);
    for given in [one, other, INDEX, ""] {
        folder.refused(given, given, &["tensor 'a' is there twice", one, other]);
    }
    folder.file(other, &[("c", 3.0)]);
    assert_eq!(Safetensors::open(&folder.path(one)).unwrap().tensors().len(), 3);

    // An index that says something else than its files.
    for (map, words) in [
        (json!({ "a": one, "b": other, "c": other }), &["tensor 'b'", other, "is in", one][..]),
        (json!({ "a": one, "b": one, "c": other, "d": other }), &["tensor 'd'", "none of its files"]),
        (json!({ "a": one, "c": other }), &["does not have the tensor 'b'", one]),
        (json!({ "a": "../a.safetensors" }), &["'../a.safetensors' is no file beside it"]),
        (json!({ "a": "/etc/passwd" }), &["is no file beside it"]),
        (json!({ "a": 1 }), &["no index of safetensors files"]),
        (json!([]), &["no index of safetensors files"]),
    ] {
        folder.index(&map);
        folder.refused(INDEX, INDEX, words);
        folder.refused("", INDEX, words);
    }
    for text in ["{}", "{", r#"{"weight_map":{"a":"x","a":"y"}}"#, r#"{"weight_map":{}}"#, ""] {
        fs::write(folder.path(INDEX), text).unwrap();
        folder.refused(INDEX, INDEX, &[]);
        if text != "{}" && text.len() > 1 && !text.contains("{}") {
            folder.refused(one, INDEX, &[]);
        }
    }
    fs::remove_file(folder.path(INDEX)).unwrap();
    // Without an index, files whose names do not make one model.
    folder.file("consolidated.safetensors", &[("a", 1.0)]);
    folder.refused("", "", &["several models", "consolidated.safetensors"]);
    fs::write(folder.path("a.safetensors.index.json"), "{}").unwrap();
    fs::write(folder.path("a.safetensors.index.fp16.json"), "{}").unwrap();
    folder.refused("", "", &["several indices", "a.safetensors.index.fp16.json"]);
    fs::create_dir(folder.path("empty")).unwrap();
    folder.refused("empty", "empty", &["no .safetensors file"]);
}

#[test]
fn a_model_in_parts_is_quantized_as_if_it_were_one_file() {
    let folder = TempDir::new().unwrap();
    let written = |input: &Path| {
        let source = source::open(input, None).unwrap();
        let plan = lowbit::internals::quantize::Plan::new(source.as_ref(), &options("F16")).unwrap();
        let out = folder.path().join("out.gguf");
        let mut written = plan.write(&out, &mut |_| ()).unwrap();
        plan.verify(&mut written, &out, &mut |_| ()).unwrap();
        fs::read(out).unwrap()
    };
    let paths = model(folder.path());
    let one = folder.path().join("one.gguf");
    let pairs = [("general.architecture", "llama".into()), ("general.alignment", Value::U32(64))];
    part(&one, &[("b", 1.0), ("a", 2.0), ("d", 3.0), ("c", 4.0), ("e", 5.0)], &pairs);
    assert!(paths.iter().all(|path| written(path) == written(&one)));
}
