//! Parquet files: columns of numbers, or a column of lists of equally many numbers. Its values are unpacked into a temporary file,
//! a row group after the other, since whoever clusters reads them more than once.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{DataType, FixedLenByteArray};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor, Type};

use super::csv::listed;
use super::npy::Wanted;
use super::number::Number;
use super::{near, printable, quoted};
use crate::{Error, Result};

/// Values that are decoded at a time, of all columns.
const BATCH: usize = 1 << 16;

/// Pages without a value that are skipped in a row: writers end a page for its size, and the crate takes one for the end.
const EMPTY_PAGES: u32 = 16;

/// What a file was unpacked into.
pub struct Unpacked {
    /// Little-endian values, row after row.
    pub file: File,
    /// `[rows, columns]`; `[rows]` of a column of numbers that was asked for.
    pub shape: Vec<u64>,
    /// What was taken.
    pub taken: Taken,
}

/// What is taken of a file.
pub struct Taken {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The type of their values: f32 where they differ.
    pub number: Number,
    /// Which column it is, if that was not said.
    pub notice: Option<String>,
}

/// A column that can be read.
#[derive(Clone, Copy)]
struct Column<'s> {
    name: &'s str,
    /// Its place among the leaves of the schema.
    leaf: usize,
    number: Number,
    levels: Levels,
}

/// What levels of a column say of its values.
#[derive(Clone, Copy)]
struct Levels {
    /// Of a value that is there; a lower one is null, or an empty list.
    present: i16,
    /// Of an element of a list, there or null; none for columns that have no lists.
    list: Option<i16>,
}

/// A column of the table: how it is read, or why not.
struct Field<'s> {
    name: &'s str,
    column: std::result::Result<Column<'s>, &'static str>,
}

/// What would be taken of a file; reads no values.
///
/// # Errors
/// Those of [`unpack`] that concern no values.
pub fn taken(path: &Path, wanted: Wanted<'_>) -> Result<Taken> {
    guarded(path, || {
        let reader = open(path)?;
        let fields = fields(reader.metadata().file_metadata().schema_descr());
        choose(&fields, wanted).map(Chosen::taken).map_err(|problem| Error::file(path, problem))
    })
}

/// Unpacks the wanted columns of a file.
///
/// # Errors
/// [`Error::Io`] if it cannot be read or there is no room, [`Error::File`] if it is no such file or damaged, its columns are of
/// something else, or a value is null.
pub fn unpack(path: &Path, wanted: Wanted<'_>) -> Result<Unpacked> {
    guarded(path, || {
        let reader = open(path)?;
        let fields = fields(reader.metadata().file_metadata().schema_descr());
        let chosen = choose(&fields, wanted).map_err(|problem| Error::file(path, problem))?;
        let mut table = Table::new(path, &chosen);
        let io = |reason| Error::io(path, reason);
        let temporary = tempfile::tempfile().map_err(io)?;
        let mut out = BufWriter::new(&temporary);
        for group in 0..reader.num_row_groups() {
            let group = reader.get_row_group(group).map_err(|error| damaged(path, &error))?;
            table.read(&*group, &mut out)?;
        }
        out.flush().map_err(io)?;
        drop(out);
        let shape = match table.width() {
            1 if matches!(wanted, Wanted::Named(_)) && !table.of_lists() => vec![table.rows],
            width => vec![table.rows, width as u64],
        };
        Ok(Unpacked { file: temporary, shape, taken: chosen.taken() })
    })
}

fn open(path: &Path) -> Result<SerializedFileReader<File>> {
    SerializedFileReader::new(super::open(path)?.0).map_err(|error| damaged(path, &error))
}

/// The crate panics at some damaged headers; it is left with nothing of ours.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    let read = catch_unwind(AssertUnwindSafe(read));
    read.unwrap_or_else(|_| Err(Error::file(path, "this Parquet file is damaged")))
}

fn damaged(path: &Path, error: &parquet::errors::ParquetError) -> Error {
    Error::file(path, format!("this Parquet file cannot be read: {}", printable(&error.to_string())))
}

/// The columns of a table, in their order.
fn fields(schema: &SchemaDescriptor) -> Vec<Field<'_>> {
    let leaves =
        |at: usize| (0..schema.num_columns()).filter(move |&leaf| schema.get_column_root_idx(leaf) == at);
    let roots = schema.root_schema().get_fields().iter().enumerate();
    roots
        .map(|(at, root)| {
            let name = root.name();
            let column = match leaves(at).collect::<Vec<_>>()[..] {
                [leaf] => {
                    let described = schema.columns()[leaf].as_ref();
                    column(root, described).map(|(number, levels)| Column { name, leaf, number, levels })
                }
                _ => Err("it is nested: a struct, a map, or lists of those"),
            };
            Field { name, column }
        })
        .collect()
}

/// The type and the levels of a column with one leaf.
fn column(root: &Type, leaf: &ColumnDescriptor) -> std::result::Result<(Number, Levels), &'static str> {
    let info = root.get_basic_info();
    let list =
        info.converted_type() == ConvertedType::LIST || info.logical_type_ref() == Some(&LogicalType::List);
    let repeated = info.has_repetition() && info.repetition() == Repetition::REPEATED;
    if root.is_group() && !list {
        return Err("it is nested: a struct, a map, or lists of those");
    }
    let list = match leaf.max_rep_level() {
        0 if root.is_primitive() => None,
        1 if list || repeated => Some(leaf.repeated_ancestor_def_level()),
        _ => return Err("it is nested: lists of lists"),
    };
    Ok((number(leaf)?, Levels { present: leaf.max_def_level(), list }))
}

/// The type of a column's values, if they are numbers.
fn number(leaf: &ColumnDescriptor) -> std::result::Result<Number, &'static str> {
    let (logical, converted) = (leaf.logical_type_ref(), leaf.converted_type());
    let whole = match (logical, converted) {
        (Some(LogicalType::Integer(int)), _) => Some((int.bit_width, int.is_signed)),
        (None, ConvertedType::INT_8) => Some((8, true)),
        (None, ConvertedType::INT_16) => Some((16, true)),
        (None, ConvertedType::INT_32) => Some((32, true)),
        (None, ConvertedType::INT_64) => Some((64, true)),
        (None, ConvertedType::UINT_8) => Some((8, false)),
        (None, ConvertedType::UINT_16) => Some((16, false)),
        (None, ConvertedType::UINT_32) => Some((32, false)),
        (None, ConvertedType::UINT_64) => Some((64, false)),
        _ => None,
    };
    let plain = logical.is_none() && converted == ConvertedType::NONE;
    Ok(match (leaf.physical_type(), whole) {
        (Physical::BOOLEAN, None) => Number::Bool,
        (Physical::INT32, Some((8, true))) => Number::I8,
        (Physical::INT32, Some((8, false))) => Number::U8,
        (Physical::INT32, Some((16, true))) => Number::I16,
        (Physical::INT32, Some((16, false))) => Number::U16,
        (Physical::INT32, Some((32, false))) => Number::U32,
        (Physical::INT32, Some((32, true))) => Number::I32,
        (Physical::INT64, Some((64, false))) => Number::U64,
        (Physical::INT64, Some((64, true))) => Number::I64,
        (Physical::INT32, None) if plain => Number::I32,
        (Physical::INT64, None) if plain => Number::I64,
        (Physical::FLOAT, None) => Number::F32,
        (Physical::DOUBLE, None) => Number::F64,
        (Physical::FIXED_LEN_BYTE_ARRAY, None) if logical == Some(&LogicalType::Float16) => Number::F16,
        (Physical::BYTE_ARRAY, _) => return Err("it has text or bytes"),
        (Physical::FIXED_LEN_BYTE_ARRAY, _) => return Err("it has bytes or decimal numbers"),
        (Physical::INT32 | Physical::INT64 | Physical::INT96, _) => {
            return Err("it has dates, times or decimal numbers");
        }
        _ => return Err("it has values of an unknown type"),
    })
}

/// The columns to read, and what is said of the choice.
struct Chosen<'s> {
    columns: Vec<Column<'s>>,
    notice: Option<String>,
}

impl Chosen<'_> {
    /// The type of what is written: that of the columns, or f32 where they differ.
    fn number(&self) -> Number {
        let mut numbers = self.columns.iter().map(|column| column.number);
        let first = numbers.next().unwrap_or(Number::F32);
        if numbers.all(|number| number == first) { first } else { Number::F32 }
    }

    fn taken(self) -> Taken {
        let number = self.number();
        let columns = self.columns.iter().map(|column| column.name.to_owned()).collect();
        Taken { columns, number, notice: self.notice }
    }
}

fn choose<'s>(fields: &[Field<'s>], wanted: Wanted<'_>) -> std::result::Result<Chosen<'s>, String> {
    let whole = |field: &Field<'s>| {
        let name = quoted(field.name);
        field.column.map_err(|problem| format!("column {name} cannot be read as numbers: {problem}"))
    };
    let named = |name: &str| {
        let mut found = fields.iter().filter(|field| field.name == name);
        match (found.next(), found.next()) {
            (Some(field), None) => Ok(field),
            (Some(_), Some(_)) => Err(format!("several columns are called {}", quoted(name))),
            (None, _) => {
                let near = near(name, fields.iter().map(|field| field.name));
                let hint = if near.is_empty() {
                    format!("there are {}", names(fields.iter()))
                } else {
                    format!("near it are {}", listed(&near))
                };
                Err(format!("no column is called {}; {hint}", quoted(name)))
            }
        }
    };
    let without = match wanted {
        Wanted::Named(name) => {
            return Ok(Chosen { columns: vec![whole(named(name)?)?], notice: None });
        }
        Wanted::Without(without) => without,
    };
    without.iter().try_for_each(|name| named(name).map(drop))?;
    let left = || fields.iter().filter(|field| !without.iter().any(|name| name == field.name));
    let of_lists = |field: &&Field<'s>| field.column.is_ok_and(|column| column.levels.list.is_some());
    let lists: Vec<_> = left().filter(of_lists).collect();
    match lists[..] {
        [] => {}
        [field] => {
            let others = names(left().filter(|other| other.name != field.name));
            let name = quoted(field.name);
            let notice = (fields.len() > 1).then(|| format!("the rows are the lists of column {name}"));
            let notice =
                notice.map(|text| if others.is_empty() { text } else { format!("{text}, without {others}") });
            return Ok(Chosen { columns: vec![whole(field)?], notice });
        }
        _ => {
            return Err(format!(
                "several columns have lists of numbers: {}; give one of them as FILE.parquet:COLUMN",
                names(lists.into_iter())
            ));
        }
    }
    let columns = left().map(whole).collect::<std::result::Result<Vec<_>, _>>();
    let columns = columns.map_err(|problem| {
        format!("{problem}; `without` NAME leaves it out, and FILE.parquet:COLUMN reads one column alone")
    })?;
    if columns.is_empty() {
        return Err("no column is left".into());
    }
    Ok(Chosen { columns, notice: None })
}

fn names<'f, 's: 'f>(fields: impl Iterator<Item = &'f Field<'s>>) -> String {
    listed(&fields.map(|field| field.name).collect::<Vec<_>>())
}

/// The rows that were read, and what all have to be like.
struct Table<'a> {
    path: &'a Path,
    columns: Vec<Column<'a>>,
    /// The type of what is written.
    number: Number,
    /// Values of a list, once the first one has been seen.
    length: Option<usize>,
    rows: u64,
}

/// Some rows of a column.
#[derive(Default)]
struct Chunk {
    /// Little-endian values of those that are there.
    bytes: Vec<u8>,
    present: Vec<i16>,
    repeated: Vec<i16>,
}

impl<'a> Table<'a> {
    fn new(path: &'a Path, chosen: &Chosen<'a>) -> Self {
        let (columns, number) = (chosen.columns.clone(), chosen.number());
        Self { path, columns, number, length: None, rows: 0 }
    }

    fn of_lists(&self) -> bool {
        self.columns.iter().any(|column| column.levels.list.is_some())
    }

    /// Values of a row.
    fn width(&self) -> usize {
        if self.of_lists() { self.length.unwrap_or(0) } else { self.columns.len() }
    }

    fn error(&self, problem: impl Into<String>) -> Error {
        Error::file(self.path, problem)
    }

    /// Writes the rows of a group.
    fn read(&mut self, group: &dyn RowGroupReader, out: &mut impl Write) -> Result<()> {
        let damaged = |error| damaged(self.path, &error);
        let mut left = usize::try_from(group.metadata().num_rows())
            .map_err(|_| self.error("it says that there are less than 0 rows, or too many"))?;
        for column in &self.columns {
            let chunk = group.metadata().column(column.leaf);
            let offsets = [
                Some(chunk.data_page_offset()),
                chunk.dictionary_page_offset(),
                Some(chunk.compressed_size()),
            ];
            if offsets.into_iter().flatten().any(|offset| offset < 0) {
                return Err(self.error("it is damaged: a column begins before the file"));
            }
        }
        let readers = self.columns.iter().map(|column| group.get_column_reader(column.leaf));
        let mut readers = readers.collect::<std::result::Result<Vec<_>, _>>().map_err(damaged)?;
        let (mut chunk, mut rows) = (Chunk::default(), Vec::new());
        while left > 0 {
            // How long lists are is not known before the first.
            let unknown = self.of_lists() && self.length.is_none();
            let each = if unknown { BATCH } else { self.width().max(self.columns.len()) };
            let many = (BATCH / each).clamp(1, left);
            rows.clear();
            for (at, reader) in readers.iter_mut().enumerate() {
                let column = self.columns[at];
                let found = chunk.fill(reader, column.number, many).map_err(damaged)?;
                if found != many {
                    let name = quoted(column.name);
                    return Err(
                        self.error(format!("it is damaged: column {name} has fewer rows than it says"))
                    );
                }
                match column.levels.list {
                    Some(list) => self.check_lists(column, list, many, &chunk)?,
                    None => self.check_values(column, many, &chunk)?,
                }
                self.place(at, &chunk.bytes, &mut rows)?;
            }
            out.write_all(&rows).map_err(|reason| Error::io(self.path, reason))?;
            self.rows += many as u64;
            left -= many;
        }
        Ok(())
    }

    fn row_error(&self, row: usize, column: Column<'_>, problem: &str) -> Error {
        let (row, name) = (self.rows + row as u64, quoted(column.name));
        self.error(format!("row {row} (from 0) of column {name} {problem}"))
    }

    /// Whether each of `many` rows has a value.
    fn check_values(&self, column: Column<'_>, many: usize, chunk: &Chunk) -> Result<()> {
        match chunk.present.iter().position(|&level| level < column.levels.present) {
            Some(row) => Err(self.row_error(row, column, "is null: fill it, or leave such rows out")),
            None if chunk.bytes.len() != many * column.number.bytes() => {
                Err(self.error(format!("it is damaged: column {} lacks values", quoted(column.name))))
            }
            None => Ok(()),
        }
    }

    /// Whether `many` rows have lists of one length, and every element a value.
    fn check_lists(&mut self, column: Column<'_>, list: i16, many: usize, chunk: &Chunk) -> Result<()> {
        let (mut row, mut length) = (0, 0);
        let mut seen = self.length;
        let end = |row: usize, length: usize, seen: &mut Option<usize>| match *seen {
            Some(first) if first != length => {
                let problem =
                    format!("has {length} values, and the first {first}: all have to be of one length");
                Err(self.row_error(row, column, &problem))
            }
            _ => {
                *seen = Some(length);
                Ok(())
            }
        };
        for (at, (&present, &repeated)) in chunk.present.iter().zip(&chunk.repeated).enumerate() {
            if repeated == 0 && at > 0 {
                end(row, length, &mut seen)?;
                (row, length) = (row + 1, 0);
            }
            if present < column.levels.present {
                let problem = if present >= list {
                    format!(
                        "has a null in its list, value {length} (from 0): fill it, or leave such rows out"
                    )
                } else if present + 1 == list {
                    "has an empty list: leave such rows out".into()
                } else {
                    "is null: fill it, or leave such rows out".into()
                };
                return Err(self.row_error(row, column, &problem));
            }
            length += 1;
        }
        end(row, length, &mut seen)?;
        let values = chunk.present.len();
        if row + 1 != many
            || chunk.repeated.len() != values
            || chunk.bytes.len() != values * column.number.bytes()
        {
            return Err(self.error(format!("it is damaged: column {} lacks values", quoted(column.name))));
        }
        self.length = seen;
        Ok(())
    }

    /// Puts the values of column number `at` into the rows that they belong to.
    fn place(&self, at: usize, bytes: &[u8], rows: &mut Vec<u8>) -> Result<()> {
        let column = self.columns[at];
        let mut own = bytes;
        let mut widened = Vec::new();
        if column.number != self.number {
            let mut bytes = bytes.to_vec();
            if cfg!(target_endian = "big") {
                super::swap_bytes(column.number.bytes(), &mut bytes);
            }
            let mut values = vec![0.0f32; bytes.len() / column.number.bytes()];
            column
                .number
                .widen(&bytes, &mut values)
                .map_err(|lost| self.row_error(lost.at, column, &format!("is {}", lost.problem)))?;
            widened.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            own = &widened;
        }
        if self.columns.len() == 1 {
            rows.extend_from_slice(own);
            return Ok(());
        }
        let width = self.number.bytes();
        let row = width * self.columns.len();
        rows.resize(own.len() / width * row, 0);
        for (target, value) in rows.chunks_exact_mut(row).zip(own.chunks_exact(width)) {
            target[at * width..][..width].copy_from_slice(value);
        }
        Ok(())
    }
}

impl Chunk {
    /// Reads up to `most` rows; how many there were.
    fn fill(
        &mut self,
        reader: &mut ColumnReader,
        number: Number,
        most: usize,
    ) -> parquet::errors::Result<usize> {
        self.bytes.clear();
        self.present.clear();
        self.repeated.clear();
        let whole = |value: &i32, out: &mut Vec<u8>| match number.bytes() {
            1 => out.push(*value as u8),
            2 => out.extend((*value as u16).to_le_bytes()),
            _ => out.extend(value.to_le_bytes()),
        };
        let half = |value: &FixedLenByteArray, out: &mut Vec<u8>| out.extend(value.data());
        match reader {
            ColumnReader::BoolColumnReader(reader) => {
                self.take(reader, most, |value, out| out.push(u8::from(*value)))
            }
            ColumnReader::Int32ColumnReader(reader) => self.take(reader, most, whole),
            ColumnReader::Int64ColumnReader(reader) => {
                self.take(reader, most, |value, out| out.extend(value.to_le_bytes()))
            }
            ColumnReader::FloatColumnReader(reader) => {
                self.take(reader, most, |value, out| out.extend(value.to_le_bytes()))
            }
            ColumnReader::DoubleColumnReader(reader) => {
                self.take(reader, most, |value, out| out.extend(value.to_le_bytes()))
            }
            ColumnReader::FixedLenByteArrayColumnReader(reader) => self.take(reader, most, half),
            // No column of these is chosen.
            ColumnReader::Int96ColumnReader(_) | ColumnReader::ByteArrayColumnReader(_) => Ok(0),
        }
    }

    fn take<T: DataType>(
        &mut self,
        reader: &mut ColumnReaderImpl<T>,
        most: usize,
        put: impl Fn(&T::T, &mut Vec<u8>),
    ) -> parquet::errors::Result<usize> {
        let mut values = Vec::new();
        let (present, repeated) = (&mut self.present, &mut self.repeated);
        let (mut rows, mut empty) = (0, 0);
        while rows < most && empty < EMPTY_PAGES {
            let (found, ..) =
                reader.read_records(most - rows, Some(&mut *present), Some(&mut *repeated), &mut values)?;
            empty = if found == 0 { empty + 1 } else { 0 };
            rows += found;
        }
        values.iter().for_each(|value| put(value, &mut self.bytes));
        Ok(rows)
    }
}
