//! Names of files that are parts of one model: `PREFIX-00002-of-00003.EXTENSION`, with any number of digits.

use std::path::{Path, PathBuf};

use super::quoted;

/// The most parts. GGUF files count them in 16 bits.
const MAX_PARTS: u64 = 0xffff;

/// The name of a part, taken apart.
#[derive(Clone, Debug)]
pub(super) struct PartName {
    /// The name of which only the number differs.
    path: PathBuf,
    prefix: String,
    /// From 1.
    pub(super) number: u64,
    /// The digits of the number.
    width: usize,
    pub(super) count: u64,
    /// What follows the number.
    rest: String,
}

impl PartName {
    /// The name of a part with this extension. A link may have another name than what it leads to: the first that is the
    /// name of a part counts, because the other parts lie beside it.
    pub(super) fn of(path: &Path, extension: &str) -> Option<Self> {
        let behind = || Self::parse(&path.canonicalize().ok()?, extension);
        Self::parse(path, extension).or_else(behind)
    }

    fn parse(path: &Path, extension: &str) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let stem = name.strip_suffix(extension)?.strip_suffix('.')?;
        let (front, count) = stem.rsplit_once("-of-")?;
        let (prefix, number) = front.rsplit_once('-')?;
        let digits = |text: &str| {
            let all = text.bytes().all(|byte| byte.is_ascii_digit());
            // More digits than a number can have are none.
            all.then(|| text.parse::<u64>().ok()).flatten().filter(|number| (1..=MAX_PARTS).contains(number))
        };
        let (rest, width) = (format!("-of-{count}.{extension}"), number.len());
        let (number, count) = (digits(number)?, digits(count)?);
        let prefix = prefix.to_owned();
        (number <= count).then(|| Self { path: path.to_owned(), prefix, number, width, count, rest })
    }

    /// The paths of all parts, in their order.
    pub(super) fn all(&self) -> impl Iterator<Item = PathBuf> {
        (1..=self.count).map(|number| {
            let Self { prefix, width, rest, .. } = self;
            self.path.with_file_name(format!("{prefix}-{number:0width$}{rest}"))
        })
    }

    /// The names of the parts that are not there; nothing if all are.
    pub(super) fn missing(&self) -> Option<String> {
        let names: Vec<String> = self.all().filter(|path| !path.exists()).map(|path| name(&path)).collect();
        (!names.is_empty()).then(|| few(&names))
    }
}

/// The name of a file without its folder, fit for a message.
pub(super) fn name(path: &Path) -> String {
    quoted(&path.file_name().unwrap_or_default().to_string_lossy())
}

/// The first of some names, and the number of the others.
pub(super) fn few(names: &[String]) -> String {
    const SHOWN: usize = 4;
    match names.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}
