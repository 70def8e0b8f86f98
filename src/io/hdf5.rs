//! HDF5 files: a dataset of numbers. One that lies in a piece is read where it lies; chunks, which may be compressed, are unpacked
//! into a temporary file, since whoever clusters reads them more than once.

use std::fs::File as Plain;
use std::io::{BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use hdf5_pure::{DType, Dataset, Datatype, DatatypeByteOrder, File, FloatingPointLayout, Group, Layout};

use super::csv::listed;
use super::number::Number;
use super::{near, printable, quoted};
use crate::{Error, Result};

/// Bytes that are unpacked at a time, but for rows of chunks that are larger.
const BLOCK: u64 = 1 << 24;

/// How deep groups in groups are searched, and how many groups and datasets: links may lead in circles.
const DEEPEST: usize = 8;
const MOST_OBJECTS: usize = 1 << 12;

/// How much larger than its file a dataset of chunks may be: deflated bytes become a thousand times as many.
const MOST_GROWTH: u64 = 2000;

/// A dataset that was found.
pub struct Found {
    /// The type of the values, and whether the first byte of each counts most.
    pub number: Number,
    pub big_endian: bool,
    pub shape: Vec<u64>,
    /// Which dataset was taken, if that was not said.
    pub notice: Option<String>,
}

/// Where its values are.
pub struct Values {
    /// A temporary file; none if they lie in the file itself.
    pub unpacked: Option<Plain>,
    /// Where they begin in it.
    pub offset: u64,
}

/// The largest chunk in bytes of a dataset that is smaller, which libraries make of a megabyte or so; and how much larger whole chunks
/// may be than the dataset: each of two axes can be doubled.
const MOST_CHUNK: u64 = 1 << 26;
const MOST_PADDING: u64 = 8;

/// A dataset of numbers.
struct Numbers {
    name: String,
    dataset: Dataset,
    shape: Vec<u64>,
    number: Number,
    big_endian: bool,
}

/// Finds the dataset called `name`, with the groups that it is in (`group/name`), or the one that a file of points is about: the only
/// one of numbers, or the only one with two axes, or the `train` of files that are laid as ann-benchmarks' are. Reads no values.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::File`] if it is no such file or damaged, or has no such dataset, or several.
pub fn find(path: &Path, name: Option<&str>) -> Result<Found> {
    guarded(path, |size| Ok(chosen(path, size, name)?.1))
}

/// The same, with the values.
///
/// # Errors
/// Those of [`find`]; [`Error::Io`] if there is no room, [`Error::File`] if the values are not all there.
pub fn open(path: &Path, name: Option<&str>) -> Result<(Found, Values)> {
    guarded(path, |size| {
        let (dataset, found) = chosen(path, size, name)?;
        let values = values(path, size, &dataset, &found)?;
        Ok((found, values))
    })
}

/// The crate reads what may be anything; it is left with nothing of ours. The size of the file is given.
fn guarded<T>(path: &Path, read: impl FnOnce(u64) -> Result<T>) -> Result<T> {
    let (_, size) = super::open(path)?;
    let read = catch_unwind(AssertUnwindSafe(|| read(size)));
    read.unwrap_or_else(|_| Err(Error::file(path, "this HDF5 file is damaged")))
}

fn chosen(path: &Path, size: u64, name: Option<&str>) -> Result<(Dataset, Found)> {
    let file = File::open_streaming(path).map_err(|error| damaged(path, &error))?;
    let whole = file.superblock().eof_address;
    if whole > size {
        return Err(Error::file(path, format!("the file is truncated: it has {size} of {whole} bytes")));
    }
    let named = name.and_then(|name| {
        let name = name.trim_matches('/');
        numbers_of(name.to_owned(), file.dataset(name).ok()?)
    });
    let (numbers, notice) = if let Some(numbers) = named {
        (numbers, None)
    } else {
        let mut search = Search::default();
        search.group(&file.root(), "", 0).map_err(|error| damaged(path, &error))?;
        if name.is_none() && search.seen >= MOST_OBJECTS {
            let problem = "it has very many groups and datasets: give the one of points as FILE.h5:NAME";
            return Err(Error::file(path, problem));
        }
        let Search { numbers, others, .. } = search;
        choose(numbers, &others, name).map_err(|problem| Error::file(path, problem))?
    };
    let Numbers { dataset, shape, number, big_endian, .. } = numbers;
    Ok((dataset, Found { number, big_endian, shape, notice }))
}

fn values(path: &Path, size: u64, dataset: &Dataset, found: &Found) -> Result<Values> {
    let Found { number, shape, .. } = found;
    let problem = |problem: &str| Error::file(path, format!("the dataset {problem}"));
    let bytes = shape.iter().try_fold(number.bytes() as u64, |product, &n| product.checked_mul(n));
    let bytes = bytes.ok_or_else(|| problem("is larger than any file"))?;
    match dataset.layout().map_err(|error| damaged(path, &error))? {
        Layout::Contiguous { address: Some(offset), size: stored }
            if stored == bytes && dataset.filters().is_empty() =>
        {
            return match offset.checked_add(bytes) {
                Some(end) if end <= size => Ok(Values { unpacked: None, offset }),
                _ => Err(problem("ends behind the file: it is truncated")),
            };
        }
        Layout::Virtual => return Err(problem("has its values in other files: it is virtual")),
        _ => (),
    }
    if bytes > size.saturating_mul(MOST_GROWTH) {
        return Err(problem("is said to be larger than what such a file can have"));
    }
    let chunk = dataset.chunk_shape().map_err(|error| damaged(path, &error))?.unwrap_or_default();
    let whole = |(n, chunk): (&u64, &u64)| n.checked_next_multiple_of((*chunk).max(1));
    let padded =
        shape.iter().zip(&chunk).try_fold(number.bytes() as u64, |sum, pair| sum.checked_mul(whole(pair)?));
    if padded.is_none_or(|padded| padded > bytes.saturating_mul(MOST_PADDING).max(MOST_CHUNK)) {
        return Err(problem("has chunks that are much larger than itself"));
    }
    // The crate makes room for what a chunk is said to take. Not all kinds of chunks can be listed.
    let chunks = dataset.chunks().unwrap_or_default();
    if chunks.iter().any(|chunk| chunk.storage_size > size) {
        return Err(problem("has a chunk that is larger than the file: it is damaged"));
    }
    Ok(Values { unpacked: Some(unpack(path, dataset, shape, *number)?), offset: 0 })
}

fn damaged(path: &Path, error: &hdf5_pure::Error) -> Error {
    Error::file(path, format!("this HDF5 file cannot be read: {}", printable(&error.to_string())))
}

/// The datasets of a file, with what is known of those of numbers.
#[derive(Default)]
struct Search {
    numbers: Vec<Numbers>,
    /// The names of those that have none.
    others: Vec<String>,
    /// Groups and datasets that were seen.
    seen: usize,
}

impl Search {
    fn group(
        &mut self,
        group: &Group,
        prefix: &str,
        depth: usize,
    ) -> std::result::Result<(), hdf5_pure::Error> {
        for (name, dataset) in group.iter_datasets()? {
            self.seen += 1;
            if self.seen < MOST_OBJECTS {
                let name = format!("{prefix}{name}");
                match numbers_of(name.clone(), dataset) {
                    Some(numbers) => self.numbers.push(numbers),
                    None => self.others.push(name),
                }
            }
        }
        for name in group.groups()? {
            self.seen += 1;
            if depth < DEEPEST && self.seen < MOST_OBJECTS {
                self.group(&group.group(&name)?, &format!("{prefix}{name}/"), depth + 1)?;
            }
        }
        Ok(())
    }
}

/// What is known of a dataset, if it has numbers. What the crate cannot say of one that nobody asked for is no matter.
fn numbers_of(name: String, dataset: Dataset) -> Option<Numbers> {
    let (shape, dtype, datatype) = (dataset.shape().ok()?, dataset.dtype().ok()?, dataset.datatype().ok()?);
    let (number, big_endian) = number_of(&dtype, &datatype, dataset.element_size().ok()?)?;
    Some(Numbers { name, dataset, shape, number, big_endian })
}

/// The type of values that are numbers as numpy has them.
fn number_of(dtype: &DType, datatype: &Datatype, size: u64) -> Option<(Number, bool)> {
    /// As IEEE 754 has it.
    const HALF: FloatingPointLayout = FloatingPointLayout {
        bit_offset: 0,
        bit_precision: 16,
        exponent_location: 10,
        exponent_size: 5,
        mantissa_location: 0,
        mantissa_size: 10,
        exponent_bias: 15,
    };
    let order = match datatype {
        Datatype::FixedPoint { byte_order, .. } | Datatype::FloatingPoint { byte_order, .. } => *byte_order,
        // h5py's bools.
        Datatype::Enumeration { .. } => DatatypeByteOrder::LittleEndian,
        _ => return None,
    };
    let number = match (dtype, datatype) {
        (DType::F32, _) => Number::F32,
        (DType::F64, _) => Number::F64,
        (DType::I8, _) => Number::I8,
        (DType::I16, _) => Number::I16,
        (DType::I32, _) => Number::I32,
        (DType::I64, _) => Number::I64,
        (DType::U8, _) => Number::U8,
        (DType::U16, _) => Number::U16,
        (DType::U32, _) => Number::U32,
        (DType::U64, _) => Number::U64,
        (DType::Enum(names), _) if size == 1 && names[..] == ["FALSE", "TRUE"] => Number::Bool,
        (_, Datatype::FloatingPoint { size: 2, layout, .. }) if *layout == HALF => Number::F16,
        _ => return None,
    };
    match (order, datatype) {
        (DatatypeByteOrder::Vax, _) => None,
        // Of fewer bits than its bytes have, it is another number.
        (_, Datatype::FixedPoint { size, layout, .. })
            if layout.bit_offset != 0 || u32::from(layout.bit_precision) != 8 * size =>
        {
            None
        }
        (order, _) => Some((number, order == DatatypeByteOrder::BigEndian)),
    }
}

/// The dataset to read, and what is said of the choice.
fn choose(
    mut numbers: Vec<Numbers>,
    others: &[String],
    name: Option<&str>,
) -> std::result::Result<(Numbers, Option<String>), String> {
    if let Some(name) = name {
        let wanted = name.trim_matches('/');
        if let Some(at) = numbers.iter().position(|numbers| numbers.name == wanted) {
            return Ok((numbers.swap_remove(at), None));
        }
        if others.iter().any(|other| other == wanted) {
            return Err(format!("dataset {} has no numbers", quoted(wanted)));
        }
        let known: Vec<&str> = numbers.iter().map(|numbers| numbers.name.as_str()).collect();
        let near = near(wanted, known.iter().copied());
        let names = if near.is_empty() { &known } else { &near };
        let names = if names.is_empty() { "none of numbers".into() } else { listed(names) };
        return Err(format!("no dataset is called {}; there are {names}", quoted(wanted)));
    }
    let known: Vec<String> = numbers.iter().map(|numbers| numbers.name.clone()).collect();
    let flat: Vec<usize> = (0..numbers.len()).filter(|&at| numbers[at].shape.len() == 2).collect();
    let named = |name: &str| known.iter().position(|known| known == name);
    let at = match (&known[..], &flat[..]) {
        ([], _) => return Err("it has no dataset of numbers".into()),
        ([_], _) => 0,
        (_, &[at]) => at,
        _ => match (named("train"), named("test")) {
            (Some(train), Some(_)) => train,
            _ => {
                return Err(format!(
                    "it has several datasets of numbers: {}; give one as FILE.h5:NAME",
                    listed(&known)
                ));
            }
        },
    };
    let chosen = numbers.swap_remove(at);
    let left: Vec<&str> =
        known.iter().chain(others).map(String::as_str).filter(|name| *name != chosen.name).collect();
    let notice = format!("the rows are those of dataset {}, without {}", quoted(&chosen.name), listed(&left));
    Ok((chosen, (!left.is_empty()).then_some(notice)))
}

/// The values of a dataset, as they are.
fn unpack(path: &Path, dataset: &Dataset, shape: &[u64], number: Number) -> Result<Plain> {
    let io = |reason| Error::io(path, reason);
    let damaged = |error| damaged(path, &error);
    let temporary = tempfile::tempfile().map_err(io)?;
    let mut out = BufWriter::new(&temporary);
    let (rows, rest) = shape.split_first().map_or((1, &[][..]), |(&rows, rest)| (rows, rest));
    let row = rest.iter().product::<u64>() * number.bytes() as u64;
    // Whole chunks, so that each is unpacked once.
    let chunk = dataset.chunk_shape().map_err(damaged)?.and_then(|chunk| chunk.first().copied()).unwrap_or(1);
    let step = (BLOCK / row.max(1)).max(1);
    let chunk = chunk.clamp(1, rows.max(1));
    // Of chunks as long as the dataset, some are unpacked more than once.
    let step = if chunk * row <= 16 * BLOCK { step.next_multiple_of(chunk) } else { step };
    let mut first = 0;
    while first < rows && row > 0 {
        let many = step.min(rows - first);
        let bytes = dataset.read_raw_rows(first, many).map_err(damaged)?;
        if bytes.len() as u64 != many * row {
            return Err(Error::file(path, "this HDF5 file is damaged: a dataset lacks values"));
        }
        out.write_all(&bytes).map_err(io)?;
        first += many;
    }
    out.flush().map_err(io)?;
    drop(out);
    Ok(temporary)
}
