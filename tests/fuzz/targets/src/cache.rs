//! Reads what may be anything as a calibration cache and as a manifest, and writes what was good.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lowbit::internals::calibration::{Cache, Manifest};

fuzz_target!(|bytes: &[u8]| {
    let path = lowbit::file(bytes);
    let cache = Cache::read(&path);
    let manifest = Manifest::read(&path);
    for error in [cache.as_ref().err(), manifest.as_ref().err()].into_iter().flatten() {
        assert!(!error.to_string().contains(char::is_control));
    }
    if let Ok(cache) = cache {
        cache.write(&path).expect("what was read can be written");
        assert_eq!(Cache::read(&path).expect("and read again"), cache);
        let names: Vec<&str> = cache.entries.iter().map(|(name, _)| name.as_str()).collect();
        cache.check(None, true, "", &names, &[]).expect("it has the names that it has");
    }
    if let Ok(manifest) = manifest {
        manifest.write(&path).expect("what was read can be written");
        let again = Manifest::read(&path).expect("and read again");
        assert_eq!((again.model, again.data, again.ranges.len()), (manifest.model, manifest.data, manifest.ranges.len()));
    }
});
