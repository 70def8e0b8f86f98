//! `lowbit inspect`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, json};

use super::Session;
use lowbit::internals::Error;
use lowbit::internals::io::gguf::{self, Gguf, Value};
use lowbit::internals::io::kind::Kind;
use lowbit::internals::io::npy;
use lowbit::internals::io::safetensors::{self, Safetensors};
use lowbit::internals::table;

#[derive(Args, Debug)]
pub struct Arguments {
    /// A .gguf, .safetensors, .npy or .npz file, or a folder or index of .safetensors files; of a model in several files, any
    /// of them stands for all
    file: PathBuf,
}

/// The elements of an array of the metadata that are shown, and the characters of a string.
const ELEMENTS: usize = 6;
pub(super) const CHARACTERS: usize = 60;

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let (path, terminal) = (&arguments.file, &session.terminal);
    // By the content: names lie.
    let folder = path.is_dir();
    if !folder && gguf::is_gguf(path)? {
        let gguf = Gguf::open(path)?;
        terminal.result(&gguf_json(&gguf), || gguf_text(&gguf))
    } else if safetensors::is_model(path)? {
        let file = Safetensors::open(path)?;
        terminal.result(&safetensors_json(&file), || safetensors_text(&file))
    } else if npy::is_npy(path)? {
        let info = npy::read_info(path)?;
        terminal.result(&npy_json(None, &info), || npy_text(&info))
    } else if Kind::of(path)? == Kind::Zip {
        let infos = npy::read_infos(path)?;
        let arrays: Vec<_> = infos.iter().map(|(name, info)| npy_json(Some(name), info)).collect();
        terminal.result(&json!({ "format": "npz", "arrays": arrays }), || npz_text(&infos))
    } else {
        let found = Kind::of(path)?.name().map_or_else(String::new, |name| format!("this is {name}, "));
        let problem = format!(
            "{}neither a GGUF, a safetensors nor a .npy file: it begins with neither GGUF, the length of a JSON header \
             nor \\x93NUMPY",
            if found.is_empty() { "this is " } else { &found }
        );
        Err(Error::file(path, problem).into())
    }
}

/// An array, or one of an archive by its name.
fn npy_json(name: Option<&str>, info: &npy::Info) -> serde_json::Value {
    let mut document = json!({
        "dtype": info.dtype,
        "type": info.type_name,
        "fortran_order": info.fortran_order,
        "shape": info.shape,
        "bytes": info.bytes,
    });
    match name {
        Some(name) => document["name"] = json!(name),
        None => document["format"] = json!("npy"),
    }
    document
}

fn dtype(info: &npy::Info) -> String {
    let dtype = printable(&info.dtype, CHARACTERS);
    let dtype = info.type_name.as_ref().map_or_else(|| dtype.clone(), |name| format!("{name} ({dtype})"));
    dtype + if info.fortran_order { ", Fortran order" } else { "" }
}

fn npy_text(info: &npy::Info) -> String {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    table::render(
        &[".npy", ""],
        vec![
            row("dtype", dtype(info)),
            row("shape", shape(&info.shape)),
            row("bytes", info.bytes.to_string()),
        ],
    )
}

fn npz_text(infos: &[(String, npy::Info)]) -> String {
    let rows = infos.iter().map(|(name, info)| {
        vec![printable(name, CHARACTERS), dtype(info), shape(&info.shape), info.bytes.to_string()]
    });
    table::render(&["array", "dtype", "shape", "bytes"], rows.collect())
}

fn gguf_text(gguf: &Gguf) -> String {
    let lines = gguf_lines(gguf);
    let mut text = format!(
        "GGUF version {}, tensors aligned to {} bytes{}\n\n",
        gguf.version(),
        gguf.alignment(),
        in_files(gguf.files())
    );
    text += &metadata_text(gguf.metadata().iter().map(|(key, value)| (key, short(value))));
    if !lines.is_empty() {
        text += &tensors_text(&lines);
        text += "\nA row is contiguous: the last dimension is the one that GGUF itself stores first.\n";
    }
    text + &totals_text(&lines)
}

fn gguf_json(gguf: &Gguf) -> serde_json::Value {
    let metadata: Map<_, _> =
        gguf.metadata().iter().map(|(key, value)| (key.clone(), value_json(value))).collect();
    let mut document = json!({
        "format": "gguf",
        "version": gguf.version(),
        "alignment": gguf.alignment(),
        "files": gguf.files().collect::<Vec<_>>(),
        "metadata": metadata,
    });
    add_tensors(&mut document, &gguf_lines(gguf));
    document
}

fn gguf_lines(gguf: &Gguf) -> Vec<Line<'_>> {
    let tensors = gguf.tensors().iter().map(|tensor| Line {
        name: &tensor.name,
        ty: tensor.ty.name,
        shape: tensor.shape(),
        file: tensor.file,
        offset: tensor.offset,
        values: tensor.values(),
        bytes: tensor.bytes,
        bits: tensor.ty.bits(),
    });
    tensors.collect()
}

/// The files of a model in several.
fn in_files<'a>(files: impl ExactSizeIterator<Item = &'a Path>) -> String {
    if files.len() == 1 {
        return String::new();
    }
    let count = files.len();
    let names = files.map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned());
    format!(
        ", in {count} files: {}",
        names.map(|name| printable(&name, CHARACTERS)).collect::<Vec<_>>().join(", ")
    )
}

fn safetensors_text(file: &Safetensors) -> String {
    let lines = safetensors_lines(file);
    let mut text = format!("safetensors{}\n\n", in_files(file.files()));
    text += &metadata_text(file.metadata().iter().map(|(key, value)| (key, printable(value, CHARACTERS))));
    if !lines.is_empty() {
        text += &tensors_text(&lines);
        text += "\nA row is contiguous: the last dimension.\n";
    }
    text + &totals_text(&lines)
}

fn safetensors_json(file: &Safetensors) -> serde_json::Value {
    let metadata: Map<_, _> =
        file.metadata().iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    let files: Vec<_> = file.files().collect();
    let mut document = json!({ "format": "safetensors", "files": files, "metadata": metadata });
    add_tensors(&mut document, &safetensors_lines(file));
    document
}

fn safetensors_lines(file: &Safetensors) -> Vec<Line<'_>> {
    let tensors = file.tensors().iter().map(|tensor| Line {
        name: &tensor.name,
        ty: tensor.dtype.name,
        shape: tensor.shape.clone(),
        file: tensor.file,
        offset: tensor.offset,
        values: tensor.values(),
        bytes: tensor.bytes,
        bits: tensor.dtype.bits(),
    });
    tensors.collect()
}

/// A tensor, of whichever format.
struct Line<'a> {
    name: &'a str,
    ty: &'static str,
    /// The contiguous dimension is the last one.
    shape: Vec<u64>,
    /// Which of the files it lies in, counted from 0, and where.
    file: usize,
    offset: u64,
    values: u64,
    bytes: u64,
    /// Bits per value.
    bits: f64,
}

fn metadata_text<'a>(pairs: impl Iterator<Item = (&'a String, String)>) -> String {
    let rows: Vec<_> = pairs.map(|(key, value)| vec![printable(key, CHARACTERS), value]).collect();
    if rows.is_empty() { String::new() } else { table::render(&["key", "value"], rows) + "\n" }
}

fn tensors_text(lines: &[Line]) -> String {
    let rows = lines.iter().map(|line| {
        vec![
            printable(line.name, CHARACTERS),
            line.ty.to_owned(),
            shape(&line.shape),
            line.bytes.to_string(),
            format!("{:.3}", line.bits),
        ]
    });
    table::render(&["tensor", "type", "shape [rows, cols]", "bytes", "bits per weight"], rows.collect())
}

fn totals_text(lines: &[Line]) -> String {
    let (values, bytes) = totals(lines);
    let bits = bits_per_weight(values, bytes)
        .map_or_else(String::new, |bits| format!(", {bits:.3} bits per weight"));
    format!("{} tensors, {values} weights, {bytes} bytes{bits}\n", lines.len())
}

fn add_tensors(document: &mut serde_json::Value, lines: &[Line]) {
    let (values, bytes) = totals(lines);
    let tensors = lines.iter().map(|line| {
        json!({
            "name": line.name,
            "type": line.ty,
            "shape": line.shape,
            "file": line.file,
            "offset": line.offset,
            "bytes": line.bytes,
            "bits_per_weight": line.bits,
        })
    });
    document["tensors"] = tensors.collect();
    document["weights"] = json!(values);
    document["bytes"] = json!(bytes);
    document["bits_per_weight"] = json!(bits_per_weight(values, bytes));
}

/// The weights and bytes of all tensors.
fn totals(lines: &[Line]) -> (u64, u64) {
    // The tensors of a file do not overlap, so their bytes are at most the file's; weights may be 7 for each.
    let values = lines.iter().fold(0u64, |sum, line| sum.saturating_add(line.values));
    (values, lines.iter().map(|line| line.bytes).sum())
}

fn bits_per_weight(values: u64, bytes: u64) -> Option<f64> {
    (values > 0).then(|| bytes as f64 * 8.0 / values as f64)
}

/// A value in one short line.
fn short(value: &Value) -> String {
    match value {
        Value::U8(v) => v.to_string(),
        Value::I8(v) => v.to_string(),
        Value::U16(v) => v.to_string(),
        Value::I16(v) => v.to_string(),
        Value::U32(v) => v.to_string(),
        Value::I32(v) => v.to_string(),
        Value::U64(v) => v.to_string(),
        Value::I64(v) => v.to_string(),
        // Never 300 digits.
        Value::F32(v) => format!("{v:?}"),
        Value::F64(v) => format!("{v:?}"),
        Value::Bool(v) => v.to_string(),
        Value::String(text) => printable(&text.to_string(), CHARACTERS),
        Value::Array(array) => {
            let first: Vec<_> = array.first(ELEMENTS).iter().map(short).collect();
            let more = if array.len() > ELEMENTS { ", …" } else { "" };
            let elements = printable(&format!("{}{more}", first.join(", ")), CHARACTERS);
            format!("{} x {} [{elements}]", array.len(), array.type_name())
        }
    }
}

/// A value with its whole strings; of an array the type, the length and the first elements.
fn value_json(value: &Value) -> serde_json::Value {
    match value {
        Value::U8(v) => json!(v),
        Value::I8(v) => json!(v),
        Value::U16(v) => json!(v),
        Value::I16(v) => json!(v),
        Value::U32(v) => json!(v),
        Value::I32(v) => json!(v),
        Value::U64(v) => json!(v),
        Value::I64(v) => json!(v),
        // JSON has no NaN and no infinity.
        Value::F32(v) if !v.is_finite() => json!(v.to_string()),
        Value::F64(v) if !v.is_finite() => json!(v.to_string()),
        // By its shortest digits: as an f64, 1e-5 would get the digits that an f32 does not have.
        Value::F32(v) => v.to_string().parse::<f64>().map_or(json!(v), |v| json!(v)),
        Value::F64(v) => json!(v),
        Value::Bool(v) => json!(v),
        Value::String(text) => json!(text.to_string()),
        Value::Array(array) => json!({
            "type": array.type_name(),
            "length": array.len(),
            "first": array.first(ELEMENTS).iter().map(value_json).collect::<Vec<_>>(),
        }),
    }
}

/// Text from a file, fit for a terminal: no control characters, and at most `most` characters.
pub(super) fn printable(text: &str, most: usize) -> String {
    let escaped = text.chars().flat_map(|c| {
        // Quotes and letters stay as they are.
        let escape = c.is_control() || is_invisible(c);
        escape.then(|| c.escape_default()).into_iter().flatten().chain((!escape).then_some(c))
    });
    let mut shown: String = escaped.take(most + 1).collect();
    if let Some((end, _)) = shown.char_indices().nth(most) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

/// What changes the direction of text, or has no width: it would make one text look like another.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

pub(super) fn shape(dims: &[u64]) -> String {
    format!("[{}]", dims.iter().map(u64::to_string).collect::<Vec<_>>().join(", "))
}
