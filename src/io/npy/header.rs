//! The header: magic string, version, length, and the dictionary of type, order and shape.

use std::io::{Read, Write};
use std::path::Path;

use crate::{Error, Result};

pub const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The byte order of this machine, as numpy writes it.
pub const NATIVE: char = if cfg!(target_endian = "little") { '<' } else { '>' };

/// The longest header that version 1 can have. Those of plain arrays have about 120 bytes.
const MAX_HEADER: u32 = 0xffff;

/// The dictionary of a `.npy` header.
#[derive(Debug)]
pub struct Header {
    /// The byte order (`<`, `>` or `|`) and the type, such as `<f4`; a list of fields for a structured one.
    pub dtype: String,
    pub fortran_order: bool,
    pub shape: Vec<u64>,
}

/// Reads the header of an array that is `size` bytes long, header included; errors call it `path`. Gives the length of what
/// was read too.
pub fn read_header(path: &Path, mut file: impl Read, size: u64) -> Result<(Header, u64)> {
    let error = |problem: &str| Error::file(path, problem);
    let mut left = size;
    let mut take = |bytes: &mut [u8]| {
        let Some(rest) = left.checked_sub(bytes.len() as u64) else {
            return Err(error("the file ends inside its .npy header: it is truncated"));
        };
        left = rest;
        file.read_exact(bytes).map_err(|e| Error::io(path, e))
    };

    let mut magic = [0; 6];
    let begin = magic.len().min(usize::try_from(size).unwrap_or(usize::MAX));
    take(&mut magic[..begin])?;
    if magic[..begin] != MAGIC[..begin] {
        return Err(error("this is not a .npy file: it does not begin with \\x93NUMPY"));
    }
    take(&mut magic[begin..])?;
    let mut version = [0; 2];
    take(&mut version)?;
    let length = match version {
        [1, 0] => {
            let mut length = [0; 2];
            take(&mut length)?;
            u16::from_le_bytes(length).into()
        }
        [2 | 3, 0] => {
            let mut length = [0; 4];
            take(&mut length)?;
            u32::from_le_bytes(length)
        }
        [major, minor] => {
            return Err(error(&format!(
                ".npy version {major}.{minor} is unknown; 1.0, 2.0 and 3.0 are read"
            )));
        }
    };
    if length > MAX_HEADER {
        return Err(error(&format!("the .npy header is {length} bytes long: not that of a plain array")));
    }
    let mut text = vec![0; length as usize];
    take(&mut text)?;
    // Names of fields may be Latin-1 in version 1; nothing but an error shows them.
    let text = String::from_utf8_lossy(&text);
    let header =
        parse_header(&text).map_err(|problem| error(&format!("the .npy header is damaged: {problem}")))?;
    Ok((header, size - left))
}

/// Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`, with the keys in any order.
pub fn parse_header(text: &str) -> std::result::Result<Header, &'static str> {
    let (mut dtype, mut fortran_order, mut shape) = (None, None, None);
    let rest = &mut { text };
    if !eat(rest, "{") {
        return Err("it is not a dictionary");
    }
    while !eat(rest, "}") {
        let key = string(rest).ok_or("a key is missing")?;
        if !eat(rest, ":") {
            return Err("a colon is missing");
        }
        match key {
            "descr" if rest.trim_start().starts_with('[') => {
                dtype = Some(list(rest).ok_or("the list of 'descr' has no end")?);
            }
            "descr" => dtype = Some(string(rest).ok_or("'descr' is not a string")?),
            "fortran_order" if eat(rest, "True") => fortran_order = Some(true),
            "fortran_order" if eat(rest, "False") => fortran_order = Some(false),
            "fortran_order" => return Err("'fortran_order' is neither True nor False"),
            "shape" => shape = Some(tuple(rest).ok_or("'shape' is not a tuple of sizes")?),
            _ => return Err("it has an unknown key"),
        }
        if !eat(rest, ",") && !rest.starts_with('}') {
            return Err("a comma is missing");
        }
    }
    if !rest.trim().is_empty() {
        return Err("something follows the dictionary");
    }
    Ok(Header {
        dtype: dtype.ok_or("'descr' is missing")?.to_owned(),
        fortran_order: fortran_order.ok_or("'fortran_order' is missing")?,
        shape: shape.ok_or("'shape' is missing")?,
    })
}

/// Drops white space and then `token` from the front of `rest`; false if it is not there.
fn eat(rest: &mut &str, token: &str) -> bool {
    *rest = rest.trim_start();
    rest.strip_prefix(token).inspect(|after| *rest = after).is_some()
}

/// A Python string without escapes.
fn string<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let quote = if eat(rest, "'") { '\'' } else { eat(rest, "\"").then_some('"')? };
    let (string, after) = rest.split_once(quote)?;
    *rest = after;
    Some(string)
}

/// A Python list of anything, as text.
fn list<'a>(rest: &mut &'a str) -> Option<&'a str> {
    *rest = rest.trim_start();
    let (mut depth, mut quote) = (0u32, None);
    for (at, c) in rest.char_indices() {
        match (quote, c) {
            (Some(open), _) => quote = Some(open).filter(|&open| open != c),
            (None, '\'' | '"') => quote = Some(c),
            (None, '[' | '(') => depth += 1,
            (None, ']' | ')') => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 && quote.is_none() {
            let (list, after) = rest.split_at_checked(at + 1)?;
            *rest = after;
            return Some(list);
        }
    }
    None
}

/// A Python tuple of sizes, of at most the 64 dimensions that numpy has.
fn tuple(rest: &mut &str) -> Option<Vec<u64>> {
    let mut sizes = Vec::new();
    let mut open = eat(rest, "(");
    while open && sizes.len() <= 64 {
        if eat(rest, ")") {
            return Some(sizes);
        }
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at_checked(digits)?;
        sizes.push(number.parse().ok()?);
        *rest = after;
        open = eat(rest, ",") || rest.starts_with(')');
    }
    None
}

/// Writes what precedes values of `width` bytes.
pub fn write_header(out: &mut dyn Write, kind: &str, width: usize, shape: &[usize]) -> std::io::Result<()> {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    // A tuple of one has a comma.
    let shape = format!("({}{})", sizes.join(", "), if sizes.len() == 1 { "," } else { "" });
    // Bytes have no order.
    let order = if width == 1 { '|' } else { NATIVE };
    let mut header = format!("{{'descr': '{order}{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    // The data begins at a multiple of 64 bytes; a newline ends the header.
    let preamble = MAGIC.len() + 4;
    let end = (preamble + header.len() + 1).next_multiple_of(64);
    header.extend(std::iter::repeat_n(' ', end - 1 - preamble - header.len()));
    header.push('\n');
    // It fits: a few sizes of 20 digits at most, and about 60 fixed characters.
    let length = header.len() as u16;
    out.write_all(MAGIC)?;
    out.write_all(&[1, 0])?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(header.as_bytes())
}

/// What a type is in words, such as `float64` for `<f8`, where its code says so.
pub fn dtype_name(dtype: &str) -> Option<String> {
    if dtype.starts_with('[') {
        return Some("structured".into());
    }
    let kind = match dtype.get(1..2)? {
        "b" | "?" => return Some("bool".into()),
        "O" => return Some("object".into()),
        "f" => "float",
        "i" => "int",
        "u" => "uint",
        "c" => "complex",
        "U" => return Some("text".into()),
        "S" => return Some("bytes of text".into()),
        "V" => return Some("void".into()),
        "M" => return Some("datetime64".into()),
        "m" => return Some("timedelta64".into()),
        _ => return None,
    };
    let bytes: u32 = dtype.get(2..)?.parse().ok().filter(|&n| n <= 32)?;
    Some(format!("{kind}{}", bytes * 8))
}
