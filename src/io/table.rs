//! Rows and labels from `.npy` files or tables of text; which of them a file is, its first bytes say.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::csv::{Csv, listed};
use super::npy::{self, Matrix};
use super::quoted;
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
                    Some(_) => "; --without NAME leaves a column out",
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
                "--without {quoted}: it is a feature that the model was calibrated with, and cannot be left out; features \
                 are {}",
                listed(features.unwrap_or_default())
            )
        } else if read.iter().any(|(_, read)| read.left.contains(name)) {
            continue;
        } else if let Some(names) = &first.names {
            let all: Vec<String> = names.iter().chain(&first.left).cloned().collect();
            format!("--without {quoted}: no column is called so; there are {}", listed(&all))
        } else {
            format!("--without {quoted}: its columns have no names, so that none can be left out by name")
        };
        return Err(Error::file(path, problem));
    }
    Ok(())
}

/// Reads rows of features: a `.npy` array of float32 or float16, of which all axes behind the first are the features, or
/// a table of text.
///
/// Where a table has names and the model's `names` are known, its columns are taken by name, in the model's order, and
/// others are left out with a notice. Otherwise all are taken as they come, but for those called as in `without` (a
/// label in the same table).
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::File`] if a column that the model needs is missing or there twice,
/// or the file is no matrix of numbers: that names the line and the column.
pub fn read_features(path: &Path, names: Option<&[String]>, without: &[String]) -> Result<Features> {
    if npy::is_npy(path)? {
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

/// One value for each row: a 1-D `.npy` file, or a column of a table, written `data.csv:column`. The column's name may be
/// left out where the table has only one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The file.
    pub path: PathBuf,
    /// The column's name.
    pub name: Option<String>,
}

impl FromStr for Column {
    type Err = Infallible;

    /// A colon that follows `.csv` or `.tsv` ends the path, unless there is a file that is called like the whole.
    fn from_str(text: &str) -> std::result::Result<Self, Infallible> {
        let lower = text.to_ascii_lowercase();
        let end = [".csv:", ".tsv:"].iter().filter_map(|end| lower.rfind(end)).max();
        let split = end.filter(|_| !Path::new(text).exists()).and_then(|end| {
            let (path, name) = text.split_at_checked(end + 4)?;
            Some((path, name.strip_prefix(':')?))
        });
        Ok(match split {
            Some((path, name)) => Self { path: path.into(), name: Some(name.to_owned()) },
            None => Self { path: text.into(), name: None },
        })
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}"))
    }
}

impl Column {
    fn is_npy(&self) -> Result<bool> {
        let npy = npy::is_npy(&self.path)?;
        if npy && self.name.is_some() {
            return Err(Error::file(&self.path, "this is a .npy file: its columns have no names"));
        }
        Ok(npy)
    }

    fn open(&self) -> Result<(Csv, usize)> {
        let table = Csv::open(&self.path)?;
        let place = match &self.name {
            Some(name) => table.column(name)?,
            None if table.columns() == 1 => 0,
            None => {
                let (count, path) = (table.columns(), self.path.display());
                return Err(Error::file(
                    &self.path,
                    format!("it has {count} columns: say which, as {path}:NAME"),
                ));
            }
        };
        Ok((table, place))
    }

    /// Reads labels of two classes: 0 and 1, or True and False.
    ///
    /// # Errors
    /// Those of [`npy::read_binary_labels`]; [`Error::File`] for a table without the column, or with anything else in it.
    pub fn read_binary_labels(&self) -> Result<Vec<bool>> {
        if self.is_npy()? {
            return npy::read_binary_labels(&self.path);
        }
        let (table, place) = self.open()?;
        let mut labels = Vec::new();
        table.each(&[place], |cell, wrong| {
            labels.push(match cell.parse::<f64>() {
                Ok(0.0) => false,
                Ok(1.0) => true,
                _ if cell.eq_ignore_ascii_case("false") => false,
                _ if cell.eq_ignore_ascii_case("true") => true,
                _ => return Err(wrong("is no label: it has to be 0 or 1, or True or False")),
            });
            Ok(())
        })?;
        Ok(labels)
    }

    /// Reads classes: whole numbers.
    ///
    /// # Errors
    /// Those of [`npy::read_labels`]; [`Error::File`] for a table without the column, or with anything else in it.
    pub fn read_classes(&self) -> Result<Vec<i32>> {
        if self.is_npy()? {
            return npy::read_labels(&self.path);
        }
        let (table, place) = self.open()?;
        let mut classes = Vec::new();
        table.each(&[place], |cell, wrong| {
            classes.push(cell.parse().map_err(|_| wrong("is no class: it has to be a whole number"))?);
            Ok(())
        })?;
        Ok(classes)
    }

    /// Reads groups: whole numbers from a `.npy` file, or any text from a table, numbered as it appears.
    ///
    /// # Errors
    /// Those of [`npy::read_labels`]; [`Error::File`] for a table without the column, or with empty cells in it.
    pub fn read_groups(&self) -> Result<Vec<i32>> {
        if self.is_npy()? {
            return npy::read_labels(&self.path);
        }
        let (table, place) = self.open()?;
        let mut numbers: HashMap<String, i32> = HashMap::new();
        let mut groups = Vec::new();
        table.each(&[place], |cell, wrong| {
            let next = i32::try_from(numbers.len()).map_err(|_| wrong("is one group too many"))?;
            groups.push(*numbers.entry(cell.to_owned()).or_insert(next));
            Ok(())
        })?;
        Ok(groups)
    }
}
