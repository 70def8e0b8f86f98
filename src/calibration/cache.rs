//! TensorRT's text format of scales.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;

use super::{Manifest, Method, Range};
use crate::io::quoted;
use crate::{Error, Result, io};

/// The largest cache that is read. Large models have some thousand tensors, at about 50 bytes each.
const MOST_BYTES: u64 = 64 << 20;

/// TensorRT's version in caches made here: 8.6.1, whose caches later versions take.
const VERSION: &str = "8601";

/// The first line: `TRT-<version>-<algorithm>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// TensorRT's version, such as `8601`.
    pub version: String,
    /// Its name of the method, such as `EntropyCalibration2`.
    pub algorithm: String,
}

impl Header {
    /// The header of a new cache. TensorRT has names for entropy and min-max; the others are of the same make.
    pub fn new(method: Method) -> Self {
        let algorithm = match method {
            Method::Entropy => "EntropyCalibration2",
            Method::MinMax => "MinMaxCalibration",
            Method::Percentile(_) => "PercentileCalibration",
            Method::Mse => "MseCalibration",
        };
        Self { version: VERSION.into(), algorithm: algorithm.into() }
    }
}

impl fmt::Display for Header {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "TRT-{}-{}", self.version, self.algorithm)
    }
}

/// Scales by tensor: a line for each, `name: hex`, where hex has the bits of the scale as f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    /// The first line, kept as it was read.
    pub header: Header,
    /// Name and scale (threshold / 127) of each tensor, in the file's order. A scale of 0 says that the tensor has no
    /// range and stays in floats.
    pub entries: Vec<(String, f32)>,
}

impl Cache {
    /// A cache of `ranges`.
    pub fn new(method: Method, ranges: &[Range]) -> Self {
        let entries = ranges.iter().map(|range| (range.name.clone(), range.scale)).collect();
        Self { header: Header::new(method), entries }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::File`] with the line that is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&read_text(path, MOST_BYTES)?).map_err(|problem| Error::file(path, problem))
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Input`] where a name cannot stand in a line or comes twice, or a scale is no size;
    /// those of [`io::output::write_whole`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = self.text()?;
        io::output::write_whole(path, |out| out.write_all(text.as_bytes()))
    }

    /// The scale of the tensor `name`.
    pub fn scale(&self, name: &str) -> Option<f32> {
        self.entries.iter().find(|(entry, _)| entry == name).map(|(_, scale)| *scale)
    }

    /// Whether this is the cache of a model: `model_sha256` is its hash, `needed` are the names of the tensors that its
    /// quantization asks for, and `known` those that a cache of it may have besides. Without a manifest nothing says what
    /// the scales were made of; `accept_missing` takes that, and only names are checked.
    ///
    /// # Errors
    /// [`Error::Input`] that names what does not match: the model's hash, or a tensor.
    pub fn check(
        &self,
        manifest: Option<&Manifest>,
        accept_missing: bool,
        model_sha256: &str,
        needed: &[&str],
        known: &[&str],
    ) -> Result<()> {
        let fault = |problem: String| {
            Err(Error::Input(format!("the calibration cache does not fit: {problem}; calibrate again")))
        };
        match manifest {
            None if !accept_missing => {
                return Err(Error::Input(
                    "the calibration cache has no manifest beside it, so nothing says which model and data it was made \
                     of; calibrate again, or accept it as it is (`accept-cache`)"
                        .into(),
                ));
            }
            None => (),
            Some(manifest) if !manifest.model.sha256.eq_ignore_ascii_case(model_sha256) => {
                return fault(format!(
                    "it was made for a model with the SHA-256 {} ({}), this one's is {model_sha256}",
                    manifest.model.sha256,
                    quoted(&manifest.model.file)
                ));
            }
            Some(manifest) => {
                let ranges: HashMap<&str, &Range> =
                    manifest.ranges.iter().map(|range| (range.name.as_str(), range)).collect();
                for (name, scale) in &self.entries {
                    let Some(range) = ranges.get(name.as_str()) else {
                        return fault(format!("tensor {} is not in its manifest", quoted(name)));
                    };
                    // The manifest's numbers are decimal.
                    if (range.scale - scale).abs() > 1e-6 * scale.abs() {
                        let (name, range) = (quoted(name), range.scale);
                        return fault(format!(
                            "tensor {name} has the scale {scale:e}, in the manifest {range:e}"
                        ));
                    }
                }
            }
        }
        let found: HashSet<&str> = self.entries.iter().map(|(name, _)| name.as_str()).collect();
        if let Some(missing) = needed.iter().find(|name| !found.contains(**name)) {
            return fault(format!("the model's tensor {} is not in it", quoted(missing)));
        }
        let known: HashSet<&str> = needed.iter().chain(known).copied().collect();
        if let Some((unknown, _)) = self.entries.iter().find(|(name, _)| !known.contains(name.as_str())) {
            return fault(format!("it has a tensor {}, which the model has not", quoted(unknown)));
        }
        Ok(())
    }

    /// The file's text.
    fn text(&self) -> Result<String> {
        if !check_header(&self.header.version, &self.header.algorithm) {
            let header = quoted(&self.header.to_string());
            return Err(Error::Input(format!("calibration cache: {header} is not TRT-<version>-<method>")));
        }
        let mut text = format!("{}\n", self.header);
        let mut names = HashSet::new();
        for (name, scale) in &self.entries {
            let fault =
                |problem| Err(Error::Input(format!("calibration cache: tensor {} {problem}", quoted(name))));
            if let Err(problem) = check_name(name) {
                return fault(problem.into());
            }
            if !names.insert(name) {
                return fault("comes twice".into());
            }
            if let Err(problem) = check_scale(*scale) {
                return fault(format!("has {problem}"));
            }
            text += &format!("{name}: {:x}\n", scale.to_bits());
        }
        Ok(text)
    }

    /// What is wrong otherwise.
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).enumerate();
        let first = lines.next().map_or("", |(_, line)| line);
        let header = first.strip_prefix("TRT-").and_then(|rest| rest.split_once('-'));
        let header = header.filter(|(version, algorithm)| check_header(version, algorithm));
        let Some((version, algorithm)) = header else {
            return Err(format!(
                "line 1 is {}; a calibration cache begins with TRT-<version>-<method>, such as \
                 TRT-8601-EntropyCalibration2",
                quoted(first)
            ));
        };
        let header = Header { version: version.into(), algorithm: algorithm.into() };
        let (mut entries, mut seen) = (Vec::new(), HashMap::new());
        for (at, line) in lines {
            let number = at + 1;
            if line.trim().is_empty() {
                continue;
            }
            // A name may hold colons, the bits cannot.
            let Some((name, bits)) = line.rsplit_once(':') else {
                return Err(format!("line {number} is {}; `name: bits` is expected", quoted(line)));
            };
            check_name(name)
                .map_err(|problem| format!("line {number}: tensor {} {problem}", quoted(name)))?;
            let bits = bits.trim();
            let digits = (1..=8).contains(&bits.len()) && bits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let Some(scale) =
                Some(bits).filter(|_| digits).and_then(|bits| u32::from_str_radix(bits, 16).ok())
            else {
                return Err(format!(
                    "line {number}: {} is not the bits of a scale: 1 to 8 hexadecimal digits are expected",
                    quoted(bits)
                ));
            };
            let scale = f32::from_bits(scale);
            check_scale(scale)
                .map_err(|problem| format!("line {number}: tensor {} has {problem}", quoted(name)))?;
            if let Some(earlier) = seen.insert(name, number) {
                return Err(format!("line {number}: tensor {} is in line {earlier} already", quoted(name)));
            }
            entries.push((name.to_owned(), scale));
        }
        Ok(Self { header, entries })
    }
}

fn check_header(version: &str, algorithm: &str) -> bool {
    let fits = |text: &str| !text.trim().is_empty() && !text.contains(char::is_control);
    fits(version) && fits(algorithm) && !version.contains('-')
}

fn check_name(name: &str) -> std::result::Result<(), &'static str> {
    if name.trim().is_empty() || name.contains(char::is_control) {
        return Err("is empty or has control characters, and cannot stand in a line of text");
    }
    Ok(())
}

fn check_scale(scale: f32) -> std::result::Result<(), String> {
    if scale.is_finite() && scale.is_sign_positive() {
        return Ok(());
    }
    Err(format!("the scale {scale}; a finite one, 0 or more, is expected"))
}

/// A text file of at most `most` bytes.
pub(super) fn read_text(path: &Path, most: u64) -> Result<String> {
    let (_, size) = io::open(path)?;
    if size > most {
        return Err(Error::file(path, format!("it has {size} bytes; at most {most} are expected")));
    }
    let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count();
        Error::file(path, format!("line {line} is not UTF-8 text"))
    })
}
