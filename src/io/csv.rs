//! Tables of text: cells separated by commas, semicolons, tabs or blanks, with or without a line of names.
//!
//! The first line decides: its separator (a semicolon or a tab, if there is one outside of quotes, else a comma, or blanks if it is
//! several numbers with nothing else between), and whether it has names, which is where any of its cells is neither a number nor empty
//! nor True or False. Cells may be quoted, lines end by CRLF or LF, empty lines do not count, nor do those that begin with `#` where
//! the file begins with `# `, a byte order mark is dropped. Numbers have a decimal point.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use csv::{ErrorKind, Reader, ReaderBuilder, StringRecord, Trim};

use super::kind::Kind;
use super::npy::Matrix;
use super::{near, quoted};
use crate::{Error, Result};

/// What is looked at to find the separator.
const PEEK: usize = 1 << 16;

/// An open table whose first line has been read.
pub struct Csv {
    path: PathBuf,
    reader: Reader<BufReader<File>>,
    /// Whether cells are separated by any number of blanks.
    blanks: bool,
    names: Option<Vec<String>>,
    columns: usize,
    /// The first line, if it has no names.
    first: Option<StringRecord>,
    /// Where the text begins.
    mark: usize,
}

impl Csv {
    /// Opens a table.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::File`] if it is of another known format, its first line is no text or
    /// there is none.
    pub fn open(path: &Path) -> Result<Self> {
        let (file, size) = super::open(path)?;
        let mut input = BufReader::with_capacity(PEEK, file);
        let begin = input.fill_buf().map_err(|e| Error::io(path, e))?;
        let kind = Kind::sniff(begin, size > PEEK as u64);
        if let Some(name) = kind.name().filter(|_| kind != Kind::Text) {
            return Err(Error::file(path, format!("this is {name}, not a table of text")));
        }
        let mark = if begin.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let text = begin.get(mark..).unwrap_or_default();
        let (separator, comments) = (separator(text), has_comments(text));
        input.consume(mark);
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .delimiter(separator)
            .comment(comments.then_some(COMMENT))
            .from_reader(input);
        let path = path.to_owned();
        let blanks = separator == BLANK;
        let mut table = Self { path, reader, blanks, names: None, columns: 0, first: None, mark };
        let mut first = StringRecord::new();
        if !table.next(&mut first)? {
            return Err(Error::file(&table.path, "there is no line in it"));
        }
        table.columns = first.len();
        let is_value = |cell: &str| cell.is_empty() || cell.parse::<f64>().is_ok() || truth(cell).is_some();
        if !first.iter().all(is_value) {
            table.names = Some(first.iter().map(str::to_owned).collect());
        } else {
            table.first = Some(first);
        }
        Ok(table)
    }

    /// The names of the columns, if the first line has them.
    pub fn names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    /// How many columns there are.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The place of the column that is called so.
    ///
    /// # Errors
    /// [`Error::File`] if there is none or more than one.
    pub fn column(&self, name: &str) -> Result<usize> {
        let error = |problem: String| Err(Error::file(&self.path, problem));
        let Some(names) = self.names() else {
            let name = quoted(name);
            return error(format!("its columns have no names: a first line with {name} in it is missing"));
        };
        place(names, name).or_else(error)
    }

    /// The places of all columns but those called so.
    ///
    /// # Errors
    /// Those of [`Csv::column`]; [`Error::File`] if no column is left.
    pub fn columns_without(&self, without: &[String]) -> Result<Vec<usize>> {
        let left = without.iter().map(|name| self.column(name)).collect::<Result<Vec<_>>>()?;
        let columns: Vec<usize> = (0..self.columns).filter(|at| !left.contains(at)).collect();
        if columns.is_empty() {
            return Err(Error::file(&self.path, "no column is left"));
        }
        Ok(columns)
    }

    /// Reads the numbers of these columns, in this order; the others may hold anything.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::File`] if a line has another number of cells than the first one,
    /// a cell is empty or no finite number (with line and column), or there is no line of numbers.
    pub fn read(self, columns: &[usize]) -> Result<Matrix> {
        let mut values = Vec::new();
        let rows = self.read_into(columns, true, |value| {
            values.push(value);
            Ok(())
        })?;
        Ok(Matrix { rows, cols: columns.len(), values })
    }

    /// As [`Csv::read`], giving the numbers to `take` as they come; how many lines there are. `optional`: the user can leave
    /// columns out.
    pub(super) fn read_into(
        self,
        columns: &[usize],
        optional: bool,
        mut take: impl FnMut(f32) -> Result<()>,
    ) -> Result<usize> {
        let hint = if optional && self.names.is_some() { "; `without` NAME leaves a column out" } else { "" };
        self.each(columns, |cell, wrong| {
            // What a comma is the matter with is no column of words.
            let words = !cell.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
            let wrong = |problem: &str| wrong(&format!("{problem}{}", if words { hint } else { "" }));
            take(number(cell, f32::is_finite, &wrong)?)
        })
    }

    /// Reads the numbers of these columns as f64, row by row; `check` says what is wrong with a number, by the place of its
    /// column in `columns`.
    ///
    /// # Errors
    /// Those of [`Csv::read`], and what `check` says, with line and column.
    pub fn read_f64(
        self,
        columns: &[usize],
        check: impl Fn(usize, f64) -> Option<&'static str>,
    ) -> Result<Vec<f64>> {
        let mut values = Vec::new();
        self.each(columns, |cell, wrong| {
            let value = number(cell, f64::is_finite, wrong)?;
            if let Some(problem) = check(values.len() % columns.len(), value) {
                return Err(wrong(problem));
            }
            values.push(value);
            Ok(())
        })?;
        Ok(values)
    }

    /// Visits the cells of these columns, line by line, with a function that makes an error about the cell; how many
    /// lines there are.
    ///
    /// # Errors
    /// Those of [`Csv::read`], except that cells may be anything but empty; those of `visit`.
    pub(super) fn each(
        mut self,
        columns: &[usize],
        mut visit: impl FnMut(&str, &dyn Fn(&str) -> Error) -> Result<()>,
    ) -> Result<usize> {
        let mut rows = 0;
        let mut record = StringRecord::new();
        loop {
            match self.first.take() {
                Some(first) => record = first,
                None if self.next(&mut record)? => {}
                None => break,
            }
            let line = || self.line(record.position());
            if record.len() != self.columns {
                let (found, wanted, line) = (record.len(), self.columns, line());
                return Err(Error::file(
                    &self.path,
                    format!("line {line} has {found} cells; the first line has {wanted}"),
                ));
            }
            for &column in columns {
                let cell = record.get(column).unwrap_or("");
                let wrong = |problem: &str| {
                    let name = self.names().and_then(|names| names.get(column));
                    let name = name.map_or(String::new(), |name| format!(" ({})", quoted(name)));
                    let subject = if cell.is_empty() { "the cell".into() } else { quoted(cell) };
                    let (line, at) = (line(), column + 1);
                    Error::file(&self.path, format!("line {line}, column {at}{name}: {subject} {problem}"))
                };
                if cell.is_empty() {
                    return Err(wrong("is empty"));
                }
                visit(cell, &wrong)?;
            }
            rows += 1;
        }
        if rows == 0 {
            let problem = match self.names() {
                Some([word]) => format!("there is no number in it: its only line is {}", quoted(word)),
                _ => "there is no line behind the names of the columns".into(),
            };
            return Err(Error::file(&self.path, problem));
        }
        Ok(rows)
    }

    /// The number of the line, from 1, that begins at a position or behind the ends of lines there.
    // The crate's own number is that of the end of the line before, which differs with CRLF and empty lines.
    fn line(&self, position: Option<&csv::Position>) -> u64 {
        let Some(position) = position else { return 0 };
        let start = self.mark as u64 + position.byte();
        let mut bytes = File::open(&self.path)
            .into_iter()
            .flat_map(|file| BufReader::new(file).bytes())
            .map_while(std::result::Result::ok);
        let before = bytes.by_ref().take(start as usize).filter(|byte| *byte == b'\n').count();
        let empty =
            bytes.take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| *byte == b'\n').count();
        1 + (before + empty) as u64
    }

    /// Reads the next line that is not empty; false at the end.
    fn next(&mut self, record: &mut StringRecord) -> Result<bool> {
        loop {
            let more = self.reader.read_record(record).map_err(|error| {
                let line = self.line(error.position());
                match error.into_kind() {
                    ErrorKind::Io(reason) => Error::io(&self.path, reason),
                    ErrorKind::Utf8 { .. } => {
                        Error::file(&self.path, format!("this is not a table: line {line} is no UTF-8 text"))
                    }
                    _ => Error::file(&self.path, format!("line {line} cannot be read")),
                }
            })?;
            if self.blanks {
                let position = record.position().cloned();
                *record = record.iter().filter(|cell| !cell.is_empty()).collect();
                position.into_iter().for_each(|position| record.set_position(Some(position)));
            }
            // A line of blanks in a table of several columns.
            let blank = record.len() == 1 && record.get(0) == Some("") && self.columns != 1;
            if !more || !blank {
                return Ok(more);
            }
        }
    }
}

/// The truth value in a cell.
pub(super) fn truth(cell: &str) -> Option<bool> {
    match cell {
        _ if cell.eq_ignore_ascii_case("true") => Some(true),
        _ if cell.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// The finite number in a cell.
fn number<T: FromStr + Copy>(cell: &str, finite: fn(T) -> bool, wrong: &dyn Fn(&str) -> Error) -> Result<T> {
    let number: T = cell.parse().map_err(|_| {
        let comma = cell.replacen(',', ".", 1).parse::<T>().is_ok();
        wrong(if comma { "is no number: it has to have a decimal point" } else { "is no number" })
    })?;
    if finite(number) { Ok(number) } else { Err(wrong("is no finite number")) }
}

/// The place of the column that is called so, or why there is none.
pub(super) fn place(names: &[String], name: &str) -> std::result::Result<usize, String> {
    let mut places = (0..names.len()).filter(|&at| names[at] == name);
    match (places.next(), places.next()) {
        (Some(place), None) => Ok(place),
        (Some(_), Some(_)) => Err(format!("two columns are called {}", quoted(name))),
        (None, _) => {
            let near: Vec<_> = near(name, names.iter().map(String::as_str)).into_iter().map(quoted).collect();
            let hint = if near.is_empty() {
                format!("there are {}", listed(names))
            } else {
                format!("near it are {}", near.join(", "))
            };
            Err(format!("no column is called {}; {hint}", quoted(name)))
        }
    }
}

/// Names of columns, the first 20 of them.
pub(crate) fn listed(names: &[impl AsRef<str>]) -> String {
    const MOST: usize = 20;
    let shown: Vec<String> = names.iter().take(MOST).map(|name| quoted(name.as_ref())).collect();
    let more = names.len().saturating_sub(MOST);
    shown.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}

/// What separates cells that stand side by side.
pub(super) const BLANK: u8 = b' ';

/// What lines begin with that are none of the table.
const COMMENT: u8 = b'#';

/// Whether a table that begins so has comments.
fn has_comments(begin: &[u8]) -> bool {
    begin.starts_with(&[COMMENT, BLANK])
}

/// The separator of a table that begins so.
pub(super) fn separator(begin: &[u8]) -> u8 {
    let comments = has_comments(begin);
    let mut lines = begin.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let line = lines.find(|line| !(line.is_empty() || comments && line[0] == COMMENT)).unwrap_or_default();
    let mut inside = false;
    let mut found = None;
    for &byte in line {
        match byte {
            b'"' => inside = !inside,
            b';' if !inside => return b';',
            b'\t' if !inside => found = Some(b'\t'),
            b',' if !inside => found = found.or(Some(b',')),
            _ => {}
        }
    }
    let cells = || line.split(u8::is_ascii_whitespace).filter(|cell| !cell.is_empty());
    let number = |cell: &[u8]| std::str::from_utf8(cell).is_ok_and(|cell| cell.parse::<f64>().is_ok());
    let blanks = || cells().nth(1).is_some() && cells().all(number);
    found.unwrap_or_else(|| if blanks() { BLANK } else { b',' })
}

/// Reads a table of which every cell is a number: the names of its columns, if there are any, and the numbers.
///
/// # Errors
/// Those of [`Csv::open`] and [`Csv::read`].
pub fn read(path: &Path) -> Result<(Option<Vec<String>>, Matrix)> {
    let table = Csv::open(path)?;
    let (names, all) = (table.names.clone(), (0..table.columns()).collect::<Vec<_>>());
    Ok((names, table.read(&all)?))
}
