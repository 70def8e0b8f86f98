//! Opens what may be anything as points, under every name that a file of points may have, and reads them in two ways.
#![no_main]

use std::sync::Once;

use libfuzzer_sys::fuzz_target;
use lowbit::internals::io::vecs::{Element, How, Vectors};

static QUIET: Once = Once::new();

fuzz_target!(|bytes: &[u8]| {
    // Readers catch what crates of formats panic at; what is not caught still ends the run.
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| ())));
    let mut path = lowbit::file(bytes);
    for (extension, raw, tensor, batch) in [
        ("", None, None, false),
        ("", None, None, true),
        ("", None, Some("w"), false),
        ("", Some((Element::F32, 3)), None, false),
        ("", Some((Element::I8, 1)), None, false),
        ("fvecs", None, None, false),
        ("bvecs", None, None, false),
        ("ivecs", None, None, false),
    ] {
        let named = path.with_extension(extension);
        std::fs::rename(&path, &named).expect("it can be renamed");
        path = named;
        let (raw, dim) = raw.unzip();
        check(&path, bytes, &How { raw, dim, tensor: tensor.map(str::to_owned), batch, without: Vec::new() });
    }
    std::fs::remove_file(path).expect("it can be removed");
});

fn check(path: &std::path::Path, bytes: &[u8], how: &How) {
    let vectors = match Vectors::open(path, how) {
        Ok(vectors) => vectors,
        Err(error) => return assert!(!error.to_string().contains(char::is_control)),
    };
    let (rows, cols) = (vectors.rows(), vectors.cols());
    assert!(rows > 0 && cols > 0 && how.dim.is_none_or(|dim| dim == cols as u64));
    // What is deflated may become a thousand times as large, chunks of HDF5 twice that, and runs of equal values of Parquet have no bound.
    assert!(bytes.starts_with(b"PAR1") || rows * cols as u64 <= 2000 * bytes.len() as u64);
    let mut packed = vec![0; rows as usize * vectors.row_bytes()];
    let packed = vectors.read_packed(0..rows, &mut packed);
    let mut whole = vec![0.0; rows as usize * cols];
    let read = vectors.read(0..rows, &mut whole);
    assert!(packed.is_ok() || read.is_err());
    let mut all = true;
    for (row, whole) in (0..rows).zip(whole.chunks(cols)) {
        let mut values = vec![0.0; cols];
        let this = vectors.read(row..row + 1, &mut values);
        all &= this.is_ok();
        let same = values.iter().zip(whole).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(read.is_err() || this.is_ok() && same);
    }
    assert_eq!(all, read.is_ok());
    assert!(vectors.read(0..rows + 1, &mut whole).is_err());
}
