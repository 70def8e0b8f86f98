//! The definition of each kernel in f64 or i64, with no GPU in sight.
