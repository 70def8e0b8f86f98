//! The header: magic string, version, length, and the dictionary of type, order and shape.

use std::io::Write;

pub const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The byte order of this machine, as numpy writes it.
pub const NATIVE: char = if cfg!(target_endian = "little") { '<' } else { '>' };

/// The dictionary of a `.npy` header.
#[derive(Debug)]
pub struct Header {
    pub dtype: String,
    pub fortran_order: bool,
    pub shape: Vec<u64>,
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
                return Err("it has a structured dtype, not a plain one");
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
pub fn write_header(out: &mut dyn Write, kind: &str, width: usize, shape: &str) -> std::io::Result<()> {
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

/// Numpy's name of a number type, such as `float64` for `<f8`.
pub fn dtype_name(dtype: &str) -> Option<String> {
    let bytes: u32 = dtype.get(2..)?.parse().ok().filter(|&n| n <= 32)?;
    let kind = match dtype.get(1..2)? {
        "b" => return Some("bool".into()),
        "f" => "float",
        "i" => "int",
        "u" => "uint",
        "c" => "complex",
        _ => return None,
    };
    Some(format!("{kind}{}", bytes * 8))
}
