//! Compiled pipelines, kept between processes where the backend can keep them: in a file for each adapter and set of shaders.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{table, trusted};
use crate::{Result, io};

/// What a backend remembers of the pipelines that it compiled.
#[derive(Debug, Default)]
pub(super) struct Pipelines {
    cache: Option<(wgpu::PipelineCache, PathBuf)>,
    grown: AtomicBool,
}

impl Pipelines {
    /// Those of this adapter that earlier processes left in the cache folder. None in software, whose driver keeps its own.
    pub fn of(device: &wgpu::Device, info: &wgpu::AdapterInfo) -> Self {
        let key = wgpu::util::pipeline_cache_key(info).filter(|_| info.device_type != wgpu::DeviceType::Cpu);
        match key.zip(table::cache_folder()) {
            Some((key, folder)) => Self::at(device, folder.join("pipelines").join(key)),
            None => Self::default(),
        }
    }

    /// The same in the folder `folder`, which is this adapter's own.
    fn at(device: &wgpu::Device, folder: PathBuf) -> Self {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return Self::default();
        }
        let path = folder.join(table::shaders());
        let cache = trusted::pipeline_cache(device, read(&path).as_deref());
        Self { cache: Some((cache, path)), grown: AtomicBool::new(false) }
    }

    /// For the next pipeline that is compiled.
    pub fn next(&self) -> Option<wgpu::PipelineCache> {
        self.grown.store(true, Ordering::Relaxed);
        self.cache.as_ref().map(|(cache, _)| cache.clone())
    }

    /// Writes what has grown; those for other shaders are of no more use.
    fn keep(&self) -> Result<()> {
        let grown = self.grown.load(Ordering::Relaxed);
        let Some((data, path)) =
            self.cache.as_ref().filter(|_| grown).and_then(|(cache, path)| Some((cache.get_data()?, path)))
        else {
            return Ok(());
        };
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|error| crate::Error::io(folder, error))?;
        for other in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if other != *path && other.is_file() {
                let _ = std::fs::remove_file(other);
            }
        }
        let hash = io::hash::sha256(&data);
        io::output::write_whole(path, |out| {
            out.write_all(hash.as_bytes())?;
            out.write_all(&data)
        })
    }
}

impl Drop for Pipelines {
    fn drop(&mut self) {
        // A cache that cannot be written costs time, never an answer.
        let _ = self.keep();
    }
}

/// What was written at `path`, if it is whole.
fn read(path: &Path) -> Option<Vec<u8>> {
    const HASH: usize = 64;
    let mut hash = std::fs::read(path).ok().filter(|bytes| bytes.len() >= HASH)?;
    let data = hash.split_off(HASH);
    (io::hash::sha256(&data).as_bytes() == hash).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_whole_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        assert_eq!(read(&path), None);
        let whole = [io::hash::sha256(b"data").as_bytes(), b"data"].concat();
        for length in [0, 10, 64, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(read(&path), None, "{length}");
        }
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(read(&path), Some(b"data".to_vec()));
    }
}
