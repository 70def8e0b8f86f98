//! Which files a model lies in: the files of several that an index names, or that are numbered by their names.
//!
//! An index is JSON, `{"metadata": …, "weight_map": {TENSOR: FILE, …}}`, and lies beside its files. It has to agree with
//! them about every tensor: a file of another model, or of another version, would otherwise be taken for the right one.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::{MAX_HEADER, MAX_TENSORS, Safetensors, is_safetensors, parts, quoted};
use crate::io::parts::PartName;
use crate::io::sorted_by_name;
use crate::{Error, Result};

const EXTENSION: &str = "safetensors";

/// The files of a model.
pub(super) struct Shards {
    pub(super) files: Vec<PathBuf>,
    index: Option<Index>,
}

impl Shards {
    /// Those that a file, an index or a folder stands for.
    pub(super) fn of(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Self::of_folder(path);
        }
        super::super::open(path)?;
        if is_index(path)? {
            return Self::of_index(Index::read(path)?);
        }
        // Beside a link or beside what it leads to.
        for path in [Some(path.to_owned()), path.canonicalize().ok()].into_iter().flatten() {
            let name = path.file_name().unwrap_or_default();
            for index in indices(folder_of(&path))? {
                let index = match Index::read(&index) {
                    // One that cannot be read may be that of other files.
                    Err(_) if PartName::of(&path, EXTENSION).is_none() => continue,
                    index => index?,
                };
                if index.files.iter().any(|(_, file)| Path::new(file) == name) {
                    return Self::of_index(index);
                }
            }
        }
        Self::of_name(path)
    }

    /// A file that no index names.
    fn of_name(path: &Path) -> Result<Self> {
        let Some(part) = PartName::of(path, EXTENSION).filter(|part| part.count > 1) else {
            return Ok(Self { files: vec![path.to_owned()], index: None });
        };
        if let Some(missing) = part.missing() {
            let (number, count) = (part.number, part.count);
            return Err(Error::file(
                path,
                format!(
                    "by its name, this is part {number} of {count} of a model, and others are missing: {missing}"
                ),
            ));
        }
        Ok(Self { files: part.all().collect(), index: None })
    }

    fn of_index(index: Index) -> Result<Self> {
        let names: BTreeSet<&str> = index.files.iter().map(|(_, file)| file.as_str()).collect();
        let files: Vec<PathBuf> = names.iter().map(|name| folder_of(&index.path).join(name)).collect();
        let missing: Vec<String> =
            files.iter().filter(|file| !file.exists()).map(|file| parts::name(file)).collect();
        if !missing.is_empty() {
            let (count, missing) = (files.len(), parts::few(&missing));
            let problem = format!("of the {count} files of this model, some are missing: {missing}");
            return Err(Error::file(&index.path, problem));
        }
        Ok(Self { files, index: Some(index) })
    }

    /// The one model of a folder.
    fn of_folder(folder: &Path) -> Result<Self> {
        let several = |what: &str, paths: &[PathBuf]| {
            let names: Vec<String> = paths.iter().map(|path| parts::name(path)).collect();
            Error::file(folder, format!("this folder has several {what}: give one of {}", parts::few(&names)))
        };
        match indices(folder)?.as_slice() {
            [] => {}
            [index] => return Self::of_index(Index::read(index)?),
            indices => return Err(several("indices", indices)),
        }
        let files = listed(folder, |name| name.ends_with(".safetensors"))?;
        let Some(first) = files.first() else {
            let problem = "this folder has no .safetensors file; of a GGUF model, give one of its files";
            return Err(Error::file(folder, problem));
        };
        let whole = Self::of_name(first)?;
        if files.iter().any(|file| !whole.files.contains(file)) {
            return Err(several("models, as far as their names say", &files));
        }
        Ok(whole)
    }

    /// Holds the index against the files.
    pub(super) fn check(&self, model: &Safetensors) -> Result<()> {
        let Some(index) = &self.index else { return Ok(()) };
        let error = |problem: String| Error::file(&index.path, problem);
        for (name, file) in &index.files {
            let found = model.tensor(name).ok().and_then(|tensor| self.files.get(tensor.file));
            if found.and_then(|path| path.strip_prefix(folder_of(&index.path)).ok()) != Some(Path::new(file))
            {
                let (name, file) = (quoted(name), quoted(file));
                let where_else = found.map_or_else(
                    || "is in none of its files".into(),
                    |path| format!("is in {}", parts::name(path)),
                );
                return Err(error(format!(
                    "tensor {name} should be in {file}, but {where_else}: the files are not of one model"
                )));
            }
        }
        if let Some(tensor) = model.tensors.iter().find(|tensor| index.file_of(&tensor.name).is_none()) {
            let (name, file) = (quoted(&tensor.name), model.file_name(tensor));
            return Err(error(format!(
                "it does not have the tensor {name}, which is in {file}: the files are not of one model"
            )));
        }
        Ok(())
    }
}

/// Whether a file is an index: JSON by its name and its first character.
pub(super) fn is_index(path: &Path) -> Result<bool> {
    if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
        || is_safetensors(path)?
    {
        return Ok(false);
    }
    let (file, _) = super::super::open(path)?;
    let mut begin = Vec::new();
    file.take(64).read_to_end(&mut begin).map_err(|e| Error::io(path, e))?;
    Ok(begin.trim_ascii_start().first() == Some(&b'{'))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The indices in a folder: `model.safetensors.index.json`, and those of variants, such as `….index.fp16.json`.
fn indices(folder: &Path) -> Result<Vec<PathBuf>> {
    listed(folder, |name| name.contains(".safetensors.index.") && name.ends_with(".json"))
}

/// The paths in a folder whose names are wanted, in their order.
fn listed(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let name = entry.map_err(|e| Error::io(folder, e))?.file_name();
        if name.to_str().is_some_and(&wanted) {
            paths.push(folder.join(name));
        }
    }
    paths.sort();
    Ok(paths)
}

/// An index, in the order of its tensors' names.
struct Index {
    path: PathBuf,
    /// Tensors, and the files that they lie in.
    files: Vec<(String, String)>,
}

impl Index {
    fn read(path: &Path) -> Result<Self> {
        let (file, size) = super::super::open(path)?;
        if size > MAX_HEADER {
            return Err(Error::file(path, format!("this index has {size} bytes; {MAX_HEADER} can be")));
        }
        let mut text = Vec::new();
        file.take(size).read_to_end(&mut text).map_err(|e| Error::io(path, e))?;
        let Json { weight_map: Pairs(mut files) } = serde_json::from_slice(&text).map_err(|problem| {
            Error::file(path, format!("this is no index of safetensors files: {problem}"))
        })?;
        if let Some((name, _)) = sorted_by_name(&files, |(name, _)| name).1 {
            return Err(Error::file(path, format!("tensor {} is there twice", quoted(name))));
        }
        files.sort();
        let plain = |name: &str| {
            let mut parts = Path::new(name).components().peekable();
            parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
        };
        if let Some((_, file)) = files.iter().find(|(_, file)| !plain(file)) {
            return Err(Error::file(path, format!("{} is no file beside it", quoted(file))));
        }
        Ok(Self { path: path.to_owned(), files })
    }

    fn file_of(&self, tensor: &str) -> Option<&str> {
        let found = self.files.binary_search_by(|(name, _)| name.as_str().cmp(tensor)).ok()?;
        self.files.get(found).map(|(_, file)| file.as_str())
    }
}

#[derive(Deserialize)]
struct Json {
    weight_map: Pairs,
}

/// A map of strings with all of its keys, also equal ones.
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of tensors and their files")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Pairs, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            if pairs.len() as u64 == MAX_TENSORS {
                return Err(A::Error::custom(format_args!("there are more than {MAX_TENSORS} tensors")));
            }
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}
