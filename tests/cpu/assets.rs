//! The points under assets/kmeans, which lie there in files of several programs.

use std::fs;
use std::path::{Path, PathBuf};

use lowbit::internals::io::vecs::Vectors;

/// The files of `assets/kmeans/EXTENSION` that end so: those that cannot be points, or the others.
pub fn files(extension: &str, bad: bool) -> Vec<PathBuf> {
    let folder = if extension == "h5" { "hdf5" } else { extension };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/kmeans").join(folder);
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = all
        .filter(|path| path.extension().is_some_and(|end| end == extension))
        .filter(|path| stem(path).starts_with("bad-") == bad)
        .collect();
    found.sort();
    found
}

/// A file's name without its ending.
pub fn stem(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

/// A column or a dataset of a file.
pub fn part(path: &Path, name: &str) -> PathBuf {
    format!("{}:{name}", path.display()).into()
}

/// All values, as bits.
pub fn bits(vectors: &Vectors) -> Vec<u32> {
    let mut values = vec![0.0; vectors.rows() as usize * vectors.cols()];
    vectors.read(0..vectors.rows(), &mut values).unwrap();
    values.iter().map(|value| value.to_bits()).collect()
}

/// The type that a file is called after, and the bits of its points as float32.
pub fn expected(path: &Path) -> (&str, Vec<u32>) {
    let kind = stem(path).split('-').next().unwrap();
    let values = fs::read(path.parent().unwrap().with_file_name("vecs").join(format!("{kind}.f32"))).unwrap();
    (kind, values.as_chunks().0.iter().map(|&four| u32::from_le_bytes(four)).collect())
}
