//! A telemetry log.

use std::cell::Cell;
use std::path::Path;

use crate::io::csv::{Csv, listed};
use crate::io::quoted;
use crate::{Error, Result};

/// The columns of a log, one value for each row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// Seconds since the row before, above 0. That of the first row says nothing: it may be 0, or the time of day.
    pub dt: Vec<f64>,
    /// The flow Q.
    pub q: Vec<f64>,
    /// Its derivative dQ, where it was logged.
    pub dq: Option<Vec<f64>>,
    /// The rotational speed w_rot.
    pub w_rot: Vec<f64>,
    /// The current that was measured, in A.
    pub i_actual: Vec<f64>,
}

/// Names of columns; the last may be missing.
const NAMES: [&str; 5] = ["dt", "Q", "w_rot", "I_actual", "dQ"];

impl Log {
    /// Reads a table of text with the columns dt, Q, w_rot, I_actual and perhaps dQ, in any order, among any others.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::File`] if columns are missing (all of them are named) or there
    /// twice, or a cell of theirs is no finite number or a dt not above 0, the first one below 0 (with line and column).
    pub fn read(path: &Path) -> Result<Self> {
        let table = Csv::open(path)?;
        let found = table.names().unwrap_or_default();
        let has = |name: &str| found.iter().any(|found| found == name);
        let (needed, optional) = NAMES.split_at(4);
        let missing: Vec<String> = needed.iter().filter(|name| !has(name)).map(|name| quoted(name)).collect();
        if !found.is_empty() && !missing.is_empty() {
            let (columns, are) = if missing.len() == 1 { ("column", "is") } else { ("columns", "are") };
            let (missing, there) = (missing.join(", "), listed(found));
            let problem = format!("the {columns} {missing} {are} missing; there are {there}");
            return Err(Error::file(path, problem));
        }
        let taken = needed.iter().chain(optional.iter().filter(|name| has(name)));
        let columns: Vec<usize> = taken.map(|name| table.column(name)).collect::<Result<_>>()?;
        let first = Cell::new(true);
        let values = table.read_f64(&columns, |at, value| {
            let wrong = at == 0 && !is_step(value, first.replace(false));
            wrong.then_some("is no time since the row before: it has to be above 0")
        })?;
        let column = |at: usize| values.iter().skip(at).step_by(columns.len()).copied().collect();
        Ok(Self {
            dt: column(0),
            q: column(1),
            w_rot: column(2),
            i_actual: column(3),
            dq: (columns.len() == NAMES.len()).then(|| column(4)),
        })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.dt.len()
    }

    /// Whether all columns have as many rows and hold finite numbers, and every dt is above 0 (the first one may be 0).
    pub(super) fn check(&self) -> Result<()> {
        let columns = [&self.dt, &self.q, &self.w_rot, &self.i_actual];
        for (name, values) in NAMES.iter().zip(columns.into_iter().chain(&self.dq)) {
            if values.len() != self.rows() {
                let (found, rows) = (values.len(), self.rows());
                return Err(Error::Input(format!("the column {name} has {found} rows, but dt has {rows}")));
            }
            let bad = |(row, value): (usize, &f64)| {
                !value.is_finite() || (*name == "dt" && !is_step(*value, row == 0))
            };
            if let Some(row) = values.iter().enumerate().position(bad) {
                let value = values[row];
                let wanted = match *name {
                    "dt" if row == 0 => "a finite number of 0 or above",
                    "dt" => "a finite number above 0",
                    _ => "a finite number",
                };
                return Err(Error::Input(format!("{name} of row {row} is {value}: it has to be {wanted}")));
            }
        }
        Ok(())
    }
}

/// Whether this may be a time since the row before. The first row has none.
fn is_step(dt: f64, first: bool) -> bool {
    dt > 0.0 || (first && dt >= 0.0)
}
