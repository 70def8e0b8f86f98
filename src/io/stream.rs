//! Rows of numbers as they come, from a pipe or a file: lines of text, or floats one behind the other. What is wrong with a row
//! is its own matter: the next one may be right.

use std::io::{BufRead, BufReader, Read};

use csv::{ReaderBuilder, StringRecord, Trim};

use super::csv::{BLANK, listed, place, separator};
use super::kind::Kind;
use super::quoted;
use crate::{Error, Result};

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines of numbers, as in [`super::csv`], with or without a line of names in front.
    Csv,
    /// Floats of 32 bits, little endian, without anything between.
    F32,
}

/// The longest line.
const MOST_LINE: usize = 1 << 20;

/// A row, or what is wrong with it.
pub type Row = std::result::Result<Vec<f32>, String>;

/// Rows of a fixed width from a reader.
pub struct Rows<R> {
    input: BufReader<R>,
    format: Format,
    width: usize,
    separator: u8,
    /// Which cells of a line are wanted, and how many cells a line has.
    columns: Vec<usize>,
    cells: usize,
    /// The number of the line read last, from 1.
    line: u64,
    /// The first line, if it has no names.
    first: Option<Vec<u8>>,
}

impl<R: Read> Rows<R> {
    /// Begins to read rows of `width` numbers. Where a first line has names, the columns called as in `names` are taken in that
    /// order; without `names` all but those called as in `without`. It waits for the first line.
    ///
    /// # Errors
    /// [`Error::Input`] if the columns that are wanted are not there.
    pub fn begin(
        input: R,
        format: Format,
        width: usize,
        names: Option<&[String]>,
        without: &[String],
    ) -> Result<Self> {
        let mut rows = Self {
            input: BufReader::with_capacity(1 << 16, input),
            format,
            width,
            separator: b',',
            columns: (0..width).collect(),
            cells: width,
            line: 0,
            first: None,
        };
        let begin = rows.input.fill_buf().map_err(|error| unreadable(&error))?;
        let kind = Kind::sniff(begin, true);
        let problem = match (format, kind.name()) {
            (Format::F32, Some("text")) => {
                Some("this is text, and not floats of 32 bits: say `format` csv".to_owned())
            }
            (Format::Csv, Some("text")) | (_, None) => None,
            (_, Some(name)) => {
                Some(format!("this is {name}: rows come as lines of text, or as floats of 32 bits"))
            }
        };
        if let Some(problem) = problem {
            return Err(Error::Input(problem));
        }
        if format == Format::F32 {
            return Ok(rows);
        }
        let Some(line) = rows.text()? else { return Ok(rows) };
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line).to_vec();
        if line.contains(&0) {
            return Err(Error::Input("this is no text: its first line has a byte that is 0".into()));
        }
        rows.separator = separator(&line);
        let cells = rows.split(&String::from_utf8_lossy(&line));
        // With a number in it, it is a row, if perhaps a wrong one.
        if cells.iter().any(|cell| cell.parse::<f64>().is_ok()) {
            rows.first = Some(line);
            return Ok(rows);
        }
        if let Some(name) = without.iter().find(|&name| !cells.contains(name)) {
            let name = quoted(name);
            return Err(Error::Input(format!(
                "`without` {name}: no column is called so; there are {}",
                listed(&cells)
            )));
        }
        rows.cells = cells.len();
        rows.columns = match names {
            Some(names) => names
                .iter()
                .map(|name| place(&cells, name))
                .collect::<std::result::Result<_, _>>()
                .map_err(Error::Input)?,
            None => (0..cells.len()).filter(|&at| !without.contains(&cells[at])).collect(),
        };
        if rows.columns.len() != width {
            return Err(Error::Input(format!(
                "the first line names {} features; the model takes {width}{}",
                rows.columns.len(),
                if without.is_empty() { "; `without` NAME leaves a column out" } else { "" }
            )));
        }
        Ok(rows)
    }

    /// The next row; none at the end.
    ///
    /// # Errors
    /// [`Error::Input`] if nothing can be read any more.
    pub fn next_row(&mut self) -> Result<Option<Row>> {
        match self.format {
            Format::F32 => self.floats(),
            Format::Csv => {
                let line = match self.first.take() {
                    Some(line) => Some(line),
                    None => self.text()?,
                };
                Ok(line.map(|line| {
                    self.numbers(&line).map_err(|problem| format!("line {}: {problem}", self.line))
                }))
            }
        }
    }

    fn floats(&mut self) -> Result<Option<Row>> {
        let mut bytes = vec![0u8; 4 * self.width];
        let mut filled = 0;
        while filled < bytes.len() {
            match self.input.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => (),
                Err(error) => return Err(unreadable(&error)),
            }
        }
        if filled == 0 {
            return Ok(None);
        }
        if filled < bytes.len() {
            return Ok(Some(Err(format!(
                "it ends in the middle of a row, behind {filled} of {} bytes",
                bytes.len()
            ))));
        }
        let values: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
            .collect();
        Ok(Some(match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(format!("number {at} (counted from 0) is {}", values[at])),
            None => Ok(values),
        }))
    }

    /// The next line that is not empty, without its end.
    fn text(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let mut line = Vec::new();
            // One byte more than a line may have, so that a longer one is noticed.
            let mut limited = (&mut self.input).take(MOST_LINE as u64 + 1);
            let count = limited.read_until(b'\n', &mut line).map_err(|error| unreadable(&error))?;
            if count == 0 {
                return Ok(None);
            }
            self.line += 1;
            if line.len() > MOST_LINE {
                return Err(Error::Input(format!(
                    "line {} is longer than {MOST_LINE} bytes: this is no table",
                    self.line
                )));
            }
            let end = line.iter().rposition(|byte| !byte.is_ascii_whitespace()).map_or(0, |at| at + 1);
            line.truncate(end);
            if !line.is_empty() {
                return Ok(Some(line));
            }
        }
    }

    fn split(&self, line: &str) -> Vec<String> {
        if self.separator == BLANK {
            return line.split_whitespace().map(str::to_owned).collect();
        }
        if !line.contains('"') {
            return line.split(char::from(self.separator)).map(|cell| cell.trim().to_owned()).collect();
        }
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .delimiter(self.separator)
            .trim(Trim::All)
            .from_reader(line.as_bytes());
        let mut record = StringRecord::new();
        match reader.read_record(&mut record) {
            Ok(true) => record.iter().map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }

    fn numbers(&self, line: &[u8]) -> Row {
        let line = std::str::from_utf8(line).map_err(|_| "it is no UTF-8 text".to_owned())?;
        let cells = self.split(line);
        if cells.len() != self.cells {
            return Err(format!("it has {} cells; {} are expected", cells.len(), self.cells));
        }
        let number = |&at: &usize| match cells[at].parse::<f32>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(format!("column {}: {} is no finite number", at + 1, quoted(&cells[at]))),
        };
        self.columns.iter().map(number).collect()
    }
}

fn unreadable(error: &std::io::Error) -> Error {
    Error::Input(format!("the input cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8], format: Format, width: usize, names: Option<&[String]>) -> Result<Vec<Row>> {
        all_without(input, format, width, names, &[])
    }

    fn all_without(
        input: &[u8],
        format: Format,
        width: usize,
        names: Option<&[String]>,
        without: &[String],
    ) -> Result<Vec<Row>> {
        let mut rows = Rows::begin(input, format, width, names, without)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next_row()? {
            found.push(row);
        }
        Ok(found)
    }

    #[test]
    fn lines_with_and_without_names() {
        let two = Ok(vec![1.0, 2.5]);
        assert_eq!(
            all(b"1,2.5\n\n1, 2.5\r\n", Format::Csv, 2, None).ok(),
            Some(vec![two.clone(), two.clone()])
        );
        let label = ["label".to_owned()];
        let found = all_without(b"a;label;b\n1;\"x;y\";2.5", Format::Csv, 2, None, &label);
        assert_eq!(found.ok(), Some(vec![two.clone()]));
        assert!(all_without(b"a;b\n1;2.5", Format::Csv, 2, None, &label).is_err());
        let names = ["b".to_owned(), "a".to_owned()];
        assert_eq!(all(b"\xef\xbb\xbfa\tb\n2.5\t1\n", Format::Csv, 2, Some(&names)).ok(), Some(vec![two]));
        assert_eq!(all(b"", Format::Csv, 2, None).ok(), Some(Vec::new()));
    }

    #[test]
    fn a_wrong_row_does_not_end_the_stream() {
        let rows = all(b"1,2\n1\nx,2\n1,nan\n1,inf\n\xff,1\n3,4\n", Format::Csv, 2, None).unwrap_or_default();
        let right: Vec<bool> = rows.iter().map(Row::is_ok).collect();
        assert_eq!(right, [true, false, false, false, false, false, true]);
        assert_eq!(
            rows[2].as_ref().err().map(String::as_str),
            Some("line 3: column 1: 'x' is no finite number")
        );
    }

    #[test]
    fn floats_as_they_lie() {
        let mut bytes: Vec<u8> = [1f32, 2.0, f32::NAN, 4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        bytes.extend([0, 0, 0]);
        let rows = all(&bytes, Format::F32, 2, None).unwrap_or_default();
        assert_eq!(rows[0], Ok(vec![1.0, 2.0]));
        assert!(rows[1].is_err() && rows[2].is_err() && rows.len() == 3);
    }

    #[test]
    fn a_first_line_of_another_width_is_a_wrong_row() {
        let rows = all(b"1\n1,2\n1,2,3\n", Format::Csv, 2, None).unwrap_or_default();
        assert_eq!(rows.iter().map(Row::is_ok).collect::<Vec<_>>(), [false, true, false]);
        let rows = all(b"1,n/a\n1,2\n", Format::Csv, 2, None).unwrap_or_default();
        assert_eq!(rows.iter().map(Row::is_ok).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn names_that_the_model_takes_have_to_be_there() {
        let names = ["a".to_owned(), "c".to_owned()];
        assert!(all(b"a,b\n1,2\n", Format::Csv, 2, Some(&names)).is_err());
        assert!(all(b"a,a,c\n1,2,3\n", Format::Csv, 2, Some(&names)).is_err());
        assert!(all(b"a,b,c\n1,2,3\n", Format::Csv, 2, None).is_err());
    }
}
