//! Labels, classes and groups: one value for each row, from an array or a column of a table of text.
//!
//! Labels of two classes may be any two numbers, bools or texts, or one-hot. Which of the two is positive is decided as
//! scikit-learn decides it, whose models have their outputs in this order: the values are sorted, and the last one is the
//! positive. Or the user says it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::csv::{Csv, truth};
use super::kind::Kind;
use super::npy::{Array, Categories, Value};
use super::{quoted, split_part};
use crate::{Error, Result};

/// The most values that an error lists.
const MAX_LISTED: usize = 6;

/// One value for each row: an array of a `.npy` file or a `.npz` archive (`data.npz:y`), or a column of a table, written
/// `data.csv:column`. The name may be left out where there is only one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The file.
    pub path: PathBuf,
    /// The name of the column or the array.
    pub name: Option<String>,
}

impl FromStr for Column {
    type Err = Infallible;

    /// A colon that follows `.csv`, `.tsv`, `.txt`, `.npz`, `.parquet`, `.h5` or `.hdf5` ends the path, unless there is a file that is called like the whole.
    fn from_str(text: &str) -> std::result::Result<Self, Infallible> {
        let (path, name) = split_part(text.as_ref());
        Ok(Self { path, name })
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}"))
    }
}

/// Labels of two classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// Whether each row is a positive.
    pub values: Vec<bool>,
    /// The value of a positive.
    pub positive: String,
    /// The value of a negative.
    pub negative: String,
    /// What is said to the user where the values do not say by themselves which one is positive.
    pub notice: Option<String>,
}

impl Column {
    fn error(&self, problem: String) -> Error {
        Error::file(&self.path, problem)
    }

    /// The values, and whether they are of a table of text.
    fn read(&self) -> Result<(Categories, bool)> {
        let kind = Kind::of(&self.path)?;
        if kind != Kind::Text {
            if self.name.is_some() && !matches!(kind, Kind::Zip | Kind::Parquet | Kind::Hdf5) {
                return Err(
                    self.error("this is no .npz archive: its array has no name to be chosen by".into())
                );
            }
            let array = Array::open(self.to_string().as_ref())?;
            return Ok((array.read_categories()?, false));
        }
        let table = Csv::open(&self.path)?;
        let place = match &self.name {
            Some(name) => table.column(name)?,
            None if table.columns() == 1 => 0,
            None => {
                let (count, path) = (table.columns(), self.path.display());
                return Err(self.error(format!("it has {count} columns: say which, as {path}:NAME")));
            }
        };
        // The first line of a column that is not asked for by its name.
        let first = table.names().filter(|_| self.name.is_none()).and_then(|names| names.first().cloned());
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let (mut codes, mut texts) = (Vec::new(), Vec::new());
        table.each(&[place], |cell, wrong| {
            if let Some(&code) = numbers.get(cell) {
                codes.push(code);
                return Ok(());
            }
            let next = u32::try_from(texts.len()).map_err(|_| wrong("is one label too many"))?;
            numbers.insert(cell.to_owned(), next);
            texts.push(cell.to_owned());
            codes.push(next);
            Ok(())
        })?;
        // What occurs again is no name of a column, but the first row's value.
        if let Some(&code) = first.as_ref().and_then(|first| numbers.get(first)) {
            codes.insert(0, code);
        }
        // Several spellings may be of one value.
        let mut values: Vec<Value> = Vec::new();
        let mut places: HashMap<Value, u32> = HashMap::new();
        let mut place = |value: Value| {
            *places.entry(value).or_insert_with_key(|value| {
                values.push(value.clone());
                values.len() as u32 - 1
            })
        };
        let merged: Vec<u32> = values_of(texts).into_iter().map(&mut place).collect();
        codes.iter_mut().for_each(|code| *code = merged[*code as usize]);
        Ok((Categories::sorted(codes, values), true))
    }

    /// Reads labels of two classes; `positive` is the value of one of them, or the larger one is the positive.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::File`] if it has no such array or column, labels of one class or of
    /// more than two, or none that is `positive`.
    pub fn read_labels(&self, positive: Option<&str>) -> Result<Labels> {
        let (Categories { codes, mut values }, _) = self.read()?;
        let all = || {
            let mut shown: Vec<String> = values.iter().take(MAX_LISTED).map(Value::to_string).collect();
            shown.extend((values.len() > MAX_LISTED).then(|| format!("{} more", values.len() - MAX_LISTED)));
            shown.join(", ")
        };
        // Who labels all rows with 0 or with 1 has said which class it is.
        let usual = |value: &Value| matches!(value, Value::Bool(_) | Value::Whole(0 | 1));
        match values.len() {
            0 => return Err(self.error("there are no labels in it".into())),
            1 if usual(&values[0]) => {
                let (zero, one) = match values[0] {
                    Value::Bool(_) => (Value::Bool(false), Value::Bool(true)),
                    _ => (Value::Whole(0), Value::Whole(1)),
                };
                let is_one = values[0] == one;
                values = vec![zero, one];
                let codes = vec![u32::from(is_one); codes.len()];
                return self.of_two(&codes, &values, positive);
            }
            1 => {
                let (rows, value) = (codes.len(), &values[0]);
                return Err(self.error(format!("all {rows} labels are {value}: an AUC takes two classes")));
            }
            2 => {}
            count => {
                return Err(self.error(format!(
                    "it has {count} different labels, {}: an AUC takes two; leave other rows out, or label one class \
                     against the rest",
                    all()
                )));
            }
        }
        self.of_two(&codes, &values, positive)
    }

    fn of_two(&self, codes: &[u32], values: &[Value], positive: Option<&str>) -> Result<Labels> {
        let place = match positive {
            None => 1,
            Some(text) => values.iter().position(|value| is(value, text)).ok_or_else(|| {
                let problem = format!(
                    "`positive` {}: no label is that; there are {} and {}",
                    quoted(text),
                    values[0],
                    values[1]
                );
                self.error(problem)
            })?,
        };
        let (yes, no) = (&values[place], &values[1 - place]);
        let obvious =
            values == [Value::Bool(false), Value::Bool(true)] || values == [Value::Whole(0), Value::Whole(1)];
        let notice = match positive {
            _ if obvious && place == 1 => None,
            Some(_) => Some(format!("{self}: {yes} is the positive class, {no} the negative")),
            None => Some(format!(
                "{self}: {yes} is taken to be the positive class and {no} the negative: sorted, the last is the positive, \
                 as scikit-learn has it; `positive` {} for the other",
                plain(no).escape_debug()
            )),
        };
        let labels = codes.iter().map(|&code| code as usize == place).collect();
        Ok(Labels { values: labels, positive: plain(yes), negative: plain(no), notice })
    }

    /// Reads classes, counted from 0: whole numbers as they are, bools as 0 and 1, one-hot rows by the place of their 1, and
    /// texts by their place among all of them, sorted; that is said in a notice.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::File`] if it has no such array or column, or anything else in it.
    pub fn read_classes(&self) -> Result<(Vec<i32>, Option<String>)> {
        let (Categories { codes, values }, _) = self.read()?;
        let texts = values.iter().all(|value| matches!(value, Value::Text(_)));
        let classes = values.iter().zip(0..).map(|(value, place)| match value {
            Value::Text(_) if texts => Ok(place),
            Value::Bool(value) => Ok(i32::from(*value)),
            Value::Whole(whole) => i32::try_from(*whole).map_err(|_| value),
            _ => Err(value),
        });
        let classes: Vec<i32> = classes.collect::<std::result::Result<_, _>>().map_err(|value| {
            self.error(format!("{value} is no class: it has to be a whole number from 0, or text"))
        })?;
        let shown =
            || values.iter().take(MAX_LISTED).zip(0..).map(|(value, place)| format!("{place} is {value}"));
        let more = if values.len() > MAX_LISTED { ", and so on" } else { "" };
        let notice = (texts && !values.is_empty()).then(|| {
            format!(
                "{self}: classes are numbered in sorted order: {}{more}",
                shown().collect::<Vec<_>>().join(", ")
            )
        });
        Ok((codes.into_iter().map(|code| classes[code as usize]).collect(), notice))
    }

    /// Reads groups: whole numbers as they are from an array, anything else numbered as it appears.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::File`] if it has no such array or column, or rows without a value.
    pub fn read_groups(&self) -> Result<Vec<i32>> {
        let (Categories { codes, values }, table) = self.read()?;
        let whole = |value: &Value| match value {
            Value::Whole(whole) => i32::try_from(*whole).ok(),
            _ => None,
        };
        if let (false, Some(numbers)) = (table, values.iter().map(whole).collect::<Option<Vec<i32>>>()) {
            return Ok(codes.into_iter().map(|code| numbers[code as usize]).collect());
        }
        let mut numbers: Vec<Option<i32>> = vec![None; values.len()];
        let mut next = 0;
        let groups = codes.into_iter().map(|code| {
            *numbers[code as usize].get_or_insert_with(|| {
                next += 1;
                next - 1
            })
        });
        Ok(groups.collect())
    }
}

/// The values of cells: numbers if all of them are, with True and False for 1 and 0, or bools if all of them are, or text.
fn values_of(cells: Vec<String>) -> Vec<Value> {
    if let Some(bools) = cells.iter().map(|cell| truth(cell)).collect::<Option<Vec<bool>>>() {
        return bools.into_iter().map(Value::Bool).collect();
    }
    let number = |cell: &String| match (truth(cell), cell.parse::<i64>()) {
        (Some(value), _) => Some(Value::Whole(value.into())),
        (None, Ok(whole)) => Some(Value::Whole(whole.into())),
        _ => cell.parse::<f64>().ok().and_then(Value::of_number),
    };
    let numbers: Option<Vec<Value>> = cells.iter().map(number).collect();
    numbers.unwrap_or_else(|| cells.into_iter().map(Value::Text).collect())
}

/// A value as a user writes it.
fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether a user who writes `text` means this value.
fn is(value: &Value, text: &str) -> bool {
    match value {
        Value::Text(own) => own == text,
        Value::Bool(own) => values_of(vec![text.trim().to_owned()])
            .first()
            .is_some_and(|given| *given == Value::Bool(*own) || *given == Value::Whole((*own).into())),
        number => text.trim().parse::<f64>().ok().and_then(Value::of_number).as_ref() == Some(number),
    }
}
