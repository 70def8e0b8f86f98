//! HDF5 files: a dataset of numbers. One that lies in a piece is read where it lies; chunks, which may be compressed, are unpacked
//! into a temporary file, since whoever clusters reads them more than once.

use std::fs::File as Plain;
use std::io::{BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use hdf5_pure::{DType, Dataset, Datatype, DatatypeByteOrder, File, FloatingPointLayout, Group, Layout};

use super::number::Number;
use super::{near, quoted};
use crate::{Error, Result};

/// Bytes that are unpacked at a time, but for rows of chunks that are larger.
const BLOCK: u64 = 1 << 24;

/// Groups in groups that are searched, and datasets that are found.
const MOST_GROUPS: usize = 8;
const MOST_DATASETS: usize = 1 << 12;

/// The most names that a message lists.
const MAX_LISTED: usize = 6;

/// Letters that are shown of what the crate says of a file.
const LONGEST: usize = 200;

/// How much larger than its file a dataset of chunks may be: deflated bytes become a thousand times as many.
const MOST_GROWTH: u64 = 2000;

/// Where the values of a dataset are.
pub struct Found {
    /// A temporary file; none if they lie in the file itself.
    pub unpacked: Option<Plain>,
    /// Where they begin in it.
    pub offset: u64,
    /// The type of the values, and whether the first byte of each counts most.
    pub number: Number,
    pub big_endian: bool,
    pub shape: Vec<u64>,
    /// Which dataset was taken, if that was not said.
    pub notice: Option<String>,
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
/// one of numbers, or the only one with two axes, or the `train` of files that are laid as ann-benchmarks' are.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read or there is no room, [`Error::File`] if it is no such file or damaged, or has no such
/// dataset, or several.
pub fn find(path: &Path, name: Option<&str>) -> Result<Found> {
    let (_, size) = super::open(path)?;
    // The crate reads what may be anything; it is left with nothing of ours.
    catch_unwind(AssertUnwindSafe(|| find_sound(path, size, name)))
        .unwrap_or_else(|_| Err(Error::file(path, "this HDF5 file is damaged")))
}

fn find_sound(path: &Path, size: u64, name: Option<&str>) -> Result<Found> {
    let file = File::open_streaming(path).map_err(|error| damaged(path, &error))?;
    let whole = file.superblock().eof_address;
    if whole > size {
        return Err(Error::file(path, format!("the file is truncated: it has {size} of {whole} bytes")));
    }
    let mut all = Vec::new();
    collect(&file.root(), "", 0, &mut all).map_err(|error| damaged(path, &error))?;
    let (numbers, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, numbers)| numbers.is_some());
    let others: Vec<String> = others.into_iter().map(|(name, _)| name).collect();
    let numbers = numbers.into_iter().filter_map(|(_, numbers)| numbers).collect();
    let (chosen, notice) = choose(numbers, &others, name).map_err(|problem| Error::file(path, problem))?;
    let Numbers { name, dataset, shape, number, big_endian } = chosen;
    let problem = |problem: &str| Error::file(path, format!("dataset {} {problem}", quoted(&name)));
    let bytes = shape.iter().try_fold(number.bytes() as u64, |product, &n| product.checked_mul(n));
    let bytes = bytes.ok_or_else(|| problem("is larger than any file"))?;
    let layout = dataset.layout().map_err(|error| damaged(path, &error))?;
    let here = match layout {
        Layout::Contiguous { address: Some(address), size }
            if size == bytes && dataset.filters().is_empty() =>
        {
            Some(address)
        }
        Layout::Virtual => return Err(problem("has its values in other files: it is virtual")),
        _ => None,
    };
    let chunk = dataset.chunk_shape().map_err(|error| damaged(path, &error))?.unwrap_or_default();
    let whole = |(n, chunk): (&u64, &u64)| n.checked_next_multiple_of((*chunk).max(1));
    let padded =
        shape.iter().zip(&chunk).try_fold(number.bytes() as u64, |sum, pair| sum.checked_mul(whole(pair)?));
    if padded.is_none_or(|padded| padded > bytes.saturating_mul(MOST_PADDING).max(MOST_CHUNK)) {
        return Err(problem("has chunks that are much larger than itself"));
    }
    let (unpacked, offset) = match here {
        Some(address) => (None, address),
        None if bytes > size.saturating_mul(MOST_GROWTH) => {
            return Err(problem("is said to be larger than what such a file can have"));
        }
        None => {
            // The crate makes room for what a chunk is said to take. Not all kinds of chunks can be listed.
            let chunks = dataset.chunks().unwrap_or_default();
            if chunks.iter().any(|chunk| chunk.storage_size > size) {
                return Err(problem("has a chunk that is larger than the file: it is damaged"));
            }
            (Some(unpack(path, &dataset, &shape, number)?), 0)
        }
    };
    Ok(Found { unpacked, offset, number, big_endian, shape, notice })
}

fn damaged(path: &Path, error: &hdf5_pure::Error) -> Error {
    // It may have parts of the file.
    let text: String =
        error.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    Error::file(path, format!("this HDF5 file cannot be read: {text}"))
}

/// The datasets of a group and of those in it, with what is known of those of numbers.
fn collect(
    group: &Group,
    prefix: &str,
    depth: usize,
    found: &mut Vec<(String, Option<Numbers>)>,
) -> std::result::Result<(), hdf5_pure::Error> {
    for (name, dataset) in group.iter_datasets()? {
        if found.len() == MOST_DATASETS {
            return Ok(());
        }
        let name = format!("{prefix}{name}");
        // What this crate cannot say of a dataset that nobody asked for is no matter.
        let numbers = match (dataset.shape(), dataset.dtype(), dataset.datatype(), dataset.element_size()) {
            (Ok(shape), Ok(dtype), Ok(datatype), Ok(size)) => {
                number_of(&dtype, &datatype, size).map(|(number, big_endian)| Numbers {
                    name: name.clone(),
                    dataset,
                    shape,
                    number,
                    big_endian,
                })
            }
            _ => None,
        };
        found.push((name, numbers));
    }
    if depth < MOST_GROUPS {
        for name in group.groups()? {
            collect(&group.group(&name)?, &format!("{prefix}{name}/"), depth + 1, found)?;
        }
    }
    Ok(())
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
        let wanted = name.trim_start_matches('/');
        if let Some(at) = numbers.iter().position(|numbers| numbers.name == wanted) {
            return Ok((numbers.swap_remove(at), None));
        }
        if others.iter().any(|other| other == wanted) {
            return Err(format!("dataset {} has no numbers", quoted(wanted)));
        }
        let known: Vec<&str> = numbers.iter().map(|numbers| numbers.name.as_str()).collect();
        let near = near(wanted, known.iter().copied());
        let names = listed(if near.is_empty() { &known } else { &near });
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
                let names: Vec<&str> = known.iter().map(String::as_str).collect();
                return Err(format!(
                    "it has several datasets of numbers: {}; give one as FILE.h5:NAME",
                    listed(&names)
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

fn listed(names: &[&str]) -> String {
    let shown: Vec<_> = names.iter().take(MAX_LISTED).copied().map(quoted).collect();
    let more = names.len() - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
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
    let step = (BLOCK / row.max(1)).max(1).next_multiple_of(chunk.clamp(1, rows.max(1)));
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
