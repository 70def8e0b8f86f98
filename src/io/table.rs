//! Rows of features from arrays or tables of text; which of them a file is, its first bytes say.

use std::path::Path;

use super::csv::{Csv, listed};
use super::kind::Kind;
use super::npy::{self, Matrix};
use super::{quoted, split_part};
use crate::{Error, Result};

/// What [`read_features`] gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// The rows.
    pub matrix: Matrix,
    /// The shape of one row, where the file is an array of more than two dimensions.
    pub shape: Option<Vec<usize>>,
    /// The names of its columns, if the file has names.
    pub names: Option<Vec<String>>,
    /// The names of columns that were not taken.
    pub left: Vec<String>,
    /// What the user should know: columns that were not taken, or taken in another order, or in their own for want of names.
    pub notices: Vec<String>,
}

impl Features {
    /// Holds the rows against the model's input, which has this `name` and, for one row, this `shape`.
    ///
    /// # Errors
    /// [`Error::File`] that names both shapes, or the first value that is not finite.
    pub fn check(&self, path: &Path, name: &str, shape: &[usize]) -> Result<()> {
        let (elements, found, name) = (shape.iter().product::<usize>(), self.matrix.cols, quoted(name));
        // A model's axes behind the second may be counted as one.
        let folded = |dims: &[usize]| match dims {
            [channels, height, rest @ ..] if rest.len() > 1 => {
                vec![*channels, *height, rest.iter().product()]
            }
            dims => dims.to_vec(),
        };
        let problem = match &self.shape {
            Some(own) if folded(own) != folded(shape) => {
                format!("an example has the shape {own:?}; the model's input {name} takes {shape:?}")
            }
            _ if found != elements => {
                let few = if found == 1 { "1 feature".into() } else { format!("{found} features") };
                let hint = match self.names {
                    Some(_) => "; `without` NAME leaves a column out",
                    None => "",
                };
                format!("it has {few}; the model's input {name} takes {elements}{hint}")
            }
            _ => match self.matrix.first_non_finite() {
                Some((row, column)) => {
                    let value = self.matrix.values[row * found + column];
                    format!(
                        "row {row}, column {column} (counted from 0) is {value}: leave such rows out, or fill them"
                    )
                }
                None => return Ok(()),
            },
        };
        Err(Error::file(path, problem))
    }
}

/// Checks that every column that the user has `left` out is one of the files that were read, and that none is one of the
/// model's `features`, where these are known.
///
/// # Errors
/// [`Error::File`] that lists the columns there are.
pub fn check_left(left: &[String], features: Option<&[String]>, read: &[(&Path, &Features)]) -> Result<()> {
    for name in left {
        let quoted = quoted(name);
        let Some((path, first)) = read.first() else { break };
        let problem = if features.is_some_and(|features| features.contains(name)) {
            format!(
                "`without` {quoted}: it is a feature that the model was calibrated with, and cannot be left out; features \
                 are {}",
                listed(features.unwrap_or_default())
            )
        } else if read.iter().any(|(_, read)| read.left.contains(name)) {
            continue;
        } else if let Some(names) = &first.names {
            let all: Vec<String> = names.iter().chain(&first.left).cloned().collect();
            format!("`without` {quoted}: no column is called so; there are {}", listed(&all))
        } else {
            format!("`without` {quoted}: its columns have no names, so that none can be left out by name")
        };
        return Err(Error::file(path, problem));
    }
    Ok(())
}

/// Reads rows of features: an array of numbers (see [`npy`]), of which all axes behind the first are the features, or a table of
/// text.
///
/// Where a table has names and the model's `names` are known, its columns are taken by name, in the model's order, and
/// others are left out with a notice. Otherwise all are taken as they come, but for those called as in `without` (a
/// label in the same table).
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::File`] if a column that the model needs is missing or there twice,
/// or the file is no matrix of numbers: that names the line and the column.
pub fn read_features(path: &Path, names: Option<&[String]>, without: &[String]) -> Result<Features> {
    let (file, part) = split_part(path);
    let kind = Kind::of(&file)?;
    if kind == Kind::Parquet && part.is_none() {
        let problem = "features are read from .csv by their names, and from .npy or .npz by their order; of a Parquet file, one \
                       column of lists can be given as FILE.parquet:COLUMN";
        return Err(Error::file(path, problem));
    }
    if kind != Kind::Text {
        let (matrix, shape) = npy::read_examples(path)?;
        let shape = Some(shape).filter(|shape| shape.len() > 1);
        return Ok(Features { matrix, shape, names: None, left: Vec::new(), notices: Vec::new() });
    }
    let table = Csv::open(path)?;
    let Some(found) = table.names().map(<[String]>::to_vec) else {
        let all: Vec<usize> = (0..table.columns()).collect();
        let matrix = table.read(&all)?;
        return Ok(Features { matrix, shape: None, names: None, left: Vec::new(), notices: Vec::new() });
    };
    let columns: Vec<usize> = match names {
        Some(names) => names.iter().map(|name| table.column(name)).collect::<Result<_>>()?,
        None => {
            (0..found.len()).filter(|&at| found.get(at).is_some_and(|name| !without.contains(name))).collect()
        }
    };
    if columns.is_empty() {
        return Err(Error::file(path, "no column is left to be a feature"));
    }
    let mut notices = Vec::new();
    let left = found.iter().enumerate().filter(|(at, _)| !columns.contains(at));
    let left: Vec<String> = left.map(|(_, name)| name.clone()).collect();
    if !left.is_empty() {
        notices.push(format!("{}: columns that are no features: {}", path.display(), listed(&left)));
    }
    if !columns.is_sorted() {
        notices.push(format!("{}: the columns were put into the model's order, by name", path.display()));
    }
    let taken: Vec<String> = columns.iter().filter_map(|&at| found.get(at).cloned()).collect();
    if names.is_none() {
        notices.push(format!(
            "{}: the columns were taken in their order, {}: nothing names the model's features, so see that it is theirs",
            path.display(),
            listed(&taken)
        ));
    }
    Ok(Features { matrix: table.read(&columns)?, shape: None, names: Some(taken), left, notices })
}
