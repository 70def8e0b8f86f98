//! Opens what may be anything, and reads every tensor.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lowbit::internals::io::gguf::{Gguf, is_gguf};

fuzz_target!(|bytes: &[u8]| {
    let path = lowbit::file(bytes);
    let recognized = is_gguf(&path);
    let file = match Gguf::open(&path) {
        Ok(file) => file,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(recognized.is_ok_and(|yes| yes));
    for tensor in file.tensors() {
        let mut data = vec![0; tensor.bytes as usize];
        file.read(tensor, 0..tensor.bytes, &mut data).expect("its data is in the file");
        assert_eq!(data, bytes[tensor.offset as usize..][..data.len()]);
        assert!(file.read(tensor, 0..tensor.bytes + 1, &mut data).is_err());
        assert_eq!(file.tensor(&tensor.name).expect("it has a name of its own"), tensor);
    }
    // Whether there is one does not matter.
    let _ = file.tensor("blk.0.weight");
});
