//! Models that are cut into several files, as `llama-gguf-split` cuts them.
//!
//! Each part is a GGUF file that says which it is (`split.no`, from 0), of how many (`split.count`), and how many tensors
//! all have (`split.tensors.count`). Their names are `PREFIX-00001-of-00003.gguf` and so on, counted from 1. The first has
//! the metadata of the model. A count of 0 or 1 is a model in one file.

use std::path::Path;

use super::read::Gguf;
use super::{ALIGNMENT_KEY, Value, quoted};
use crate::io::parts::{PartName, name};
use crate::{Error, Result};

const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// What the first versions of `llama-gguf-split` wrote.
const OLD_COUNT: &str = "general.split_count";

/// Which part of a model a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Split {
    /// From 1.
    number: u64,
    count: u64,
    /// The tensors of all parts.
    tensors: Option<u64>,
}

impl Split {
    /// What a file says, or nothing if it is a whole model.
    fn of(gguf: &Gguf) -> Result<Option<Self>> {
        let number = |key: &str| match gguf.get(key) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| {
                Error::file(gguf.path(), format!("key {}: it is no whole number from 0 on", quoted(key)))
            }),
        };
        if number(OLD_COUNT)?.is_some_and(|count| count > 1) {
            let problem = format!(
                "this is a part of a model by {OLD_COUNT}, which is not read any more: split it anew"
            );
            return Err(Error::file(gguf.path(), problem));
        }
        let (no, count, tensors) = (number(NUMBER)?, number(COUNT)?, number(TENSORS)?);
        match (no, count) {
            (None | Some(0), None) | (_, Some(0 | 1)) => Ok(None),
            (Some(no), Some(count)) if no < count => Ok(Some(Self { number: no + 1, count, tensors })),
            (no, count) => {
                let said = |number: Option<u64>| number.map_or("missing".into(), |n| n.to_string());
                Err(Error::file(
                    gguf.path(),
                    format!(
                        "this is a part of a model, but not which: {NUMBER} is {}, {COUNT} is {}",
                        said(no),
                        said(count)
                    ),
                ))
            }
        }
    }
}

/// The model that `part`, which was opened at `path`, is a part of: all of its files as one.
pub(super) fn whole(path: &Path, part: Gguf) -> Result<Gguf> {
    let Some(split) = Split::of(&part)? else { return Ok(part) };
    let Split { number, count, .. } = split;
    let names = PartName::of(path, "gguf").filter(|name| (name.number, name.count) == (number, count));
    let names = names.ok_or_else(|| {
        Error::file(
            path,
            format!(
                "this is part {number} of {count} of a model; the others are found by their names, which have to be \
                 NAME-{number:05}-of-{count:05}.gguf and so on, in one folder"
            ),
        )
    })?;
    if let Some(missing) = names.missing() {
        let problem =
            format!("this is part {number} of {count} of a model, and others are missing: {missing}");
        return Err(Error::file(path, problem));
    }
    let mut model: Option<Gguf> = None;
    for (path, number) in names.all().zip(1..) {
        let next = Gguf::open_one(&path)?;
        let wanted = Split { number, ..split };
        if Split::of(&next)? != Some(wanted) {
            let total = split.tensors.map_or_else(String::new, |n| format!(" of a model of {n} tensors"));
            let problem = format!("by its metadata, this is not part {number} of {count}{total}");
            return Err(Error::file(&path, problem));
        }
        model = Some(match model {
            None => next,
            Some(first) => joined(first, next)?,
        });
    }
    let mut model = model.unwrap_or(part);
    if let Some(tensors) = split.tensors.filter(|&tensors| tensors != model.tensors().len() as u64) {
        let found = model.tensors().len();
        return Err(Error::file(
            path,
            format!("its {count} parts have {found} tensors; {TENSORS} is {tensors}"),
        ));
    }
    model.rename(path, |key| ![NUMBER, COUNT, TENSORS].contains(&key));
    Ok(model)
}

/// The first parts and the next one as one.
fn joined(mut first: Gguf, next: Gguf) -> Result<Gguf> {
    let own = |key: &str| [NUMBER, ALIGNMENT_KEY].contains(&key);
    for (key, value) in next.metadata().iter().filter(|(key, _)| !own(key)) {
        let differs = |of_first: &&Value| *of_first != value;
        if first.get(key).filter(differs).is_some() {
            let (key, of) = (quoted(key), name(first.path()));
            return Err(Error::file(
                next.path(),
                format!("this is a part of another model: its {key} is not that of {of}"),
            ));
        }
    }
    first.append(next, own)?;
    Ok(first)
}
