//! Numpy's `.npz` files: zip archives of which every member is a `.npy` file, stored or deflated.
//!
//! Read from the central directory, as APPNOTE.TXT has it, with the sizes of zip64. A member that is stored is read where it
//! lies; one that is deflated is unpacked into a temporary file first, so that it can be read at any place too.

use std::io::{BufReader, BufWriter, Read, Write};

use flate2::read::DeflateDecoder;

use crate::io::{Positioned, near, quoted};
use crate::{Error, Result};

/// The end of a central directory, without its comment, which has at most 65,535 bytes.
const END: usize = 22;
/// The longest central directory: that of some 200,000 arrays.
const MAX_DIRECTORY: u64 = 1 << 24;
/// What deflate makes of a byte at most.
const MAX_RATIO: u64 = 1032;
/// The most names that an error lists.
const MAX_LISTED: usize = 8;

/// An array of an archive.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name, without `.npy`.
    pub name: String,
    deflated: bool,
    crc: u32,
    /// Bytes as they lie in the archive.
    packed: u64,
    /// Bytes of the `.npy` file.
    pub bytes: u64,
    /// Where its local header is.
    header: u64,
}

/// The fields of a record: little-endian numbers at places.
struct Record<'a>(&'a [u8]);

impl Record<'_> {
    fn u16(&self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    fn u32(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    fn u64(&self, at: usize) -> Option<u64> {
        Some(u64::from_le_bytes(*self.0.get(at..)?.first_chunk()?))
    }
}

fn damaged(file: &Positioned, problem: &str) -> Error {
    Error::file(&file.path, format!("the zip archive is truncated or damaged: {problem}"))
}

/// The arrays of an archive of `size` bytes, in its order; other members are left out.
pub fn members(file: &Positioned, size: u64) -> Result<Vec<Member>> {
    let (at, length) = directory(file, size)?;
    let end = at.checked_add(length).filter(|&end| end <= size);
    if end.is_none() || length > MAX_DIRECTORY {
        return Err(damaged(file, "its directory is not within it"));
    }
    let mut bytes = vec![0; length as usize];
    file.read_values(at, 1, false, &mut bytes)?;
    let mut found = Vec::new();
    let mut rest = bytes.as_slice();
    while rest.starts_with(b"PK\x01\x02") {
        let (member, length) =
            member(file, rest)?.ok_or_else(|| damaged(file, "its directory ends in an entry"))?;
        found.extend(member);
        rest = rest.get(length..).ok_or_else(|| damaged(file, "its directory ends in an entry"))?;
    }
    Ok(found)
}

/// Where the central directory begins, and its length.
fn directory(file: &Positioned, size: u64) -> Result<(u64, u64)> {
    let tail = size.min(END as u64 + 0xffff);
    let mut bytes = vec![0; tail as usize];
    file.read_values(size - tail, 1, false, &mut bytes)?;
    let end = (0..(bytes.len() + 1).saturating_sub(END)).rev().find(|&at| {
        let comment = Record(&bytes[at..]).u16(20).map(usize::from);
        bytes[at..].starts_with(b"PK\x05\x06") && comment == Some(bytes.len() - at - END)
    });
    let missing = || damaged(file, "it has no directory at its end");
    let at = end.ok_or_else(missing)?;
    let record = Record(&bytes[at..]);
    let (length, offset) = record.u32(12).zip(record.u32(16)).ok_or_else(missing)?;
    if length != u32::MAX && offset != u32::MAX {
        return Ok((offset.into(), length.into()));
    }
    // The locator of the wide record is in front of the narrow one.
    let locator =
        at.checked_sub(20).map(|at| &bytes[at..]).filter(|locator| locator.starts_with(b"PK\x06\x07"));
    let wide = locator.and_then(|locator| Record(locator).u64(8)).ok_or_else(missing)?;
    let mut record = [0; 56];
    if wide.checked_add(record.len() as u64).is_none_or(|end| end > size) {
        return Err(missing());
    }
    file.read_values(wide, 1, false, &mut record)?;
    let record = Record(&record);
    let (length, offset) = record.u64(40).zip(record.u64(48)).ok_or_else(missing)?;
    if record.u32(0) == Some(u32::from_le_bytes(*b"PK\x06\x06")) {
        Ok((offset, length))
    } else {
        Err(missing())
    }
}

/// The array that an entry of the directory is of, if it is one, and the length of the entry; `None` where that ends.
fn member(file: &Positioned, bytes: &[u8]) -> Result<Option<(Option<Member>, usize)>> {
    let record = Record(bytes);
    let lengths = [28, 30, 32].map(|at| record.u16(at).map(usize::from));
    let [Some(name), Some(extra), Some(comment)] = lengths else { return Ok(None) };
    let length = 46 + name + extra + comment;
    let (Some(name), Some(extra)) = (bytes.get(46..46 + name), bytes.get(46 + name..46 + name + extra))
    else {
        return Ok(None);
    };
    let fields = (record.u16(8), record.u16(10), record.u32(16), [20, 24, 42].map(|at| record.u32(at)));
    let (Some(flags), Some(method), Some(crc), [Some(packed), Some(unpacked), Some(header)]) = fields else {
        return Ok(None);
    };
    let name = String::from_utf8_lossy(name);
    let Some(name) = name.strip_suffix(".npy") else { return Ok(Some((None, length))) };
    let error = |problem: &str| Error::file(&file.path, format!("its member {} {problem}", quoted(name)));
    if flags & 1 != 0 {
        return Err(error("is encrypted: save the arrays without a password"));
    }
    if method != 0 && method != 8 {
        return Err(error(
            "is neither stored nor deflated: save the arrays with numpy.savez or numpy.savez_compressed",
        ));
    }
    let mut wide = wide(extra);
    let mut size = |narrow: u32| if narrow == u32::MAX { wide.next() } else { Some(narrow.into()) };
    // In this order.
    let sizes = size(unpacked).zip(size(packed)).zip(size(header));
    let Some(((unpacked, packed), header)) = sizes else {
        return Err(damaged(file, "a size of more than 32 bits is missing"));
    };
    let deflated = method == 8;
    let most = if deflated { packed.saturating_mul(MAX_RATIO) } else { packed };
    if unpacked > most || (!deflated && unpacked != packed) {
        return Err(damaged(file, &format!("{} cannot have the size it states", quoted(name))));
    }
    Ok(Some((Some(Member { name: name.to_owned(), deflated, crc, packed, bytes: unpacked, header }), length)))
}

/// The numbers of the extra field of zip64.
fn wide(extra: &[u8]) -> impl Iterator<Item = u64> {
    let mut rest = extra;
    let mut found: &[u8] = &[];
    while let (Some(kind), Some(length)) = (Record(rest).u16(0), Record(rest).u16(2)) {
        let (end, field) = (4 + usize::from(length), rest.get(4..4 + usize::from(length)));
        if let (1, Some(field)) = (kind, field) {
            found = field;
        }
        rest = rest.get(end..).unwrap_or_default();
    }
    found.as_chunks().0.iter().map(|&value| u64::from_le_bytes(value))
}

/// The array that is called `name`, or the only one.
pub fn choose(file: &Positioned, mut members: Vec<Member>, name: Option<&str>) -> Result<Member> {
    let error = |problem: String| Err(Error::file(&file.path, problem));
    let names = || members.iter().map(|member| member.name.as_str());
    let listed = || {
        let mut shown: Vec<String> = names().take(MAX_LISTED).map(quoted).collect();
        let more = members.len().saturating_sub(MAX_LISTED);
        shown.extend((more > 0).then(|| format!("{more} more")));
        shown.join(", ")
    };
    let path = file.path.display();
    match name {
        _ if members.is_empty() => error("this is a zip archive without any .npy in it".into()),
        None if members.len() > 1 => {
            let first = names().next().unwrap_or_default().escape_debug();
            error(format!(
                "it has {} arrays: say which, as {path}:{first}; there are {}",
                members.len(),
                listed()
            ))
        }
        None => Ok(members.swap_remove(0)),
        Some(wanted) => match members.iter().position(|member| member.name == wanted) {
            Some(at) => Ok(members.swap_remove(at)),
            None => {
                let near: Vec<String> = near(wanted, names()).into_iter().map(quoted).collect();
                let hint = if near.is_empty() {
                    format!("there are {}", listed())
                } else {
                    format!("near it are {}", near.join(", "))
                };
                error(format!("no array is called {}; {hint}", quoted(wanted)))
            }
        },
    }
}

impl Member {
    /// Where its bytes begin in an archive of `size` bytes.
    fn begin(&self, file: &Positioned, size: u64) -> Result<u64> {
        let error = || damaged(file, &format!("{} is not where its directory says", quoted(&self.name)));
        let mut bytes = [0; 30];
        if self.header.checked_add(bytes.len() as u64).is_none_or(|end| end > size) {
            return Err(error());
        }
        file.read_values(self.header, 1, false, &mut bytes)?;
        let record = Record(&bytes);
        let (Some(name), Some(extra)) = (record.u16(26), record.u16(28)) else { return Err(error()) };
        let begin = self.header + bytes.len() as u64 + u64::from(name) + u64::from(extra);
        let fits = begin.checked_add(self.packed).is_some_and(|end| end <= size);
        if bytes.starts_with(b"PK\x03\x04") && fits { Ok(begin) } else { Err(error()) }
    }

    /// The bytes of the `.npy` file from its beginning.
    pub fn reader<'a>(&self, file: &'a Positioned, size: u64) -> Result<Box<dyn Read + 'a>> {
        let at = self.begin(file, size)?;
        let packed = Span { file, at, end: at + self.packed };
        Ok(if self.deflated {
            Box::new(DeflateDecoder::new(BufReader::new(packed)).take(self.bytes))
        } else {
            Box::new(packed)
        })
    }

    /// A file that has the `.npy` file in it, and where in it that begins: this one, or a temporary one.
    pub fn unpack(&self, file: Positioned, size: u64) -> Result<(Positioned, u64)> {
        if !self.deflated {
            let at = self.begin(&file, size)?;
            return Ok((file, at));
        }
        let path = file.path.clone();
        let io = |reason| Error::io(&path, reason);
        let temporary = tempfile::tempfile().map_err(io)?;
        let mut out = BufWriter::new(&temporary);
        let mut crc = crc32fast::Hasher::new();
        let (mut count, mut block) = (0u64, vec![0; 1 << 16]);
        let mut reader = self.reader(&file, size)?;
        loop {
            let read = reader.read(&mut block).map_err(|error| match error.kind() {
                std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData => {
                    damaged(&file, &format!("{} cannot be unpacked", quoted(&self.name)))
                }
                _ => io(error),
            })?;
            let Some(new) = block.get(..read).filter(|new| !new.is_empty()) else { break };
            crc.update(new);
            count += new.len() as u64;
            out.write_all(new).map_err(io)?;
        }
        out.flush().map_err(io)?;
        drop(out);
        drop(reader);
        if count != self.bytes || crc.finalize() != self.crc {
            return Err(damaged(
                &file,
                &format!("{} does not have the checksum it states", quoted(&self.name)),
            ));
        }
        Ok((Positioned::new(&path, temporary), 0))
    }
}

/// A part of a file, from its beginning to its end.
pub struct Span<'a> {
    pub file: &'a Positioned,
    pub at: u64,
    pub end: u64,
}

impl Read for Span<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let room = out.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        self.file.read_exact(self.at, &mut out[..room])?;
        self.at += room as u64;
        Ok(room)
    }
}
