//! The seeds of the fuzzers in tests/fuzz: hostile files made by hand, and those that reach what these do not. Every one
//! is read as far as it goes, or refused.

use std::fs;
use std::path::{Path, PathBuf};

use lowbit::internals::Result;
use lowbit::internals::calibration::{Cache, Manifest};
use lowbit::internals::io::gguf::Gguf;
use lowbit::internals::io::onnx;
use lowbit::internals::io::safetensors::Safetensors;
use lowbit::internals::network::lower::{Names, lower};

fn seeds(format: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(format);
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.collect()
}

/// Gives every seed, with its bytes, to `read`; some have to be good, some bad.
fn check(format: &str, read: impl Fn(&Path, &[u8]) -> Result<()>) {
    let (mut good, mut bad) = (0, 0);
    for path in seeds(format) {
        let bytes = fs::read(&path).unwrap();
        match read(&path, &bytes) {
            Ok(()) => good += 1,
            Err(error) => {
                bad += 1;
                let message = error.to_string();
                let problem = message.strip_prefix(&format!("{}: ", path.display())).expect(&message);
                assert!(!problem.contains(char::is_control) && problem.len() < 700, "{message}");
            }
        }
    }
    assert!(good > 3 && bad > 10, "{good} good, {bad} bad");
}

#[test]
fn every_gguf_seed_is_read_or_refused() {
    check("gguf", |path, bytes| {
        let file = Gguf::open(path)?;
        for tensor in file.tensors() {
            assert!(tensor.bytes <= bytes.len() as u64, "{}: {tensor:?}", path.display());
            let mut data = vec![0; tensor.bytes as usize];
            file.read(tensor, 0..tensor.bytes, &mut data)?;
            assert_eq!(data, bytes[tensor.offset as usize..][..data.len()], "{}", path.display());
            assert_eq!(file.tensor(&tensor.name)?, tensor);
        }
        Ok(())
    });
}

#[test]
fn every_safetensors_seed_is_read_or_refused() {
    check("safetensors", |path, bytes| {
        let file = Safetensors::open(path)?;
        for tensor in file.tensors() {
            assert!(tensor.bytes <= bytes.len() as u64, "{}: {tensor:?}", path.display());
            let mut data = vec![0; tensor.bytes as usize];
            file.read(tensor, 0..tensor.bytes, &mut data)?;
            assert_eq!(data, bytes[tensor.offset as usize..][..data.len()], "{}", path.display());
            assert_eq!(file.tensor(&tensor.name)?, tensor);
        }
        Ok(())
    });
}

#[test]
fn every_cache_seed_is_read_or_refused() {
    check("cache", |path, bytes| {
        // A manifest is JSON; every other file is to be a cache.
        if bytes.starts_with(b"{") || bytes.starts_with(b"[") {
            return Manifest::read(path).map(drop);
        }
        let cache = Cache::read(path)?;
        let again = tempfile::NamedTempFile::new().unwrap();
        cache.write(again.path())?;
        assert_eq!(Cache::read(again.path())?, cache, "{}", path.display());
        Ok(())
    });
}

#[test]
fn every_onnx_seed_is_lowered_or_refused() {
    check("onnx", |path, _| {
        let network = lower(&onnx::read(path)?, &Names::default())?;
        assert!(network.layers.iter().all(|layer| network.values[layer.output].elements() > 0));
        Ok(())
    });
}

/// The tool looks at each seed with little memory: a larger allocation ends it with another exit code.
#[cfg(target_os = "linux")]
#[test]
fn no_seed_takes_much_memory() {
    for path in seeds("gguf").into_iter().chain(seeds("safetensors")) {
        let mut limited = std::process::Command::new("sh");
        limited.args([
            "-c",
            "ulimit -v 131072 && exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_lowbit"),
            "inspect",
        ]);
        let output = limited.arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 2)), "{}: {said}", path.display());
        assert!(!said.contains("panicked"), "{}: {said}", path.display());
    }
}
