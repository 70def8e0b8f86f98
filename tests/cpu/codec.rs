//! Cache types: names, sizes, codes, and what they cost in accuracy.

use lowbit::codec::{CacheType, HEAD_DIMS, Pair, check_head_dim};

#[test]
fn names_go_there_and_back_and_others_are_refused() {
    for ty in CacheType::ALL {
        assert_eq!(ty.to_string().parse::<CacheType>().unwrap(), ty);
        assert_eq!(ty.to_string().parse::<Pair>().unwrap(), ty.into());
    }
    let pair: Pair = "q8_0:turbo3".parse().unwrap();
    assert_eq!((pair.keys, pair.values), (CacheType::Q8_0, CacheType::Turbo3));
    assert_eq!(pair.to_string(), "q8_0:turbo3");
    assert_eq!("f16:f16".parse::<Pair>().unwrap().to_string(), "f16");
    for text in ["", "Q8_0", "q8_0:", ":q8_0", "q8_0:f16:f16", "turbo"] {
        let error = text.parse::<Pair>().unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("f16, q8_0, q4_0, fp8"), "{error}");
    }
}

#[test]
fn bits_per_value_are_those_of_the_layout() {
    let table = [
        ("f16", 16.0, 16.0),
        ("q8_0", 8.5, 8.6),
        ("q4_0", 4.5, 4.6),
        ("fp8", 8.125, 8.2),
        ("kivi4", 5.0, 5.2),
        ("kivi2", 3.0, 3.2),
        ("turbo4", 4.125, 4.2),
        // 80 codes of one bit take three words.
        ("turbo3", 3.125, 3.4),
        ("turbo2", 2.125, 2.2),
    ];
    for (name, at_128, at_80) in table {
        let pair: Pair = name.parse().unwrap();
        assert_eq!((pair.bits_per_value(128), pair.bits_per_value(80)), (at_128, at_80), "{name}");
    }
    assert_eq!("q8_0:turbo2".parse::<Pair>().unwrap().bits_per_value(128), 5.3125);
}

#[test]
fn other_head_dimensions_are_refused_with_the_nearest() {
    for dim in HEAD_DIMS {
        check_head_dim(dim).unwrap();
    }
    for (dim, nearest) in [(0, 32), (72, 64), (100, 96), (112, 96), (120, 128), (512, 256)] {
        let text = check_head_dim(dim).unwrap_err().to_string();
        assert!(text.ends_with(&format!("is {nearest}")), "{text}");
    }
}
